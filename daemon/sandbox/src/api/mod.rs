//! The Kubernetes API: what each request means and what it is answered. No connections and no waiting here; faults,
//! authentication and watch streams are `server`'s and `watch`'s.

mod body;
pub(crate) mod create;
mod delete;
mod discovery;
pub(crate) mod read;
mod request;
mod review;
mod update;

use hyper::body::Bytes;
use serde_json::Value;

pub(crate) use request::{Body, Request, Target, Verb};

use crate::refusal::Refusal;
use crate::world::World;

/// A complete answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    /// Seconds for the `Retry-After` header.
    pub(crate) retry_after: Option<u64>,
    /// Texts for the `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    /// JSON with this status.
    pub(crate) fn json(code: u16, value: &Value) -> Self {
        Self::bytes(code, Bytes::from(value.to_string()))
    }

    /// JSON that is serialised already.
    pub(crate) fn bytes(code: u16, body: Bytes) -> Self {
        Self { code, content_type: "application/json", body, retry_after: None, warnings: Vec::new() }
    }

    /// A line of text.
    fn text(text: &'static str) -> Self {
        let content_type = "text/plain; charset=utf-8";
        let body = Bytes::from_static(text.as_bytes());
        Self { content_type, ..Self::bytes(200, body) }
    }
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        let (body, content_type) = refusal.body();
        Self { content_type, retry_after: refusal.retry_after, ..Self::bytes(refusal.code, body) }
    }
}

/// Does what the request asks and answers it. Watches are answered by `watch`.
pub(crate) fn perform(world: &mut World, request: &Request) -> Answer {
    try_perform(world, request).unwrap_or_else(|refusal| Answer::from(&refusal))
}

fn try_perform(world: &mut World, request: &Request) -> Result<Answer, Refusal> {
    if let Some(failure) = world.store.failure()
        && !matches!(request.verb, Verb::Get | Verb::List)
    {
        return Err(Refusal::internal(failure));
    }
    let resource = match &request.target {
        Target::Resource(resource) => *resource,
        Target::AccessReview => return review::review(world, request),
        Target::Page => return discovery::page(&request.path),
    };
    match (request.verb, request.subresource.as_str()) {
        (Verb::Create, "eviction") => delete::evict(world, request),
        (_, subresource) if !subresource.is_empty() => Err(Refusal::no_such_path()),
        (Verb::Get, _) => read::get(world, resource, request),
        (Verb::List, _) => read::list(world, resource, request),
        (Verb::Create, _) => create::create(world, resource, request),
        (Verb::Patch | Verb::Update, _) => update::update(world, resource, request),
        (Verb::Delete, _) => delete::delete(world, resource, request),
        (Verb::DeleteCollection, _) => delete::delete_collection(world, resource, request),
        (Verb::Watch, _) => Err(Refusal::method_not_allowed()),
    }
}
