//! As much of HTTP/1.1 as one exchange on one connection needs. Pure: bytes in, response out.

use std::ops::Range;

use proto_schema::input::clip;
use thiserror::Error;

/// Most bytes a response head may have; ours has about 150.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Most header fields that are read.
const MAX_HEADERS: usize = 64;

/// Most bytes a response body may have: 100,000 machines take about 30 MB.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

/// Bytes asked for at a time, when their number is not known.
const READ_BYTES: usize = 16 * 1024;

/// Bytes asked for at a time, when it is: a length that is only claimed shall not cost its memory.
const SPACE_BYTES: usize = 4 * 1024 * 1024;

/// A complete response. Its body stays where it was received: it may have megabytes.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// The bytes of the body among others.
    pub(super) bytes: Vec<u8>,
    /// Which of them are the body.
    pub(super) body: Range<usize>,
}

impl Response {
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[self.body.clone()]
    }
}

impl PartialEq for Response {
    fn eq(&self, other: &Self) -> bool {
        (self.status, self.body()) == (other.status, other.body())
    }
}

impl Eq for Response {}

/// Why bytes are not a response.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum ReadError {
    #[error("the connection ended after {received} bytes")]
    Ended { received: usize },
    #[error("{0}")]
    Malformed(String),
}

/// The request that carries a JSON body.
pub(super) fn request(body: &str) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nhost: hfd\r\ncontent-type: application/json\r\naccept: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut bytes = Vec::with_capacity(head.len() + body.len());
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// Collects a response from reads of any size.
#[derive(Debug, Default)]
pub(super) struct Reader {
    received: Vec<u8>,
    head: Option<Head>,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    status: u16,
    /// Where the body begins.
    end: usize,
    framing: Framing,
}

/// How the end of the body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Reader {
    /// What was received so far, with room for the next read, which appends to it. The room is not cleared first.
    pub(super) fn space(&mut self) -> &mut Vec<u8> {
        let known = match self.head {
            Some(Head { end, framing: Framing::Length(length), .. }) => {
                (end + length).saturating_sub(self.received.len())
            }
            _ => 0,
        };
        self.received.reserve(known.clamp(READ_BYTES, SPACE_BYTES));
        &mut self.received
    }

    /// The response when it is complete; `ended` says that nothing more will come.
    pub(super) fn advance(&mut self, ended: bool) -> Result<Option<Response>, ReadError> {
        let bytes = &*self.received;
        if self.head.is_none() {
            self.head = parse_head(bytes)?;
        }
        let body = match self.head {
            None => None,
            Some(Head { end, .. }) if bytes.len() - end > MAX_BODY_BYTES => {
                return Err(ReadError::Malformed(format!("the body is larger than {MAX_BODY_BYTES} bytes")));
            }
            Some(Head { end, framing: Framing::Length(length), .. }) => {
                (bytes.len() - end >= length).then(|| end..end + length)
            }
            Some(Head { end, framing: Framing::UntilClose, .. }) => ended.then_some(end..bytes.len()),
            // The last chunk and its trailer end in an empty line; before that there is no point in walking.
            Some(Head { end, framing: Framing::Chunked, status }) if ended || bytes.ends_with(b"\r\n\r\n") => {
                if let Some(bytes) = dechunk(&bytes[end..])? {
                    let body = 0..bytes.len();
                    return Ok(Some(Response { status, bytes, body }));
                }
                None
            }
            Some(Head { framing: Framing::Chunked, .. }) => None,
        };
        match (self.head, body) {
            (Some(Head { status, .. }), Some(body)) => {
                Ok(Some(Response { status, bytes: std::mem::take(&mut self.received), body }))
            }
            _ if ended => Err(ReadError::Ended { received: self.received.len() }),
            _ => Ok(None),
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<Head>, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let end = match response.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) if bytes.len() > MAX_HEAD_BYTES => {
            return Err(ReadError::Malformed(format!("the head is larger than {MAX_HEAD_BYTES} bytes")));
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(ReadError::Malformed(format!("not HTTP: {error}"))),
    };
    let mut framing = Framing::UntilClose;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(ReadError::Malformed("a transfer encoding other than chunked".to_owned()));
            }
            framing = Framing::Chunked;
        } else if header.name.eq_ignore_ascii_case("content-length") && framing != Framing::Chunked {
            let text = String::from_utf8_lossy(header.value);
            match text.trim().parse() {
                Ok(length) if length <= MAX_BODY_BYTES => framing = Framing::Length(length),
                _ => return Err(ReadError::Malformed(format!("a content-length of {}", clip(text.trim())))),
            }
        }
    }
    let status = response.code.ok_or_else(|| ReadError::Malformed("no status code".to_owned()))?;
    Ok(Some(Head { status, end, framing }))
}

/// The body of all chunks, when the last one is there.
fn dechunk(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
    let malformed = || ReadError::Malformed("a malformed chunk".to_owned());
    let mut body = Vec::new();
    loop {
        let (start, size) = match httparse::parse_chunk_size(bytes) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(malformed()),
        };
        let size = usize::try_from(size).ok().filter(|size| *size <= MAX_BODY_BYTES).ok_or_else(malformed)?;
        let rest = &bytes[start..];
        if size == 0 {
            // Trailer fields, when there are any, say nothing we need.
            return Ok(Some(body));
        }
        if rest.len() < size + 2 {
            return Ok(None);
        }
        if &rest[size..size + 2] != b"\r\n" {
            return Err(malformed());
        }
        body.extend_from_slice(&rest[..size]);
        bytes = &rest[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `size`, then the end.
    fn read(bytes: &[u8], size: usize) -> Result<Response, ReadError> {
        let mut reader = Reader::default();
        for piece in bytes.chunks(size) {
            reader.space().extend_from_slice(piece);
            if let Some(response) = reader.advance(false)? {
                return Ok(response);
            }
        }
        reader.advance(true).map(|response| response.expect("an ended connection gives a response or an error"))
    }

    #[test]
    fn a_response_is_the_same_in_whatever_pieces_it_comes() {
        for raw in [
            "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nhello world",
        ] {
            for size in [1, 3, 7, 1000] {
                let response = read(raw.as_bytes(), size).expect("well formed");
                assert_eq!((response.status, response.body()), (200, &b"hello world"[..]), "{raw:?} by {size}");
            }
        }
    }

    #[test]
    fn a_response_that_ends_early_is_not_taken_for_a_whole_one() {
        for raw in [
            "",
            "HTTP/1.1 20",
            "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nhello world",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ] {
            assert_eq!(read(raw.as_bytes(), 1000), Err(ReadError::Ended { received: raw.len() }), "{raw:?}");
        }
    }

    #[test]
    fn what_is_not_http_or_claims_absurd_sizes_is_malformed() {
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD_BYTES));
        for raw in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabcd\r\n",
            &endless,
        ] {
            let error = read(raw.as_bytes(), 10_000).expect_err("refused");
            assert!(matches!(error, ReadError::Malformed(_)), "{raw:.60?}: {error}");
        }
    }
}
