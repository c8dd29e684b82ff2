//! The state directory: found or made, ours, and held by one daemon at a time.
//!
//! It makes at most the last component of the path: a mistyped path must be an error and not a new, empty state. The
//! lock is the operating system's, on the file `lock`, and ends with the process however that ends, so no stale lock
//! can keep a daemon from starting; the process id in the file is only for people.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::FlockOperation, io::Errno};
use thiserror::Error;

/// Characters of the process id in the lock file, so that a new one covers an old one without new room on the disk.
const PID_WIDTH: usize = 10;

/// Why the state directory cannot be used.
#[derive(Debug, Error)]
pub enum StateDirError {
    /// The directory above it does not exist either.
    #[error(
        "the state directory {path} cannot be made, because {parent} does not exist: correct the path, or make \
         {parent}"
    )]
    NoParent {
        /// As configured.
        path: PathBuf,
        /// What is missing.
        parent: PathBuf,
    },
    /// Something else has its name.
    #[error("the state directory {path} is not a directory: correct the path, or move that file away")]
    NotADirectory {
        /// As configured.
        path: PathBuf,
    },
    /// Another user owns it.
    #[error(
        "the state directory {path} belongs to user id {owner}, and this process runs as {process}: run hfd as its \
         owner, or `chown {process} {path}`"
    )]
    NotOurs {
        /// As configured.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Our effective user.
        process: u32,
    },
    /// Other users could replace what is in it.
    #[error("other users may write to the state directory {path} (mode {mode:04o}): `chmod go-w {path}`")]
    WritableByOthers {
        /// As configured.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing can be written in it.
    #[error(
        "the state directory {path} is not writable: check its permissions and that its file system is not read-only"
    )]
    NotWritable {
        /// As configured.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another daemon uses it.
    #[error(
        "the state directory {path} is in use by {holder}: one directory serves one hfd; stop that one, or give this \
         one a directory of its own"
    )]
    InUse {
        /// As configured.
        path: PathBuf,
        /// The other process.
        holder: Holder,
    },
    /// The operating system refused otherwise.
    #[error("cannot {action} the state directory {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// As configured.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The process that holds a state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; `None` when it has not written it (yet).
    pub pid: Option<u32>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

/// The state directory, locked until this is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Finds or makes the directory (mode 0700) and takes its lock.
    ///
    /// # Errors
    /// [`StateDirError`] says what is wrong and what to do.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        make(path)?;
        check(path)?;
        let lock = lock(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory as configured.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its journal is.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.db")
    }
}

fn make(path: &Path) -> Result<(), StateDirError> {
    let io = |source| StateDirError::Io { action: "make", path: path.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(path) {
        // With its name on the disk: what is acknowledged later must not vanish with the whole directory.
        Ok(()) => File::open(parent_of(path)).and_then(|parent| parent.sync_all()).map_err(io),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // On a read-only file system the kernel says so even of a directory that is there; the lock will tell.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(StateDirError::NoParent { path: path.to_owned(), parent: parent_of(path).to_owned() })
        }
        Err(error) => Err(io(error)),
    }
}

fn check(path: &Path) -> Result<(), StateDirError> {
    let facts =
        fs::metadata(path).map_err(|source| StateDirError::Io { action: "look at", path: path.to_owned(), source })?;
    if !facts.is_dir() {
        return Err(StateDirError::NotADirectory { path: path.to_owned() });
    }
    let process = rustix::process::geteuid().as_raw();
    if facts.uid() != process {
        return Err(StateDirError::NotOurs { path: path.to_owned(), owner: facts.uid(), process });
    }
    let mode = facts.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(StateDirError::WritableByOthers { path: path.to_owned(), mode });
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, StateDirError> {
    let name = path.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(|source| StateDirError::NotWritable { path: path.to_owned(), source })?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(StateDirError::InUse { path: path.to_owned(), holder: Holder { pid: holder(&mut file) } });
        }
        Err(errno) => {
            return Err(StateDirError::Io { action: "lock", path: path.to_owned(), source: errno.into() });
        }
    }
    let pid = format!("{:<PID_WIDTH$}\n", std::process::id());
    match file.write_all_at(pid.as_bytes(), 0) {
        // A full disk must not keep hfd from answering, and the lock holds without the number.
        Err(error) if !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            Err(StateDirError::NotWritable { path: path.to_owned(), source: error })
        }
        _ => Ok(file),
    }
}

fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(PID_WIDTH as u64).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn parent() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn a_missing_directory_is_made_for_its_owner_alone() {
        let parent = parent();
        let state = StateDir::open(&parent.path().join("state")).expect("it is made");
        assert_eq!(state.path().metadata().expect("its facts").mode() & 0o7777, 0o700);
        assert_eq!(state.journal(), parent.path().join("state/journal.db"));
    }

    #[test]
    fn a_mistyped_path_is_refused_and_nothing_is_made() {
        let parent = parent();
        let error = StateDir::open(&parent.path().join("typo/state")).expect_err("two components are missing");
        let StateDirError::NoParent { parent: missing, .. } = &error else { panic!("{error}") };
        assert_eq!(missing, &parent.path().join("typo"));
        assert!(!parent.path().join("typo").exists());
    }

    #[test]
    fn a_file_in_its_place_is_refused() {
        let parent = parent();
        let path = parent.path().join("state");
        fs::write(&path, "x").expect("a file");
        assert!(matches!(StateDir::open(&path), Err(StateDirError::NotADirectory { .. })));
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let parent = parent();
        let path = parent.path().join("state");
        fs::create_dir(&path).expect("a directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("its mode");
        assert!(matches!(StateDir::open(&path), Err(StateDirError::WritableByOthers { mode: 0o777, .. })));
    }

    #[test]
    fn a_second_daemon_is_refused_by_the_first_ones_process_id() {
        let parent = parent();
        let path = parent.path().join("state");
        let first = StateDir::open(&path).expect("the first");
        let error = StateDir::open(&path).expect_err("the second");
        let StateDirError::InUse { holder, .. } = &error else { panic!("{error}") };
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(StateDir::open(&path).is_ok());
    }

    #[test]
    fn a_lock_file_left_by_a_killed_daemon_stops_nobody() {
        let parent = parent();
        let path = parent.path().join("state");
        drop(StateDir::open(&path).expect("the first"));
        fs::write(path.join("lock"), "4194304123\n").expect("the lock file");
        let _state = StateDir::open(&path).expect("nobody holds it");
        let text = fs::read_to_string(path.join("lock")).expect("the lock file");
        assert_eq!(text.trim().parse(), Ok(std::process::id()));
    }

    #[test]
    fn a_directory_where_nothing_can_be_made_is_refused() {
        let parent = parent();
        let path = parent.path().join("state");
        fs::create_dir(&path).expect("a directory");
        // Stands for every refusal of the lock file: permissions would not stop a test that runs as root.
        fs::create_dir(path.join("lock")).expect("a directory in the lock's place");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("its mode");
        assert!(matches!(StateDir::open(&path), Err(StateDirError::NotWritable { .. })));
    }
}
