//! reliability.md, "Caller": what a caller may do to us. Documents that are none are in `bad_input`.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tests::{Input, Reply, Verb, World, eventually, names, process};

use super::SOON;

/// Afterwards it serves, and nothing was stored or made.
#[track_caller]
fn assert_unharmed(world: &World) {
    assert_eq!(world.known_requests(), 0, "something was stored");
    assert!(world.cluster.history().is_empty(), "something was created");
    world.bring_up("small", 1);
}

#[test]
fn a_file_of_a_hundred_megabytes_is_refused_by_each_verb() {
    let world = World::start();
    let path = world.dir().join("work/hf_in_large");
    let mut file = fs::File::create(&path).expect("the test's directory can be written");
    file.write_all(b"{\"template\":{\"templateId\":\"").expect("the test's directory can be written");
    // A hole reads as zeros and takes no room.
    file.seek(SeekFrom::Start(100 << 20)).expect("a file can have a hole");
    file.write_all(b"\",\"machineCount\":1}}").expect("the test's directory can be written");
    drop(file);
    for verb in Verb::ALL {
        let reply = world.scripts.call(verb, Input::Path(&path));
        reply.refused();
        assert!(reply.stdout.len() < 2_000, "{} answers with {} bytes", verb.name(), reply.stdout.len());
    }
    assert_unharmed(&world);
}

/// Names and ids that look like paths, patterns, flags, labels or nothing at all; each by each verb that takes one.
#[test]
fn names_that_are_none_are_answered_and_reach_neither_files_nor_the_api_server() {
    let world = World::start();
    world.cluster.reset_counters();
    let odd = [
        "../../etc/passwd",
        "/",
        "..",
        "a/b",
        "%2e%2e%2f",
        "?labelSelector=x",
        "--force",
        "$(reboot)",
        "`id`",
        "a\nb",
        "\u{0}",
        "\u{202e}abc",
        "é",
        "UPPER-00000",
        "aaaaaaaaaaaaaaaa-0000",
        "aaaaaaaaaaaaaaaa-000000",
    ];
    let named: Vec<Value> = odd.iter().map(|name| json!({ "name": name })).collect();
    let asked: Vec<Value> = odd.iter().map(|id| json!({ "requestId": id })).collect();
    let told = world.call(Verb::GetRequestStatus, &json!({ "requests": asked }));
    assert_eq!(told.ok()["requests"].as_array().map(Vec::len), Some(odd.len()));
    assert_eq!(world.call(Verb::GetReturnRequests, &json!({ "machines": named })).ok()["requests"], json!([]));
    for name in odd {
        let input = json!({"template": {"templateId": name, "machineCount": 1}});
        world.call(Verb::RequestMachines, &input).refused();
    }
    let ret = world.call(Verb::RequestReturnMachines, &json!({ "machines": named })).ok()["requestId"].clone();
    let end = world.wait_end(ret.as_str().expect("an id"));
    assert_eq!(end.machines.len(), odd.len(), "{end:#?}");
    assert_eq!(end.with("succeed").len(), odd.len(), "what can't be is gone: {end:#?}");
    assert_eq!((world.cluster.count("delete pods"), world.cluster.count("create pods")), (0, 0));
    world.bring_up("small", 1);
}

/// One id and one name, thousands of times in one call: answered, returned once.
#[test]
fn duplicate_ids_and_names_are_answered_and_do_nothing_twice() {
    let world = World::start();
    let id = world.request("small", 2);
    let end = world.wait_end(&id);
    let asked: Vec<Value> = (0..3_000).map(|_| json!({ "requestId": id })).collect();
    let told = world.call(Verb::GetRequestStatus, &json!({ "requests": asked }));
    let told = told.ok()["requests"].as_array().expect("a list");
    assert!(!told.is_empty() && told.iter().all(|entry| entry["status"] == "complete"));
    world.cluster.reset_counters();
    let machines: Vec<Value> = (0..3_000).map(|_| json!({"name": end.machines[0].name})).collect();
    let ret = world.call(Verb::RequestReturnMachines, &json!({ "machines": machines })).ok()["requestId"].clone();
    let gone = world.wait_end(ret.as_str().expect("an id"));
    assert_eq!((gone.status.as_str(), gone.machines.len()), ("complete", 1), "{gone:#?}");
    assert_eq!(world.cluster.count("delete pods"), 1);
    assert_eq!(world.reclaims(&names(&end.machines[1..])), []);
}

/// Slow-loris callers take every connection there is: they are sent away after their time, and each verb is answered.
#[test]
fn callers_that_send_nothing_hold_no_connection_for_ever() {
    let world = World::build().set_literal("limits.max_connections", "6").start();
    let slow: Vec<UnixStream> = (0..30)
        .map(|number| {
            let mut stream = UnixStream::connect(world.daemon.socket()).expect("the daemon listens");
            let begun = &b"POST / HTTP/1.1\r\nHost: hfd\r\n"[..number % 28];
            stream.write_all(begun).expect("the socket takes it");
            stream
        })
        .collect();
    let machines = world.bring_up("small", 1);
    assert_eq!(world.templates().len(), 1);
    assert_eq!(world.reclaims(&names(&machines)), []);
    assert_eq!(world.wait_end(&world.give_back(&names(&machines))).status, "complete");
    drop(slow);
}

/// A caller whom the socket's mode keeps out is told so by each verb, and nothing happens.
#[test]
fn a_caller_without_permission_is_told_so_by_each_verb() {
    let world = World::start();
    let root = rustix::process::geteuid().is_root();
    let open = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the test's files are ours");
    };
    // As root, another user calls; else the socket is closed to ourselves.
    open(world.dir(), 0o755);
    open(&world.dir().join("work"), 0o755);
    open(world.daemon.socket(), if root { 0o660 } else { 0o000 });
    for verb in Verb::ALL {
        let input = json!({"template": {"templateId": "small", "machineCount": 1}, "machines": [{"name": "x"}],
            "requests": [{"requestId": "x"}]});
        let prepared = world.scripts.command(verb, &input);
        let mut command = if root { Command::new("setpriv") } else { Command::new(prepared.get_program()) };
        if root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(prepared.get_program());
        }
        command.env_clear().envs(prepared.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.args(prepared.get_args()).current_dir("/");
        let reply = Reply::read(verb, &process::run(command, b"", SOON));
        let message = reply.refused().to_lowercase();
        assert!(message.contains("permission"), "{}: {message}", verb.name());
    }
    open(world.daemon.socket(), 0o660);
    assert_unharmed(&world);
}

/// SIGKILL strikes the script, which by then is hfctl, at any point of each verb.
#[test]
fn each_script_killed_at_any_point_leaves_whole_things_or_none() {
    let world = World::start();
    let machines = world.bring_up("small", 8);
    for (machine, pause) in machines.iter().zip([0, 1, 2, 3, 5, 8, 12, 20]) {
        for verb in Verb::ALL {
            let input = json!({"template": {"templateId": "small", "machineCount": 2},
                "machines": [{"name": machine.name}], "requests": [{"requestId": "x"}]});
            let mut child = world.scripts.command(verb, &input).spawn().expect("the script starts");
            // Not synchronisation: the kill is meant to strike anywhere.
            thread::sleep(Duration::from_millis(pause));
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
    }
    // What was taken before its caller died goes on to its end, also what is taken after this list; nothing is half done.
    world.checker().rebuilt = true;
    eventually("the pods are exactly those of what was taken", SOON, || {
        let list = world.hfctl_json(&["get", "requests"]);
        let (mut up, mut returned) = (0, 0);
        for item in list["items"].as_array().expect("a list") {
            let id = item["requestId"].as_str().or(item["id"].as_str()).expect("an id");
            let end = world.wait_end(id);
            assert_eq!(end.status, "complete", "{id}: {end:#?}");
            match end.machines.len() {
                1 => returned += 1,
                count => up += count,
            }
        }
        assert!(returned <= machines.len() && up >= machines.len(), "{list}");
        (world.cluster.managed().len() == up - returned).then_some(())
    });
    world.assert_no_pod_twice();
}
