//! The pulse of the watch, felt below kube's watcher.
//!
//! kube's watcher swallows bookmarks, so from above it a quiet cluster and a dead connection look alike, and it takes
//! 205 s to notice the second. This layer of the HTTP client sees every response: bytes of a watch beat the
//! [`Heartbeat`]; a body that falls silent ends with an error, so that the watcher reconnects; a 401 is noted whatever
//! its body says. It never looks into the bytes.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use kube::client::Body as RequestBody;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tower::{BoxError, Layer, Service};

use super::counts::{Calls, Verb};

/// A watch that ends cleanly sooner than this after its start is held open until then: kube's watcher reconnects
/// without any pause after a clean end, and a server that ends every watch at once would be asked without pause.
const WATCH_AT_LEAST: Duration = Duration::from_secs(1);

/// When a watch last received bytes, and whether the API server refused our credentials.
#[derive(Debug)]
pub struct Heartbeat {
    base: Instant,
    /// Microseconds after `base`, plus one; 0 = never.
    last: AtomicU64,
    unauthorized: AtomicBool,
}

impl Heartbeat {
    /// A heart that has not beaten yet.
    #[must_use]
    pub fn new() -> Self {
        Self { base: Instant::now(), last: AtomicU64::new(0), unauthorized: AtomicBool::new(false) }
    }

    /// When a watch last received bytes.
    #[must_use]
    pub fn last_beat(&self) -> Option<Instant> {
        match self.last.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(self.base + Duration::from_micros(micros - 1)),
        }
    }

    /// Whether a 401 came since this was last asked.
    pub(super) fn take_unauthorized(&self) -> bool {
        self.unauthorized.swap(false, Ordering::Relaxed)
    }

    fn beat(&self) {
        let micros = u64::try_from(self.base.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
        self.last.store(micros + 1, Ordering::Relaxed);
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a response was given up.
#[derive(Debug, Error)]
pub(super) enum Silence {
    /// The server took the request and did not begin to answer.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// The body of the answer stopped without an end.
    #[error("no bytes for {0:?}")]
    Silent(Duration),
}

/// Wraps the HTTP client. One per [`super::Cluster`].
#[derive(Debug, Clone)]
pub(super) struct HealthLayer {
    /// Beaten by watches.
    pub(super) heartbeat: Arc<Heartbeat>,
    /// Counts every request as it is sent.
    pub(super) calls: Arc<Calls>,
    /// Longest wait for the begin of an answer. Longer than any single call's own time-out: it is for LISTs and watches.
    pub(super) answer_within: Duration,
    /// Longest silence inside a body.
    pub(super) silent_at_most: Duration,
}

impl<S> Layer<S> for HealthLayer {
    type Service = HealthService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HealthService { inner, layer: self.clone() }
    }
}

/// See [`HealthLayer`].
#[derive(Debug)]
pub(super) struct HealthService<S> {
    inner: S,
    layer: HealthLayer,
}

impl<S, B> Service<Request<RequestBody>> for HealthService<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
{
    type Response = Response<WatchedBody<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let HealthLayer { heartbeat, calls, answer_within, silent_at_most } = self.layer.clone();
        let verb = Verb::of(&request);
        calls.count(verb);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = timeout(answer_within, answer).await.map_err(|_| Silence::NoAnswer(answer_within))?;
            let response = answer.map_err(Into::into)?;
            if response.status() == StatusCode::UNAUTHORIZED {
                heartbeat.unauthorized.store(true, Ordering::Relaxed);
            }
            let watched = verb == Verb::Watch && response.status().is_success();
            if watched {
                heartbeat.beat();
            }
            let heartbeat = watched.then_some(heartbeat);
            Ok(response.map(|body| WatchedBody::new(body, heartbeat, silent_at_most)))
        })
    }
}

impl Verb {
    /// The verb of a request as the API server counts it.
    fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let in_query = |pair: &str| uri.query().is_some_and(|query| query.split('&').any(|part| part == pair));
        match *request.method() {
            Method::POST => Self::Create,
            Method::DELETE => Self::Delete,
            _ if in_query("watch=true") => Self::Watch,
            _ if uri.path().ends_with("/pods") => Self::List,
            _ if uri.path().contains("/pods/") => Self::Get,
            _ => Self::GetOther,
        }
    }
}

/// A response body that beats the heart (of a watch), and ends with an error when it falls silent.
pub(super) struct WatchedBody<B> {
    inner: B,
    /// Only for a watch.
    heartbeat: Option<Arc<Heartbeat>>,
    silent_at_most: Duration,
    silence: Pin<Box<Sleep>>,
    /// A watch is not over before this.
    hold_until: Instant,
    /// The end that is being held back.
    held: Option<Pin<Box<Sleep>>>,
}

impl<B> WatchedBody<B> {
    fn new(inner: B, heartbeat: Option<Arc<Heartbeat>>, silent_at_most: Duration) -> Self {
        let now = Instant::now();
        Self {
            inner,
            heartbeat,
            silent_at_most,
            silence: Box::pin(sleep_until(now + silent_at_most)),
            hold_until: now + WATCH_AT_LEAST,
            held: None,
        }
    }
}

impl<B> Body for WatchedBody<B>
where
    B: Body + Unpin,
    B::Data: Buf + Into<Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(held) = &mut this.held {
            return held.as_mut().poll(cx).map(|()| None);
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(heartbeat) = &this.heartbeat {
                    heartbeat.beat();
                }
                this.silence.as_mut().reset(Instant::now() + this.silent_at_most);
                Poll::Ready(Some(Ok(frame.map_data(Into::into))))
            }
            Poll::Ready(None) if this.heartbeat.is_some() && Instant::now() < this.hold_until => {
                let mut held = Box::pin(sleep_until(this.hold_until));
                let end = held.as_mut().poll(cx).map(|()| None);
                this.held = Some(held);
                end
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Pending => this.silence.as_mut().poll(cx).map(|()| {
                this.silence.as_mut().reset(Instant::now() + this.silent_at_most);
                Some(Err(Silence::Silent(this.silent_at_most).into()))
            }),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
