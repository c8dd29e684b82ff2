//! Connections: HTTP/1.1 on loopback, bearer token, faults and outages. Every connection is a task of one set that
//! dies with the server; nothing is detached.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WARNING,
};
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::agenda::Task;
use crate::api::{self, Answer, Body, Request, Target, Verb};
use crate::control;
use crate::faults::{DropWhen, FaultAction, FaultStatus};
use crate::object::{AnswerBody, Key};
use crate::refusal::Refusal;
use crate::watch;
use crate::world::{Shared, World};

/// The real server's limit for a request body.
const BODY_LIMIT: usize = 3 << 20;

/// Pause after a failed `accept` (usually: no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The name that goes with the token where a client sends it as a password.
pub(crate) const LOGIN: &str = "sandbox";

/// The connection is closed on purpose, without an answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the sandbox drops this connection on purpose")]
pub(crate) struct Dropped;

/// What a connection has been used for.
#[derive(Debug, Default)]
struct Role(AtomicU8);

impl Role {
    const API: u8 = 1;
    const CONTROL: u8 = 2;

    fn is_api(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::API
    }

    fn set(&self, role: u8) {
        self.0.store(role, Ordering::Relaxed);
    }
}

/// Accepts and serves connections for ever.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
            Err(error) => {
                tracing::warn!(%error, "the sandbox cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot disable Nagle's algorithm");
    }
    let role = Arc::new(Role::default());
    let service = service_fn(|request| answer(Arc::clone(&shared), Arc::clone(&role), request));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        result = connection => {
            if let Err(error) = result {
                tracing::debug!(%error, "connection ended");
            }
        }
        () = outage(&shared, &role) => {}
    }
}

/// Returns when this connection is to be cut.
async fn outage(shared: &Shared, role: &Role) {
    let mut switches = shared.switches.subscribe();
    loop {
        if switches.borrow_and_update().outage && role.is_api() {
            return;
        }
        if switches.changed().await.is_err() {
            // the server itself is going away, and this task with it
            std::future::pending::<Infallible>().await;
        }
    }
}

async fn answer(
    shared: Arc<Shared>,
    role: Arc<Role>,
    http: HttpRequest<Incoming>,
) -> Result<Response<AnswerBody>, Dropped> {
    let path = http.uri().path().to_owned();
    let is_control = path == "/sandbox" || path.starts_with("/sandbox/");
    role.set(if is_control { Role::CONTROL } else { Role::API });
    let switches = *shared.switches.borrow();
    if switches.outage && !is_control {
        return Err(Dropped);
    }
    let header = |name: HeaderName| {
        let value = http.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (method, query) = (http.method().clone(), http.uri().query().unwrap_or_default().to_owned());
    let credentials = header(AUTHORIZATION);
    let request = Request::parse(&method, &path, &query, &header(ACCEPT), &header(CONTENT_TYPE));
    let body = match read_body(http.into_body()).await? {
        Ok(body) => body,
        Err(refusal) => return Ok(response(Answer::from(&refusal))),
    };
    let token_matches = shared.with(|world| is_authentic(&credentials, &world.settings.token));
    if is_control {
        return Ok(response(if token_matches {
            control::answer(&shared, &method, &path, &query, &body)
        } else {
            Answer::from(&Refusal::unauthorized())
        }));
    }
    let authenticated = token_matches && !switches.unauthorized;
    match request {
        Ok(mut request) => {
            request.set_body(&body);
            serve_request(&shared, request, authenticated).await
        }
        Err(_) if !authenticated => Ok(response(Answer::from(&Refusal::unauthorized()))),
        Err(refusal) => Ok(response(Answer::from(&refusal))),
    }
}

/// Whether an `Authorization` header carries the token: as a bearer token, or as the password of [`LOGIN`].
fn is_authentic(credentials: &str, token: &str) -> bool {
    match credentials.split_once(' ') {
        Some(("Bearer", given)) => given == token,
        Some(("Basic", given)) => given == base64(format!("{LOGIN}:{token}").as_bytes()),
        _ => false,
    }
}

/// Base64 with padding, as Basic authentication has it.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = char::from(ALPHABET[bits >> (18 - 6 * place) & 0x3f]);
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

async fn read_body(body: Incoming) -> Result<Result<Bytes, Refusal>, Dropped> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(Ok(collected.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(Err(Refusal::too_large(BODY_LIMIT))),
        // the client went away in the middle of its request
        Err(_) => Err(Dropped),
    }
}

/// Counts a request, lets a fault strike, and else does what it asks.
async fn serve_request(
    shared: &Arc<Shared>,
    request: Request,
    authenticated: bool,
) -> Result<Response<AnswerBody>, Dropped> {
    let action = shared.with(|world| {
        *world.counters.entry(request.counter()).or_default() += 1;
        let labels = if world.faults.look_at_labels() { labels(world, &request) } else { Vec::new() };
        world.faults.strike(&request, &labels)
    });
    let perform = || execute(shared, &request, authenticated);
    match action {
        None | Some(FaultAction::Hang(false)) => Ok(perform()),
        Some(FaultAction::Status(status)) => Ok(response(made_up(&status))),
        Some(FaultAction::StatusAfter(status)) => {
            perform();
            Ok(response(made_up(&status)))
        }
        Some(FaultAction::Drop(DropWhen::Before)) => Err(Dropped),
        Some(FaultAction::Drop(DropWhen::After)) => {
            perform();
            Err(Dropped)
        }
        Some(FaultAction::DelayMs(milliseconds)) => {
            sleep(Duration::from_millis(milliseconds)).await;
            Ok(perform())
        }
        Some(FaultAction::Hang(true)) => std::future::pending().await,
        Some(FaultAction::Late(milliseconds)) => {
            let delay = Duration::from_millis(milliseconds);
            shared.with(|world| world.agenda.enter(delay, Task::Late(Box::new(request))));
            Err(Dropped)
        }
    }
}

fn execute(shared: &Arc<Shared>, request: &Request, authenticated: bool) -> Response<AnswerBody> {
    if !authenticated {
        return response(Answer::from(&Refusal::unauthorized()));
    }
    if let Some(refusal) = shared.with(|world| denial(world, request)) {
        return response(Answer::from(&refusal));
    }
    match (request.verb, &request.target) {
        (Verb::Watch, Target::Resource(resource)) => match watch::open(shared, *resource, request) {
            Ok(body) => stream(body),
            Err(refusal) => response(Answer::from(&refusal)),
        },
        _ => response(shared.with(|world| api::perform(world, request))),
    }
}

fn denial(world: &World, request: &Request) -> Option<Refusal> {
    let (verb, resource) = (request.verb.name(), request.resource_name.as_str());
    (request.target != Target::Page && world.is_denied(verb, resource))
        .then(|| Refusal::denied(&world.settings.user, verb, resource, &request.namespace, &request.name))
}

/// The labels (`key=value`) a fault may look at: those of the object, or the label selector of a list or watch.
fn labels(world: &World, request: &Request) -> Vec<String> {
    let pairs = |map: &Value| -> Vec<String> {
        let labels = map.as_object().into_iter().flatten();
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect()
    };
    match (request.verb, &request.body, &request.target) {
        (Verb::List | Verb::Watch | Verb::DeleteCollection, ..) => vec![request.query("labelSelector").to_owned()],
        (Verb::Create, Body::Json(object), _) if request.subresource.is_empty() => pairs(&object["metadata"]["labels"]),
        (_, _, Target::Resource(resource)) => {
            let key = Key::new(request.namespace.as_str(), request.name.as_str());
            let stored = world.store.get(*resource, &key);
            stored
                .into_iter()
                .flat_map(|object| object.labels.iter().map(|(key, value)| format!("{key}={value}")))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn made_up(status: &FaultStatus) -> Answer {
    let mut refusal = Refusal::made_up(status.code, &status.reason, &status.message);
    refusal.retry_after = status.retry_after;
    refusal.plain_text = status.plain_text;
    Answer::from(&refusal)
}

fn response(answer: Answer) -> Response<AnswerBody> {
    let body = Full::new(answer.body).map_err(|never: Infallible| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    // a fault may ask for any number
    *response.status_mut() = StatusCode::from_u16(answer.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Some(seconds) = answer.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    for warning in &answer.warnings {
        // a text that no header can hold is no loss: the answer itself says what was stored
        if let Ok(value) = HeaderValue::from_str(&format!("299 - {warning:?}")) {
            headers.append(WARNING, value);
        }
    }
    response
}

fn stream(body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_counts_as_bearer_and_as_password() {
        for (token, basic) in [("t", "c2FuZGJveDp0"), ("to", "c2FuZGJveDp0bw=="), ("tok", "c2FuZGJveDp0b2s=")] {
            assert!(is_authentic(&format!("Bearer {token}"), token));
            assert!(is_authentic(&format!("Basic {basic}"), token), "{token}");
            for wrong in ["", "Bearer", "Bearer x", "Basic x", token] {
                assert!(!is_authentic(wrong, token), "{wrong}");
            }
        }
    }
}
