//! Single calls to the API server. No retry, no queue, no state: who calls, and when again, is the engine's business.
//!
//! Each call runs in its own time-out and comes back as one outcome of `hfd_core::outcome`. The bodies of creates are
//! written once per request (`manifest.rs`) and sent as they are.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use hfd_core::{
    id::{MachineName, PodUid},
    outcome::{CreateOutcome, DeleteOutcome, ListOutcome, ListedPod, LookOutcome, NamespaceOutcome, NotDone},
};
use http::{Method, Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde_json::json;
use tokio::time::timeout;

use super::{
    answer::{Answer, create_outcome, delete_outcome},
    client::{Cluster, explained},
    names,
    tolerant::Object,
    wire::{Page, Wire},
};

/// Pods asked for per page of a LIST: at 4..8 KB a pod, a few megabytes at once on both sides.
const PAGE: u32 = 500;

/// Largest answer that is read: a page of pods of the largest size that an object may have by etcd's limit (1.5 MiB)
/// is improbable; one such object is not.
const ANSWER_MAX: usize = 64 << 20;

/// An answer about the namespace is waited for so long: others wait behind it, as one question is asked at a time.
const NAMESPACE_TIMEOUT: Duration = Duration::from_secs(10);

impl Cluster {
    /// Creates a pod. `body` is the whole manifest, whose name the caller chose.
    pub async fn create(&self, body: Vec<u8>) -> CreateOutcome {
        create_outcome(self.call(Method::POST, &self.pods(), body.into()).await)
    }

    /// Deletes the pod that has this name and this UID. The pod keeps its own grace period, unless `force` takes it
    /// away: then it is gone from the API server at once, whatever its node does.
    pub async fn delete(&self, name: &str, uid: PodUid, force: bool) -> DeleteOutcome {
        if !names::is_object_name(name) {
            return DeleteOutcome::Gone;
        }
        let mut body = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": { "uid": uid.to_string() },
        });
        if force {
            body["gracePeriodSeconds"] = 0.into();
        }
        let path = format!("{}/{name}", self.pods());
        delete_outcome(self.call(Method::DELETE, &path, body.to_string().into()).await)
    }

    /// Looks what pod has this name, ours or not. A text that can't be a name is absent without a call.
    pub async fn look(&self, name: &str) -> LookOutcome {
        if !names::is_object_name(name) {
            return LookOutcome::Absent;
        }
        let answer = self.call(Method::GET, &format!("{}/{name}", self.pods()), Bytes::new()).await;
        if answer.is_not_found() {
            return LookOutcome::Absent;
        }
        let forbidden = answer.is_forbidden();
        let pod = match answer.read() {
            Ok(body) => serde_json::from_slice::<Object<Wire>>(&body).unwrap_or_default().0,
            Err(Some(not_done)) if forbidden => return LookOutcome::Refused(not_done.why),
            Err(Some(not_done)) => return LookOutcome::NotDone(not_done),
            Err(None) => return LookOutcome::Unauthorized,
        };
        // Whoever answers 200 with another object is not the API server that we asked.
        match pod.uid() {
            Some(uid) if pod.metadata.0.name.get() == Some(name) => self.judge(&pod, uid),
            _ => LookOutcome::NotDone(not_an_answer("the server answered 200 without a pod of that name")),
        }
    }

    /// One complete LIST of our pods as they are now: no resourceVersion, so the server reads at quorum.
    pub async fn list(&self) -> ListOutcome {
        let mut pods = Vec::new();
        let mut next: Option<Box<str>> = None;
        loop {
            let mut path = format!("{}?limit={PAGE}&labelSelector={}", self.pods(), escaped(&self.selector));
            if let Some(token) = &next {
                path.push_str("&continue=");
                path.push_str(&escaped(token));
            }
            let page = match self.call(Method::GET, &path, Bytes::new()).await.read() {
                Ok(body) => serde_json::from_slice::<Page>(&body),
                Err(Some(why)) => return ListOutcome::NotDone(why),
                Err(None) => return ListOutcome::Unauthorized,
            };
            let page = match page {
                Ok(page) if page.kind.get() == Some("PodList") => page,
                _ => return ListOutcome::NotDone(not_an_answer("the server answered 200 without a list of pods")),
            };
            pods.extend(page.items.0.iter().filter_map(listed));
            match page.metadata.0.next.get() {
                Some(token) => next = Some(token.into()),
                None => return ListOutcome::Pods(pods),
            }
        }
    }

    /// The UID of our namespace.
    pub async fn namespace_uid(&self) -> NamespaceOutcome {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        let timed_out = || Answer::Lost(format!("no answer within {NAMESPACE_TIMEOUT:?}"));
        let answer = timeout(NAMESPACE_TIMEOUT, self.call(Method::GET, &path, Bytes::new())).await;
        let answer = answer.unwrap_or_else(|_| timed_out());
        if answer.is_not_found() {
            return NamespaceOutcome::NotFound;
        }
        if answer.is_forbidden() {
            return NamespaceOutcome::NotAllowed;
        }
        let namespace = match answer.read() {
            Ok(body) => serde_json::from_slice::<Object<Wire>>(&body).unwrap_or_default().0,
            Err(Some(why)) => return NamespaceOutcome::NotDone(why),
            Err(None) => return NamespaceOutcome::Unauthorized,
        };
        let nothing = || NamespaceOutcome::NotDone(not_an_answer("the server answered 200 without a namespace's UID"));
        match (namespace.uid(), namespace.is_deleting()) {
            (Some(uid), false) => NamespaceOutcome::Known(uid),
            (Some(uid), true) => NamespaceOutcome::Terminating(uid),
            (None, _) => nothing(),
        }
    }

    fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace)
    }

    fn judge(&self, pod: &Wire, uid: PodUid) -> LookOutcome {
        let labels = &pod.metadata.0.labels.0;
        let deleting = pod.is_deleting();
        let managed_by_us = labels.managed_by.get() == Some(names::MANAGER);
        let of_our_instance = managed_by_us && labels.provider.get() == Some(&self.instance);
        match labels.request.parse() {
            Some(request) if of_our_instance => LookOutcome::Ours { uid, request, journal: pod.journal(), deleting },
            _ => {
                let hostfactory = labels.request.get().is_some() && !managed_by_us;
                LookOutcome::Foreign { hostfactory, uid, deleting }
            }
        }
    }

    /// Sends one request and takes in the whole answer, within the call's time-out.
    async fn call(&self, method: Method, path: &str, body: Bytes) -> Answer {
        let request =
            Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json").body(Body::from(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Answer::NotSent(explained(&error)),
        };
        let exchange = async {
            let response = match self.client.send(request).await {
                Ok(response) => response,
                Err(error) => return failed(&error),
            };
            let (head, body) = response.into_parts();
            match Limited::new(body, ANSWER_MAX).collect().await {
                Ok(body) => Answer::from_response(head.status, &head.headers, body.to_bytes()),
                // A 401 is one whatever became of its body.
                Err(_) if head.status == http::StatusCode::UNAUTHORIZED => Answer::Unauthorized,
                Err(error) => Answer::Lost(explained(&*error)),
            }
        };
        let timed_out = || Answer::Lost(format!("no answer within {:?}", self.call_timeout));
        timeout(self.call_timeout, exchange).await.unwrap_or_else(|_| timed_out())
    }
}

/// What a failed exchange means: was the request sent?
fn failed(error: &kube::Error) -> Answer {
    if is_credential_error(error) {
        return Answer::Unauthorized;
    }
    let why = explained(error);
    let unsent = matches!(error, kube::Error::BuildRequest(_) | kube::Error::HttpError(_));
    if unsent || is_connect_error(error) { Answer::NotSent(why) } else { Answer::Lost(why) }
}

/// The credential could not be had (plugin, refresh): as with a 401, a new client is the cure. kube's layer that adds it
/// to a request passes its error on as one of some middleware.
pub(super) fn is_credential_error(error: &kube::Error) -> bool {
    match error {
        kube::Error::Auth(_) => true,
        kube::Error::Service(error) => error.is::<kube::client::AuthError>(),
        _ => false,
    }
}

/// The connection was never made (name, TCP, proxy, TLS).
fn is_connect_error(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}

fn listed(pod: &Wire) -> Option<ListedPod> {
    // By name alone: a label changed by hand is no evidence that a pod is gone.
    let name: MachineName = pod.metadata.0.name.parse()?;
    Some(ListedPod { name, uid: pod.uid()?, deleting: pod.is_deleting(), ended: pod.has_ended() })
}

fn not_an_answer(why: &str) -> NotDone {
    NotDone { why: why.to_owned(), retry_after: None, throttled: false }
}

/// Percent-encoded for a query: everything but RFC 3986's unreserved characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(escaped, "%{byte:02X}")),
        }
    }
    escaped
}
