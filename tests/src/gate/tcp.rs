//! A wire: a proxy of bare bytes, between `hfd` and an API server of any kind. It knows nothing of HTTP or TLS, so it can
//! break what a gate can't: an answer in the middle of a frame, a connection whose other end is gone without a word.
//!
//! Two threads carry each connection, one a direction. What the wire suffers ([`Weather`]) counts for the bytes that
//! come while it lasts, on connections old and new; a connection that lost a byte never carries another one.

use std::{
    fs,
    io::{ErrorKind, Read, Result, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

/// How often a thread whose connection is quiet looks at the weather.
const LOOK: Duration = Duration::from_millis(20);
/// No weather has this number.
const NEVER: u64 = u64::MAX;
/// Most bytes that are carried at once.
const PIECE: usize = 16 << 10;

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// They are carried.
    Fair,
    /// Each piece is carried this much later.
    Late(Duration),
    /// At most so many are taken from their sender at once, with a pause after each time: for the one end a slow reader,
    /// for the other one bytes that trickle.
    Trickle(usize, Duration),
    /// Half-open: they are taken and vanish, and nobody is told.
    Deaf,
    /// What the server says vanishes; what it is told arrives.
    Mute,
    /// Each connection breaks in an orderly way after so many more bytes of the server.
    CutAfter(u64),
    /// The same by a reset.
    ResetAfter(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

#[derive(Debug)]
struct Shared {
    weather: Mutex<Weather>,
    /// Counts the changes of the weather, so that a connection knows from when to count its bytes.
    changes: AtomicU64,
    /// How often the weather did something to a connection.
    struck: AtomicU64,
    /// How often a watch that was under way was torn inside an event.
    torn_watches: AtomicU64,
    closed: AtomicBool,
    links: Mutex<Vec<Arc<Link>>>,
}

/// One connection: its two ends.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: TcpStream,
    over: AtomicBool,
    /// A byte was lost on it.
    dead: AtomicBool,
    /// What was asked last on it is a watch. Seen only where nothing is encrypted.
    watches: AtomicBool,
    /// The weather (by its number) in which that watch got its first bytes.
    watched_since: AtomicU64,
}

/// A wire to one address. Dropping it closes it.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    upstream: String,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Wire {
    /// Opens a wire to `upstream`, on any free port of loopback.
    ///
    /// # Errors
    /// When it can't listen.
    pub fn to(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            weather: Mutex::new(Weather::Fair),
            changes: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            torn_watches: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            links: Mutex::default(),
        });
        let (serving, target) = (Arc::clone(&shared), upstream.to_owned());
        let accepting = thread::spawn(move || accept(&listener, &serving, &target));
        Ok(Self { shared, upstream: upstream.to_owned(), address, accepting: Some(accepting) })
    }

    /// Writes the kubeconfig `from`, which leads to the upstream, as one that leads over this wire.
    ///
    /// # Errors
    /// When `from` can't be read or does not lead there, or `to` can't be written.
    pub fn write_kubeconfig(&self, from: &Path, to: &Path) -> Result<()> {
        let text = fs::read_to_string(from)?;
        let led = text.replace(&self.upstream, &self.address.to_string());
        if led == text {
            let message = format!("{} does not name {}", from.display(), self.upstream);
            return Err(std::io::Error::new(ErrorKind::InvalidInput, message));
        }
        fs::write(to, led)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what becomes of the bytes from now on.
    pub fn set(&self, weather: Weather) {
        *self.shared.weather.lock().expect("nothing panics while it holds the weather") = weather;
        self.shared.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Resets every connection there is; new ones are carried.
    pub fn reset_all(&self) {
        for link in self.shared.links().drain(..) {
            self.shared.struck.fetch_add(1, Ordering::SeqCst);
            link.end(true);
        }
    }

    /// How often connections were struck: bytes lost or held up, connections broken.
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::SeqCst)
    }
}

impl Wire {
    /// How often a cut or reset tore a watch inside an event: of a watch whose answer had begun before that weather, with
    /// a piece carried whose line has no end. Counts only what is not encrypted.
    pub fn torn_watches(&self) -> u64 {
        self.shared.torn_watches.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.links().drain(..).for_each(|link| link.end(false));
        // The accepting thread sees the end when somebody comes.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl Shared {
    fn links(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Link>>> {
        self.links.lock().expect("nothing panics while it holds the connections")
    }

    /// The weather, and how often it has changed.
    fn weather(&self) -> (Weather, u64) {
        let weather = self.weather.lock().expect("nothing panics while it holds the weather");
        (*weather, self.changes.load(Ordering::SeqCst))
    }

    fn strike(&self) {
        self.struck.fetch_add(1, Ordering::SeqCst);
    }
}

impl Link {
    /// Notes what a client asks for, when this is the beginning of a request.
    fn asked(&self, piece: &[u8]) {
        let line = piece.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        if line.trim_end().ends_with("HTTP/1.1") {
            self.watches.store(line.contains("watch=true") || line.contains("watch=1"), Ordering::SeqCst);
            self.watched_since.store(NEVER, Ordering::SeqCst);
        }
    }

    /// Whether it ends inside an event of a watch: `last` is the last that is carried, in the weather of this number.
    fn is_torn(&self, weather: u64, last: &[u8]) -> bool {
        let before = self.watched_since.load(Ordering::SeqCst) < weather;
        self.watches.load(Ordering::SeqCst) && before && !last.is_empty() && !last.ends_with(b"\n")
    }

    /// Closes both ends; with `reset`, the client hears of it by a reset.
    fn end(&self, reset: bool) {
        if self.over.swap(true, Ordering::SeqCst) {
            return;
        }
        if reset {
            // Closing it with the last thread of this connection then sends a reset instead of an end.
            set_socket_linger(&self.client, Some(Duration::ZERO)).expect("an open socket takes the option");
        } else {
            drop(self.client.shutdown(Shutdown::Both));
        }
        drop(self.server.shutdown(Shutdown::Both));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, upstream: &str) {
    for client in listener.incoming() {
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        // A server that is not there closes the connection: dropping the client's end does.
        let (Ok(client), Ok(server)) = (client, TcpStream::connect(upstream)) else { continue };
        let prepared = [&client, &server]
            .into_iter()
            .try_for_each(|end| end.set_nodelay(true).and_then(|()| end.set_read_timeout(Some(LOOK))));
        if prepared.is_err() {
            continue;
        }
        let link = Arc::new(Link {
            client,
            server,
            over: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            watches: AtomicBool::new(false),
            watched_since: AtomicU64::new(NEVER),
        });
        {
            let mut links = shared.links();
            links.retain(|link| !link.over.load(Ordering::SeqCst));
            links.push(Arc::clone(&link));
        }
        for direction in [Direction::ToServer, Direction::ToClient] {
            let (shared, link) = (Arc::clone(shared), Arc::clone(&link));
            thread::spawn(move || Carrier { shared, link, direction, since: 0, counted: 0, dumb: false }.carry());
        }
    }
}

/// Carries one direction of a connection.
struct Carrier {
    shared: Arc<Shared>,
    link: Arc<Link>,
    direction: Direction,
    /// The change of the weather from which `counted` counts the bytes of this direction.
    since: u64,
    counted: u64,
    /// A byte of this direction was lost.
    dumb: bool,
}

impl Carrier {
    /// Carries until one end has ended.
    fn carry(mut self) {
        let mut buffer = vec![0; PIECE];
        while !self.link.over.load(Ordering::SeqCst) && !self.shared.closed.load(Ordering::SeqCst) {
            let most = match self.shared.weather().0 {
                Weather::Trickle(bytes, _) => bytes.clamp(1, PIECE),
                _ => PIECE,
            };
            let mut from = if self.direction == Direction::ToServer { &self.link.client } else { &self.link.server };
            match from.read(&mut buffer[..most]) {
                Ok(read) if read > 0 && self.deliver(&buffer[..read]) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => break,
            }
        }
        // Nothing where a reset is under way.
        self.link.end(false);
        self.shared.links().retain(|link| !Arc::ptr_eq(link, &self.link));
    }

    /// Does to a piece what the weather wants; whether the connection goes on.
    fn deliver(&mut self, piece: &[u8]) -> bool {
        let (weather, changes) = self.shared.weather();
        if changes != self.since {
            (self.since, self.counted) = (changes, 0);
        }
        let before = self.counted;
        self.counted += piece.len() as u64;
        let to_client = self.direction == Direction::ToClient;
        if to_client {
            let _first = self.link.watched_since.compare_exchange(NEVER, changes, Ordering::SeqCst, Ordering::SeqCst);
        } else {
            self.link.asked(piece);
        }
        match weather {
            Weather::Deaf => self.link.dead.store(true, Ordering::SeqCst),
            Weather::Mute if to_client => self.dumb = true,
            Weather::CutAfter(bytes) | Weather::ResetAfter(bytes) if to_client => {
                let left = usize::try_from(bytes.saturating_sub(before)).unwrap_or(usize::MAX);
                if piece.len() >= left {
                    self.shared.strike();
                    if self.link.is_torn(changes, &piece[..left]) {
                        self.shared.torn_watches.fetch_add(1, Ordering::SeqCst);
                    }
                    drop((&self.link.client).write_all(&piece[..left]));
                    self.link.end(matches!(weather, Weather::ResetAfter(_)));
                    return false;
                }
            }
            Weather::Late(pause) | Weather::Trickle(_, pause) => {
                self.shared.strike();
                thread::sleep(pause);
            }
            _ => {}
        }
        if self.dumb || self.link.dead.load(Ordering::SeqCst) {
            self.shared.strike();
            return true;
        }
        let mut to = if to_client { &self.link.client } else { &self.link.server };
        to.write_all(piece).is_ok()
    }
}
