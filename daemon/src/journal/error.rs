//! What can go wrong with the journal, and what each failure means: refuse to start, try again, or stop.

use std::{io, path::Path, path::PathBuf};

use rusqlite::{ErrorCode, ffi};
use thiserror::Error;

use super::file_system;

/// Why a journal was not opened. hfd then does not start: an operator has to decide.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Its directory is on a file system of another machine.
    #[error(
        "the journal's directory {path} is on a network file system ({kind}), which may lose what it acknowledged: \
         use a local disk, or allow it in the configuration"
    )]
    NetworkFileSystem {
        /// The directory.
        path: PathBuf,
        /// Kind of the file system.
        kind: &'static str,
    },
    /// The file is something else.
    #[error("{path} is not a journal of hfd ({what}): move it away, or correct the configured state directory")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// It is a journal, but not whole.
    #[error(
        "the journal {path} is damaged ({damage}): keep a copy of it and of the files beside it; then restore a \
         backup, or move them away and run `hfd rebuild --from-cluster`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        damage: String,
    },
    /// The write-ahead log is there and the database is not.
    #[error(
        "the journal {path} is missing, but its log {log} is there: put the journal back, or move the log away to \
         start without it"
    )]
    Missing {
        /// Where the database should be.
        path: PathBuf,
        /// The log.
        log: PathBuf,
    },
    /// A later version of hfd wrote it.
    #[error(
        "the journal {path} has schema {found}, and this hfd reads up to {known}: start the newer hfd again; going \
         back is possible by one version"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// Another process has it open.
    #[error("the journal {path} is in use by another process: stop that one first (`fuser {path}` shows it)")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("the journal {path} is read-only: make it and its directory writable for the user of hfd")]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} the journal {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite failed otherwise.
    #[error("cannot {action} the journal {path}")]
    Sqlite {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// Tells damage and a second owner from other failures of SQLite.
    pub(super) fn from_sqlite(path: &Path, action: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let Some(code) = source.sqlite_error_code() else {
            // Not SQLite but our reading of a row: a value of the wrong type, length or range.
            return Self::Damaged { path, damage: format!("cannot {action}: {source}") };
        };
        match code {
            // `Unknown` is SQLite's "SQL logic error": a table or column is not there.
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => {
                Self::Damaged { path, damage: format!("cannot {action}: {source}") }
            }
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::InUse { path },
            ErrorCode::ReadOnly => Self::ReadOnly { path },
            _ => Self::Sqlite { action, path, source },
        }
    }
}

/// Why a batch was not made durable. Nothing of it was written.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CommitError {
    /// The disk (or the quota) is full. Rolled back; the same batch may be tried again.
    #[error("the journal's disk is full: {0}")]
    Full(String),
    /// The disk failed, or the journal is damaged, or the batch contradicts what is there. Nobody can tell any more
    /// what the disk has, so the process must stop with exit status 74 and read it anew; so ends every later commit.
    #[error("the journal failed: {0}")]
    Fatal(String),
    /// The journal was closed, or its thread died.
    #[error("the journal has stopped")]
    Stopped,
}

impl CommitError {
    /// Says what a failure of SQLite means; `directory` is where the journal is.
    pub(super) fn from_sqlite(error: &rusqlite::Error, directory: &Path) -> Self {
        let full = match error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DiskFull => true,
                // SQLite knows only ENOSPC as "full"; a used-up quota reaches us as a failed write.
                ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_WRITE => {
                    file_system::has_no_room(directory)
                }
                _ => false,
            },
            _ => false,
        };
        let detail = match error.sqlite_extended_error_code() {
            // "disk I/O error" stands for some thirty calls; the number says which one failed.
            Some(code) => format!("{error} (SQLite result code {code})"),
            None => error.to_string(),
        };
        if full { Self::Full(detail) } else { Self::Fatal(detail) }
    }
}
