//! The module at its boundary: a scripted API server in memory on one side, the engine's channel on the other.
//!
//! Time is paused wherever nothing real is waited for: "nothing happens" is shown by the clock running ahead.

mod actuate;
mod link;
mod watch;

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use kube::{
    Config,
    client::{Body, ClientBuilder},
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tower::{BoxError, service_fn};

use super::{Access, ClientSettings, Cluster, workloads::settings};

/// Longest wait for something that must happen; on a paused clock, no wait at all.
const SOON: Duration = Duration::from_secs(300);

type ReplyBody = UnsyncBoxBody<Bytes, BoxError>;
type Frames = mpsc::UnboundedSender<Result<Bytes, BoxError>>;

/// The server's side: every request waits here until the test answers it.
struct Server(mpsc::UnboundedReceiver<Asked>);

/// One request, and the way to answer it. Dropped, the connection breaks.
struct Asked {
    method: Method,
    uri: String,
    body: Bytes,
    reply: oneshot::Sender<Response<ReplyBody>>,
}

/// A cluster whose API server is the test.
fn cluster(build: u64) -> (Cluster, Server) {
    let (asked_tx, asked_rx) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        let asked_tx = asked_tx.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let (reply, answer) = oneshot::channel();
            asked_tx.send(Asked { method: head.method, uri: head.uri.to_string(), body, reply })?;
            Ok::<_, BoxError>(answer.await?)
        }
    });
    let builder = ClientBuilder::new(service, "symphony");
    let cluster = Cluster::over(builder, &settings(), "symphony".to_owned(), "memory".to_owned(), None);
    (Cluster { build, ..cluster }, Server(asked_rx))
}

impl Server {
    /// The next request.
    async fn asked(&mut self) -> Asked {
        let asked = tokio::time::timeout(SOON, self.0.recv()).await;
        asked.expect("a request comes").expect("the client lives")
    }

    /// The next request, which must be a LIST.
    async fn list(&mut self) -> Asked {
        let asked = self.asked().await;
        assert!(asked.method == Method::GET && !asked.uri.contains("watch=true"), "{} {}", asked.method, asked.uri);
        asked
    }

    /// The next request, which must be a watch that resumes at this version.
    async fn watch(&mut self, version: &str) -> Asked {
        let asked = self.asked().await;
        assert!(asked.uri.contains("watch=true"), "{}", asked.uri);
        assert!(asked.uri.contains(&format!("resourceVersion={version}")), "{}", asked.uri);
        asked
    }

    /// No request comes, however long one waits.
    async fn idles(&mut self, this_long: Duration) {
        let asked = tokio::time::timeout(this_long, self.0.recv()).await;
        assert!(asked.is_err(), "{:?}", asked.map(|asked| asked.map(|asked| asked.uri)));
    }
}

impl Asked {
    fn answer(self, code: u16, body: impl Into<Bytes>) {
        let body = http_body_util::Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync();
        self.send(code, body);
    }

    /// Answers with a body that the test goes on writing.
    fn stream(self, code: u16) -> Frames {
        let (frames_tx, mut frames_rx) = mpsc::unbounded_channel::<Result<Bytes, BoxError>>();
        let frames = stream::poll_fn(move |cx| frames_rx.poll_recv(cx)).map(|bytes| bytes.map(Frame::data));
        self.send(code, StreamBody::new(frames).boxed_unsync());
        frames_tx
    }

    /// Answers a LIST with one complete page.
    fn pods(self, version: &str, pods: &[Value]) {
        self.page(version, None, pods);
    }

    fn page(self, version: &str, next: Option<&str>, pods: &[Value]) {
        let metadata = json!({"resourceVersion": version, "continue": next});
        let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": metadata, "items": pods});
        self.answer(200, list.to_string());
    }

    fn status(self, code: u16, reason: &str, message: &str) {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message});
        self.answer(code, status.to_string());
    }

    fn send(self, code: u16, body: ReplyBody) {
        let response = Response::builder().status(code).body(body).expect("a response");
        assert!(self.reply.send(response).is_ok(), "the caller has gone");
    }
}

/// One line of a watch.
fn event(kind: &str, object: &Value) -> Result<Bytes, BoxError> {
    let mut line = json!({"type": kind, "object": object}).to_string();
    line.push('\n');
    Ok(line.into())
}

fn bookmark(version: &str) -> Result<Bytes, BoxError> {
    event("BOOKMARK", &json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": version}}))
}

fn request() -> hfd_core::id::RequestId {
    hfd_core::id::RequestId::from_random([1; 10])
}

fn machine(ordinal: u32) -> hfd_core::id::MachineName {
    hfd_core::id::MachineName { request: request(), ordinal }
}

fn uid(ordinal: u32) -> hfd_core::id::PodUid {
    hfd_core::id::PodUid::from_bytes([u8::try_from(ordinal).expect("a small ordinal"); 16])
}

/// A pod of ours.
fn pod(ordinal: u32, version: &str, phase: &str) -> Value {
    json!({
        "metadata": {
            "name": machine(ordinal).to_string(),
            "uid": uid(ordinal).to_string(),
            "resourceVersion": version,
            "labels": {
                "app.kubernetes.io/managed-by": "hfd",
                "symphony/hostfactory-reqid": request().to_string(),
                "symphony/hostfactory-provider": "k8s-hf",
            },
            "annotations": {"hfd/template": "T1", "hfd/count": "10", "hfd/accepted-at": "1763000000",
                            "hfd/journal": "00000000000000ff"},
        },
        "status": {"phase": phase},
    })
}
