//! Whether the journal's files are still where the next start looks for them: a file that was deleted or replaced under
//! a running hfd takes every later commit with it.

use std::{
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::Path,
};

use super::CommitError;

/// Device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    /// What is at `path` now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        path.metadata().map(|facts| Self(facts.dev(), facts.ino()))
    }
}

/// Whether `written` is still what is at `path`.
pub(super) fn check_place(path: &Path, written: FileId) -> Result<(), CommitError> {
    match FileId::of(path) {
        Ok(there) if there == written => Ok(()),
        Ok(_) => Err(moved(path)),
        Err(error) => Err(not_found_there(path, &error)),
    }
}

pub(super) fn not_found_there(path: &Path, error: &io::Error) -> CommitError {
    if error.kind() == ErrorKind::NotFound {
        return moved(path);
    }
    // The files are what they were, as far as anybody knows: nothing to rebuild.
    CommitError::Fatal(format!("cannot look at {}: {error}", path.display()))
}

fn moved(path: &Path) -> CommitError {
    CommitError::Fatal(format!(
        "{} was deleted, moved or replaced while hfd ran: put the journal back, its -wal file with it, or start without \
         them and run `hfd rebuild --from-cluster`",
        path.display()
    ))
}
