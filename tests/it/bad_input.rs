//! Bad input (`reliability.md`, "Caller"): refused with one JSON message that names the value and
//! what to do, nothing stored, the daemon unharmed.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::Command,
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Daemon, Input, Reply, Verb, World, eventually, process, script, template};

const SOON: Duration = Duration::from_secs(30);

/// After any of these the daemon serves as if nothing had been, and nothing is stored.
fn assert_unharmed(world: &World) {
    assert_eq!(world.known_requests(), 0, "something was stored");
    assert!(world.cluster.history().is_empty(), "something was created");
    world.bring_up("small", 1);
}

/// Bad input: no file, unreadable file, directory.
#[test]
fn files_that_are_missing_unreadable_or_directories_are_named_in_the_message() {
    let world = World::start();
    let missing = world.dir().join("work/hf_in_missing");
    let looped = world.dir().join("work/hf_in_loop");
    std::os::unix::fs::symlink(&looped, &looped).expect("a link to itself");
    // Readable by nobody, root included: reading it fails.
    let unreadable = std::path::Path::new("/proc/self/mem");
    for verb in Verb::ALL {
        for path in [missing.as_path(), looped.as_path(), world.dir(), unreadable] {
            let reply = world.scripts.call(verb, Input::Path(path));
            let shown = path.display().to_string();
            assert!(reply.refused().contains(&shown), "{} {shown}: {}", verb.name(), reply.stdout);
        }
    }
    assert_unharmed(&world);
}

/// Bad input: no file named at all, or too many.
#[test]
fn a_call_without_a_needed_file_or_with_two_is_refused() {
    let world = World::start();
    for verb in Verb::ALL {
        for arguments in [&[][..], &["-f"], &["a", "b"], &["-f", "a", "b"], &["--nonsense"]] {
            let mut command = world.scripts.command(verb, &json!({}));
            // The prepared command's own arguments are replaced.
            let mut plain = Command::new(command.get_program());
            plain.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?)))).args(arguments);
            command = plain;
            let reply = Reply::read(verb, &process::run(command, b"", SOON));
            // These two have nothing to ask for: without a file they ask about everything.
            let optional = matches!(verb, Verb::GetAvailableTemplates | Verb::GetReturnRequests);
            if !(optional && arguments.is_empty()) {
                reply.refused();
            }
        }
    }
    assert_unharmed(&world);
}

/// Bad input: empty, not UTF-8, not JSON, of another shape, nested 100,000 deep, duplicate keys.
#[test]
fn documents_that_are_no_documents_are_refused_by_all_verbs() {
    let world = World::start();
    let deep = [b"{\"template\":".to_vec(), b"[".repeat(100_000), b"]".repeat(100_000), b"}".to_vec()].concat();
    let deep_objects = [b"{\"a\":".repeat(100_000), b"1".to_vec(), b"}".repeat(100_000)].concat();
    let documents: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("white space", b" \n\t ".to_vec()),
        ("not UTF-8", b"{\"template\": \"\xff\xfe\"}".to_vec()),
        ("a byte order mark alone", b"\xef\xbb\xbf".to_vec()),
        ("words", b"please give me ten machines".to_vec()),
        ("cut short", b"{\"template\": {\"templateId\": \"sm".to_vec()),
        ("two documents", b"{} {}".to_vec()),
        ("a trailing comma", b"{\"machines\": [],}".to_vec()),
        ("an array", b"[]".to_vec()),
        ("a number", b"5".to_vec()),
        ("null", b"null".to_vec()),
        ("text", b"\"x\"".to_vec()),
        ("100,000 arrays deep", deep),
        ("100,000 objects deep", deep_objects),
        ("binary", (0..=255).collect()),
        ("NaN", b"{\"template\": NaN}".to_vec()),
    ];
    for verb in Verb::ALL {
        for (what, document) in &documents {
            let reply = world.scripts.call(verb, Input::File(document));
            assert!(reply.code == 1, "{} took {what}: {}", verb.name(), reply.stdout);
            assert!(reply.stdout.len() < 2_000, "{} answers {what} with {} bytes", verb.name(), reply.stdout.len());
        }
    }
    assert_unharmed(&world);
}

/// Bad input: duplicate keys say two things at once.
#[test]
fn a_document_that_says_two_things_at_once_is_refused() {
    let world = World::start();
    let documents = [
        (Verb::RequestMachines, &br#"{"template":{"templateId":"small","machineCount":1,"machineCount":1000}}"#[..]),
        (Verb::RequestMachines, br#"{"template":{"templateId":"small","machineCount":1},"template":{}}"#),
        (Verb::RequestReturnMachines, br#"{"machines":[{"name":"a","name":"b"}]}"#),
        (Verb::RequestReturnMachines, br#"{"machines":[],"machines":[{"name":"a"}]}"#),
        (Verb::GetRequestStatus, br#"{"requests":[{"requestId":"a","requestId":"b"}]}"#),
    ];
    for (verb, document) in documents {
        world.scripts.call(verb, Input::File(document)).refused();
    }
    assert_unharmed(&world);
}

/// Bad input: 20 MB.
#[test]
fn a_document_of_twenty_megabytes_is_answered_by_a_message_or_an_answer_and_harms_nobody() {
    let world = World::start();
    let padding = "x".repeat(20_000_000);
    let document = json!({"template": {"templateId": padding, "machineCount": 1}}).to_string();
    let reply = world.scripts.call(Verb::RequestMachines, Input::File(document.as_bytes()));
    reply.refused();
    assert!(reply.stdout.len() < 2_000);
    let garbage = vec![b'['; 20_000_000];
    for verb in Verb::ALL {
        world.scripts.call(verb, Input::File(&garbage)).refused();
    }
    assert_unharmed(&world);
}

/// Bad input: `machineCount` of every wrong kind is in `interface::request_machines`; here are wrong kinds of
/// all the other fields.
#[test]
fn fields_of_a_wrong_kind_are_refused_and_named() {
    let world = World::start();
    let documents = [
        (Verb::RequestMachines, json!({"template": {"templateId": ["small"], "machineCount": 1}}), "templateId"),
        (Verb::RequestMachines, json!({"template": 7}), "template"),
        (Verb::GetRequestStatus, json!({"requests": "all"}), "requests"),
        (Verb::GetRequestStatus, json!({"requests": [{"requestId": 7}]}), "requestId"),
        (Verb::GetRequestStatus, json!({"requests": [7]}), "requests"),
        (Verb::GetRequestStatus, json!({"requests": [{}]}), "requestId"),
        (Verb::RequestReturnMachines, json!({"machines": [{"name": 7}]}), "name"),
        (Verb::RequestReturnMachines, json!({"machines": [{"machineId": "x"}]}), "name"),
        (Verb::RequestReturnMachines, json!({"machines": [[]]}), "machines"),
        (Verb::GetReturnRequests, json!({"machines": "all"}), "machines"),
        (Verb::GetReturnRequests, json!({"machines": [{"name": {}}]}), "name"),
    ];
    for (verb, document, _field) in documents {
        let reply = world.call(verb, &document);
        assert!(reply.code == 1, "{} took {document}: {}", verb.name(), reply.stdout);
    }
    assert_unharmed(&world);
}

/// Bad input: 10,000 ids in one call, duplicates among them; and more than is allowed.
#[test]
fn ten_thousand_ids_and_names_in_one_call_are_answered_and_more_than_allowed_refused() {
    let world = World::build().set_literal("limits.max_ids_per_call", "10000").start();
    let ids: Vec<Value> = (0..10_000).map(|number| json!({"requestId": format!("id-{}", number % 7_000)})).collect();
    let reply = world.call(Verb::GetRequestStatus, &json!({ "requests": ids }));
    assert_eq!(reply.ok()["requests"].as_array().map(Vec::len), Some(10_000));
    let machines: Vec<Value> = (0..10_000).map(|number| json!({"name": format!("nobody-{number}")})).collect();
    assert_eq!(world.call(Verb::GetReturnRequests, &json!({ "machines": machines })).ok()["requests"], json!([]));
    let many: Vec<Value> = (0..10_001).map(|number| json!({"requestId": format!("id-{number}")})).collect();
    let refused = world.call(Verb::GetRequestStatus, &json!({ "requests": many }));
    assert!(refused.refused().contains("10001"), "{}", refused.stdout);
    assert_unharmed(&world);
}

/// Bad input: daemon not running; socket owned by nobody; a path that is no socket.
#[test]
fn without_a_daemon_every_verb_says_so_in_json_and_fails() {
    let mut world = World::start();
    world.daemon.kill9();
    let plain = world.dir().join("plain-file");
    fs::write(&plain, b"").expect("ours");
    world.assert_all_verbs_fail();
    let dead = world.daemon.socket().to_owned();
    let missing = world.dir().join("no-such.sock");
    for socket in [&missing, &plain, &world.dir().to_owned()] {
        world.scripts.env("HFD_SOCKET", &socket.display().to_string());
        for verb in Verb::ALL {
            let input = if verb == Verb::RequestMachines {
                json!({"template": {"templateId": "small", "machineCount": 1}})
            } else {
                json!({"machines": [{"name": "x"}]})
            };
            let reply = world.scripts.call(verb, Input::File(input.to_string().as_bytes()));
            assert!(reply.refused().contains(&socket.display().to_string()), "{}: {}", verb.name(), reply.stdout);
        }
    }
    world.daemon.start_again();
    world.wait_synced();
    world.scripts.env("HFD_SOCKET", &dead.display().to_string());
    assert_unharmed(&world);
}

/// Bad input: a half-written frame; a client that vanishes; slow-loris connections; garbage instead of HTTP.
#[test]
fn half_written_frames_and_vanishing_clients_leave_the_daemon_unharmed() {
    let world = World::start();
    let connect = || UnixStream::connect(world.daemon.socket()).expect("the daemon listens");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"hf.requestMachines","params":{"input":{"template":{"templateId":"small","machineCount":1}}}}"#;
    let whole = format!(
        "POST / HTTP/1.1\r\nHost: hfd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut slow = Vec::new();
    for cut in [1, 20, 60, whole.len() - body.len(), whole.len() - 40, whole.len() - 1] {
        let mut stream = connect();
        stream.write_all(&whole.as_bytes()[..cut]).expect("the socket takes it");
        slow.push(stream);
        let mut vanishes = connect();
        vanishes.write_all(&whole.as_bytes()[..cut]).expect("the socket takes it");
    }
    for garbage in [&b"\x00\x01\x02\xff"[..], b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"{\"jsonrpc\":\"2.0\"}\n"] {
        let mut stream = connect();
        stream.write_all(garbage).expect("the socket takes it");
        stream.shutdown(std::net::Shutdown::Write).expect("ours");
        let mut answer = Vec::new();
        stream.set_read_timeout(Some(SOON)).expect("ours");
        // Whatever it answers, or nothing: it ends.
        stream.read_to_end(&mut answer).expect("the daemon ends the connection");
    }
    world.templates();
    drop(slow);
    assert_unharmed(&world);
}

/// Bad input: calls that are JSON-RPC but none of ours.
#[test]
fn unknown_methods_and_wrong_parameters_are_typed_errors() {
    let world = World::start();
    let call = |body: &str| {
        let mut stream = UnixStream::connect(world.daemon.socket()).expect("the daemon listens");
        stream.set_read_timeout(Some(SOON)).expect("ours");
        let head = format!(
            "POST / HTTP/1.1\r\nHost: hfd\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()))
            .expect("the socket takes it");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    assert!(call(r#"{"jsonrpc":"2.0","id":1,"method":"no.such","params":{}}"#).contains("-32601"));
    assert!(call("not json").contains("-32700"));
    let params = r#"{"jsonrpc":"2.0","id":1,"method":"hf.requestMachines","params":{"input":5,"nonsense":[]}}"#;
    assert!(call(params).contains("\"error\""));
    assert_unharmed(&world);
}

/// reliability.md, Caller: SIGKILL of a script or of hfctl at any point leaves whole requests or none.
#[test]
fn scripts_killed_at_any_point_leave_whole_requests_or_none() {
    let world = World::start();
    let input = json!({"template": {"templateId": "small", "machineCount": 2}});
    for pause in 0..12 {
        let mut child = world.scripts.command(Verb::RequestMachines, &input).spawn().expect("the script starts");
        // Not synchronisation: the kill is meant to strike anywhere.
        thread::sleep(Duration::from_millis(pause));
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }
    let list = world.hfctl_json(&["get", "requests"]);
    let requests = list["items"].as_array().expect("a list");
    assert!(requests.iter().all(|request| request["count"] == 2), "{list}");
    eventually("each accepted request's pods are there", SOON, || {
        let known = world.known_requests();
        (world.cluster.managed().len() as u64 == 2 * known).then_some(())
    });
    world.bring_up("small", 1);
}

/// reliability.md, Caller: 500 callers at once.
#[test]
fn five_hundred_callers_at_once_are_all_answered() {
    let world = World::start();
    let id = world.request("small", 3);
    world.wait_end(&id);
    let input = json!({"requests": [{"requestId": id}]}).to_string().into_bytes();
    thread::scope(|scope| {
        let callers: Vec<_> =
            (0..500).map(|_| scope.spawn(|| world.daemon.hfctl(&["get-request-status", "-f", "-"], &input))).collect();
        for caller in callers {
            let finished = caller.join().expect("no caller panics");
            let reply = Reply::read(Verb::GetRequestStatus, &finished);
            assert_eq!(reply.ok()["requests"][0]["status"], "complete");
        }
    });
}

/// Bad input: a state directory that can't be written.
#[test]
fn a_state_directory_that_can_not_be_made_is_named_at_start() {
    let mut world = World::start();
    world.daemon.terminate();
    let file = world.dir().join("plain-file");
    fs::write(&file, b"").expect("ours");
    let spec = world.daemon.spec();
    spec.state_dir = file.join("state");
    let log = spec.dir.join("refused.log");
    let mut refused = process::Process::start("hfd", spec.command(), &log);
    assert!(!refused.ended(SOON).success());
    assert!(refused.log().contains("plain-file"), "{}", refused.log());
}

/// Bad input: a kubeconfig that is missing or points nowhere: hfd serves what it knows, says so, recovers.
#[test]
fn a_kubeconfig_that_is_missing_or_points_nowhere_is_said_and_recovered_from() {
    let mut world = World::start();
    let id = world.request("small", 2);
    let end = world.wait_end(&id);
    let good = fs::read(world.cluster.kubeconfig()).expect("the cluster wrote it");
    let file = world.dir().join("kubeconfig-of-hfd");
    world.daemon.spec().kubeconfig.clone_from(&file);
    // Nobody listens on the discard port of loopback.
    let endpoint = world.cluster.address().to_owned();
    let nowhere = String::from_utf8_lossy(&good).replace(&endpoint, "127.0.0.1:9");
    for content in [None, Some("not: [a kubeconfig"), Some(""), Some(nowhere.as_str())] {
        match content {
            None => drop(fs::remove_file(&file)),
            Some(text) => template::replace(&file, text.as_bytes()),
        }
        world.daemon.crash_and_restart();
        assert_eq!(world.status(&id), end);
        assert_eq!(world.templates().len(), 1);
        world.wait_status_says(&["\"synced\":false"]);
        template::replace(&file, &good);
        world.wait_synced();
        assert_eq!(world.status(&id), end);
    }
    world.bring_up("small", 1);
}

/// hfd: a clean stop on SIGTERM, also under load; operators.md: calls that broke are repeated by hfctl.
#[test]
fn sigterm_under_load_stops_cleanly_and_loses_nothing() {
    let mut world = World::start();
    let id = world.request("small", 200);
    let status = world.daemon.terminate();
    assert!(status.success(), "{status:?}");
    assert!(!world.daemon.socket().exists() || UnixStream::connect(world.daemon.socket()).is_err());
    world.daemon.start_again();
    assert_eq!(world.wait_end(&id).status, "complete");
    world.assert_no_pod_twice();
}

/// hfctl: `--timeout`: a daemon that hangs is given up in time, with a JSON message.
#[test]
fn a_daemon_that_hangs_is_given_up_in_time() {
    let mut world = World::start();
    world.daemon.process().signal(Signal::STOP);
    let finished = world.daemon.hfctl(&["--timeout", "1", "get-available-templates", "-f", "-"], b"{}");
    world.daemon.process().signal(Signal::CONT);
    script::Reply::read(Verb::GetAvailableTemplates, &finished).refused();
    let daemon: &Daemon = &world.daemon;
    assert!(daemon.status().is_some());
    assert_unharmed(&world);
}
