//! The gate: the sandbox's control endpoints in front of an API server that has none, so that one test drives either.
//!
//! ```text
//!  hfd ──HTTP──> connection ──> faults ──> relay ──TLS──> API server
//!                    │             ▲          │                ▲
//!  test ──HTTP──> control ─────────┴─ switches│                │ administrator
//!                    ├──> history (own watch) ┘────────────────┤
//!                    └──> site: nodes, pods, permissions ──────┘
//! ```
//!
//! It hands everything on as it comes, with the caller's own credentials, and counts what passes. The endpoints under
//! `/sandbox/` are those that `daemon/sandbox/src/lib.rs` lists, for one namespace; who uses them needs the token that
//! the daemon had at first. What the sandbox does inside its own memory, the gate does as the controllers of a real
//! cluster do it: through the API, as an administrator ([`Site`]).
//!
//! A thread serves each connection; none outlives the gate by more than the server's next word on a watch.

pub mod calls;
mod connection;
mod control;
mod faults;
mod history;
mod relay;
mod request;
mod site;
mod switches;
pub mod tcp;
mod wire;

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

pub use site::Site;

use self::{
    calls::{Call, Calls},
    faults::Faults,
    history::History,
    switches::Switches,
};
use crate::http::Endpoint;

/// Lines of the log that are kept.
const LOG_LINES: usize = 200;
/// Pause after a connection that could not be accepted (usually: no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// All that the connections share.
#[derive(Debug)]
struct Shared {
    begun: Instant,
    site: Site,
    /// The server, for requests that bring their own credentials.
    server: Endpoint,
    control_token: String,
    switches: Switches,
    faults: Mutex<Faults>,
    counters: Mutex<BTreeMap<String, u64>>,
    calls: Calls,
    history: History,
    log: Mutex<VecDeque<String>>,
}

/// A running gate. Dropping it closes it.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Gate {
    /// Opens a gate to `site` on any free port of loopback, and writes a kubeconfig that leads through it.
    ///
    /// # Errors
    /// When it can't listen, or the file can't be written.
    pub fn open(site: Site, kubeconfig: &Path) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on loopback")?;
        let address = listener.local_addr()?;
        site.write_kubeconfig(address, kubeconfig)?;
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            server: site.server().clone(),
            control_token: site.token(),
            switches: Switches::default(),
            faults: Mutex::default(),
            counters: Mutex::default(),
            calls: Calls::default(),
            history: History::new(site.admin().clone(), site.namespace()),
            log: Mutex::default(),
            site,
        });
        let following = Arc::clone(&shared);
        thread::spawn(move || following.history.follow(|| following.switches.is_stopped()));
        let serving = Arc::clone(&shared);
        let accepting = thread::spawn(move || accept(&listener, &serving));
        Ok(Self { shared, address, accepting: Some(accepting) })
    }

    /// The gate's address, with the token that its control endpoints want.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::plain(&format!("http://{}", self.address), Some(&self.shared.control_token))
    }

    /// The cluster behind it.
    pub fn site(&self) -> &Site {
        &self.shared.site
    }

    /// What it handed on until now.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.all()
    }

    /// Now, as the calls tell it.
    pub fn now(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    /// The last `lines` lines of its log: each request with its answer.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.shared.log.lock().expect("nothing panics while it holds the log");
        let all: Vec<&str> = log.iter().map(String::as_str).collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.switches.stop();
        // The accepting thread sees the stop when somebody comes.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
        self.shared.site.leave();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.switches.is_stopped() {
            return;
        }
        match stream {
            Ok(stream) => {
                let shared = Arc::clone(shared);
                thread::spawn(move || connection::serve(&shared, stream));
            }
            Err(error) => {
                shared.note(&format!("cannot accept a connection: {error}"));
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

impl Shared {
    /// Writes a line of the log.
    fn note(&self, line: &str) {
        let mut log = self.log.lock().expect("nothing panics while it holds the log");
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(format!("{:9.3} {line}", self.begun.elapsed().as_secs_f64()));
    }
}

/// Writes a kubeconfig for the gate, replacing the file in one step.
fn write_kubeconfig(address: SocketAddr, namespace: &str, token: &str, file: &Path) -> Result<()> {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: gate\n\
         clusters:\n- name: gate\n  cluster:\n    server: http://{address}\n\
         users:\n- name: gate\n  user:\n    token: {token:?}\n\
         contexts:\n- name: gate\n  context:\n    cluster: gate\n    user: gate\n    namespace: {namespace}\n"
    );
    let beside = file.with_extension("new");
    fs::write(&beside, text).with_context(|| format!("{}", beside.display()))?;
    fs::rename(&beside, file).with_context(|| format!("{}", file.display()))
}
