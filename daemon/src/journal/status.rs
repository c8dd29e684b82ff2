//! What the journal tells about itself: written by its thread, read by anyone without waiting.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The state of the journal, for status, metrics and doctor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalStatus {
    /// The database file.
    pub path: PathBuf,
    /// Bytes of the database file.
    pub database_bytes: u64,
    /// Bytes of the write-ahead log beside it.
    pub log_bytes: u64,
    /// Bytes of the disk that are set aside for returns now; 0 after they were given up.
    pub reserve_bytes: u64,
    /// The latest write succeeded.
    pub writable: bool,
    /// Why the latest failed write failed; stays after writing works again.
    pub last_error: Option<String>,
    /// Batches made durable since the start.
    pub commits: u64,
    /// Changes in them.
    pub changes: u64,
    /// How long the latest of them took, fsync included.
    pub last_commit: Duration,
}

/// The shared form. Each number stands for itself, so `Relaxed` suffices.
#[derive(Debug)]
pub(super) struct Facts {
    path: PathBuf,
    database_bytes: AtomicU64,
    log_bytes: AtomicU64,
    reserve_bytes: AtomicU64,
    writable: AtomicBool,
    /// Held only to copy a text.
    last_error: Mutex<Option<String>>,
    commits: AtomicU64,
    changes: AtomicU64,
    last_commit_micros: AtomicU64,
}

impl Facts {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            database_bytes: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            reserve_bytes: AtomicU64::new(0),
            writable: AtomicBool::new(true),
            last_error: Mutex::new(None),
            commits: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            last_commit_micros: AtomicU64::new(0),
        }
    }

    pub(super) fn status(&self) -> JournalStatus {
        JournalStatus {
            path: self.path.clone(),
            database_bytes: self.database_bytes.load(Relaxed),
            log_bytes: self.log_bytes.load(Relaxed),
            reserve_bytes: self.reserve_bytes.load(Relaxed),
            writable: self.writable.load(Relaxed),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            commits: self.commits.load(Relaxed),
            changes: self.changes.load(Relaxed),
            last_commit: Duration::from_micros(self.last_commit_micros.load(Relaxed)),
        }
    }

    pub(super) fn note_sizes(&self, database: u64, log: u64, reserve: u64) {
        self.database_bytes.store(database, Relaxed);
        self.log_bytes.store(log, Relaxed);
        self.reserve_bytes.store(reserve, Relaxed);
    }

    pub(super) fn note_commit(&self, changes: usize, took: Duration) {
        self.writable.store(true, Relaxed);
        self.commits.fetch_add(1, Relaxed);
        self.changes.fetch_add(changes as u64, Relaxed);
        self.last_commit_micros.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn note_failure(&self, error: &str) {
        self.writable.store(false, Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_owned());
    }
}
