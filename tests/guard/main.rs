//! How much a poll costs its caller, counted in instructions, so that it does not grow unnoticed: times differ from run
//! to run and from machine to machine, counts do not. `cargo test --workspace --test guard`.
//!
//! The count is that of the released program, which is built here, for one status call of one machine, answered by a
//! server of the test. Golden counts are in `instructions/`, one for each architecture; another compiler changes them,
//! within the tolerance or with a commit. Needs valgrind; without it a line says so, and nothing is checked.

use std::{
    env, fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use tests::bins;

/// How far, in percent, a count may be from the golden one. Between two builds of one source it moves by less than one.
const TOLERANCE_PERCENT: u64 = 10;

/// Counts that are made; the least one is free of accidents such as an answer that comes in two pieces.
const RUNS: usize = 3;

/// What hfd answers when one machine is asked about.
const ANSWER: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"result":{"requests":[{"status":"complete","machines":[{"machineId":"#,
    r#""8f7a63c2-5f0e-4a57-9d4f-0b6f3f1f2b11","name":"hf-7h3kq2m9c4d6w8xz-00000","result":"succeed","status":"running","#,
    r#""privateIpAddress":"10.244.0.2","publicIpAddress":"","launchtime":1795706465,"message":""}],"#,
    r#""requestId":"hf-7h3kq2m9c4d6w8xz","message":""}]}}"#
);

#[test]
fn a_status_call_takes_as_many_instructions_as_it_did() {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: valgrind is not installed, so instructions cannot be counted");
        return;
    }
    let golden_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guard/instructions").join(env::consts::ARCH);
    let dir = tempfile::tempdir().expect("a scratch directory");
    let hfctl = released_hfctl();
    serve(&dir.path().join("socket"));
    let input = dir.path().join("input");
    fs::write(&input, r#"{"requests":[{"requestId":"hf-7h3kq2m9c4d6w8xz"}]}"#).expect("the directory is ours");
    let counts: Vec<u64> = (0..RUNS).map(|_| count(&hfctl, dir.path(), &input)).collect();
    let least = counts.iter().min().copied().expect("some runs");
    eprintln!("a status call takes {least} instructions");
    let Ok(golden) = fs::read_to_string(&golden_file) else {
        eprintln!("skipped: there is no golden count for {} yet; write {least} to it", golden_file.display());
        return;
    };
    let golden: u64 = golden.trim().parse().expect("a golden count is a number");
    let tolerance = golden * TOLERANCE_PERCENT / 100;
    assert!(
        least.abs_diff(golden) <= tolerance,
        "a status call takes {least} instructions, the golden count is {golden}: find out why, or write the new one to {}",
        golden_file.display()
    );
}

/// `hfctl` built alone, which takes seconds. What is built with all the rest takes a sixth fewer instructions: other
/// programs ask for faster features of the same libraries.
fn released_hfctl() -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo.current_dir(bins::source_root()).args(["build", "--release", "-p", "hfctl", "--message-format", "json"]);
    let output = cargo.output().expect("cargo can be started");
    assert!(output.status.success(), "building hfctl failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo speaks UTF-8");
    let mut paths = text.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    paths.next_back().expect("cargo names what it built")
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

/// Instructions of one call.
fn count(hfctl: &Path, dir: &Path, input: &Path) -> u64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(hfctl);
    command.env("HFD_SOCKET", dir.join("socket")).env_remove("HF_PROVIDER_NAME");
    let output = command.arg("get-request-status").arg("-f").arg(input).output().expect("valgrind can be started");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("hf-7h3kq2m9c4d6w8xz-00000"), "{told}");
    let collected = told.lines().find_map(|line| line.split("Collected : ").nth(1));
    collected.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no count in {told}"))
}
