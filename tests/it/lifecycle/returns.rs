//! `lifecycle.md` 5, "Returns".

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tests::{Template, Verb, World, eventually, holds_for};

const SOON: Duration = Duration::from_secs(20);

fn old_providers_labels() -> serde_json::Value {
    json!({"symphony/hostfactory-reqid": "old-req-1", "app": "worker"})
}

/// lifecycle.md 5: a return cancels unsent creates and leaves a tombstone.
#[test]
fn a_return_cancels_creates_that_were_not_sent() {
    let world = World::start();
    world
        .cluster
        .pod_fault("create", &json!({"status": {"code": 503, "reason": "ServiceUnavailable", "message": "no"}}));
    let id = world.request("small", 4);
    let status = world.status(&id);
    let ret = world.give_back(&tests::names(&status.machines));
    assert_eq!(world.wait_end(&id).status, "complete_with_error");
    assert_eq!(world.wait_end(&ret).status, "complete");
    world.cluster.end_faults();
    holds_for("nothing is created afterwards", Duration::from_secs(1), || world.cluster.managed().is_empty());
}

/// lifecycle.md 5: a create not yet settled blocks "gone"; a pod that appears under a tombstone is deleted.
#[test]
fn a_create_that_lands_after_its_return_is_deleted_and_the_return_waits_for_it() {
    let world = World::start();
    world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 1, "action": {"late": 1200}}));
    let id = world.request("small", 1);
    let name = world.status(&id).only().name.clone();
    let begun = Instant::now();
    let ret = world.give_back(&[&name]);
    let end = world.wait_end(&ret);
    assert_eq!(end.status, "complete");
    assert!(world.cluster.pod(&name).is_none());
    // Either the pod was seen to come and was removed, or the time in which it could come had passed.
    let landed = world.cluster.history().contains_key(&name);
    assert!(landed || begun.elapsed() >= Duration::from_secs(2), "ended before the create was settled");
    holds_for("no pod comes after the end", Duration::from_secs(2), || world.cluster.pod(&name).is_none());
}

/// lifecycle.md 5: after a start the creates of earlier lives count as unsettled.
#[test]
fn a_create_of_an_earlier_life_that_lands_late_is_deleted_too() {
    let mut world = World::start();
    world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 1, "action": {"late": 1500}}));
    let id = world.request("small", 1);
    let name = world.status(&id).only().name.clone();
    eventually("the create was sent", SOON, || (world.cluster.count("create pods") == 1).then_some(()));
    world.daemon.kill9();
    world.daemon.start_again();
    let ret = world.give_back(&[&name]);
    assert_eq!(world.wait_end(&ret).status, "complete");
    holds_for("no pod is there after the end", Duration::from_secs(2), || world.cluster.pod(&name).is_none());
    assert!(world.wait_end(&id).failure().contains("returned before ready"));
}

/// lifecycle.md 5: a second return of the same machine joins the first: one deletion.
#[test]
fn a_second_return_joins_the_first_deletion() {
    let world = World::build().template(Template::new("slow").annotate("sandbox.hfd/stop-delay", "1s")).start();
    let machine = world.bring_up("slow", 1).remove(0);
    world.cluster.reset_counters();
    let returns: Vec<String> = (0..3).map(|_| world.give_back(&[&machine.name])).collect();
    for ret in &returns {
        assert_eq!(world.wait_end(ret).status, "complete");
    }
    assert_eq!(world.cluster.count("delete pods"), 1);
}

/// lifecycle.md 5: a delete refused for good stays executing with the reason and is retried slowly.
#[test]
fn a_refused_delete_executes_with_its_reason_until_it_is_allowed() {
    let mut world = World::start();
    let machine = world.bring_up("small", 1).remove(0);
    world.cluster.deny("delete", "pods");
    let ret = world.give_back(&[&machine.name]);
    world.wait(&ret, "with the reason", |status| {
        assert_eq!(status.status, "running");
        status.only().message.to_lowercase().contains("forbidden")
    });
    let attempts = world.cluster.count("delete pods");
    assert!(attempts <= 5, "{attempts} attempts so far: not slow");
    assert!(world.cluster.pod(&machine.name).is_some());
    world.cluster.allow_all();
    // The slow retry takes its time; a start goes by the state alone and tries at once.
    world.crash();
    assert_eq!(world.wait_end(&ret).status, "complete");
}

/// lifecycle.md 5: the return deadline runs also while blind.
#[test]
fn the_return_deadline_runs_while_blind() {
    let world = World::build().set("returns.deadline", "2s").set("kube.fresh_within", "1s").start();
    let machine = world.bring_up("small", 1).remove(0);
    world.cluster.outage(true);
    let ret = world.give_back(&[&machine.name]);
    let end = world.wait_end(&ret);
    assert_eq!(end.status, "complete_with_error");
    world.cluster.outage(false);
    world.wait_no_pods();
}

/// lifecycle.md 5: `hfctl return --force` for an operator, for a pod stuck on a dead node.
#[test]
fn an_operator_can_force_a_stuck_return() {
    let world = World::build().template(Template::new("held").fate("stuck-terminating")).start();
    let machine = world.bring_up("held", 1).remove(0);
    let ret = world.give_back(&[&machine.name]);
    eventually("it is terminating", SOON, || {
        world.cluster.pod(&machine.name)?["metadata"]["deletionTimestamp"].as_str().map(str::to_owned)
    });
    world.hfctl(&["return", "--force", &machine.name]);
    assert_eq!(world.wait_end(&ret).status, "complete");
    world.wait_no_pods();
}

/// lifecycle.md 5: names we did not issue, absent from the cluster: gone, after one look.
#[test]
fn an_unknown_name_that_is_nowhere_counts_as_gone_after_one_look() {
    let world = World::start();
    world.cluster.reset_counters();
    let ret = world.give_back(&["ip-10-0-57-7.ec2.internal", "never-seen"]);
    let end = world.wait_end(&ret);
    assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", 2));
    assert!(world.cluster.count("get pods") <= 2);
    assert_eq!(world.cluster.count("delete pods"), 0);
}

/// lifecycle.md 5: undecided until synced.
#[test]
fn an_unknown_name_executes_while_the_cluster_was_never_seen() {
    let mut world = World::start();
    world.cluster.outage(true);
    world.daemon.crash_and_restart();
    let ret = world.give_back(&["never-seen"]);
    holds_for("it is undecided", Duration::from_millis(500), || {
        let status = world.status(&ret);
        status.status == "running" && status.only().result == "executing"
    });
    world.cluster.outage(false);
    assert_eq!(world.wait_end(&ret).status, "complete");
}

/// lifecycle.md 5: a former provider's pod that HostFactory returns by name is deleted and followed: this is how a site
/// moves over.
#[test]
fn a_former_providers_pod_is_deleted_when_hostfactory_returns_it_by_name() {
    let world = World::start();
    let stuck = json!({"sandbox.hfd/fate": "stuck-terminating"});
    world.cluster.create_pod("old-host-1", &old_providers_labels(), &stuck);
    world.cluster.create_pod("old-host-2", &old_providers_labels(), &json!({}));
    // A pod that no node has yet would go at once.
    let pod = |name: &str| world.cluster.pod(name).expect("nobody but hfd deletes it");
    eventually("it runs", SOON, || (pod("old-host-1")["status"]["phase"] == "Running").then_some(()));
    let ret = world.give_back(&["old-host-1"]);
    let is_deleted = || pod("old-host-1")["metadata"]["deletionTimestamp"].is_string();
    eventually("it is deleted", SOON, || is_deleted().then_some(()));
    holds_for("it is followed", Duration::from_millis(300), || world.status(&ret).status == "running");
    world.cluster.remove_pod("old-host-1");
    assert_eq!(world.wait_end(&ret).status, "complete");
    assert_eq!(world.cluster.pod_names(), ["old-host-2"]);
}

/// lifecycle.md 5: any other pod: fail, untouched.
#[test]
fn a_strangers_pod_is_never_touched() {
    let world = World::start();
    let others = [
        ("stranger", json!({"app": "database"})),
        (
            "other-instance",
            json!({"app.kubernetes.io/managed-by": "hfd", "symphony/hostfactory-provider": "k8s-hf9",
            "symphony/hostfactory-reqid": "aaaaaaaaaaaaaaaa"}),
        ),
    ];
    for (name, labels) in &others {
        world.cluster.create_pod(name, labels, &json!({}));
        let ret = world.give_back(&[name]);
        let end = world.wait_end(&ret);
        assert_eq!((end.status.as_str(), end.only().result.as_str()), ("complete_with_error", "fail"), "{name}");
    }
    assert_eq!(world.cluster.pod_names(), ["other-instance", "stranger"]);
    assert_eq!(world.cluster.count("delete pods"), 0);
}

/// lifecycle.md 5: another UID never ends a return while a pod of ours has that name.
#[test]
fn a_wrong_machine_id_never_ends_a_return_while_the_pod_is_there() {
    let world = World::build().template(Template::new("slow").annotate("sandbox.hfd/stop-delay", "1s")).start();
    let machine = world.bring_up("slow", 1).remove(0);
    let wrong = "00000000-0000-4000-8000-000000000000";
    let ret = world.give_back_as(&json!({"machines": [{"name": machine.name, "machineId": wrong}]}));
    world.wait(&ret, "ended", |status| {
        let there = world.cluster.pod(&machine.name).is_some();
        assert!(status.status == "running" || !there);
        status.status != "running"
    });
}

/// lifecycle.md 5: a return killed half-way is carried on after the restart.
#[test]
fn a_return_is_carried_on_after_a_crash() {
    let mut world = World::build().template(Template::new("slow").annotate("sandbox.hfd/stop-delay", "1s")).start();
    let machines = world.bring_up("slow", 5);
    let ret = world.give_back(&tests::names(&machines));
    world.crash();
    assert_eq!(world.wait_end(&ret).status, "complete");
    assert!(world.cluster.managed().is_empty());
}

/// lifecycle.md 5 and interface.md: two overlapping scripts that return the same machines are both right.
#[test]
fn overlapping_returns_of_the_same_machines_all_end() {
    let world = World::start();
    let machines = world.bring_up("small", 10);
    let document = json!({"machines": machines.iter().map(|m| json!({"name": m.name})).collect::<Vec<_>>()});
    let bytes = document.to_string().into_bytes();
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| world.scripts.call(Verb::RequestReturnMachines, tests::Input::File(&bytes)).ok().clone());
        }
    });
    let ret = world.give_back(&tests::names(&machines));
    assert_eq!(world.wait_end(&ret).status, "complete");
    assert_eq!(world.cluster.count("delete pods"), 10);
}
