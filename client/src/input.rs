//! Reads the document that HostFactory wrote. It must be JSON of a sane size and depth; what it says is for the
//! daemon to judge.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use proto_schema::input::{TooDeep, check_depth};
use serde_json::value::RawValue;
use thiserror::Error;

/// Largest document that is read, in bytes: 10,000 machines with names and ids take less than 2 MB.
pub const MAX_INPUT_BYTES: u64 = 16 * 1024 * 1024;

/// Why a document can't be sent.
#[derive(Debug, Error)]
pub enum ReadError {
    /// No file was named.
    #[error("no input file: name it with -f FILE, FILE, or - for standard input")]
    NotNamed,
    /// It can't be opened or read.
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Larger than [`MAX_INPUT_BYTES`].
    #[error("{} is larger than the {MAX_INPUT_BYTES} bytes that are read: split the call into smaller ones", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Nothing in it.
    #[error("{} is empty: write a JSON object, at least {{}}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Not text.
    #[error("{} is not UTF-8 text: byte {offset} is wrong", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first wrong byte, from 0.
        offset: usize,
    },
    /// Nests too deep.
    #[error("{}: {source}", path.display())]
    TooDeep {
        /// The file.
        path: PathBuf,
        /// Where.
        source: TooDeep,
    },
    /// Not JSON.
    #[error("{} is not JSON: {source}", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// Reads a document from `path`; `-` is standard input.
///
/// # Errors
/// When it is not readable JSON text of at most [`MAX_INPUT_BYTES`].
pub fn read(path: &Path) -> Result<Box<RawValue>, ReadError> {
    if path == Path::new("-") {
        return check(Path::new("standard input"), bounded(io::stdin().lock()));
    }
    check(path, File::open(path).and_then(bounded))
}

fn bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check(path: &Path, bytes: io::Result<Vec<u8>>) -> Result<Box<RawValue>, ReadError> {
    let path = || path.to_owned();
    let bytes = bytes.map_err(|source| ReadError::Unreadable { path: path(), source })?;
    if bytes.len() as u64 > MAX_INPUT_BYTES {
        return Err(ReadError::TooLarge { path: path() });
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| ReadError::NotUtf8 { path: path(), offset: error.utf8_error().valid_up_to() })?;
    if text.trim_ascii().is_empty() {
        return Err(ReadError::Empty { path: path() });
    }
    check_depth(&text).map_err(|source| ReadError::TooDeep { path: path(), source })?;
    RawValue::from_string(text).map_err(|source| ReadError::NotJson { path: path(), source })
}
