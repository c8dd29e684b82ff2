//! `lifecycle.md` 7, "What we see".

use std::time::Duration;

use serde_json::json;
use tests::{Template, World, eventually, holds_for, names};

const SOON: Duration = Duration::from_secs(30);

/// lifecycle.md 7: a relist after 410 loses nobody and finds what changed meanwhile.
#[test]
fn a_relist_after_an_expired_watch_loses_nobody_and_finds_what_went() {
    let world = World::start();
    let machines = world.bring_up("small", 6);
    world.cluster.silence(true);
    world.cluster.remove_pod(&machines[0].name);
    world.cluster.watch("compact");
    world.cluster.silence(false);
    world.cluster.watch("cut");
    eventually("the loss is told", SOON, || (world.all_reclaims() == [(machines[0].name.clone(), 0)]).then_some(()));
    world.bring_up("small", 2);
}

/// lifecycle.md 7: a pod known by 201 that a synced view does not show gets one look; it exists, so nothing is lost.
#[test]
fn a_pod_that_a_silent_watch_does_not_show_is_neither_ready_nor_lost() {
    let world = World::build().set("machines.unseen_look_after", "1s").start();
    world.cluster.silence(true);
    let id = world.request("small", 2);
    eventually("both pods are there", SOON, || (world.cluster.history().len() == 2).then_some(()));
    holds_for("it runs", Duration::from_secs(3), || world.status(&id).status == "running");
    world.cluster.silence(false);
    assert_eq!(world.wait_end(&id).status, "complete");
    world.assert_no_pod_twice();
}

/// lifecycle.md 7: not fresh: no verdicts, no reclaim; creates and deletes go on.
#[test]
fn while_the_watch_is_silent_creates_and_deletes_go_on() {
    let world = World::build().set("kube.fresh_within", "1s").set("machines.ready_deadline", "10s").start();
    let machines = world.bring_up("small", 6);
    world.cluster.silence(true);
    world.wait_status_says(&["\"fresh\":false"]);
    let id = world.request("small", 2);
    let ret = world.give_back(&[&machines[0].name]);
    eventually("two pods more, and one less", SOON, || {
        let history = world.cluster.history();
        (history.len() == 8 && !history[&machines[0].name].exists).then_some(())
    });
    for machine in &machines[1..5] {
        world.cluster.remove_pod(&machine.name);
    }
    holds_for("no verdict and no reclaim", Duration::from_secs(11), || {
        world.status(&id).with("fail").is_empty() && world.all_reclaims().is_empty()
    });
    world.cluster.silence(false);
    assert_eq!(world.wait_end(&id).status, "complete");
    assert_eq!(world.wait_end(&ret).status, "complete");
    eventually("the losses are told", SOON, || (world.all_reclaims().len() == 4).then_some(()));
}

/// lifecycle.md 7: 401 rebuilds the client and counts as an outage, never as a verdict.
#[test]
fn unauthorized_is_an_outage_and_no_verdict() {
    let world = World::start();
    let machines = world.bring_up("small", 3);
    world.cluster.unauthorized(true);
    let id = world.request("small", 2);
    let ret = world.give_back(&[&machines[0].name]);
    holds_for("nothing is decided", Duration::from_secs(2), || {
        world.status(&id).status == "running"
            && world.status(&ret).status == "running"
            && world.reclaims(&names(&machines)).is_empty()
    });
    world.cluster.unauthorized(false);
    assert_eq!(world.wait_end(&id).status, "complete");
    assert_eq!(world.wait_end(&ret).status, "complete");
    assert_eq!(world.cluster.managed().len(), 4);
}

/// lifecycle.md 7: a 409 found to be ours counts as 201: the answer of the first create got lost.
#[test]
fn a_create_whose_answer_was_lost_is_found_to_be_ours() {
    let world = World::start();
    for action in [json!({"drop": "after"}), json!({"statusAfter": {"code": 504, "reason": "Timeout", "message": "x"}})]
    {
        world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 2, "action": action}));
        assert_eq!(world.bring_up("small", 3).len(), 3);
    }
    assert_eq!(world.cluster.managed().len(), 6);
    world.assert_no_pod_twice();
}

/// lifecycle.md 7 and kubernetes.md: a name taken by somebody else's pod fails for good, and that pod is not touched.
#[test]
fn a_name_taken_by_a_stranger_fails_and_the_stranger_stays() {
    let world = World::start();
    // Of hfd alone, and until the stranger has the name.
    let wait = json!({"code": 429, "reason": "TooManyRequests", "message": "wait", "retryAfter": 1});
    let hold = world.cluster.fault(&json!({"verb": "create", "resource": "pods", "labelContains": "managed-by=hfd",
        "action": {"status": wait}}));
    let id = world.request("small", 2);
    let name = world.status(&id).machines[0].name.clone();
    let response = world.cluster.endpoint().call(
        "POST",
        &format!("/api/v1/namespaces/{}/pods", world.cluster.namespace()),
        Some(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "stranger"}},
            "spec": {"containers": [{"name": "main", "image": "registry.example/other:1"}]}})),
    );
    assert_eq!(response.expect("the API answers").code, 201, "the stranger has the name");
    world.cluster.end_fault(hold);
    let end = world.wait_end(&id);
    assert_eq!((end.with("succeed").len(), end.with("fail").len()), (1, 1), "{end:#?}");
    let ret = world.give_back(&[&name]);
    world.wait_end(&ret);
    let pod = world.cluster.pod(&name).expect("the stranger's pod is untouched");
    assert_eq!(pod["metadata"]["labels"]["app"], "stranger");
}

/// kubernetes.md, Acting: transient answers are retried, and Retry-After is honoured.
#[test]
fn transient_answers_are_retried_until_they_end() {
    let world = World::start();
    for code in [408, 429, 500, 502, 503] {
        let status = json!({"code": code, "reason": "", "message": "try again", "plainText": code == 429});
        world.cluster.fault(&json!({"verb": "*", "resource": "pods", "count": 3, "action": {"status": status}}));
        let machines = world.bring_up("small", 2);
        world.cluster.fault(&json!({"verb": "delete", "resource": "pods", "count": 1, "action": {"status": status}}));
        let ret = world.give_back(&names(&machines));
        assert_eq!(world.wait_end(&ret).status, "complete", "{code}");
    }
    world.assert_no_pod_twice();
}

/// reliability.md, API server: down at start; what is known is served, and it recovers by itself.
#[test]
fn an_api_server_down_at_start_leaves_what_is_known_served_and_recovers_by_itself() {
    let mut world = World::start();
    let id = world.request("small", 2);
    let end = world.wait_end(&id);
    world.cluster.outage(true);
    world.daemon.crash_and_restart();
    assert_eq!(world.status(&id), end);
    assert_eq!(world.templates().len(), 1);
    let next = world.request("small", 1);
    assert_eq!(world.status(&next).status, "running");
    world.wait_status_says(&["\"synced\":false"]);
    world.cluster.outage(false);
    assert_eq!(world.wait_end(&next).status, "complete");
}

/// reliability.md, API server: an undecodable pod in the namespace stops nothing.
#[test]
fn a_strange_pod_of_ours_by_label_stops_nothing() {
    let world = World::start();
    world.cluster.create_pod(
        "odd",
        &json!({"app.kubernetes.io/managed-by": "hfd", "symphony/hostfactory-provider": "k8s-hf",
            "symphony/hostfactory-reqid": "not-one-of-ours"}),
        &json!({"unexpected": "x".repeat(5000)}),
    );
    world.bring_up("small", 2);
    world.wait_status_says(&["\"strays\"", "odd"]);
    assert!(world.cluster.pod("odd").is_some(), "never removed automatically");
}

/// lifecycle.md 7: a late event of an older pod of the same name settles nothing (readiness is the new pod's own).
#[test]
fn slow_starts_are_seen_to_the_end() {
    let world = World::build().template(Template::new("slow").fate("slow-start")).start();
    assert_eq!(world.bring_up("slow", 2).len(), 2);
}
