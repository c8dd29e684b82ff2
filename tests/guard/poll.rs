//! How much a poll costs its caller: one status call of one machine by the released `hfctl`, answered by a server of the
//! test.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    thread,
};

use crate::callgrind;

/// Counts that are made; the least one is free of accidents such as an answer that comes in two pieces.
const RUNS: usize = 3;

/// What hfd answers when one machine is asked about.
const ANSWER: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"result":{"requests":[{"status":"complete","machines":[{"machineId":"#,
    r#""8f7a63c2-5f0e-4a57-9d4f-0b6f3f1f2b11","name":"hf-7h3kq2m9c4d6w8xz-00000","result":"succeed","status":"running","#,
    r#""privateIpAddress":"10.244.0.2","publicIpAddress":"","launchtime":1795706465,"message":""}],"#,
    r#""requestId":"hf-7h3kq2m9c4d6w8xz","message":""}]}}"#
);

/// Its instructions.
pub(crate) fn count() -> u64 {
    let dir = tempfile::tempdir().expect("a scratch directory");
    // Built alone, which takes seconds. What is built with all the rest takes a sixth fewer instructions: other programs
    // ask for faster features of the same libraries.
    let hfctl = callgrind::released(&["-p", "hfctl"]);
    serve(&dir.path().join("socket"));
    let input = dir.path().join("input");
    fs::write(&input, r#"{"requests":[{"requestId":"hf-7h3kq2m9c4d6w8xz"}]}"#).expect("the directory is ours");
    (0..RUNS).map(|_| count_once(&hfctl, dir.path(), &input)).min().expect("some runs")
}

/// Answers every caller with the same bytes, for as long as this process lives.
fn serve(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("the directory is ours");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8";
    let date = "date: Thu, 26 Nov 2026 15:21:05 GMT";
    let answer = format!("{head}\r\ncontent-length: {}\r\nconnection: close\r\n{date}\r\n\r\n{ANSWER}", ANSWER.len());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("callers can be accepted");
            // A request of this size comes in one piece.
            let _read = stream.read(&mut [0; 65_536]).expect("the caller writes");
            stream.write_all(answer.as_bytes()).expect("the caller reads");
        }
    });
}

fn count_once(hfctl: &Path, dir: &Path, input: &Path) -> u64 {
    let mut command = callgrind::before(hfctl);
    command.env("HFD_SOCKET", dir.join("socket")).env_remove("HF_PROVIDER_NAME");
    let output = command.arg("get-request-status").arg("-f").arg(input).output().expect("valgrind can be started");
    let instructions = callgrind::collected(&output);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("hf-7h3kq2m9c4d6w8xz-00000"), "{told}");
    instructions
}
