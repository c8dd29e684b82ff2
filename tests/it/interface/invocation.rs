//! `interface.md`, "Invocation": how scripts are called and what their callers can count on.

use std::{fs, thread, time::Duration};

use serde_json::{Value, json};
use tests::{Checker, Input, Reply, Verb, World, eventually};

/// interface.md, Invocation: `-f FILE`, `FILE` and `-` are accepted.
#[test]
fn all_five_scripts_read_their_input_from_dash_f_a_bare_path_and_stdin() {
    let world = World::start();
    let documents = [
        (Verb::GetAvailableTemplates, json!({})),
        (Verb::RequestMachines, json!({"template": {"templateId": "small", "machineCount": 1}})),
        (Verb::GetRequestStatus, json!({"requests": [{"requestId": "aaaaaaaaaaaaaaaa"}]})),
        (Verb::RequestReturnMachines, json!({"machines": [{"name": "elsewhere"}]})),
        (Verb::GetReturnRequests, json!({"machines": [{"name": "elsewhere"}]})),
    ];
    for (verb, document) in documents {
        let bytes = document.to_string().into_bytes();
        for input in [Input::File(&bytes), Input::BarePath(&bytes), Input::Stdin(&bytes)] {
            let reply = world.scripts.call(verb, input);
            reply.ok();
            Checker::read_form(&reply).unwrap_or_else(|error| panic!("{error:?}"));
        }
    }
}

/// interface.md, Invocation: the contract on output; operators.md: camelCase names of the verbs.
#[test]
fn hfctl_knows_each_verb_by_both_its_names() {
    let world = World::start();
    for verb in Verb::ALL {
        let input: Value = match verb {
            Verb::RequestMachines => json!({"template": {"templateId": "small", "machineCount": 1}}),
            Verb::RequestReturnMachines => json!({"machines": [{"name": "elsewhere"}]}),
            _ => json!({}),
        };
        for name in [verb.name(), verb.command()] {
            let finished = world.daemon.hfctl(&[name, "-f", "-"], input.to_string().as_bytes());
            Reply::read(verb, &finished).ok();
        }
    }
}

/// interface.md, Invocation: one JSON document and exit 1 on failure; stderr stays out of stdout.
#[test]
fn a_failure_is_one_message_on_stdout_and_exit_one() {
    let world = World::start();
    let reply = world.call(Verb::RequestMachines, &json!({"template": {"templateId": "nope", "machineCount": 1}}));
    assert!(reply.refused().contains("nope"), "the message does not name the template: {}", reply.stdout);
    assert!(reply.json.as_object().is_some_and(|map| map.keys().all(|key| key == "message")), "{}", reply.stdout);
}

/// interface.md, Invocation: HostFactory gives no login shell, and the scripts find hfctl without one; where it is
/// nowhere at all, that too is a JSON message.
#[test]
fn a_script_that_finds_no_hfctl_still_prints_a_json_message() {
    let mut world = World::start();
    world.scripts.env("PATH", "/usr/bin:/bin");
    for verb in Verb::ALL {
        // Installed in one of the usual prefixes it may work; otherwise it says so. `call` checks the form of both.
        world.scripts.call(verb, Input::File(b"{}"));
    }
}

/// interface.md, Invocation: scripts are 0755, POSIX sh, one short exec.
#[test]
fn the_scripts_are_short_executable_posix_sh() {
    use std::os::unix::fs::PermissionsExt;
    for verb in Verb::ALL {
        let file = verb.script();
        let mode = fs::metadata(&file).expect("the script is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "{}", file.display());
        let text = fs::read_to_string(&file).expect("the script is text");
        assert!(text.starts_with("#!/bin/sh\n"), "{}", file.display());
        let code: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect();
        assert!(code.len() <= 15, "{} has {} lines of code", file.display(), code.len());
        assert!(text.contains("exec "), "{}", file.display());
    }
}

/// interface.md, Invocation: single objects for arrays, `{}`, missing and unknown keys are accepted; arrays come back.
#[test]
fn single_objects_missing_keys_and_unknown_keys_are_accepted() {
    let world = World::start();
    let reply = world.call(
        Verb::RequestMachines,
        &json!({"template": {"templateId": "small", "machineCount": 1, "rc_account": "x", "userData": {"a": [1]}},
                "dynamic": true}),
    );
    let id = reply.ok()["requestId"].as_str().expect("an id");
    let machines = world.wait_end(id).machines;
    let one = world.call(Verb::GetRequestStatus, &json!({"requests": {"requestId": id, "extra": null}}));
    assert!(one.ok()["requests"].is_array());
    for empty in [json!({}), json!({"requests": []}), json!({"other": 1})] {
        let none = world.call(Verb::GetRequestStatus, &empty);
        assert_eq!(none.ok()["requests"], json!([]), "{empty}");
    }
    let asked = world.call(Verb::GetReturnRequests, &json!({"machines": {"name": machines[0].name}}));
    assert_eq!(asked.ok()["requests"], json!([]));
    let ret = world.give_back_as(&json!({"machines": {"name": machines[0].name, "machineId": machines[0].id}}));
    assert_eq!(world.wait_end(&ret).status, "complete");
}

/// interface.md, Invocation: calls overlap.
#[test]
fn overlapping_calls_of_all_verbs_are_all_answered() {
    let world = World::start();
    let id = world.request("small", 5);
    thread::scope(|scope| {
        for _ in 0..6 {
            let (scripts, id) = (&world.scripts, &id);
            scope.spawn(move || {
                for verb in [Verb::GetAvailableTemplates, Verb::GetRequestStatus, Verb::GetReturnRequests] {
                    let input = json!({"requests": [{"requestId": id}]}).to_string();
                    let reply = scripts.call(verb, Input::File(input.as_bytes()));
                    reply.ok();
                    Checker::read_form(&reply).unwrap_or_else(|error| panic!("{error:?}"));
                }
                let input = json!({"template": {"templateId": "small", "machineCount": 1}}).to_string();
                scripts.call(Verb::RequestMachines, Input::File(input.as_bytes())).ok();
            });
        }
    });
    assert_eq!(world.wait_end(&id).status, "complete");
    eventually("all seven requests' pods are up", Duration::from_secs(30), || {
        (world.cluster.managed().len() == 11).then_some(())
    });
}

/// operators.md, Configuration: a key left in the environment would merge every request into one.
#[test]
fn a_request_id_left_in_the_environment_is_never_used_as_key() {
    let mut world = World::start();
    for key in ["HF_K8S_REQUEST_ID", "HFD_REQUEST_ID", "HFCTL_REQUEST_ID"] {
        world.scripts.env(key, "left-behind");
    }
    assert_ne!(world.request("small", 1), world.request("small", 1));
}
