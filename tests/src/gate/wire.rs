//! HTTP/1.1 as a server speaks it on one connection: requests read whole, answers written whole or in chunks.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
};

use anyhow::{Context, Result, bail};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Largest head that is read.
const HEAD_LIMIT: usize = 64 << 10;
/// The API server's own limit of a request's body.
const BODY_LIMIT: usize = 3 << 20;
/// Most header fields of a request.
const FIELDS: usize = 64;

/// Header fields that concern one connection only and are never handed on. The gate reads watch events line by line, so
/// it also lets nobody ask for compressed ones.
const OF_THE_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::HOST,
    header::EXPECT,
    header::UPGRADE,
    header::TE,
    header::ACCEPT_ENCODING,
];

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// Header fields but those of the connection.
    pub(super) fields: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The client's end of a connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    /// Read, and not yet used.
    rest: Vec<u8>,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// The next request; `None` when the client has closed the connection between two.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>> {
        let (mut incoming, head, length) = loop {
            if let Some(parsed) = parse(&self.rest)? {
                break parsed;
            }
            if self.rest.len() > HEAD_LIMIT {
                bail!("the head of a request has no end");
            }
            if self.more()? == 0 {
                return if self.rest.is_empty() { Ok(None) } else { bail!("a request broke off in its head") };
            }
        };
        if length > BODY_LIMIT {
            bail!("a body of {length} bytes is larger than the API server takes");
        }
        while self.rest.len() < head + length {
            if self.more()? == 0 {
                bail!("a request broke off in its body");
            }
        }
        incoming.body = self.rest[head..head + length].to_vec();
        self.rest.drain(..head + length);
        Ok(Some(incoming))
    }

    /// Answers in one piece.
    pub(super) fn answer(&mut self, code: u16, fields: &HeaderMap, body: &[u8]) -> io::Result<()> {
        let mut message = head(code, fields);
        message.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        message.extend_from_slice(body);
        self.stream.write_all(&message)
    }

    /// Begins an answer that comes in chunks.
    pub(super) fn begin_chunks(&mut self, code: u16, fields: &HeaderMap) -> io::Result<()> {
        let mut message = head(code, fields);
        message.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        self.stream.write_all(&message)
    }

    pub(super) fn chunk(&mut self, data: &[u8]) -> io::Result<()> {
        let mut message = format!("{:x}\r\n", data.len()).into_bytes();
        message.extend_from_slice(data);
        message.extend_from_slice(b"\r\n");
        self.stream.write_all(&message)
    }

    pub(super) fn end_chunks(&mut self) -> io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n")
    }

    /// Promises a chunk, sends the beginning of it, and closes the connection.
    pub(super) fn tear_chunk(&mut self, beginning: &[u8]) {
        let mut message = format!("{:x}\r\n", beginning.len() + 4096).into_bytes();
        message.extend_from_slice(beginning);
        // A client that is gone already has what this is about.
        drop(self.stream.write_all(&message));
        self.close();
    }

    /// Waits until the client closes the connection.
    pub(super) fn wait_closed(&mut self) {
        while matches!(self.more(), Ok(1..)) {}
    }

    /// Closes the connection without a word.
    pub(super) fn close(&mut self) {
        drop(self.stream.shutdown(Shutdown::Both));
    }

    fn more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 << 10];
        let count = self.stream.read(&mut buffer)?;
        self.rest.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

/// The fields that may be handed on.
pub(super) fn end_to_end(fields: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in fields {
        if !OF_THE_CONNECTION.contains(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// The request whose head stands at the beginning of `bytes`, the length of that head and of the body behind it. `None`
/// while the head is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(Incoming, usize, usize)>> {
    let mut space = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut space);
    let httparse::Status::Complete(length) = request.parse(bytes).context("not a request")? else { return Ok(None) };
    let mut fields = HeaderMap::new();
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).context("a field's name")?;
        fields.append(name, HeaderValue::from_bytes(field.value).context("a field's value")?);
    }
    if fields.contains_key(header::TRANSFER_ENCODING) {
        // No client of the tests sends a body whose length it does not know.
        bail!("the gate reads no chunked requests");
    }
    let body = match fields.get(header::CONTENT_LENGTH) {
        Some(value) => value.to_str()?.parse().context("content-length")?,
        None => 0,
    };
    let incoming = Incoming {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        fields: end_to_end(&fields),
        body: Vec::new(),
    };
    Ok(Some((incoming, length, body)))
}

fn head(code: u16, fields: &HeaderMap) -> Vec<u8> {
    // A reason phrase is optional and nobody's business.
    let mut message = format!("HTTP/1.1 {code} \r\n").into_bytes();
    for (name, value) in fields {
        message.extend_from_slice(name.as_str().as_bytes());
        message.extend_from_slice(b": ");
        message.extend_from_slice(value.as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_when_its_head_is_complete_and_loses_the_fields_of_the_connection() {
        let bytes = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nAccept: y\r\n\r\n{}GET";
        assert!(parse(&bytes[..40]).expect("so far it is a request").is_none());
        let (incoming, head, body) = parse(bytes).expect("a request").expect("complete");
        assert_eq!((incoming.method.as_str(), incoming.target.as_str(), body), ("POST", "/a?b=c", 2));
        assert_eq!(&bytes[head..], b"{}GET");
        assert_eq!(incoming.fields.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bytes in [&b"\x16\x03\x01\x00\x01\r\n\r\n"[..], b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"] {
            assert!(parse(bytes).is_err());
        }
    }
}
