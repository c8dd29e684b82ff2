//! Reading files that someone may be rewriting, on a file system that may be NFS.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Enough for thousands of templates; a manifest can't be larger than what etcd takes (1.5 MiB) either.
const MAX_BYTES: u64 = 16 << 20;

/// What tells one version of a file from the next: an edit in place changes size or times, a rename the inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file at `path`; `None` if there is none that can be seen.
    pub(super) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads files and remembers which version of each.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) stamps: BTreeMap<PathBuf, Option<Stamp>>,
    /// A file is there and could not be read.
    pub(super) unreadable: bool,
}

impl Files {
    /// Reads a whole text file. The stamp is that of the opened file, taken before its content, so that a change while
    /// we read shows as a difference later.
    pub(super) fn read(&mut self, path: &Path) -> Result<String, String> {
        self.try_read(path).map_err(|error| {
            self.unreadable |= error.kind() != io::ErrorKind::NotFound;
            format!("{}: {error}", path.display())
        })
    }

    fn try_read(&mut self, path: &Path) -> io::Result<String> {
        self.stamps.insert(path.to_owned(), Stamp::of(path));
        // Asked before the file is opened: opening a FIFO would wait for its writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let file = File::open(path)?;
        self.stamps.insert(path.to_owned(), Some(Stamp::from(&file.metadata()?)));
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::other(format!("larger than {} MiB", MAX_BYTES >> 20)));
        }
        let text = String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8"))?;
        // Some editors write a byte order mark, which is no part of JSON or YAML content.
        Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned))
    }
}
