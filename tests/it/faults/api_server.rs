//! reliability.md, "API server": what it may do to us, each against all five verbs.

use serde_json::{Value, json};
use tests::{World, eventually, names};

use super::{Ordeal, SOON};

/// Every call about pods is answered like this, and nothing is done.
fn answered(world: &World, code: u16, reason: &str, more: &Value) {
    let mut status = json!({"code": code, "reason": reason, "message": format!("made up: {reason}")});
    for (key, value) in more.as_object().into_iter().flatten() {
        status[key] = value.clone();
    }
    world.cluster.pod_fault("*", &json!({"status": status}));
}

/// Waits until a fault has struck, and ends all.
#[track_caller]
fn end_struck(world: &World) {
    eventually("the fault has struck", SOON, || {
        world.cluster.faults().as_array().and_then(|all| all.iter().find(|fault| fault["hits"] != 0)).map(|_| ())
    });
    world.cluster.end_faults();
}

/// From now on the watch shows nothing: what a call's answer means can't be seen otherwise.
fn unseen(world: &World) {
    world.cluster.silence(true);
    world.cluster.reset_counters();
}

/// Waits until both pods of the request were looked for by name, and ends all.
#[track_caller]
fn end_looked_for(world: &World) {
    eventually("a pod that may be there is looked for", SOON, || (world.cluster.count("get pods") >= 2).then_some(()));
    end_struck(world);
    world.cluster.silence(false);
}

/// All five verbs while each call of the daemon about pods gets this answer.
#[track_caller]
fn all_answered(code: u16, reason: &'static str, more: &Value) {
    Ordeal::delaying().undergo(
        &mut World::start(),
        |world| answered(world, code, reason, more),
        |world| end_struck(world),
    );
}

#[test]
fn an_api_server_that_is_down_only_delays() {
    let ordeal = Ordeal::delaying().saying(&["cluster_unreachable", "check kubeconfig, network and api server"]);
    ordeal.undergo(&mut World::start(), |world| world.cluster.outage(true), |world| world.cluster.outage(false));
}

#[test]
fn an_api_server_that_is_down_when_the_daemon_starts_only_delays() {
    Ordeal::delaying().saying(&["\"synced\":false"]).undergo(
        &mut World::start(),
        |world| {
            world.cluster.outage(true);
            world.daemon.crash_and_restart();
        },
        |world| world.cluster.outage(false),
    );
}

#[test]
fn an_api_server_that_restarts_and_has_forgotten_the_past_only_delays() {
    Ordeal::delaying().undergo(
        &mut World::start(),
        |world| {
            world.cluster.outage(true);
            world.cluster.watch("compact");
        },
        |world| world.cluster.outage(false),
    );
}

#[test]
fn a_410_in_the_stream_only_delays() {
    Ordeal::delaying().undergo(
        &mut World::start(),
        |world| {
            world.cluster.silence(true);
            world.cluster.watch("compact");
        },
        |world| {
            world.cluster.silence(false);
            world.cluster.watch("cut");
        },
    );
}

#[test]
fn a_silent_watch_only_delays() {
    let mut world = World::build().set("kube.fresh_within", "1s").start();
    Ordeal::delaying().saying(&["\"fresh\":false", "no bytes for 1s"]).undergo(
        &mut world,
        |world| world.cluster.silence(true),
        |world| world.cluster.silence(false),
    );
}

#[test]
fn watches_cut_in_the_middle_of_a_frame_again_and_again_only_delay() {
    Ordeal::delaying().undergo(
        &mut World::start(),
        |world| (0..3).for_each(|_| world.cluster.watch("cut")),
        |world| (0..3).for_each(|_| world.cluster.watch("cut")),
    );
}

/// The second page of the list is refused, for its continue token is too old: the list begins anew and is whole.
#[test]
fn an_expired_continue_token_begins_the_list_anew_and_loses_nobody() {
    let mut world = World::build().set_literal("kube.page_size", "10").start();
    let machines = world.bring_up("small", 25);
    let rule = |action: Value| json!({"verb": "list", "resource": "pods", "count": 1, "action": action});
    let expired = json!({"code": 410, "reason": "Expired", "message": "The provided continue parameter is too old"});
    Ordeal::delaying_beside(&machines).undergo(
        &mut world,
        |world| {
            world.cluster.fault(&rule(json!({"delayMs": 1})));
            world.cluster.fault(&rule(json!({"status": expired})));
            world.daemon.crash_and_restart();
        },
        |world| {
            eventually("the second page was refused", SOON, || (world.cluster.faults()[1]["hits"] == 1).then_some(()));
            world.wait_synced();
        },
    );
    assert_eq!(world.reclaims(&names(&machines)), []);
    let ret = world.give_back(&names(&machines));
    assert_eq!(world.wait_end(&ret).with("succeed").len(), 25);
}

#[test]
fn a_slow_api_server_only_delays() {
    Ordeal::delaying().undergo(
        &mut World::start(),
        |world| {
            world.cluster.pod_fault("*", &json!({"delayMs": 400}));
        },
        |world| end_struck(world),
    );
}

#[test]
fn calls_that_are_never_answered_only_delay() {
    let mut world = World::build().set("kube.call_timeout", "1s").start();
    let hang = |world: &mut World| {
        for verb in ["create", "delete", "get"] {
            world.cluster.pod_fault(verb, &json!({"hang": true}));
        }
    };
    Ordeal::delaying().undergo(&mut world, hang, |world| end_struck(world));
}

#[test]
fn a_429_with_retry_after_only_delays() {
    all_answered(429, "TooManyRequests", &json!({"retryAfter": 1}));
}

#[test]
fn a_429_without_retry_after_and_in_plain_text_only_delays() {
    all_answered(429, "TooManyRequests", &json!({"plainText": true}));
}

#[test]
fn a_500_only_delays() {
    all_answered(500, "InternalError", &json!({}));
}

#[test]
fn a_502_in_plain_text_only_delays() {
    all_answered(502, "BadGateway", &json!({"plainText": true}));
}

#[test]
fn a_503_only_delays() {
    all_answered(503, "ServiceUnavailable", &json!({}));
}

#[test]
fn a_504_before_anything_was_done_only_delays() {
    all_answered(504, "Timeout", &json!({}));
}

/// Done, and then said to have timed out: creates and deletes alike.
#[test]
fn a_504_after_it_was_done_doubles_nothing() {
    let timeout = json!({"statusAfter": {"code": 504, "reason": "Timeout", "message": "request did not complete"}});
    Ordeal::delaying().undergo(
        &mut World::start(),
        |world| {
            unseen(world);
            world.cluster.pod_fault("create", &timeout);
            world.cluster.pod_fault("delete", &timeout);
        },
        |world| end_looked_for(world),
    );
}

#[test]
fn a_connection_that_breaks_after_it_was_done_doubles_nothing() {
    Ordeal::delaying().undergo(
        &mut World::start(),
        |world| {
            world.cluster.pod_fault("create", &json!({"drop": "after"}));
            world.cluster.pod_fault("delete", &json!({"drop": "after"}));
        },
        |world| end_struck(world),
    );
}

/// The create is done, its answer is lost below us and repeated there: we hear 409 about a pod that is ours.
#[test]
fn a_409_of_our_own_pod_is_no_failure_and_doubles_nothing() {
    let exists = json!({"statusAfter": {"code": 409, "reason": "AlreadyExists", "message": "pods already exists"}});
    Ordeal::delaying().undergo(
        &mut World::start(),
        |world| {
            unseen(world);
            world.cluster.pod_fault("create", &exists);
        },
        |world| end_looked_for(world),
    );
}

/// 409 although nobody has such a pod: a conflict that passes is not taken for the end.
#[test]
fn a_409_about_a_delete_only_delays() {
    let conflict = json!({"status": {"code": 409, "reason": "Conflict", "message": "the object has been modified"}});
    Ordeal::delaying().undergo(
        &mut World::start(),
        |world| {
            world.cluster.pod_fault("delete", &conflict);
        },
        |world| end_struck(world),
    );
}

#[test]
fn a_401_only_delays() {
    Ordeal::delaying().undergo(
        &mut World::start(),
        |world| world.cluster.unauthorized(true),
        |world| world.cluster.unauthorized(false),
    );
}

/// RBAC takes creates away: new machines fail in the server's words. Deletes taken away are in `lifecycle::returns`.
#[test]
fn a_403_by_rbac_fails_new_machines_in_its_words() {
    Ordeal::failing("small", &["forbidden"]).undergo(
        &mut World::start(),
        |world| {
            world.cluster.reset_counters();
            world.cluster.deny("create", "pods");
        },
        |world| {
            // What is allowed again too soon is no fault.
            eventually("both creates were refused", SOON, || (world.cluster.count("create pods") >= 2).then_some(()));
            world.cluster.allow_all();
        },
    );
}

/// New machines fail for good, in the server's words; the rest goes on.
#[track_caller]
fn creates_refused(code: u16, reason: &'static str, message: &'static str, words: &'static [&'static str]) {
    let refusal = json!({"status": {"code": code, "reason": reason, "message": message}});
    Ordeal::failing("small", words).undergo(
        &mut World::start(),
        |world| {
            world.cluster.fault(&json!({"verb": "create", "resource": "pods", "action": refusal}));
        },
        |world| {
            eventually("both creates were refused", SOON, || {
                (world.cluster.faults()[0]["hits"].as_u64() >= Some(2)).then_some(())
            });
            world.cluster.end_faults();
        },
    );
}

#[test]
fn a_403_by_quota_fails_new_machines_in_its_words() {
    creates_refused(403, "Forbidden", "exceeded quota: workers, requested: pods=1, used: pods=4", &["exceeded quota"]);
}

#[test]
fn a_403_by_admission_fails_new_machines_in_its_words() {
    let words = &["admission webhook", "denied the request"];
    creates_refused(403, "Forbidden", "admission webhook \"policy.example\" denied the request: no", words);
}

#[test]
fn a_422_fails_new_machines_in_its_words() {
    creates_refused(422, "Invalid", "Pod is invalid: spec.containers[0].image: Required value", &["required value"]);
}

/// The view is listed anew while pods go: those are told, the others are not, and no verb is held up.
#[test]
fn a_relist_that_misses_pods_tells_those_alone() {
    let world = World::start();
    let machines = world.bring_up("small", 12);
    world.cluster.silence(true);
    world.cluster.remove_pod(&machines[3].name);
    world.cluster.watch("compact");
    world.cluster.silence(false);
    world.cluster.watch("cut");
    eventually("the one that went is told", SOON, || {
        (world.all_reclaims() == [(machines[3].name.clone(), 0)]).then_some(())
    });
    let ret = world.give_back(&names(&machines));
    assert_eq!(world.wait_end(&ret).with("succeed").len(), 12);
    world.bring_up("small", 2);
    world.assert_no_pod_twice();
}
