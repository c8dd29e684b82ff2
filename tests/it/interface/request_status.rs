//! `interface.md`, "getRequestStatus": the tables, row by row.

use std::time::Duration;

use serde_json::json;
use tests::{Template, Verb, World, eventually, holds_for};

/// interface.md, table: not created yet -> executing, running, no id, no address, and an integer launch time.
#[test]
fn a_machine_that_is_not_created_yet_executes() {
    let world = World::start();
    world
        .cluster
        .pod_fault("create", &json!({"status": {"code": 503, "reason": "ServiceUnavailable", "message": "no"}}));
    let id = world.request("small", 2);
    let status = world.status(&id);
    assert_eq!(status.status, "running");
    assert_eq!(status.with("executing").len(), 2);
    assert!(status.machines.iter().all(|machine| machine.id.is_empty() && machine.ip.is_empty()));
    world.cluster.end_faults();
    assert_eq!(world.wait_end(&id).status, "complete");
}

/// interface.md, table: Pending -> executing; its pod's UID is its machineId.
#[test]
fn a_pending_machine_executes_under_its_pods_uid() {
    let world = World::build().template(Template::new("stuck").fate("never-scheduled")).start();
    let id = world.request("stuck", 1);
    let status = world.wait(&id, "with its id", |status| !status.only().id.is_empty());
    let machine = status.only();
    assert_eq!((machine.result.as_str(), machine.status.as_str()), ("executing", "running"));
    let pod = world.cluster.pod(&machine.name).expect("it was created");
    assert_eq!(pod["metadata"]["uid"], machine.id.as_str());
}

/// interface.md, table: Running but not Ready -> executing, until the deadline; lifecycle.md 3.
#[test]
fn a_running_machine_that_is_not_ready_executes_until_the_deadline() {
    let world = World::build()
        .template(Template::new("cold").fate("never-ready"))
        .set("machines.ready_deadline", "10s")
        .start();
    let id = world.request("cold", 1);
    eventually("the pod runs", Duration::from_secs(20), || {
        let name = world.status(&id).only().name.clone();
        world.cluster.pod(&name).filter(|pod| pod["status"]["phase"] == "Running")
    });
    assert_eq!(world.status(&id).only().result, "executing");
    world.wait_end(&id).failure();
    world.wait_no_pods();
}

/// interface.md, table: Ready with an address -> succeed, running; the pod's name is the host's name.
#[test]
fn a_ready_machine_succeeds_with_address_and_launch_time() {
    let world = World::start();
    let machine = world.bring_up("small", 1).remove(0);
    let pod = world.cluster.pod(&machine.name).expect("it is ready");
    assert_eq!(pod["status"]["podIP"], machine.ip.as_str());
    assert_eq!(pod["spec"]["hostname"], machine.name.as_str());
}

/// interface.md, table: exited, failed, killed for memory, image not pulled, crash looping -> fail with its reason.
#[test]
fn pods_that_can_not_become_ready_fail_with_a_reason_a_person_can_act_on() {
    let fates = [
        ("exit-0", "exit-0", &["0"][..]),
        ("exit-3", "exit-3", &["3"][..]),
        ("oom", "oom", &["oom"][..]),
        ("pull", "image-pull-failure", &["image"][..]),
        ("loop", "crash-loop", &["crashloop"][..]),
        ("full", "never-scheduled", &["unschedulable", "nodes"][..]),
    ];
    let mut build = World::build().set("machines.ready_deadline", "10s");
    for (id, fate, _) in fates {
        build = build.template(Template::new(id).fate(fate));
    }
    let world = build.start();
    let requests = fates.map(|(id, _, words)| (world.request(id, 1), id, words));
    for (request, id, words) in requests {
        let reason = world.wait_end(&request).failure();
        let said = words.iter().any(|word| reason.replace(['-', ' '], "").contains(word));
        assert!(said, "{id}: none of {words:?} in {reason:?}");
    }
    world.wait_no_pods();
}

/// interface.md, table: deleted by someone before the request was terminal -> fail, and not created again.
#[test]
fn a_pod_deleted_before_its_request_ended_fails_its_machine() {
    let world = World::build().template(Template::new("slow").annotate("sandbox.hfd/start-delay", "30s")).start();
    let id = world.request("slow", 1);
    let name = world.wait(&id, "created", |status| !status.only().id.is_empty()).only().name.clone();
    world.cluster.delete_pod(&name);
    world.wait_end(&id).failure();
    world.wait_no_pods();
    world.assert_no_pod_twice();
}

/// interface.md, table: lost with its node before the request was terminal -> fail.
#[test]
fn a_machine_lost_with_its_node_before_its_request_ended_fails() {
    let world = World::build()
        .template(Template::new("slow").annotate("sandbox.hfd/start-delay", "30s"))
        .cluster(|cluster| cluster.nodes = 1)
        .start();
    let id = world.request("slow", 1);
    let name = world.wait(&id, "created", |status| !status.only().id.is_empty()).only().name.clone();
    let node = eventually("it is scheduled", Duration::from_secs(20), || {
        world.cluster.pod(&name)?["spec"]["nodeName"].as_str().map(str::to_owned)
    });
    world.cluster.node(&node, "lose");
    world.wait_end(&id).failure();
    world.assert_no_pod_twice();
}

/// interface.md, table: create refused for good -> fail with the API server's own words, without retrying.
#[test]
fn a_create_refused_for_good_fails_with_the_servers_words_and_is_not_repeated() {
    let refusals = [
        (403, "Forbidden", "pods is forbidden: exceeded quota: workers, requested: pods=1"),
        (403, "Forbidden", "admission webhook policy.example denied the request"),
        (422, "Invalid", "Pod is invalid: spec.containers: Required value"),
        (400, "BadRequest", "the object provided is unrecognized"),
        (413, "RequestEntityTooLarge", "request entity is much too large"),
    ];
    let world = World::start();
    for (code, reason, message) in refusals {
        world.cluster.reset_counters();
        world.cluster.pod_fault("create", &json!({"status": {"code": code, "reason": reason, "message": message}}));
        let id = world.request("small", 2);
        let status = world.wait_end(&id);
        assert_eq!(status.with("fail").len(), 2, "{status:#?}");
        assert!(status.machines.iter().all(|machine| machine.message.contains(message)), "{status:#?}");
        assert_eq!(world.cluster.count("create pods"), 2, "{code} was repeated");
        world.cluster.end_faults();
    }
    world.bring_up("small", 1);
}

/// interface.md, table: returned before ready -> fail, "returned before ready".
#[test]
fn a_machine_returned_before_it_was_ready_fails_in_its_request() {
    let world = World::build().template(Template::new("slow").annotate("sandbox.hfd/start-delay", "60s")).start();
    let id = world.request("slow", 1);
    let name = world.status(&id).only().name.clone();
    let ret = world.give_back(&[&name]);
    assert!(world.wait_end(&id).failure().contains("returned before ready"));
    assert_eq!(world.wait_end(&ret).status, "complete");
    world.wait_no_pods();
}

/// interface.md: complete_with_error lists every machine with its own result; judged against the count asked for.
#[test]
fn a_mixed_request_ends_with_error_and_lists_every_machine() {
    let world = World::start();
    world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 2,
        "action": {"status": {"code": 422, "reason": "Invalid", "message": "no such luck"}}}));
    let status = world.wait_end(&world.request("small", 5));
    assert_eq!(status.status, "complete_with_error");
    assert_eq!((status.with("succeed").len(), status.with("fail").len()), (3, 2));
}

/// interface.md: `running` while any of the requested count executes, although others are ready.
#[test]
fn a_request_runs_as_long_as_one_machine_executes() {
    let world = World::start();
    let fault =
        world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 1, "action": {"hang": true}}));
    let id = world.request("small", 4);
    world.wait(&id, "three ready", |status| status.with("succeed").len() == 3);
    holds_for("it runs", Duration::from_millis(300), || world.status(&id).status == "running");
    world.cluster.end_fault(fault);
    world.give_back(&[&world.status(&id).with("executing")[0].name]);
    assert_eq!(world.wait_end(&id).status, "complete_with_error");
}

/// interface.md: a terminal answer is frozen, whatever becomes of the machines; also across a crash.
#[test]
fn a_terminal_answer_never_changes() {
    let mut world = World::start();
    let id = world.request("small", 2);
    let end = world.wait_end(&id);
    world.cluster.remove_pod(&end.machines[0].name);
    eventually("the loss is seen", Duration::from_secs(20), || (world.all_reclaims().len() == 1).then_some(()));
    assert_eq!(world.status(&id), end);
    world.crash();
    assert_eq!(world.status(&id), end);
    let ret = world.give_back(&tests::names(&end.machines));
    world.wait_end(&ret);
    assert_eq!(world.status(&id), end);
}

/// interface.md: answers in input order; an unknown id is told so, and loses no other answer of the call.
#[test]
fn answers_come_in_input_order_and_an_unknown_id_spoils_none() {
    let world = World::start();
    let machines = world.bring_up("small", 1);
    let (first, second) = (world.request("small", 1), world.request("small", 1));
    let ret = world.give_back(&[&machines[0].name]);
    let ids = [second.as_str(), "no-such-id", ret.as_str(), "", first.as_str(), "/etc", second.as_str()];
    let told = world.statuses(&ids);
    for unknown in [1, 3, 5] {
        assert_eq!(told[unknown].status, "complete_with_error");
        assert!(told[unknown].machines.is_empty() && !told[unknown].message.is_empty());
    }
    assert_eq!((told[0].machines.len(), told[2].machines.len(), told[4].machines.len()), (1, 1, 1));
}

/// interface.md, return request: executing and shutting-down until the pod is gone, then succeed and terminated.
#[test]
fn a_return_executes_until_the_pod_is_gone() {
    let world = World::build().template(Template::new("slow").annotate("sandbox.hfd/stop-delay", "1500ms")).start();
    let machine = world.bring_up("slow", 1).remove(0);
    let ret = world.give_back(&[&machine.name]);
    let first = world.status(&ret);
    assert_eq!(first.status, "running");
    assert_eq!((first.only().result.as_str(), first.only().status.as_str()), ("executing", "shutting-down"));
    let end = world.wait(&ret, "ended", |status| {
        let there = world.cluster.pod(&machine.name).is_some();
        // The pod may go between the answer and the look, never the other way round.
        assert!(status.status == "running" || !there, "told as gone while it is there");
        status.status != "running"
    });
    assert_eq!((end.only().result.as_str(), end.only().status.as_str()), ("succeed", "terminated"));
}

/// interface.md: past the return deadline complete_with_error; lifecycle.md 5: with what holds it, still pursued.
#[test]
fn a_return_past_its_deadline_ends_with_error_and_the_deletion_goes_on() {
    let world =
        World::build().template(Template::new("held").fate("stuck-terminating")).set("returns.deadline", "2s").start();
    let machine = world.bring_up("held", 1).remove(0);
    let ret = world.give_back(&[&machine.name]);
    let end = world.wait_end(&ret);
    assert_eq!(end.status, "complete_with_error");
    assert_eq!(end.only().result, "fail");
    assert!(end.only().message.to_lowercase().contains("terminating"), "{end:#?}");
    assert!(world.cluster.pod(&machine.name).is_some());
    world.cluster.remove_pod(&machine.name);
    world.wait_no_pods();
    assert_eq!(world.status(&ret), end);
}

/// interface.md, getRequestStatus: an id asked for twice in one call is answered twice, as it was asked.
#[test]
fn ten_thousand_ids_in_one_call_are_all_answered() {
    let world = World::start();
    let id = world.request("small", 1);
    world.wait_end(&id);
    let ids: Vec<String> = (0..9_999).map(|number| format!("unknown-{number}")).collect();
    let mut all: Vec<&str> = ids.iter().map(String::as_str).collect();
    all.insert(5_000, &id);
    let told = world.statuses(&all);
    assert_eq!(told.len(), 10_000);
    assert_eq!(told[5_000].status, "complete");
    let reply = world.call(Verb::GetRequestStatus, &json!({"requests": [{"requestId": id}]}));
    reply.ok();
}
