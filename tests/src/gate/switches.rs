//! What concerns many connections at once: outage, refusal, silence, cuts, compaction; and who is connected.

use std::{
    collections::BTreeMap,
    net::{Shutdown, TcpStream},
    sync::{
        Mutex, MutexGuard,
        mpsc::{self, Receiver, Sender},
    },
};

use anyhow::{Result, bail};

/// What a watch stream is told, by the reader of the server's side and by the controls.
#[derive(Debug)]
pub(super) enum Said {
    /// The server sent this line.
    Line(Vec<u8>),
    /// The server ended the stream.
    Ended,
    /// The server's side broke.
    Broke,
    /// Carry nothing, or go on with what was held back.
    Silence(bool),
    /// The past was forgotten while nothing was carried: this line is all that is left to say.
    Expired(Vec<u8>),
    /// Break off in the middle of a frame.
    Cut,
    /// Close.
    Stop,
}

/// The past that was forgotten on request.
#[derive(Debug, Clone)]
struct Compaction {
    /// Versions below this one are too old.
    before: u64,
    /// The line by which the server says so.
    line: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    is_api: bool,
}

#[derive(Debug, Default)]
struct State {
    outage: bool,
    unauthorized: bool,
    silence: bool,
    stopped: bool,
    compaction: Option<Compaction>,
    streams: BTreeMap<u64, Sender<Said>>,
    connections: BTreeMap<u64, Connection>,
    last: u64,
}

/// The switches, with the connections and streams that they act on.
#[derive(Debug, Default)]
pub(super) struct Switches(Mutex<State>);

impl Switches {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the switches")
    }

    // ---- connections ----

    /// Registers a connection and gives its number.
    pub(super) fn enter(&self, stream: &TcpStream) -> Result<u64> {
        let stream = stream.try_clone()?;
        let mut state = self.state();
        if state.stopped {
            bail!("the gate is closing");
        }
        state.last += 1;
        let id = state.last;
        state.connections.insert(id, Connection { stream, is_api: false });
        Ok(id)
    }

    pub(super) fn leave(&self, id: u64) {
        self.state().connections.remove(&id);
    }

    /// Says what a connection is used for now; `false` when it is to be closed because of an outage.
    pub(super) fn used_for(&self, id: u64, is_api: bool) -> bool {
        let mut state = self.state();
        let outage = state.outage;
        if let Some(connection) = state.connections.get_mut(&id) {
            connection.is_api = is_api;
        }
        !(outage && is_api)
    }

    // ---- streams ----

    /// Registers a watch stream: its number, where it hears, whom its reader tells, and whether it begins in silence.
    pub(super) fn enter_stream(&self) -> (u64, Receiver<Said>, Sender<Said>, bool) {
        let (said_tx, said_rx) = mpsc::channel();
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        state.streams.insert(id, said_tx.clone());
        (id, said_rx, said_tx, state.silence)
    }

    pub(super) fn leave_stream(&self, id: u64) {
        self.state().streams.remove(&id);
    }

    /// The line that answers a watch from this version, if that is too old.
    pub(super) fn too_old(&self, version: Option<u64>) -> Option<Vec<u8>> {
        let version = version.filter(|version| *version > 0)?;
        let state = self.state();
        state.compaction.as_ref().filter(|compaction| version < compaction.before).map(|past| past.line.clone())
    }

    // ---- switches ----

    pub(super) fn is_outage(&self) -> bool {
        self.state().outage
    }

    pub(super) fn is_unauthorized(&self) -> bool {
        self.state().unauthorized
    }

    pub(super) fn set_unauthorized(&self, on: bool) {
        self.state().unauthorized = on;
    }

    /// With `true`, closes all connections but those of the controls.
    pub(super) fn set_outage(&self, on: bool) {
        let mut state = self.state();
        state.outage = on;
        if on {
            state.close(|connection| connection.is_api);
        }
    }

    pub(super) fn set_silence(&self, on: bool) {
        let mut state = self.state();
        state.silence = on;
        state.tell(|| Said::Silence(on));
    }

    /// Everything before this version is too old from now on. A stream that carries nothing now has missed something.
    pub(super) fn compact(&self, before: u64, line: Vec<u8>) {
        let mut state = self.state();
        if state.silence {
            state.tell(|| Said::Expired(line.clone()));
        }
        state.compaction = Some(Compaction { before, line });
    }

    pub(super) fn cut(&self) {
        self.state().tell(|| Said::Cut);
    }

    /// Closes everything for good.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.close(|_| true);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().stopped
    }
}

impl State {
    fn tell(&self, said: impl Fn() -> Said) {
        for stream in self.streams.values() {
            // One that has just ended hears nothing more.
            drop(stream.send(said()));
        }
    }

    /// Watch streams are told, for their writers wait for words and not on their sockets.
    fn close(&self, which: impl Fn(&Connection) -> bool) {
        for connection in self.connections.values().filter(|connection| which(connection)) {
            drop(connection.stream.shutdown(Shutdown::Both));
        }
        self.tell(|| Said::Stop);
    }
}
