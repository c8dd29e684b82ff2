//! The signals that end a sandbox.

use std::process::ExitCode;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::SandboxError;

/// Ears for Ctrl-C, SIGTERM and SIGHUP; while this lives none of them kills the process.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// Ctrl-C.
    Interrupt,
    /// What service managers and `kill` send.
    Terminate,
    /// The terminal is gone.
    Hangup,
}

impl Received {
    /// The signal itself.
    pub(super) fn number(self) -> Number {
        match self {
            Self::Interrupt => Number::INT,
            Self::Terminate => Number::TERM,
            Self::Hangup => Number::HUP,
        }
    }

    /// What a shell reports of a process that this signal ended.
    pub(super) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::Hangup => 129,
        })
    }
}

impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> Result<Self, SandboxError> {
        let ear = |kind| signal(kind).map_err(|source| SandboxError::System { action: "listen for signals", source });
        Ok(Self {
            interrupt: ear(SignalKind::interrupt())?,
            terminate: ear(SignalKind::terminate())?,
            hangup: ear(SignalKind::hangup())?,
        })
    }

    /// The next signal.
    pub(super) async fn any(&mut self) -> Received {
        tokio::select! {
            _ = self.interrupt.recv() => Received::Interrupt,
            _ = self.terminate.recv() => Received::Terminate,
            _ = self.hangup.recv() => Received::Hangup,
        }
    }
}
