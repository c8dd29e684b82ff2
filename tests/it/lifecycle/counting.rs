//! `lifecycle.md` 4, "Counting against maxNumber".

use serde_json::json;
use tests::{RequestStatus, Template, World};

fn capped(max: i64) -> World {
    World::build().template(Template::new("capped").max(max)).start()
}

fn excess(status: &RequestStatus) -> usize {
    status.with("fail").iter().filter(|machine| machine.message.contains("maxNumber")).count()
}

/// lifecycle.md 4: a request beyond the rest is accepted; the excess machines fail and say why.
#[test]
fn machines_beyond_max_number_fail_with_the_numbers() {
    let world = capped(5);
    world.bring_up("capped", 3);
    let end = world.wait_end(&world.request("capped", 4));
    assert_eq!(end.status, "complete_with_error");
    assert_eq!((end.with("succeed").len(), excess(&end)), (2, 2));
    let reason = &end.with("fail")[0].message;
    assert!(reason.contains("maxNumber 5 reached") && reason.contains("in use"), "{reason}");
    assert_eq!(world.cluster.managed().len(), 5);
    assert_eq!(world.cluster.count("create pods"), 5);
}

/// lifecycle.md 4: in use are machines whose pod is not known gone, that have no final failure and are not returning.
#[test]
fn returning_and_failed_machines_make_room() {
    let world =
        World::build().template(Template::new("capped").max(2).annotate("sandbox.hfd/stop-delay", "5s")).start();
    let machines = world.bring_up("capped", 2);
    let full = world.wait_end(&world.request("capped", 1));
    assert_eq!(excess(&full), 1);
    world.give_back(&tests::names(&machines));
    let next = world.wait_end(&world.request("capped", 2));
    assert_eq!(next.status, "complete", "{next:#?}");
}

/// lifecycle.md 4: decided synced or not.
#[test]
fn max_number_holds_during_an_outage_and_after_a_crash_too() {
    let mut world = capped(3);
    world.bring_up("capped", 2);
    world.cluster.outage(true);
    world.daemon.crash_and_restart();
    let id = world.request("capped", 3);
    let status = world.status(&id);
    assert_eq!(excess(&status), 2, "{status:#?}");
    world.cluster.outage(false);
    let end = world.wait_end(&id);
    assert_eq!((end.with("succeed").len(), end.with("fail").len()), (1, 2));
    assert_eq!(world.cluster.managed().len(), 3);
}

/// lifecycle.md 4: requests that race for the rest never exceed it together.
#[test]
fn requests_that_race_for_the_rest_share_it_exactly() {
    let world = capped(7);
    let ids: Vec<String> = (0..4).map(|_| world.request("capped", 3)).collect();
    let ready: usize = ids.iter().map(|id| world.wait_end(id).with("succeed").len()).sum();
    assert_eq!(ready, 7);
    assert_eq!(world.cluster.count("create pods"), 7);
}

/// lifecycle.md 4: -1 is no limit of ours.
#[test]
fn minus_one_is_no_limit() {
    let world = capped(-1);
    assert_eq!(world.bring_up("capped", 30).len(), 30);
}

/// lifecycle.md 4: a pod not known gone counts, although its machine is lost.
#[test]
fn a_failed_create_makes_room_at_once() {
    let world = capped(2);
    world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 2,
        "action": {"status": {"code": 422, "reason": "Invalid", "message": "refused"}}}));
    assert_eq!(world.wait_end(&world.request("capped", 2)).with("fail").len(), 2);
    world.bring_up("capped", 2);
}
