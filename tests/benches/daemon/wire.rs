//! A caller without a process: one connection to the daemon's socket, one call after the other on it.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use serde_json::{Value, json};

/// A connection.
pub(crate) struct Caller {
    stream: UnixStream,
    answer: Vec<u8>,
}

impl Caller {
    /// Connects.
    pub(crate) fn connect(socket: &Path) -> std::io::Result<Self> {
        Ok(Self { stream: UnixStream::connect(socket)?, answer: Vec::new() })
    }

    /// Sends a call and reads its whole answer, which is not looked at: the time of this is the daemon's, not that of
    /// a parser.
    pub(crate) fn exchange(&mut self, call: &[u8]) -> std::io::Result<&[u8]> {
        self.stream.write_all(call)?;
        self.answer.clear();
        let mut piece = vec![0; 256 * 1024];
        loop {
            let read = self.stream.read(&mut piece)?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.answer.extend_from_slice(&piece[..read]);
            if let Some(body) = whole(&self.answer) {
                return Ok(&self.answer[body..]);
            }
        }
    }

    /// A call's result.
    ///
    /// # Panics
    /// When the call fails.
    pub(crate) fn ask(&mut self, call: &[u8]) -> Value {
        let body = self.exchange(call).expect("hfd answers");
        let answer: Value = serde_json::from_slice(body).expect("it answers JSON");
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    }
}

/// Where the body of an answer begins that is there as a whole.
fn whole(answer: &[u8]) -> Option<usize> {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(answer).expect("hfd speaks HTTP") else { return None };
    let length = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length: usize = std::str::from_utf8(length.expect("hfd tells the length").value)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a length is a number");
    (answer.len() >= head + length).then_some(head)
}

/// The bytes of a call of one of HostFactory's verbs.
pub(crate) fn call(verb: &str, input: &Value) -> Vec<u8> {
    request(&json!({"jsonrpc": "2.0", "id": 1, "method": format!("hf.{verb}"), "params": {"input": input}}))
}

/// A call that asks how these requests stand.
pub(crate) fn status_call(ids: &[String]) -> Vec<u8> {
    let ids: Vec<Value> = ids.iter().map(|id| json!({ "requestId": id })).collect();
    call("getRequestStatus", &json!({ "requests": ids }))
}

/// A call that asks for machines.
pub(crate) fn machines_call(template: &str, count: u64) -> Vec<u8> {
    call("requestMachines", &json!({"template": {"templateId": template, "machineCount": count}}))
}

fn request(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = "POST / HTTP/1.1\r\nhost: hfd\r\ncontent-type: application/json\r\naccept: application/json\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
