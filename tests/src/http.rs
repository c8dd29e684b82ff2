//! One HTTP exchange over loopback TCP, enough for the simulated cluster: its control endpoints and its Kubernetes API.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Longest silence of the server before a call is given up.
const IDLE: Duration = Duration::from_secs(60);

/// A server and the token it knows us by.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `host:port`.
    pub address: String,
    /// Bearer token.
    pub token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// HTTP status code.
    pub code: u16,
    /// Body, decoded from chunks where it came in chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON; `null` for an empty one.
    ///
    /// # Errors
    /// When the body is something else.
    pub fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body)
            .with_context(|| format!("answer {} is not JSON: {}", self.code, String::from_utf8_lossy(&self.body)))
    }
}

impl Endpoint {
    /// Makes one call on a connection of its own.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not HTTP.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response> {
        let mut stream = TcpStream::connect(&self.address).with_context(|| format!("connect to {}", self.address))?;
        stream.set_read_timeout(Some(IDLE))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            self.token,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).with_context(|| format!("{method} {path}"))?;
        parse(&raw).with_context(|| format!("{method} {path}"))
    }

    /// Makes one call that must succeed (2xx) and gives its JSON.
    ///
    /// # Errors
    /// When the call fails or is answered with another code.
    pub fn json(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let response = self.call(method, path, body)?;
        if !(200..300).contains(&response.code) {
            bail!("{method} {path}: {} {}", response.code, String::from_utf8_lossy(&response.body));
        }
        response.json()
    }
}

fn parse(raw: &[u8]) -> Result<Response> {
    let split = raw.windows(4).position(|four| four == b"\r\n\r\n").context("the answer has no end of headers")?;
    let head = std::str::from_utf8(&raw[..split]).context("the headers are not text")?;
    let code = head.split(' ').nth(1).context("no status line")?.parse().context("no status code")?;
    let rest = &raw[split + 4..];
    let chunked = head.lines().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
    let body = if chunked { join_chunks(rest)? } else { rest.to_vec() };
    Ok(Response { code, body })
}

fn join_chunks(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").context("a chunk without a size")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line])?.trim(), 16).context("a chunk's size")?;
        if size == 0 {
            return Ok(body);
        }
        let data = rest.get(line + 2..line + 2 + size).context("a chunk was cut short")?;
        body.extend_from_slice(data);
        rest = rest.get(line + 4 + size..).context("a chunk was cut short")?;
    }
}
