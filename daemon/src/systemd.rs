//! The service manager's two protocols: a socket that it opened for us, and what we tell it.
//!
//! Both are optional: without systemd there is no socket to take over and nobody to tell. Owns no state but the address
//! of the manager; must never block on it, and never decide whether hfd is well (whoever feeds the watchdog does).

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixListener},
    },
    process,
    time::Duration,
};

use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;
use tracing::debug;

use crate::config::Surroundings;

/// Why a socket that the service manager handed over can't be used.
#[derive(Debug, Error)]
pub enum ActivationError {
    /// One socket is expected: `Sockets=` of the service names exactly one socket unit with one `ListenStream=`.
    #[error("systemd passed {count} sockets ({names}), and one is expected")]
    Count {
        /// How many there are.
        count: String,
        /// Their `FileDescriptorName=`s.
        names: String,
    },
    /// It is no Unix stream socket.
    #[error("the socket that systemd passed")]
    Socket(#[from] io::Error),
    /// It is one end of a connection: the socket unit has `Accept=yes`.
    #[error("the socket that systemd passed does not listen (Accept=no is needed in its unit)")]
    NotListening,
}

/// Takes over the listening socket that systemd passed (`sd_listen_fds(3)`), if it did. It does not block, as tokio
/// wants it. To be called once and before any thread is started: it removes `LISTEN_PID` and `LISTEN_FDS` from the
/// environment, so that no child takes them for its own.
///
/// # Errors
/// [`ActivationError`] when something was passed that is not one listening Unix socket.
pub fn activated_listener() -> Result<Option<UnixListener>, ActivationError> {
    let variable = |name| env::var(name).unwrap_or_default();
    if !is_for(&variable("LISTEN_PID"), process::id()) {
        return Ok(None);
    }
    let count = variable("LISTEN_FDS");
    if count != "1" {
        return Err(ActivationError::Count { count, names: variable("LISTEN_FDNAMES") });
    }
    let Some(listener) = ListenFd::from_env().take_unix_listener(0)? else { return Ok(None) };
    if !rustix::net::sockopt::socket_acceptconn(&listener).map_err(io::Error::from)? {
        return Err(ActivationError::NotListening);
    }
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}

/// Tells the service manager how we are (`sd_notify(3)`).
#[derive(Debug)]
pub struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Finds the manager's socket and the watchdog's period; without them nothing will be told.
    #[must_use]
    pub fn new(surroundings: &Surroundings) -> Self {
        let text = |name: &str| surroundings.variables.get(name).and_then(|value| value.to_str());
        let manager = text("NOTIFY_SOCKET").filter(|address| !address.is_empty()).and_then(|address| {
            connect(address).inspect_err(|error| debug!(%error, address, "NOTIFY_SOCKET can't be used")).ok()
        });
        let watchdog = text("WATCHDOG_USEC").and_then(|period| period.parse().ok()).map(Duration::from_micros);
        let is_ours = text("WATCHDOG_PID").is_none_or(|pid| is_for(pid, process::id()));
        Self { watchdog: watchdog.filter(|period| is_ours && manager.is_some() && !period.is_zero()), manager }
    }

    /// How often [`Notifier::alive`] must be called: half of what the manager allows, as it recommends.
    #[must_use]
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog.map(|period| period / 2)
    }

    /// Start-up is over, or a reload is: calls are served.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// One line for people, shown by `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// A reload begins; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The clean stop begins.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}", one_line(status)));
    }

    /// Feeds the watchdog.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, manager)) = &self.manager else { return };
        // By address each time: the manager's socket is a new one after it re-executed itself. A message that is lost
        // is made good by the next; a lost WATCHDOG=1 has a second one within the period.
        if let Err(error) = socket.send_to_addr(message.as_bytes(), manager) {
            debug!(%error, message, "systemd was not told");
        }
    }
}

fn connect(address: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

fn is_for(pid: &str, own: u32) -> bool {
    pid.parse() == Ok(own)
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        Surroundings { variables, is_root: false }
    }

    fn received(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 500];
        let length = manager.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn the_manager_is_told_in_its_own_words() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        let notifier = Notifier::new(&surroundings(&[("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))]));
        notifier.ready("two\nlines");
        assert_eq!(received(&manager), "READY=1\nSTATUS=two lines");
        notifier.alive();
        assert_eq!(received(&manager), "WATCHDOG=1");
        notifier.reloading();
        assert!(received(&manager).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        notifier.stopping("bye");
        assert_eq!(received(&manager), "STOPPING=1\nSTATUS=bye");
    }

    #[test]
    fn an_abstract_address_is_understood() {
        let name = format!("hfd-test-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("a socket");
        Notifier::new(&surroundings(&[("NOTIFY_SOCKET", &format!("@{name}"))])).status("well");
        assert_eq!(received(&manager), "STATUS=well");
    }

    #[test]
    fn without_a_manager_nothing_is_told_and_nothing_fails() {
        let directory = tempfile::tempdir().expect("a directory");
        let nobody = directory.path().join("nobody");
        for variables in [vec![], vec![("NOTIFY_SOCKET", "")], vec![("NOTIFY_SOCKET", nobody.to_str().expect("UTF-8"))]]
        {
            Notifier::new(&surroundings(&variables)).ready("");
        }
    }

    #[test]
    fn the_watchdog_is_fed_twice_a_period_and_only_if_it_is_ours() {
        let own = process::id().to_string();
        let period = |variables: &[(&str, &str)]| {
            let mut variables = variables.to_vec();
            variables.push(("NOTIFY_SOCKET", "@x"));
            Notifier::new(&surroundings(&variables)).watchdog_period()
        };
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000")]), Some(Duration::from_secs(15)));
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", &own)]), Some(Duration::from_secs(15)));
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "1")]), None);
        assert_eq!(period(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(period(&[]), None);
    }

    #[test]
    fn sockets_that_were_passed_to_another_process_are_left_alone() {
        assert!(is_for("42", 42));
        assert!(!is_for("41", 42));
        assert!(!is_for("", 42));
        assert!(matches!(activated_listener(), Ok(None)));
    }
}
