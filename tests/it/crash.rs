//! kill -9 at any moment (`reliability.md`, "Promises" 1-3 and 6): what was acknowledged ends exactly right.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tests::{Reply, Verb, World, eventually, holds_for, names};

const SOON: Duration = Duration::from_secs(90);

/// So many more of these calls take 100 ms each, and the others never end: what comes then comes in their middle.
fn only(world: &World, verb: &str, count: u64) {
    world.cluster.end_faults();
    world.cluster.fault(&json!({"verb": verb, "resource": "pods", "count": count, "action": {"delayMs": 100}}));
    world.cluster.pod_fault(verb, &json!({"hang": true}));
}

/// Starts the daemon that was killed again, for only so many `more` of these calls, or for all that are left.
fn go_on(world: &mut World, verb: &str, more: Option<u64>) {
    match more {
        Some(more) => only(world, verb, more),
        None => world.cluster.end_faults(),
    }
    world.daemon.start_again();
}

/// Killed in the middle of 500 creates and of 500 deletes: exact end, no pod twice, none left.
#[test]
fn killed_in_the_middle_of_500_creates_and_500_deletes_it_ends_exactly_right() {
    let mut world = World::build().cluster(|cluster| cluster.nodes = 10).set_literal("kube.concurrency", "16").start();
    only(&world, "create", 100);
    let id = world.request("small", 500);
    for (share, more) in [(60, Some(190)), (200, Some(190)), (350, None)] {
        eventually("a part is created", SOON, || (world.cluster.history().len() >= share).then_some(()));
        world.daemon.kill9();
        assert!(world.cluster.history().len() < 500, "the kill came too late");
        go_on(&mut world, "create", more);
    }
    let end = world.wait_end(&id);
    assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", 500));
    let told: BTreeSet<String> = end.machines.iter().map(|machine| machine.name.clone()).collect();
    assert_eq!(world.cluster.managed().into_iter().collect::<BTreeSet<_>>(), told);

    let left = |world: &World| world.cluster.history().values().filter(|pod| pod.exists).count();
    only(&world, "delete", 100);
    let ret = world.give_back(&names(&end.machines));
    for (share, more) in [(440, Some(190)), (300, Some(190)), (150, None)] {
        eventually("a part is deleted", SOON, || (left(&world) <= share).then_some(()));
        world.daemon.kill9();
        assert!(left(&world) > 0, "the kill came too late");
        go_on(&mut world, "delete", more);
    }
    let gone = world.wait_end(&ret);
    assert_eq!((gone.status.as_str(), gone.with("succeed").len()), ("complete", 500));
    assert_eq!(left(&world), 0);
    world.assert_no_pod_twice();
    assert_eq!(world.cluster.history().len(), 500);
    assert_eq!(world.status(&id), end);
    assert_eq!(world.all_reclaims(), []);
}

/// reliability.md, Process: a restart loop makes progress all the same.
#[test]
fn a_restart_loop_still_makes_progress() {
    let mut world = World::start();
    let id = world.request("small", 30);
    for _ in 0..10 {
        world.daemon.crash_and_restart();
        world.status(&id);
    }
    let end = world.wait_end(&id);
    assert_eq!((end.status.as_str(), world.cluster.managed().len()), ("complete", 30));
    world.assert_no_pod_twice();
}

/// hfctl: a call whose connection broke is repeated with its key: never two requests, never none that was
/// acknowledged.
#[test]
fn calls_that_break_with_the_daemon_are_repeated_with_their_key_and_are_never_two_requests() {
    let mut world = World::start();
    let one = json!({"template": {"templateId": "small", "machineCount": 1}}).to_string().into_bytes();
    let socket = world.daemon.socket().to_owned();
    let replies: Vec<Reply> = thread::scope(|scope| {
        let callers: Vec<_> = (0..40)
            .map(|number| {
                let (socket, one) = (&socket, &one);
                scope.spawn(move || {
                    // Not synchronisation: the calls are meant to be spread over the kills.
                    thread::sleep(Duration::from_millis(number * 20));
                    let call = ["--timeout", "60", "request-machines", "-f", "-"];
                    Reply::read(Verb::RequestMachines, &tests::daemon::hfctl_on(socket, &call, one))
                })
            })
            .collect();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1_000) {
            thread::sleep(Duration::from_millis(80));
            world.daemon.crash_and_restart();
        }
        callers.into_iter().map(|caller| caller.join().expect("no caller panics")).collect()
    });
    let acknowledged: BTreeSet<&str> =
        replies.iter().filter(|reply| reply.code == 0).filter_map(|reply| reply.json["requestId"].as_str()).collect();
    let refused = replies.iter().filter(|reply| reply.code != 0).count();
    assert_eq!(acknowledged.len() + refused, replies.len(), "one id was given to two calls");
    world.wait_synced();
    let known = usize::try_from(world.known_requests()).expect("a handful");
    // A refusal may stand for a request that was accepted and whose reply was lost; an acknowledgement never for none.
    assert!((acknowledged.len()..=replies.len()).contains(&known), "{known} requests");
    eventually("each has its pod", SOON, || (world.cluster.managed().len() == known).then_some(()));
    world.assert_no_pod_twice();
}

/// reliability.md 6: the death of the daemon never touches a pod.
#[test]
fn the_death_of_the_daemon_touches_no_pod() {
    let mut world = World::start();
    let machines = world.bring_up("small", 5);
    for stop in ["kill", "term"] {
        if stop == "kill" {
            world.daemon.kill9();
        } else {
            assert!(world.daemon.terminate().success());
        }
        holds_for("all five run", Duration::from_millis(500), || {
            world.cluster.history().values().filter(|pod| pod.exists).count() == 5
        });
        world.daemon.start_again();
    }
    world.wait_synced();
    assert_eq!(world.all_reclaims(), []);
    assert_eq!(world.wait_end(&world.give_back(&names(&machines))).status, "complete");
}

/// interface.md, Invocation: daemon down: a JSON message and exit 1 from each verb; afterwards all is as before.
#[test]
fn while_the_daemon_is_down_every_verb_fails_with_a_message() {
    let mut world = World::start();
    let id = world.request("small", 1);
    let end = world.wait_end(&id);
    world.daemon.kill9();
    world.assert_all_verbs_fail();
    world.daemon.start_again();
    assert_eq!(world.status(&id), end);
}

/// reliability.md, API server: killed connections under load, again and again: ambiguous creates are looked at.
#[test]
fn connections_that_break_under_load_double_nothing_and_lose_nothing() {
    let world = World::build().cluster(|cluster| cluster.nodes = 4).start();
    for when in ["before", "after"] {
        world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 40, "action": {"drop": when}}));
        world.cluster.fault(&json!({"verb": "delete", "resource": "pods", "count": 40, "action": {"drop": when}}));
    }
    let machines = world.bring_up("small", 150);
    let ret = world.give_back(&names(&machines));
    let end = world.wait_end(&ret);
    assert_eq!((end.status.as_str(), world.cluster.managed().len()), ("complete", 0));
    world.assert_no_pod_twice();
}

/// reliability.md, API server: an outage in the middle of creates, with a restart of the daemon in it.
#[test]
fn an_outage_in_the_middle_of_creates_with_a_crash_in_it_ends_exactly_right() {
    let mut world = World::start();
    // The outage comes in their middle, whenever it comes: ten have no answer until then, and the rest is sent away.
    for fault in [
        json!({"count": 60, "action": {"delayMs": 30}}),
        json!({"count": 10, "action": {"hang": true}}),
        json!({"action": {"status": {"code": 503, "reason": "ServiceUnavailable", "message": "not yet"}}}),
    ] {
        let mut fault = fault;
        (fault["verb"], fault["resource"]) = (json!("create"), json!("pods"));
        world.cluster.fault(&fault);
    }
    let id = world.request("small", 120);
    eventually("a part is created", SOON, || (world.cluster.history().len() >= 30).then_some(()));
    world.cluster.outage(true);
    world.daemon.crash_and_restart();
    assert_eq!(world.status(&id).status, "running");
    world.cluster.end_faults();
    world.cluster.outage(false);
    let end = world.wait_end(&id);
    assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", 120));
    assert_eq!(world.cluster.managed().len(), 120);
    world.assert_no_pod_twice();
}
