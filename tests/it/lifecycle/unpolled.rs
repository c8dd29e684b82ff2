//! `lifecycle.md` 9, "Requests that nobody knows".

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Verb, World, eventually, holds_for};

/// `requests.never_polled_cancel` of [`quick`].
const CANCELLED_AFTER: Duration = Duration::from_secs(3);

fn quick() -> World {
    World::build().set("requests.never_polled_warn", "1s").set("requests.never_polled_cancel", "3s").start()
}

/// lifecycle.md 9: never polled while others are: first a warning, then cancelled as a return would.
#[test]
fn a_request_that_nobody_polls_while_others_are_polled_is_warned_of_and_cancelled() {
    let mut world =
        World::build().set("requests.never_polled_warn", "1s").set("requests.never_polled_cancel", "1h").start();
    let polled = world.request("small", 1);
    let forgotten = world.request("small", 2);
    let said = eventually("the warning", Duration::from_secs(20), || {
        world.status(&polled);
        let said = world.daemon.status()?["warnings"].to_string();
        said.contains(&forgotten).then_some(said)
    });
    assert!(said.contains("poll") || said.contains("asked"), "{said}");
    eventually("all pods are there", Duration::from_secs(20), || (world.cluster.managed().len() == 3).then_some(()));
    world.daemon.spec().set("requests.never_polled_cancel", "3s");
    world.crash();
    eventually("its pods are gone", Duration::from_secs(30), || {
        world.status(&polled);
        (world.cluster.managed().len() == 1).then_some(())
    });
    assert_eq!(world.wait_end(&polled).status, "complete");
}

/// lifecycle.md 9: the time of one request counts from its own acceptance, however long others were polled before.
#[test]
fn a_new_request_is_given_its_whole_time_after_long_polling_of_others() {
    let world = quick();
    let polled = world.request("small", 1);
    holds_for("others are polled for longer than the limit", Duration::from_secs(4), || {
        world.status(&polled);
        true
    });
    let is_cancelled = |id: &str| {
        let list = world.hfctl_json(&["get", "requests"]);
        let items = list["items"].as_array().expect("a list");
        let entry = items.iter().find(|entry| entry["requestId"] == id).expect("it is listed");
        entry["message"].as_str().unwrap_or_default().contains("cancel")
    };
    let fresh = eventually("a new one is asked about within its time", Duration::from_secs(60), || {
        let accepted = Instant::now();
        let fresh = world.request("small", 2);
        while accepted.elapsed() < Duration::from_millis(1_500) {
            world.status(&polled);
            let is_right = !is_cancelled(&fresh) || accepted.elapsed() >= CANCELLED_AFTER;
            assert!(is_right, "cancelled within {:?}", accepted.elapsed());
        }
        world.status(&fresh);
        // On a machine that was busy with other things its time may be over by now, and nothing can be said of it.
        (accepted.elapsed() < CANCELLED_AFTER).then_some(fresh)
    });
    assert_eq!(world.wait_end(&fresh).status, "complete");
}

/// lifecycle.md 9: minutes count only while others are polled.
#[test]
fn without_any_polls_nothing_is_cancelled() {
    let world = quick();
    world.request("small", 1);
    world.request("small", 1);
    eventually("both pods are there", Duration::from_secs(20), || (world.cluster.managed().len() == 2).then_some(()));
    holds_for("both stay", Duration::from_secs(5), || world.cluster.managed().len() == 2);
}

/// lifecycle.md 9: that a request was polled is durable: a crash does not make it look forgotten.
#[test]
fn a_request_that_was_polled_before_a_crash_is_not_cancelled_after_it() {
    let mut world = quick();
    let done = world.request("small", 2);
    world.wait_end(&done);
    world.daemon.crash_and_restart();
    world.wait_synced();
    let other = world.request("small", 1);
    holds_for("it stays", Duration::from_secs(6), || {
        world.status(&other);
        world.cluster.managed().len() >= 2
    });
    assert_eq!(world.status(&done).status, "complete");
    assert_eq!(world.all_reclaims(), []);
}

/// lifecycle.md 9: a command whose caller's own deadline has passed is dropped before it is decided.
#[test]
fn a_call_whose_callers_time_is_over_is_dropped_undecided() {
    use rustix::process::Signal;
    let mut world = World::start();
    let before = world.known_requests();
    world.daemon.process().signal(Signal::STOP);
    let input = json!({"template": {"templateId": "small", "machineCount": 1}}).to_string();
    let finished = world.daemon.hfctl(&["--timeout", "1", "request-machines", "-f", "-"], input.as_bytes());
    world.daemon.process().signal(Signal::CONT);
    tests::Reply::read(Verb::RequestMachines, &finished).refused();
    holds_for("nothing came of it", Duration::from_secs(1), || {
        world.known_requests() == before && world.cluster.managed().is_empty()
    });
}
