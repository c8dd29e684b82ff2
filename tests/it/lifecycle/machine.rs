//! `lifecycle.md` 3, "A machine": latching, deadlines, verdicts, values.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Template, World, eventually, holds_for};

const SOON: Duration = Duration::from_secs(20);

/// lifecycle.md 3: ready latches; a readiness flap changes nothing, before the request's end and after.
#[test]
fn readiness_latches() {
    let world = World::build().template(Template::new("flaps")).start();
    // The first create is done, the other one not before the fault has ended.
    world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 1, "action": {"hang": false}}));
    world
        .cluster
        .pod_fault("create", &json!({"status": {"code": 503, "reason": "ServiceUnavailable", "message": "not yet"}}));
    let id = world.request("flaps", 2);
    let ready = world.wait(&id, "one ready", |status| status.with("succeed").len() == 1);
    let name = ready.with("succeed")[0].name.clone();
    world.cluster.set_pod(&name, &json!({"ready": false}));
    let begun = Instant::now();
    world.cluster.end_faults();
    let end = world.wait(&id, "ended", |status| {
        assert!(status.machines.iter().any(|machine| machine.name == name && machine.result == "succeed"));
        status.status != "running"
    });
    assert_eq!(end.status, "complete", "after {:?}: {end:#?}", begun.elapsed());
    holds_for("nothing is reclaimed", Duration::from_millis(300), || world.all_reclaims().is_empty());
    assert!(world.cluster.pod(&name).is_some());
}

/// lifecycle.md 3: the deadline counts from acceptance and its reason is the scheduler's own.
#[test]
fn a_machine_that_is_never_scheduled_fails_at_its_deadline_in_the_schedulers_words() {
    let world = World::build()
        .template(Template::new("stuck").fate("never-scheduled"))
        .set("machines.ready_deadline", "10s")
        .start();
    let begun = Instant::now();
    let id = world.request("stuck", 3);
    let end = world.wait_end(&id);
    assert!(begun.elapsed() >= Duration::from_millis(9_900), "too early: {:?}", begun.elapsed());
    assert_eq!((end.status.as_str(), end.with("fail").len()), ("complete_with_error", 3));
    for machine in end.machines {
        let pod = machine.message.to_lowercase();
        assert!(pod.contains("nodes") || pod.contains("unschedulable"), "{pod}");
    }
    world.wait_no_pods();
}

/// lifecycle.md 3: the deadline runs only while our view is synced and fresh.
#[test]
fn blind_time_extends_the_deadline() {
    let world = World::build()
        .template(Template::new("slow").annotate("sandbox.hfd/start-delay", "8s"))
        .set("machines.ready_deadline", "10s")
        .set("kube.fresh_within", "1s")
        .start();
    let id = world.request("slow", 2);
    world.wait(&id, "created", |status| status.machines.iter().all(|machine| !machine.id.is_empty()));
    world.cluster.outage(true);
    holds_for("no verdict while blind", Duration::from_secs(12), || world.status(&id).status == "running");
    world.cluster.outage(false);
    assert_eq!(world.wait_end(&id).status, "complete");
}

/// lifecycle.md 3: after a sync, observe first, judge second.
#[test]
fn what_became_ready_while_the_daemon_was_down_is_ready_although_its_deadline_has_passed() {
    let mut world = World::build()
        .template(Template::new("slow").annotate("sandbox.hfd/start-delay", "2s"))
        .set("machines.ready_deadline", "10s")
        .start();
    let id = world.request("slow", 2);
    let begun = Instant::now();
    let status = world.wait(&id, "created", |status| status.machines.iter().all(|machine| !machine.id.is_empty()));
    world.daemon.kill9();
    eventually("both are ready and the deadline has passed", SOON, || {
        let ready = status.machines.iter().all(|machine| {
            let pod = world.cluster.pod(&machine.name).expect("nobody deletes it");
            pod["status"]["conditions"].to_string().contains(r#""status":"True","type":"Ready""#)
                || pod["status"]["containerStatuses"][0]["ready"] == true
        });
        (ready && begun.elapsed() > Duration::from_secs(11)).then_some(())
    });
    world.daemon.start_again();
    assert_eq!(world.wait_end(&id).status, "complete");
}

/// lifecycle.md 3: a deletion that is not ours before ready fails the machine at once, not only when the pod is gone.
#[test]
fn a_deletion_by_others_before_ready_fails_at_once() {
    let world = World::build()
        .template(
            Template::new("slow").annotate("sandbox.hfd/start-delay", "60s").annotate("sandbox.hfd/stop-delay", "20s"),
        )
        .start();
    let id = world.request("slow", 1);
    let name = world.wait(&id, "created", |status| !status.only().id.is_empty()).only().name.clone();
    eventually("it is on a node", SOON, || world.cluster.pod(&name)?["spec"]["nodeName"].as_str().map(str::to_owned));
    world.cluster.delete_pod(&name);
    world.wait_end(&id).failure();
}

/// lifecycle.md 3: a ready machine lost before its request is terminal: verdict lost, result fail.
#[test]
fn a_ready_machine_lost_before_its_request_ended_fails_in_it() {
    let world = World::build().template(Template::new("small")).start();
    let fault =
        world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 1, "action": {"hang": true}}));
    let id = world.request("small", 2);
    let name = world.wait(&id, "one ready", |s| s.with("succeed").len() == 1).with("succeed")[0].name.clone();
    world.cluster.remove_pod(&name);
    world.wait(&id, "lost", |status| status.machines.iter().any(|m| m.name == name && m.result == "fail"));
    assert_eq!(world.status(&id).status, "running");
    world.cluster.end_fault(fault);
    assert_eq!(world.wait_end(&id).status, "complete_with_error");
}

/// lifecycle.md 3: the pods of failed machines are deleted by us, without anybody asking.
#[test]
fn pods_of_failed_machines_are_deleted() {
    let world = World::build().template(Template::new("exits").fate("exit-3")).start();
    world.wait_end(&world.request("exits", 3)).with("fail");
    world.wait_no_pods();
    assert_eq!(world.cluster.count("delete pods"), 3);
}

/// lifecycle.md 3: lost pods are deleted after HostFactory returned them, or after a while, so that logs can be read.
#[test]
fn pods_of_lost_machines_stay_for_a_while() {
    let mut world = World::build()
        .template(
            Template::new("dies")
                .annotate("sandbox.hfd/fate-after", "100ms")
                .pod("/spec/restartPolicy", json!("Never")),
        )
        .set("machines.keep_lost_for", "1h")
        .start();
    let machines = world.bring_up("dies", 2);
    for machine in &machines {
        world.cluster.set_pod(&machine.name, &json!({"fate": "exit-3"}));
    }
    eventually("both losses are told", SOON, || (world.all_reclaims().len() == 2).then_some(()));
    let ret = world.give_back(&[machines[0].name.as_str()]);
    assert_eq!(world.wait_end(&ret).status, "complete");
    assert!(world.cluster.pod(&machines[0].name).is_none());
    assert!(world.cluster.pod(&machines[1].name).is_some(), "deleted before its time");
    world.daemon.spec().set("machines.keep_lost_for", "1s");
    world.crash();
    world.wait_no_pods();
}

/// lifecycle.md 3: crash looping after ready for a configured time is lost.
#[test]
fn crash_looping_after_ready_is_lost_after_a_while() {
    let world = World::build()
        .template(Template::new("loops").fate("crash-loop").annotate("sandbox.hfd/fate-after", "1s"))
        .set("machines.crash_loop_after", "2s")
        .start();
    let machine = world.bring_up("loops", 1).remove(0);
    eventually("the loss is told", Duration::from_secs(40), || {
        (world.all_reclaims() == [(machine.name.clone(), 0)]).then_some(())
    });
}

/// lifecycle.md 3: launchtime is the acceptance's until ready, then the first-ready time for ever. Its monotony, and
/// that it is never 0 nor in the future, is checked by the strict reader on every answer.
#[test]
fn launchtime_is_acceptance_then_first_ready_for_ever() {
    let mut world =
        World::build().template(Template::new("slow").annotate("sandbox.hfd/start-delay", "2500ms")).start();
    let id = world.request("slow", 1);
    let accepted = world.status(&id).only().launchtime;
    let ready = world.wait_end(&id).only().launchtime;
    assert!(ready > accepted && ready - accepted <= 10, "{accepted} {ready}");
    let name = world.status(&id).only().name.clone();
    world.cluster.set_pod(&name, &json!({"ready": false}));
    world.cluster.set_pod(&name, &json!({"ready": true}));
    world.crash();
    assert_eq!(world.status(&id).only().launchtime, ready);
}

/// lifecycle.md 3: created (201) and then known absent, without a durable UID: failed, not created again.
#[test]
fn a_pod_created_and_gone_before_the_watch_showed_it_is_failed_and_not_created_again() {
    let world = World::build().set("machines.unseen_look_after", "1s").start();
    world.cluster.silence(true);
    let id = world.request("small", 1);
    let name = world.status(&id).only().name.clone();
    eventually("the pod is there", SOON, || world.cluster.pod(&name));
    world.cluster.remove_pod(&name);
    // Before the watch may speak again: it would tell of a pod that was ready, and of its end.
    world.cluster.watch("compact");
    world.cluster.silence(false);
    world.cluster.watch("cut");
    world.wait_end(&id).failure();
    world.assert_no_pod_twice();
}
