//! The Unix socket: making it, and an accept loop of our own around jsonrpsee's service.
//!
//! jsonrpsee's own server answers callers beyond its connection limit with a plain-text 429 and sets no timer against
//! slow senders. Here callers beyond the limit wait in the listen backlog, and a head or a body that does not arrive
//! in time ends its connection.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream as StdStream,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::{
    RpcModule,
    server::{
        BatchRequestConfig, Methods, Server, ServerConfig, ServerHandle, StopHandle, TowerServiceBuilder, stop_channel,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{UnixListener, UnixSocket, UnixStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{ServiceBuilder, layer::util::Identity};
use tower_http::timeout::RequestBodyTimeoutLayer;
use tracing::{debug, warn};

use super::{Peer, Service, apart::Apart};
use crate::crash_point::{self, Point};

/// Callers that wait to be accepted; Linux caps it at net.core.somaxconn (4096).
const BACKLOG: u32 = 4096;
/// A request's head has to arrive within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// The next piece of a request's body has to arrive within this time.
const BODY_PIECE_WITHIN: Duration = Duration::from_secs(10);
/// On a clean stop, calls under way get this long.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// After a failed accept (out of file descriptors), wait this long.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Makes the socket at `path`, mode 0660. A stale one is replaced, one that somebody serves is not.
///
/// # Errors
/// With what is wrong and what to do.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        // Only the last component: a mistyped path is an error, not a new tree.
        fs::create_dir(parent).map_err(|error| told(&error, &format!("cannot make {}", parent.display())))?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let message = format!("{} exists and is not a socket; move it away or use --socket", path.display());
            return Err(io::Error::new(ErrorKind::AlreadyExists, message));
        }
        Ok(_) if StdStream::connect(path).is_ok() => {
            let message = format!("{} is served by another process; stop it or use --socket", path.display());
            return Err(io::Error::new(ErrorKind::AddrInUse, message));
        }
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path).map_err(|error| told(&error, &format!("cannot make the socket {}", path.display())))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown`, then finishes the calls under way.
pub(crate) async fn serve(
    listener: UnixListener,
    module: RpcModule<Service>,
    settings: &super::Settings,
    shutdown: CancellationToken,
) {
    let (interface, server_handle) = Interface::new(module, settings);
    let permits = Arc::new(Semaphore::new(settings.max_connections));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let peer = Peer::of(&stream);
        let (interface, shutdown) = (interface.clone(), shutdown.clone());
        connections.spawn(async move {
            interface.serve_connection(stream, peer, shutdown).await;
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(LAST_ANSWERS_WITHIN, connections.wait()).await.is_err() {
        warn!(calls = connections.len(), "calls were still under way at the end of a clean stop");
    }
    // The handle keeps jsonrpsee's stop channel open for as long as calls run.
    drop(server_handle);
}

async fn accept(
    listener: &UnixListener,
    permits: &Arc<Semaphore>,
) -> Option<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            None
        }
    }
}

/// What each connection is served with.
#[derive(Clone)]
pub(super) struct Interface {
    builder: TowerServiceBuilder<Identity, Identity>,
    methods: Methods,
    stop: StopHandle,
    max_reply: usize,
}

impl Interface {
    /// The methods of `module` within the bounds of `settings`. The handle has to outlive the last call.
    pub(super) fn new(module: RpcModule<Service>, settings: &super::Settings) -> (Self, ServerHandle) {
        let (stop, handle) = stop_channel();
        let config = ServerConfig::builder()
            .http_only()
            .max_request_body_size(settings.max_body)
            .max_response_body_size(settings.max_reply)
            .max_connections(u32::MAX)
            .set_batch_request_config(BatchRequestConfig::Disabled)
            .build();
        let builder = Server::builder().set_config(config).to_service_builder();
        let max_reply = usize::try_from(settings.max_reply).unwrap_or(usize::MAX);
        (Self { builder, methods: module.into(), stop, max_reply }, handle)
    }

    /// One connection, until the caller leaves or hfd stops.
    pub(super) fn serve_connection(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let service = ServiceBuilder::new()
            .layer(RequestBodyTimeoutLayer::new(BODY_PIECE_WITHIN))
            .service(self.builder.build(self.methods, self.stop));
        serve_with(service, stream, peer, self.max_reply, shutdown)
    }
}

/// HTTP/1.1 with a timer for its heads, kept alive until the caller leaves or hfd stops.
async fn serve_with<S, B, T>(service: S, stream: T, peer: Peer, max_reply: usize, shutdown: CancellationToken)
where
    S: tower::Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<tower::BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
    B::Error: Into<tower::BoxError>,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        let apart = Apart::new(max_reply);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(apart.clone());
        let mut service = service.clone();
        async move {
            let answer = service.call(request).await;
            crash_point::pass(Point::BeforeAnswer);
            match answer {
                Ok(response) => Ok(apart.join(response).await),
                Err(error) => Err(error),
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    crash_point::pass(Point::AfterAnswer);
    if let Err(error) = ended {
        debug!(%error, peer_pid = peer.pid, "a connection ended early");
    }
}

fn told(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_served_one_is_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("sub/hfd.sock");
        let first = bind(&path).expect("a new socket");
        assert_eq!(bind(&path).map(drop).map_err(|error| error.kind()), Err(ErrorKind::AddrInUse));
        drop(first);
        let second = bind(&path).expect("a stale socket is replaced");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        drop(second);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("hfd.sock");
        fs::write(&path, "data").expect("a file");
        assert!(bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).expect("still there"), "data");
    }
}
