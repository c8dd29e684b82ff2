//! The real `hfctl` against a daemon that is missing, silent, rude or well behaved.
#![allow(clippy::unwrap_used, reason = "a test that can't prepare its surroundings should stop there")]

mod fake;

use std::{
    fs,
    io::Write,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use fake::{Answer, FakeDaemon, reply, rpc_error};
use serde_json::{Value, json};

const VERBS: [[&str; 2]; 5] = [
    ["get-available-templates", "getAvailableTemplates"],
    ["request-machines", "requestMachines"],
    ["get-request-status", "getRequestStatus"],
    ["request-return-machines", "requestReturnMachines"],
    ["get-return-requests", "getReturnRequests"],
];

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn hfctl(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hfctl"));
    command.env_clear().env("HFD_SOCKET", socket).stdin(Stdio::null());
    command
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// What a verb must print when it fails: one line, one object, a message, exit 1.
fn message(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "stdout {:?}, stderr {:?}", stdout(output), stderr(output));
    let text = stdout(output);
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    let document: Value = serde_json::from_str(text).unwrap();
    assert_eq!(document.as_object().unwrap().len(), 1, "{document}");
    document["message"].as_str().unwrap().to_owned()
}

#[test]
fn without_a_daemon_every_verb_under_both_names_prints_a_message_and_exits_1() {
    let scratch = Scratch::new();
    let input = scratch.file("hf_in_1", r#"{"requests":[{"requestId":"r"}]}"#);
    for verb in VERBS.iter().flatten() {
        let said = message(&hfctl(&scratch.path("none.sock")).arg(verb).arg("-f").arg(&input).output().unwrap());
        assert!(said.contains("hfd is not running") && said.contains("none.sock"), "{said}");
    }
}

#[test]
fn the_advice_for_a_system_daemon_names_its_unit() {
    let mut command = hfctl(Path::new(""));
    let output = command.env("HF_PROVIDER_NAME", "no-such-instance").arg("getAvailableTemplates").output().unwrap();
    assert!(message(&output).contains("systemctl start hfd@no-such-instance"), "{}", stdout(&output));
}

#[test]
fn a_wrong_command_line_of_a_verb_is_a_json_message_too() {
    let scratch = Scratch::new();
    let input = scratch.file("in", "{}");
    let input = input.to_str().unwrap();
    for (args, words) in [
        (&["requestMachines", "--nonsense"][..], "--nonsense"),
        (&["--timeout", "soon", "getRequestStatus", input], "soon"),
        (&["getRequestStatus", "-f", input, input], "cannot be used with"),
        (&["get-return-requests", "-f"], "-f"),
        (&["requestMachines"], "no input file"),
        (&["getRequestStatus"], "no input file"),
        (&["requestReturnMachines"], "no input file"),
        (&["getReturnRequests"], "no input file"),
        (&["requestMachines", "--request-id", "", input], "1 to 128 printable characters"),
        (&["requestMachines", "--request-id", &"k".repeat(129), input], "129 characters"),
        (&["requestMachines", "--request-id", "a\nb", input], "1 to 128 printable characters"),
    ] {
        let said = message(&hfctl(&scratch.path("none.sock")).args(args).output().unwrap());
        assert!(said.contains(words), "{args:?} -> {said}");
    }
}

#[test]
fn an_instance_that_is_no_name_is_refused() {
    let scratch = Scratch::new();
    let input = scratch.file("in", "{}");
    for name in ["../../etc", "a/b"] {
        let mut command = hfctl(Path::new(""));
        command.env_remove("HFD_SOCKET").env("HF_PROVIDER_NAME", name).arg("getRequestStatus").arg(&input);
        assert!(message(&command.output().unwrap()).contains("is not an instance name"));
    }
}

#[test]
fn an_input_that_cannot_be_read_is_refused_before_anyone_is_called() {
    let scratch = Scratch::new();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(20_000_000));
    for (path, words) in [
        (scratch.path("missing"), "No such file"),
        (scratch.path("."), "Is a directory"),
        (scratch.file("empty", ""), "is empty"),
        (scratch.file("blank", " \n\t"), "is empty"),
        (scratch.file("latin1", b"{\"name\":\"\xfc\"}"), "not UTF-8 text: byte 9"),
        (scratch.file("text", "{\n  hello\n}"), "is not JSON: key must be a string at line 2 column 3"),
        (scratch.file("two", "{} {}"), "is not JSON: trailing characters at line 1 column 4"),
        (scratch.file("deep", deep), "nest deeper than 64 levels (line 1, column 65)"),
        (scratch.file("large", large), "larger than the 16777216 bytes"),
    ] {
        let mut command = hfctl(&scratch.path("none.sock"));
        let said = message(&command.arg("requestMachines").arg("-f").arg(&path).output().unwrap());
        assert!(said.contains(words) && said.contains(path.to_str().unwrap()), "{path:?} -> {said:.300}");
        assert!(!said.contains("not running"), "{said:.300}");
    }
}

#[test]
fn the_reply_is_printed_byte_for_byte() {
    let scratch = Scratch::new();
    let odd = r#"{"z":1.50,  "a":[1e3,"\u00fc"],"requests":[]}"#;
    let daemon = FakeDaemon::start(&scratch.path("d.sock"), vec![reply(odd)]);
    let input = scratch.file("in", r#"{"requests":[{"requestId":"r"}]}"#);
    let output = hfctl(&scratch.path("d.sock")).arg("getRequestStatus").arg("-f").arg(&input).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output), stderr(&output)), (Some(0), &*format!("{odd}\n"), ""));
    let seen = daemon.requests();
    assert_eq!(seen[0]["method"], "hf.getRequestStatus");
    assert_eq!(seen[0]["params"]["input"], json!({ "requests": [{ "requestId": "r" }] }));
    assert!(seen[0]["params"]["deadline"].as_u64().unwrap() > 1_700_000_000_000);
    assert!(seen[0]["params"].get("key").is_none());
}

#[test]
fn the_document_comes_from_a_file_either_way_or_from_standard_input() {
    let scratch = Scratch::new();
    let daemon = FakeDaemon::start(&scratch.path("d.sock"), vec![reply("{}"), reply("{}"), reply("{}")]);
    let input = scratch.file("in", "{\"n\":1}");
    for args in [&["-f", input.to_str().unwrap()][..], &[input.to_str().unwrap()]] {
        assert!(hfctl(&scratch.path("d.sock")).arg("getReturnRequests").args(args).output().unwrap().status.success());
    }
    let mut command = hfctl(&scratch.path("d.sock"));
    let mut child = command.args(["getReturnRequests", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"n\":1}").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(daemon.requests().iter().all(|request| request["params"]["input"] == json!({ "n": 1 })));
}

#[test]
fn templates_may_be_asked_for_without_a_document() {
    let scratch = Scratch::new();
    let daemon = FakeDaemon::start(&scratch.path("d.sock"), vec![reply(r#"{"templates":[]}"#)]);
    assert!(hfctl(&scratch.path("d.sock")).arg("getAvailableTemplates").output().unwrap().status.success());
    assert_eq!(daemon.requests()[0]["params"]["input"], json!({}));
}

#[test]
fn a_chunked_reply_is_put_together() {
    let scratch = Scratch::new();
    let raw = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
               10\r\n{\"jsonrpc\":\"2.0\"\r\n18\r\n,\"id\":1,\"result\":{\"x\":1}\r\n1\r\n}\r\n0\r\n\r\n";
    let _daemon = FakeDaemon::start(&scratch.path("d.sock"), vec![Answer::Raw(raw.into())]);
    let output = hfctl(&scratch.path("d.sock")).arg("getAvailableTemplates").output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "{\"x\":1}\n"));
}

#[test]
fn a_call_whose_connection_breaks_is_repeated_with_the_same_key() {
    let scratch = Scratch::new();
    let half = Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"jsonrpc\":".into());
    let script = vec![Answer::Vanish, half, rpc_error(200, "queue full"), reply(r#"{"requestId":"r"}"#)];
    let daemon = FakeDaemon::start(&scratch.path("d.sock"), script);
    let input = scratch.file("in", r#"{"template":{"templateId":"t","machineCount":1}}"#);
    let output = hfctl(&scratch.path("d.sock")).arg("requestMachines").arg(&input).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "{\"requestId\":\"r\"}\n"));
    let seen = daemon.requests();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|request| request == &seen[0]), "{seen:?}");
    assert_eq!(seen[0]["params"]["key"].as_str().unwrap().len(), 32);
}

#[test]
fn each_invocation_has_its_own_key_and_only_the_flag_sets_it() {
    let scratch = Scratch::new();
    let daemon = FakeDaemon::start(&scratch.path("d.sock"), vec![reply("{}"), reply("{}"), reply("{}")]);
    let input = scratch.file("in", "{}");
    for args in [&[][..], &[], &["--request-id", "by hand"]] {
        let mut command = hfctl(&scratch.path("d.sock"));
        command.env("HF_K8S_REQUEST_ID", "left over").env("HFCTL_REQUEST_ID", "left over");
        assert!(command.arg("requestReturnMachines").args(args).arg(&input).output().unwrap().status.success());
    }
    let keys: Vec<Value> = daemon.requests().iter().map(|request| request["params"]["key"].clone()).collect();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[2], "by hand");
    assert!(!keys.contains(&json!("left over")));
}

#[test]
fn a_daemon_that_never_answers_ends_in_a_message_that_says_how_to_ask_again() {
    let scratch = Scratch::new();
    let _daemon = FakeDaemon::start(&scratch.path("d.sock"), vec![Answer::Hold]);
    let input = scratch.file("in", "{}");
    let mut command = hfctl(&scratch.path("d.sock"));
    let output =
        command.args(["--timeout", "1", "requestMachines", "--request-id", "k1"]).arg(&input).output().unwrap();
    let said = message(&output);
    assert!(said.contains("no answer from hfd") && said.contains("--request-id k1"), "{said}");
}

#[test]
fn a_socket_whose_backlog_is_full_does_not_hold_a_call_beyond_its_time() {
    let scratch = Scratch::new();
    let path = scratch.path("d.sock");
    let address = rustix::net::SocketAddrUnix::new(&path).unwrap();
    let new = || rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
    let listener = new();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let waiting = new();
    rustix::net::connect(&waiting, &address).unwrap();
    let output = hfctl(&path).args(["--timeout", "1", "getAvailableTemplates"]).output().unwrap();
    assert!(message(&output).contains("no answer from hfd"));
}

#[test]
fn a_socket_nobody_listens_on_is_tried_until_the_time_is_over() {
    let scratch = Scratch::new();
    drop(UnixListener::bind(scratch.path("d.sock")).unwrap());
    let output = hfctl(&scratch.path("d.sock")).args(["--timeout", "1", "getAvailableTemplates"]).output().unwrap();
    assert!(message(&output).contains("nobody answers on the socket"));
}

#[test]
fn a_socket_path_that_is_no_socket_fails_at_once() {
    let scratch = Scratch::new();
    for path in [scratch.file("plain", ""), scratch.path("."), scratch.path(&"long".repeat(50))] {
        let said = message(&hfctl(&path).arg("getAvailableTemplates").output().unwrap());
        assert!(said.contains("can't be used as a socket") && said.contains("HFD_SOCKET"), "{said}");
    }
}

#[test]
fn an_answer_that_is_not_ours_is_a_message() {
    let scratch = Scratch::new();
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(200_000));
    for raw in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        huge.as_str(),
        "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\u{7}\u{1b}",
    ] {
        let _daemon = FakeDaemon::start(&scratch.path("d.sock"), vec![Answer::Raw(raw.into())]);
        let said = message(&hfctl(&scratch.path("d.sock")).arg("getAvailableTemplates").output().unwrap());
        assert!(said.contains("is not an hfd of this version") && said.len() < 500, "{raw:.40?} -> {said}");
        fs::remove_file(scratch.path("d.sock")).unwrap();
    }
}

#[test]
fn an_error_of_the_daemon_is_its_message_with_what_to_do() {
    let scratch = Scratch::new();
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":101,"message":"no template \"x\"",
        "data":{"name":"unknownTemplate","action":"see hfctl get templates"}}}"#;
    let _daemon = FakeDaemon::start(&scratch.path("d.sock"), vec![Answer::Body(error.into())]);
    let input = scratch.file("in", "{}");
    let output = hfctl(&scratch.path("d.sock")).arg("requestMachines").arg(&input).output().unwrap();
    assert_eq!(message(&output), "no template \"x\"; see hfctl get templates");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let scratch = Scratch::new();
    let long = format!("\"{}\"", "x".repeat(1_000_000));
    let _daemon = FakeDaemon::start(&scratch.path("d.sock"), vec![reply(&long)]);
    let mut command = hfctl(&scratch.path("d.sock"));
    let mut child = command.arg("getAvailableTemplates").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[test]
fn a_large_reply_and_a_large_request_pass_whole() {
    let scratch = Scratch::new();
    let text = "x".repeat(10_000_000);
    let daemon = FakeDaemon::start(&scratch.path("d.sock"), vec![reply(&format!("\"{text}\""))]);
    let input = scratch.file("in", json!({ "x": text }).to_string());
    let output = hfctl(&scratch.path("d.sock")).arg("getReturnRequests").arg(&input).output().unwrap();
    assert_eq!(output.stdout.len(), text.len() + 3);
    assert_eq!(daemon.requests()[0]["params"]["input"]["x"].as_str().map(str::len), Some(text.len()));
}

#[test]
fn version_and_help_are_answers() {
    let none = Path::new("/nonexistent");
    let version = hfctl(none).arg("--version").output().unwrap();
    assert_eq!(stdout(&version), format!("hfctl {}\n", env!("CARGO_PKG_VERSION")));
    let help = hfctl(none).args(["requestMachines", "--help"]).output().unwrap();
    assert!(help.status.success() && stdout(&help).contains("--request-id"));
}

#[test]
fn questions_end_with_the_exit_code_of_the_table() {
    let scratch = Scratch::new();
    let socket = scratch.path("d.sock");
    for (code, exit) in
        [(100, 2), (200, 7), (201, 7), (202, 7), (203, 124), (300, 4), (301, 5), (-32601, 9), (-32603, 1), (-32008, 2)]
    {
        let _daemon = FakeDaemon::start(&socket, vec![rpc_error(code, "because\u{1b}[2J")]);
        let output = hfctl(&socket).args(["describe", "request", "x"]).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output)), (Some(exit), ""), "code {code}");
        assert_eq!(stderr(&output), "hfctl: because\\u{1b}[2J\n");
        fs::remove_file(&socket).unwrap();
    }
    let exit = |args: &[&str]| hfctl(&scratch.path("none.sock")).args(args).output().unwrap().status.code();
    assert_eq!(exit(&["status"]), Some(3));
    assert_eq!(exit(&["status", "--nonsense"]), Some(2));
    assert_eq!(exit(&[]), Some(2));
    assert_eq!(exit(&["rebuild"]), Some(2));
    let _daemon = FakeDaemon::start(&socket, vec![Answer::Hold]);
    assert_eq!(hfctl(&socket).args(["--timeout", "1", "status"]).output().unwrap().status.code(), Some(124));
}

#[test]
fn with_json_asked_for_an_error_is_json_on_standard_error() {
    let scratch = Scratch::new();
    let output = hfctl(&scratch.path("none.sock")).args(["get", "machines", "-o", "json"]).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(3), ""));
    let error: Value = serde_json::from_str(stderr(&output)).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["exit"]), (&json!("notRunning"), &json!(3)));
}

fn status(ready: bool, state: &str) -> String {
    json!({
        "apiVersion": "hfd/v1", "version": "0.1.0", "instance": "k8s-hf", "pid": 7, "uptimeSeconds": 61, "ready": ready,
        "state": state, "kube": { "namespace": "grid", "server": "https://api", "synced": true, "fresh": false },
        "journal": { "path": "/var/lib/hfd/journal.db", "bytes": 2048, "id": "j1", "writable": true },
        "templates": { "usable": 1, "broken": 1 }, "requests": { "open": 2, "terminal": 3 },
        "returns": { "open": 0, "ended": 0 }, "machines": { "ready": 5 }, "pods": { "cached": 5 },
        "queues": { "create": 1 }, "apiCalls": { "create pods": 5 }, "futureField": 1,
        "warnings": [{ "code": "broken_template", "severity": "error", "message": "t\u{1b}: no podSpec",
                       "action": "correct it" }],
    })
    .to_string()
}

#[test]
fn status_says_what_is_wrong_and_what_to_do_and_check_makes_it_an_exit_code() {
    let scratch = Scratch::new();
    let well = status(true, "serving");
    let blocked = status(false, "blocked");
    let script = vec![reply(&well), reply(&well), reply(&blocked), reply(&blocked), reply(&blocked)];
    let _daemon = FakeDaemon::start(&scratch.path("d.sock"), script);
    let ask = |args: &[&str]| hfctl(&scratch.path("d.sock")).arg("status").args(args).output().unwrap();
    let page = ask(&[]);
    for words in ["serving (pid 7, up 1m01s)", "t\\u{1b}: no podSpec (broken_template)", "correct it", "NOT FRESH"] {
        assert!(stdout(&page).contains(words), "{words}:\n{}", stdout(&page));
    }
    assert_eq!(ask(&["--check"]).status.code(), Some(0));
    assert_eq!(ask(&[]).status.code(), Some(0));
    assert_eq!(ask(&["--check"]).status.code(), Some(7));
    let json = ask(&["--check", "-o", "json"]);
    assert_eq!((json.status.code(), stdout(&json)), (Some(7), &*format!("{blocked}\n")));
}

#[test]
fn lists_are_tables_for_people_names_for_pipes_and_the_daemons_json_for_programs() {
    let scratch = Scratch::new();
    let list = json!({ "apiVersion": "hfd/v1", "total": 12, "items": [{
        "name": "abcdefghij234567-00000", "requestId": "abcdefghij234567", "template": "small\u{1b}]0;x\u{7}",
        "state": "pending", "result": "executing", "reason": "Unschedulable", "message": "m".repeat(300),
        "ageSeconds": 5 }] })
    .to_string();
    let daemon = FakeDaemon::start(&scratch.path("d.sock"), (0..4).map(|_| reply(&list)).collect());
    let ask = |args: &[&str]| {
        let output = hfctl(&scratch.path("d.sock")).args(["get", "machines"]).args(args).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).to_owned()
    };
    let table = ask(&["--request", "abcdefghij234567", "--template", "small", "--limit", "1"]);
    assert!(table.contains("Unschedulable") && table.contains("1 of 12"), "{table}");
    assert!(!table.contains('\u{1b}') && !table.contains(&"m".repeat(100)), "{table}");
    assert!(ask(&["-o", "wide"]).contains(&"m".repeat(300)));
    assert_eq!(ask(&["-o", "name"]), "abcdefghij234567-00000\n");
    assert_eq!(ask(&["-o", "json"]), format!("{list}\n"));
    let params = &daemon.requests()[0]["params"];
    assert_eq!(params, &json!({ "request": "abcdefghij234567", "template": "small", "limit": 1 }));
}

#[test]
fn requests_and_templates_are_listed_and_described() {
    let scratch = Scratch::new();
    let request = json!({ "requestId": "r1", "kind": "machine", "template": "small", "status": "complete_with_error",
        "count": 3, "succeeded": 1, "failed": 1, "executing": 1, "ageSeconds": 90, "acceptedAt": 1_734_619_942,
        "polled": true, "message": "one failed" });
    let machine = json!({ "name": "r1-00000", "requestId": "r1", "template": "small", "state": "ready",
        "result": "succeed", "node": "n1", "ip": "10.0.0.1", "ageSeconds": 90 });
    let version = "hfd/v1";
    let script = [
        json!({ "apiVersion": version, "total": 1, "items": [request] }),
        json!({ "apiVersion": version, "items": [{ "templateId": "small", "usable": false, "maxNumber": -1,
            "inUse": 0, "error": "no podSpec", "warnings": [], "source": "pod.yaml" }] }),
        json!({ "apiVersion": version, "request": request, "granted": 2, "deadlineSeconds": 300,
            "caller": { "uid": 1000, "pid": 42 }, "key": "k", "terminal": true, "machines": [machine],
            "machinesTotal": 3,
            "reasons": [{ "reason": "MaxNumber", "message": "maxNumber 2 reached", "machines": 1, "example": "r1-00002" }] }),
        json!({ "apiVersion": version, "machine": machine, "durable": { "uid": "u1", "tombstone": true },
            "pod": { "uid": "u1", "phase": "Running", "ready": true }, "returns": ["x1"], "next": "its pod is deleted",
            "queue": { "action": "delete", "inFlight": false, "attempts": 2, "nextTrySeconds": 4 } }),
    ];
    let _daemon = FakeDaemon::start(&scratch.path("d.sock"), script.map(|body| reply(&body.to_string())).to_vec());
    let ask = |args: &[&str], words: &[&str]| {
        let output = hfctl(&scratch.path("d.sock")).args(args).output().unwrap();
        let text = stdout(&output);
        assert!(output.status.success(), "{}", stderr(&output));
        for word in words {
            assert!(text.contains(word), "{word} in\n{text}");
        }
    };
    ask(&["get", "requests", "--open", "--kind", "machine"], &["r1", "complete_with_error", "1m30s", "one failed"]);
    ask(&["get", "templates"], &["small", "no limit", "no podSpec", "pod.yaml"]);
    ask(
        &["describe", "request", "r1"],
        &["2024-12-19T14:52:22Z", "uid 1000", "2 within maxNumber", "maxNumber 2 reached", "r1-00000", "1 of 3"],
    );
    ask(&["describe", "machine", "r1-00000"], &["its pod is deleted", "UID u1", "given back", "next try in 4s", "x1"]);
}

#[test]
fn a_daemon_of_another_version_is_noticed() {
    let scratch = Scratch::new();
    let _daemon = FakeDaemon::start(&scratch.path("d.sock"), vec![reply(r#"{"apiVersion":"hfd/v9","items":[]}"#)]);
    let output = hfctl(&scratch.path("d.sock")).args(["get", "templates"]).output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert!(stderr(&output).contains("hfd/v9"), "{}", stderr(&output));
}

#[test]
fn an_operators_command_says_what_the_daemon_did() {
    let scratch = Scratch::new();
    let script = vec![
        reply(r#"{"apiVersion":"hfd/v1","adoptedRequests":1,"adoptedMachines":2,"message":"adopted 2 machines"}"#),
        reply(r#"{"apiVersion":"hfd/v1","message":"bound to namespace u1"}"#),
    ];
    let daemon = FakeDaemon::start(&scratch.path("d.sock"), script);
    let rebuilt = hfctl(&scratch.path("d.sock")).args(["rebuild", "--from-cluster"]).output().unwrap();
    assert_eq!(stdout(&rebuilt), "adopted 2 machines\n");
    let accepted = hfctl(&scratch.path("d.sock")).args(["accept-namespace", "--uid", "u1"]).output().unwrap();
    assert_eq!(stdout(&accepted), "bound to namespace u1\n");
    assert_eq!(daemon.requests()[1]["params"], json!({ "uid": "u1" }));
}
