//! One call to the daemon: JSON-RPC 2.0 in one HTTP/1.1 exchange over a Unix socket.
//!
//! Everything ends at the caller's deadline: connecting, sending and each read. What went wrong is told apart by what
//! the caller can do about it. Only [`Client::call_until`] repeats a call; it relies on the idempotency key of those
//! that change something.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod http;

use std::{
    io::{self, Write},
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use proto_schema::{
    Call,
    error::{ErrorCode, Retry, RpcError},
    input::clip,
};
use rustix::{
    buffer::spare_capacity,
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

/// First pause before a call is repeated; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why a call has no reply.
#[derive(Debug, Error)]
pub enum CallError {
    /// The instance's name can't be part of a path.
    #[error("{instance:?} is not an instance name: it may not contain `/`, `..` or control characters")]
    BadSocketPath {
        /// The name.
        instance: String,
    },
    /// There is no socket file.
    #[error("hfd is not running: there is no socket {}; {}", path.display(), start_hint(path))]
    NoSocket {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The socket file exists and nobody listens.
    #[error("nobody answers on the socket {}; {}", path.display(), start_hint(path))]
    Refused {
        /// The socket.
        path: PathBuf,
    },
    /// The socket may not be opened.
    #[error("no permission to use the socket {}; run as the HostFactory user or join the socket's group", path.display())]
    Permission {
        /// The socket.
        path: PathBuf,
    },
    /// The path can't be a socket at all.
    #[error("{} can't be used as a socket: {source}; correct --socket or HFD_SOCKET", path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection ended before the reply was complete.
    #[error("hfd closed the connection before it answered ({detail})")]
    Broken {
        /// What was seen.
        detail: String,
    },
    /// The deadline passed.
    #[error("no answer from hfd on {} in time; see `hfctl status`, or allow more with --timeout", path.display())]
    TimedOut {
        /// The socket.
        path: PathBuf,
    },
    /// The answer is not one of ours.
    #[error("what answers on {} is not an hfd of this version: {detail}", path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What is wrong with the answer.
        detail: String,
    },
    /// The daemon answered with an error.
    #[error("{}", with_action(.0))]
    Rpc(RpcError),
}

impl CallError {
    /// Whether the daemon may have done what was asked although no reply came.
    #[must_use]
    pub const fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::TimedOut { .. } | Self::Protocol { .. })
    }

    /// Whether the same call may succeed within moments. A missing socket counts only after an earlier try had
    /// reached one: then the daemon is being restarted.
    fn worth_repeating(&self, reached_before: bool) -> bool {
        match self {
            Self::Refused { .. } | Self::Broken { .. } => true,
            Self::NoSocket { .. } => reached_before,
            Self::Rpc(error) => error.code.retry() == Retry::Now,
            _ => false,
        }
    }
}

/// A daemon's socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon behind `socket`. Nothing is connected yet.
    #[must_use]
    pub const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// One try.
    ///
    /// # Errors
    /// Every [`CallError`].
    pub fn call<C: Call>(&self, call: &C, deadline: Instant) -> Result<C::Reply, CallError> {
        self.decode::<C>(&self.call_raw(call, deadline)?)
    }

    /// One try, whose reply stays text.
    ///
    /// # Errors
    /// Every [`CallError`].
    pub fn call_raw<C: Call>(&self, call: &C, deadline: Instant) -> Result<Reply, CallError> {
        self.exchange(&self.body(call)?, deadline)
    }

    /// Reads a reply as its type.
    ///
    /// # Errors
    /// [`CallError::Protocol`] when it is of another version.
    pub fn decode<C: Call>(&self, reply: &Reply) -> Result<C::Reply, CallError> {
        serde_json::from_slice(reply.json()).map_err(|error| self.protocol(format!("{}: {error}", C::METHOD)))
    }

    /// Tries until there is an answer or `deadline` passes: again after a broken or refused connection and after
    /// "busy", with growing pauses.
    ///
    /// # Errors
    /// Every [`CallError`]; after the deadline, that of the last try.
    pub fn call_until<C: Call>(&self, call: &C, deadline: Instant) -> Result<Reply, CallError> {
        let body = self.body(call)?;
        let mut pause = FIRST_PAUSE;
        let (mut reached, mut broken) = (false, None);
        loop {
            let error = match self.exchange(&body, deadline) {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let again = error.worth_repeating(reached);
            reached |= again;
            let left = deadline.saturating_duration_since(Instant::now());
            if !again || left <= pause {
                // A call that was sent once stays in doubt, whatever came of the later tries.
                return Err(if error.worth_repeating(true) { broken.unwrap_or(error) } else { error });
            }
            if matches!(error, CallError::Broken { .. }) {
                broken = Some(error);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn body<C: Call>(&self, call: &C) -> Result<String, CallError> {
        let request = Request { jsonrpc: "2.0", id: 1, method: C::METHOD, params: call };
        serde_json::to_string(&request).map_err(|error| self.protocol(error.to_string()))
    }

    fn exchange(&self, body: &str, deadline: Instant) -> Result<Reply, CallError> {
        let mut stream = self.connect(deadline)?;
        let sent = self.send(&mut stream, &http::request(body), deadline);
        // A server that refuses a request early answers and closes: its answer says more than our failed write.
        let answer = match (sent, self.receive(&stream, deadline)) {
            (Ok(()), answer) | (Err(_), answer @ Ok(_)) => answer?,
            (Err(unsent), Err(_)) => return Err(unsent),
        };
        match answer.status {
            200 => self.read_reply(answer),
            status @ (429 | 503) => {
                let message = format!("hfd has too many callers (HTTP {status})");
                Err(CallError::Rpc(RpcError::new(ErrorCode::Busy, message).with_action("try again in a moment")))
            }
            413 => {
                let message = "hfd does not take a request this large (HTTP 413)";
                let error = RpcError::new(ErrorCode::LimitExceeded, message);
                Err(CallError::Rpc(error.with_action("split the call into smaller ones")))
            }
            status => {
                let body = String::from_utf8_lossy(answer.body());
                Err(self.protocol(format!("HTTP {status}: {}", clip(body.trim()))))
            }
        }
    }

    /// Connects without ever waiting beyond the deadline: a full backlog makes `connect` wait as a send does, and
    /// std's own connect can't be given a limit.
    fn connect(&self, deadline: Instant) -> Result<UnixStream, CallError> {
        let path = || self.socket.clone();
        let unusable = |error: Errno| CallError::Unusable { path: path(), source: error.into() };
        let address = SocketAddrUnix::new(&self.socket).map_err(unusable)?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(unusable)?;
        let left = self.time_left(deadline)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(left)).map_err(unusable)?;
        match rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address)) {
            Ok(()) => Ok(UnixStream::from(socket)),
            Err(Errno::NOENT) => Err(CallError::NoSocket { path: path() }),
            Err(Errno::ACCESS | Errno::PERM) => Err(CallError::Permission { path: path() }),
            Err(Errno::AGAIN) => Err(CallError::TimedOut { path: path() }),
            // The kernel refuses a plain file or a directory with the same number as a socket without a listener.
            Err(Errno::CONNREFUSED) if is_socket(&self.socket) => Err(CallError::Refused { path: path() }),
            Err(Errno::CONNREFUSED) => Err(unusable(Errno::NOTSOCK)),
            Err(error) => Err(unusable(error)),
        }
    }

    fn send(&self, stream: &mut UnixStream, mut bytes: &[u8], deadline: Instant) -> Result<(), CallError> {
        while !bytes.is_empty() {
            let left = self.time_left(deadline)?;
            stream.set_write_timeout(Some(left)).map_err(|error| self.io(&error))?;
            match stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io(&error)),
            }
        }
        Ok(())
    }

    fn receive(&self, stream: &UnixStream, deadline: Instant) -> Result<http::Response, CallError> {
        let mut reader = http::Reader::default();
        loop {
            let left = self.time_left(deadline)?;
            stream.set_read_timeout(Some(left)).map_err(|error| self.io(&error))?;
            let ended = match rustix::io::read(stream, spare_capacity(reader.space())) {
                Ok(count) => count == 0,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(self.io(&error.into())),
            };
            match reader.advance(ended) {
                Ok(Some(response)) => return Ok(response),
                Ok(None) => {}
                Err(http::ReadError::Ended { received }) => {
                    return Err(CallError::Broken { detail: format!("{received} bytes of an answer came") });
                }
                Err(error @ http::ReadError::Malformed(_)) => return Err(self.protocol(error.to_string())),
            }
        }
    }

    fn read_reply(&self, response: http::Response) -> Result<Reply, CallError> {
        let http::Response { mut bytes, body, .. } = response;
        let text = std::str::from_utf8(&bytes[body.clone()])
            .map_err(|_| self.protocol("the reply is not UTF-8 text".to_owned()))?;
        let answer: Answer<'_> = serde_json::from_str(text)
            .map_err(|error| self.protocol(format!("the reply is not JSON-RPC: {}", clip(&error.to_string()))))?;
        match answer {
            Answer { error: Some(error), .. } => Err(CallError::Rpc(error)),
            Answer { result: Some(result), .. } => {
                let result = result.get();
                // serde_json lends the text out of `text`, so the distance of the two is the offset.
                let start = body.start + (result.as_ptr().addr() - text.as_ptr().addr());
                let end = start + result.len();
                bytes.truncate(end);
                Ok(Reply { bytes, start })
            }
            Answer { .. } => Err(self.protocol("the reply has neither result nor error".to_owned())),
        }
    }

    /// Time until the deadline; never zero, which the socket options would take for "no limit".
    fn time_left(&self, deadline: Instant) -> Result<Duration, CallError> {
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(CallError::TimedOut { path: self.socket.clone() }),
            left => Ok(left.max(Duration::from_millis(1))),
        }
    }

    fn io(&self, error: &io::Error) -> CallError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => CallError::TimedOut { path: self.socket.clone() },
            _ => CallError::Broken { detail: error.to_string() },
        }
    }

    fn protocol(&self, detail: String) -> CallError {
        CallError::Protocol { path: self.socket.clone(), detail }
    }
}

/// The result of a successful call, as the daemon wrote it: JSON text, left where it was received.
#[derive(Debug, Clone)]
pub struct Reply {
    bytes: Vec<u8>,
    /// Where it begins; it goes to the end.
    start: usize,
}

impl Reply {
    /// The JSON text.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Ends the text with a newline, in place: a reply may have megabytes.
    pub fn end_line(&mut self) {
        self.bytes.push(b'\n');
    }
}

/// The wall-clock time of `deadline` in epoch milliseconds, for the daemon.
#[must_use]
pub fn epoch_millis_at(deadline: Instant) -> u64 {
    let at = SystemTime::now() + deadline.saturating_duration_since(Instant::now());
    let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
struct Request<'a, C> {
    jsonrpc: &'static str,
    id: u32,
    method: &'static str,
    params: &'a C,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

fn start_hint(path: &Path) -> String {
    let instance = path.file_stem().map_or_else(|| "INSTANCE".into(), |stem| stem.to_string_lossy());
    if path.starts_with("/run/hfd") {
        format!("start it with `systemctl start hfd@{instance}.socket hfd@{instance}.service`")
    } else {
        "start hfd with this socket, or name another with --socket or HFD_SOCKET".to_owned()
    }
}

fn with_action(error: &RpcError) -> String {
    match &error.action {
        Some(action) => format!("{}; {action}", error.message),
        None => error.message.clone(),
    }
}
