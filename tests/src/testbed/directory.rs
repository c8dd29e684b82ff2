//! The testbed's directory: in memory where there is room, removed at the end; what a killed testbed left behind is
//! removed by the next one.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

/// How the directories of all testbeds begin.
pub(super) const PREFIX: &str = "hfd-testbed-";

/// A directory that is held by a lock while its owner lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    keep: bool,
    _held: fs::File,
}

impl Directory {
    /// Makes a new one, after removing those whose owners are dead.
    pub(super) fn new() -> Result<Self> {
        // etcd syncs nothing here, and all of it is lost at the end: memory is the place for it.
        let memory = Path::new("/dev/shm");
        let root = if has_room(memory) { memory.to_owned() } else { env::temp_dir() };
        // Of two starts one makes its directory and locks it before the other looks for abandoned ones.
        let one_start = fs::File::create(env::temp_dir().join(format!("{PREFIX}start.lock")))?;
        flock(&one_start, FlockOperation::LockExclusive).context("wait for another testbed's start")?;
        remove_abandoned(&root);
        let path = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&root).context("a directory for the testbed")?;
        let path = path.keep();
        let held = fs::File::create(path.join("lock"))?;
        flock(&held, FlockOperation::NonBlockingLockExclusive).context("hold the testbed's directory")?;
        Ok(Self { path, keep: false, _held: held })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it there at the end, for its logs.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.keep {
            // Without a lock it belongs to nobody, and no later start removes it.
            drop(fs::remove_file(self.path.join("lock")));
            eprintln!("testbed: its logs stay in {}", self.path.join("logs").display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("testbed: {} is left behind: {error}", self.path.display());
        }
    }
}

/// Whether a directory in memory has room for a testbed: etcd's journal and the logs of a long run.
fn has_room(memory: &Path) -> bool {
    const ENOUGH: u64 = 2 << 30;
    rustix::fs::statvfs(memory).is_ok_and(|room| room.f_bavail.saturating_mul(room.f_frsize) >= ENOUGH)
}

fn remove_abandoned(root: &Path) {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let Ok(lock) = fs::File::open(entry.path().join("lock")) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Best effort: another start may be removing it as well.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
