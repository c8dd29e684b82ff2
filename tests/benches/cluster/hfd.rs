//! hfd's side: the same by its socket, as `hfctl` speaks there, without the start of a process.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{Daemon, eventually};

/// Longest wait for machines.
const PATIENCE: Duration = Duration::from_secs(900);

/// A wait for machines: what it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waited {
    /// From before the request until the answer that says all.
    pub(crate) time: Duration,
    /// The part of it since the last answer that did not say all: the news is at most that old.
    pub(crate) between_polls: Duration,
    /// Polls.
    pub(crate) polls: u32,
}

/// Waits until hfd has seen its cluster.
pub(crate) fn wait_serving(daemon: &Daemon) {
    eventually("hfd serves", Duration::from_secs(60), || (daemon.status()?["ready"] == json!(true)).then_some(()));
}

/// Asks for machines and gives the request's id.
pub(crate) fn request(daemon: &Daemon, template: &str, count: usize) -> String {
    id(&call(daemon, "hf.requestMachines", &json!({"template": {"templateId": template, "machineCount": count}})))
}

/// Asks for machines and waits until all are ready; their names.
pub(crate) fn bring_up(daemon: &Daemon, template: &str, count: usize, every: Duration) -> (Waited, Vec<String>) {
    let begun = Instant::now();
    let id = request(daemon, template, count);
    let (waited, end) = wait(daemon, begun, &id, every);
    let machines = end["machines"].as_array().expect("machines are a list");
    let names: Vec<String> = machines
        .iter()
        .map(|machine| {
            assert_eq!(machine["result"], "succeed", "{machine}");
            assert!(machine["privateIpAddress"].as_str().is_some_and(|address| !address.is_empty()), "{machine}");
            machine["name"].as_str().expect("a machine has a name").to_owned()
        })
        .collect();
    assert_eq!(names.len(), count);
    (waited, names)
}

/// Returns machines and waits until all are gone.
pub(crate) fn take_down(daemon: &Daemon, names: &[String], every: Duration) -> Waited {
    let machines: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    let begun = Instant::now();
    let id = id(&call(daemon, "hf.requestReturnMachines", &json!({ "machines": machines })));
    wait(daemon, begun, &id, every).0
}

fn wait(daemon: &Daemon, begun: Instant, id: &str, every: Duration) -> (Waited, Value) {
    let (mut polls, mut unfinished) = (0, begun);
    loop {
        thread::sleep(every);
        let answer = poll_bytes(daemon, id);
        let answered = Instant::now();
        polls += 1;
        if !is_running(&answer) {
            let end = read(&answer)["requests"][0].clone();
            assert_eq!(end["status"], "complete", "{}", end["message"]);
            return (Waited { time: answered - begun, between_polls: answered - unfinished, polls }, end);
        }
        unfinished = answered;
        assert!(begun.elapsed() < PATIENCE, "{id} is not done: {}", read(&answer)["requests"][0]["message"]);
    }
}

/// Whether the one request in the answer is not done. The request's status stands before those of its machines, so a
/// thousand of them need not be read for it, on the cores that all the others want.
fn is_running(answer: &[u8]) -> bool {
    const STATUS: &[u8] = br#""status":""#;
    let at = answer.windows(STATUS.len()).position(|bytes| bytes == STATUS).expect("a request has a status");
    answer[at + STATUS.len()..].starts_with(b"running")
}

/// hfd's own counts of its API calls, by verb.
pub(crate) fn api_calls(daemon: &Daemon) -> impl Fn(&str) -> u64 + use<> {
    let status = daemon.status().expect("hfd answers");
    move |verb| status["apiCalls"][verb].as_u64().unwrap_or_default()
}

/// Most memory that the process ever had resident, in KiB.
pub(crate) fn high_water(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("Linux tells it")
}

/// Time that the process had a processor, of its own and in the kernel.
pub(crate) fn cpu(daemon: &Daemon) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.id())).unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn poll_bytes(daemon: &Daemon, id: &str) -> Vec<u8> {
    exchange(daemon, "hf.getRequestStatus", &json!({"requests": [{"requestId": id}]}))
}

fn call(daemon: &Daemon, method: &str, input: &Value) -> Value {
    read(&exchange(daemon, method, input))
}

fn exchange(daemon: &Daemon, method: &str, input: &Value) -> Vec<u8> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"input": input}}).to_string();
    let head = "POST / HTTP/1.1\r\nhost: hfd\r\ncontent-type: application/json\r\naccept: application/json\r\n";
    let mut stream = UnixStream::connect(daemon.socket()).expect("hfd runs");
    let request = format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).expect("hfd reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("hfd answers");
    answer
}

fn read(answer: &[u8]) -> Value {
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(answer, |head| &answer[head + 4..]);
    let mut reply: Value = serde_json::from_slice(body).expect("an answer is JSON");
    assert!(reply["error"].is_null(), "{}", reply["error"]);
    reply["result"].take()
}

fn id(reply: &Value) -> String {
    reply["requestId"].as_str().expect("an id").to_owned()
}
