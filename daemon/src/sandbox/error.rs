//! Why the sandbox can't do what was asked, and the exit code for it.

use std::{ffi::OsString, io, path::PathBuf, process::ExitCode};

use thiserror::Error;

use crate::{RunError, config::ConfigError};

/// Why the sandbox ends without having done what was asked.
#[derive(Debug, Error)]
pub(super) enum SandboxError {
    /// The client is not there.
    #[error(
        "hfctl is neither in {beside} nor on PATH; build it with `cargo build -p hfctl` (with --release if hfd was \
         built so), or install it beside hfd"
    )]
    NoClient {
        /// Where hfd is.
        beside: PathBuf,
    },
    /// Only half of a kept sandbox is there.
    #[error(
        "{dir} holds {present} but not {absent}: a journal and its simulated cluster only make sense together; bring \
         {absent} back, or choose an empty directory"
    )]
    Half {
        /// The state directory.
        dir: PathBuf,
        /// What is there.
        present: &'static str,
        /// What is missing.
        absent: &'static str,
    },
    /// The file to write is somebody's.
    #[error("{path} exists and is not a kubeconfig of a sandbox: name another file, or move it away")]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory can't be made, read or removed.
    #[error("cannot {action} {path}", path = path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The simulated cluster does not start.
    #[error(transparent)]
    Cluster(#[from] hfd_sandbox::Error),
    /// The daemon's configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The socket can't be made.
    #[error("cannot listen on {path}", path = path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The daemon ended with an error.
    #[error("hfd ended; its log is {log}", log = log.display())]
    Daemon {
        /// Its log.
        log: PathBuf,
        /// Why.
        source: Box<RunError>,
    },
    /// The daemon ended although nobody asked it to.
    #[error("hfd ended unexpectedly; its log is {log}", log = log.display())]
    DaemonEnded {
        /// Its log.
        log: PathBuf,
    },
    /// The command can't be started.
    #[error("cannot run {program:?}")]
    Command {
        /// What was asked for.
        program: OsString,
        /// Why not.
        source: io::Error,
    },
    /// The operating system refuses something that always works.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl SandboxError {
    /// sysexits, as for all of `hfd`; for a command that can't be started, what a shell answers.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Daemon { source, .. } => return source.exit_code(),
            Self::NotOurs { .. } => 64,
            Self::NoClient { .. } => 69,
            Self::DaemonEnded { .. } => 70,
            Self::File { .. } | Self::System { .. } | Self::Bind { .. } => 74,
            Self::Cluster(hfd_sandbox::Error::State { source, .. }) if source.kind() == io::ErrorKind::ResourceBusy => {
                75
            }
            Self::Cluster(_) => 74,
            Self::Half { .. } | Self::Config(_) => 78,
            Self::Command { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Command { .. } => 126,
        })
    }
}
