//! A daemon that does what its script says, one connection after another, and remembers what it was asked.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

/// What is done with one connection, after its request was read.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A complete response with this body.
    Body(String),
    /// These bytes, then the end.
    Raw(Vec<u8>),
    /// The end, without a byte.
    Vanish,
    /// Nothing, until the caller goes away.
    Hold,
}

/// A successful reply with this JSON as its result.
pub(crate) fn reply(result: &str) -> Answer {
    Answer::Body(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#))
}

/// An error object.
pub(crate) fn rpc_error(code: i32, message: &str) -> Answer {
    let error = serde_json::json!({ "code": code, "message": message });
    Answer::Body(format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#))
}

/// The daemon; its thread ends with its script, or with the test process.
pub(crate) struct FakeDaemon {
    requests: Arc<Mutex<Vec<Value>>>,
}

impl FakeDaemon {
    /// Listens on `path` before it returns.
    pub(crate) fn start(path: &Path, script: Vec<Answer>) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for answer in script {
                let (mut stream, _) = listener.accept().unwrap();
                let body = read_request(&mut stream);
                seen.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                // A caller that has heard enough may be gone before all is written.
                match answer {
                    Answer::Body(body) => {
                        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                        drop(stream.write_all((head + &body).as_bytes()));
                    }
                    Answer::Raw(bytes) => drop(stream.write_all(&bytes)),
                    Answer::Vanish => {}
                    Answer::Hold => drop(stream.read(&mut [0])),
                }
            }
        });
        Self { requests }
    }

    /// The JSON-RPC requests so far, in order.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 65_536];
    loop {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the request ended early");
        bytes.extend_from_slice(&piece[..count]);
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(start)) = request.parse(&bytes) else { continue };
        let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length")).unwrap();
        let length: usize = std::str::from_utf8(length.value).unwrap().parse().unwrap();
        if bytes.len() >= start + length {
            return bytes.split_off(start);
        }
    }
}
