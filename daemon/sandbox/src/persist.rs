//! The state file: every change as one line of JSON, appended before its answer goes out.
//!
//! Lines reach the kernel (not necessarily the disk) before the change is visible, so the cluster survives the death
//! of its process, not that of its machine. A torn last line is cut off at start, where the file is also rewritten to
//! what is still alive. A second process on the same file is refused.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Rewrite the file when it is larger than this and most of it is history.
const COMPACT_FROM: u64 = 64 << 20;

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    /// The first line: what the cluster is.
    Cluster { token: String, rv: u64 },
    /// An object was created or changed.
    Put { resource: String, object: Box<RawValue> },
    /// An object that was there when the file was rewritten.
    Keep { resource: String, object: Box<RawValue> },
    /// An object was removed.
    Remove { resource: String, namespace: String, name: String, rv: u64 },
    /// What is remembered of all pods that ever had a name, as of the rewriting.
    Past { namespace: String, name: String, past: Past },
}

/// What is remembered of a pod name beyond the life of its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Past {
    /// How many pods of that name were created.
    pub(crate) created: u64,
    pub(crate) first_uid: String,
    pub(crate) last_uid: String,
    /// Whether any of them was ever Ready.
    pub(crate) ever_ready: bool,
}

/// The open state file.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    /// Bytes written so far, and bytes after the last rewriting.
    size: u64,
    live: u64,
    _lock: File,
}

impl Log {
    /// Opens or creates the file and reads every whole line of it. A file in use by another process is refused.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<Line>)> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.with_extension("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "in use by another process"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let (lines, whole) = read_lines(&file)?;
        file.set_len(whole)?;
        Ok((Self { path: path.to_owned(), file, size: whole, live: whole, _lock: lock }, lines))
    }

    /// Appends one line; it is with the kernel when this returns.
    pub(crate) fn append(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.write(&bytes)
    }

    /// Appends a [`Line::Put`] of an object that is serialised already.
    pub(crate) fn append_put(&mut self, resource: &str, object: &[u8]) -> io::Result<()> {
        let mut bytes = format!(r#"{{"put":{{"resource":"{resource}","object":"#).into_bytes();
        bytes.reserve(object.len() + 3);
        bytes.extend_from_slice(object);
        bytes.extend_from_slice(b"}}\n");
        self.write(&bytes)
    }

    /// Whether rewriting would pay.
    pub(crate) fn wants_rewriting(&self) -> bool {
        self.size > COMPACT_FROM && self.size / 4 > self.live
    }

    /// Replaces the content by these lines, in one step: a crash leaves the old file or the new one.
    pub(crate) fn rewrite(&mut self, lines: impl Iterator<Item = Line>) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut writer = io::BufWriter::new(File::create(&beside)?);
        for line in lines {
            serde_json::to_writer(&mut writer, &line)?;
            writer.write_all(b"\n")?;
        }
        writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&beside, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.size = self.file.metadata()?.len();
        self.live = self.size;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }
}

/// All whole lines, and how many bytes they take. Only the last line may be broken.
fn read_lines(file: &File) -> io::Result<(Vec<Line>, u64)> {
    let mut reader = BufReader::new(file);
    let (mut lines, mut whole, mut buffer) = (Vec::new(), 0, Vec::new());
    loop {
        buffer.clear();
        let length = reader.read_until(b'\n', &mut buffer)?;
        if length == 0 || buffer.last() != Some(&b'\n') {
            return Ok((lines, whole));
        }
        match serde_json::from_slice(&buffer) {
            Ok(line) => lines.push(line),
            Err(_) if reader.fill_buf()?.is_empty() => return Ok((lines, whole)),
            Err(error) => {
                let message = format!("line {} cannot be read: {error}", lines.len() + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        whole += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(log: &mut Log, text: &str) {
        log.append_put("pods", format!("{{\"x\":{text}}}").as_bytes()).expect("written");
    }

    fn objects(lines: &[Line]) -> Vec<&str> {
        lines
            .iter()
            .filter_map(|line| if let Line::Put { object, .. } = line { Some(object.get()) } else { None })
            .collect()
    }

    #[test]
    fn whole_lines_are_read_back_and_a_torn_one_is_cut_off() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let (mut log, lines) = Log::open(&path).expect("a new log");
        assert!(lines.is_empty());
        put(&mut log, "1");
        put(&mut log, "2");
        drop(log);
        let whole = fs::read(&path).expect("the file");
        for torn in 1..whole.len() / 2 {
            fs::write(&path, &whole[..whole.len() - torn]).expect("written");
            let (mut log, lines) = Log::open(&path).expect("a torn log");
            assert_eq!(objects(&lines), [r#"{"x":1}"#], "{torn} bytes short");
            put(&mut log, "3");
            drop(log);
            let (_, lines) = Log::open(&path).expect("a mended log");
            assert_eq!(objects(&lines), [r#"{"x":1}"#, r#"{"x":3}"#]);
        }
    }

    #[test]
    fn rewriting_replaces_everything_and_appending_goes_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let (mut log, _) = Log::open(&path).expect("a new log");
        put(&mut log, "1");
        log.rewrite(std::iter::once(Line::Cluster { token: "t".to_owned(), rv: 9 })).expect("rewritten");
        put(&mut log, "2");
        drop(log);
        let (_, lines) = Log::open(&path).expect("the log");
        assert!(matches!(lines[0], Line::Cluster { rv: 9, .. }), "{lines:?}");
        assert_eq!(objects(&lines), [r#"{"x":2}"#]);
    }
}
