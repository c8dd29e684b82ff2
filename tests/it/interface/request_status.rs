//! `interface.md`, "getRequestStatus": the tables, row by row.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
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
        .template(Template::new("brief").fate("never-ready").field("readyDeadlineSeconds", json!(10)))
        .start();
    let begun = Instant::now();
    let (cold, brief) = (world.request("cold", 1), world.request("brief", 1));
    let name = world.status(&cold).only().name.clone();
    eventually("the pod runs", world.cluster.patience(), || {
        world.cluster.pod(&name).filter(|pod| pod["status"]["phase"] == "Running")
    });
    assert_eq!(world.status(&cold).only().result, "executing");
    world.wait_end(&brief).failure();
    assert!(begun.elapsed() >= Duration::from_millis(9_900), "too early: {:?}", begun.elapsed());
    eventually("only the failed one is deleted", world.cluster.patience(), || {
        (world.cluster.managed() == [name.as_str()]).then_some(())
    });
    assert_eq!(world.status(&cold).only().result, "executing");
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
    // The first three end by themselves, the others at their deadline.
    let fates = [
        ("exit-0", "exit-0", 300, &["0"][..]),
        ("exit-3", "exit-3", 300, &["3"][..]),
        ("oom", "oom", 300, &["oom"][..]),
        ("pull", "image-pull-failure", 10, &["image"][..]),
        ("loop", "crash-loop", 10, &["crashloop"][..]),
        ("full", "never-scheduled", 10, &["unschedulable", "nodes"][..]),
    ];
    let mut build = World::build();
    for (id, fate, deadline, _) in fates {
        build = build.template(Template::new(id).fate(fate).field("readyDeadlineSeconds", json!(deadline)));
    }
    let mut world = build.start();
    let check = |world: &World, request: &str, id: &str, words: &[&str]| {
        let reason = world.wait_end(request).failure();
        let said = words.iter().any(|word| reason.replace(['-', ' '], "").contains(word));
        assert!(said, "{id}: none of {words:?} in {reason:?}");
    };
    for (id, _, _, words) in &fates[..3] {
        check(&world, &world.request(id, 1), id, words);
    }
    world.wait_no_pods();

    let requests: Vec<String> = fates[3..].iter().map(|(id, ..)| world.request(id, 1)).collect();
    // hfd sees them next when they are as they will stay, however long that takes.
    eventually("all are made", world.cluster.patience(), || (world.cluster.managed().len() == 3).then_some(()));
    world.daemon.kill9();
    eventually("they are as they will stay", world.cluster.patience(), || {
        world.cluster.pods().iter().all(is_stuck).then_some(())
    });
    world.daemon.start_again();
    for (request, (id, _, _, words)) in requests.iter().zip(&fates[3..]) {
        check(&world, request, id, words);
    }
    world.wait_no_pods();
}

/// Whether a pod waits for its image or its next try, or has no node.
fn is_stuck(pod: &Value) -> bool {
    let status = &pod["status"];
    let waits = status["containerStatuses"][0]["state"]["waiting"]["reason"].as_str();
    let conditions = status["conditions"].as_array();
    let unplaced = |one: &Value| one["type"] == "PodScheduled" && one["status"] == "False";
    waits.is_some_and(|why| why.ends_with("BackOff")) || conditions.is_some_and(|all| all.iter().any(unplaced))
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
    let world = World::build().template(Template::new("held").fate("stuck-terminating")).start();
    let machine = world.bring_up("held", 1).remove(0);
    let ret = world.give_back(&[&machine.name]);
    let is_executing = || {
        let told = world.status(&ret);
        let machine = told.only();
        (told.status.as_str(), machine.result.as_str(), machine.status.as_str())
            == ("running", "executing", "shutting-down")
    };
    assert!(is_executing(), "{:#?}", world.status(&ret));
    eventually("its pod is being deleted", world.cluster.patience(), || {
        let pod = world.cluster.pod(&machine.name).expect("it stays until it is forced");
        pod["metadata"]["deletionTimestamp"].is_string().then_some(())
    });
    holds_for("it executes while its pod is there", Duration::from_millis(500), is_executing);
    world.cluster.remove_pod(&machine.name);
    let end = world.wait_end(&ret);
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
