//! `interface.md`, "requestMachines".

use serde_json::{Value, json};
use tests::{Template, Verb, World};

/// interface.md, requestMachines: an id is answered, machines come up.
#[test]
fn machines_asked_for_come_up_and_are_returned() {
    let world = World::start();
    let machines = world.bring_up("small", 3);
    assert_eq!(world.cluster.managed(), {
        let mut all = tests::names(&machines);
        all.sort_unstable();
        all
    });
    let ret = world.give_back(&tests::names(&machines));
    let end = world.wait_end(&ret);
    assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", 3));
    assert!(world.cluster.managed().is_empty(), "a finished return means that the pods are gone");
}

/// interface.md, requestMachines: refused with a message, nothing stored, nothing created.
#[test]
fn unknown_templates_and_wrong_counts_are_refused_and_store_nothing() {
    let world =
        World::build().template(Template::new("small").max(5)).set_literal("limits.max_machine_count", "50").start();
    let before = world.known_requests();
    world.cluster.reset_counters();
    let counts = [
        json!(0),
        json!(-1),
        json!(true),
        json!("5"),
        json!(1.5),
        json!(null),
        json!([1]),
        json!({"n": 1}),
        json!(51),
        json!(1_000_000_000_u64),
        json!(u64::MAX),
        json!(1e300),
    ];
    for count in counts {
        let input = json!({"template": {"templateId": "small", "machineCount": count}});
        let reply = world.call(Verb::RequestMachines, &input);
        let shown = count.to_string();
        let value = shown.trim_matches('"');
        // Numbers beyond 64 bits may be written in another notation than they came in.
        if value.len() < 12 {
            assert!(reply.refused().contains(value), "{value} is not named: {}", reply.stdout);
        } else {
            reply.refused();
        }
    }
    let wrong = [
        json!({"template": {"templateId": "unknown", "machineCount": 1}}),
        json!({"template": {"templateId": "", "machineCount": 1}}),
        json!({"template": {"templateId": 5, "machineCount": 1}}),
        json!({"template": {"machineCount": 1}}),
        json!({"template": {"templateId": "small"}}),
        json!({"template": []}),
        json!({"template": "small"}),
        json!({}),
    ];
    for input in wrong {
        world.call(Verb::RequestMachines, &input).refused();
    }
    assert_eq!(world.known_requests(), before);
    assert_eq!(world.cluster.count("create pods"), 0);
}

/// interface.md, requestMachines: the configured limit, 10,000 by default, is allowed itself.
#[test]
fn a_count_at_the_limit_is_accepted_and_one_above_is_not() {
    let world = World::build().set_literal("limits.max_machine_count", "4").start();
    world.call(Verb::RequestMachines, &json!({"template": {"templateId": "small", "machineCount": 5}})).refused();
    world.bring_up("small", 4);
    let default = World::start();
    let over = json!({"template": {"templateId": "small", "machineCount": 10_001}});
    assert!(default.call(Verb::RequestMachines, &over).refused().contains("10001"));
}

/// interface.md, requestMachines: the same key and body answers the first reply again; another body is refused.
#[test]
fn the_same_key_is_the_same_request_and_never_another_one() {
    let mut world = World::start();
    let two = json!({"template": {"templateId": "small", "machineCount": 2}});
    let first = world.call_with(Verb::RequestMachines, &["--request-id", "key-1"], &two).ok().clone();
    let again = world.call_with(Verb::RequestMachines, &["--request-id", "key-1"], &two).ok().clone();
    assert_eq!(first, again);
    let three = json!({"template": {"templateId": "small", "machineCount": 3}});
    let other = world.call_with(Verb::RequestMachines, &["--request-id", "key-1"], &three);
    assert!(other.refused().contains("key-1"), "{}", other.stdout);
    world.crash();
    let later = world.call_with(Verb::RequestMachines, &["--request-id", "key-1"], &two).ok().clone();
    assert_eq!(first, later, "after a crash");
    let id = first["requestId"].as_str().expect("an id");
    assert_eq!(world.wait_end(id).machines.len(), 2);
    assert_eq!(world.cluster.managed().len(), 2);
    let machines: Vec<Value> = world.status(id).machines.iter().map(|m| json!({"name": m.name})).collect();
    let back = json!({ "machines": machines });
    let ret = world.call_with(Verb::RequestReturnMachines, &["--request-id", "key-2"], &back).ok().clone();
    let same = world.call_with(Verb::RequestReturnMachines, &["--request-id", "key-2"], &back).ok().clone();
    assert_eq!(ret, same);
    world.call_with(Verb::RequestReturnMachines, &["--request-id", "key-1"], &back).refused();
}

/// lifecycle.md 1: a key is 1..128 printable characters.
#[test]
fn an_illegal_key_is_refused() {
    let world = World::start();
    let one = json!({"template": {"templateId": "small", "machineCount": 1}});
    let long = "k".repeat(129);
    for key in ["", "tab\there", "line\nbreak", long.as_str()] {
        world.call_with(Verb::RequestMachines, &["--request-id", key], &one).refused();
    }
    world.call_with(Verb::RequestMachines, &["--request-id", &"k".repeat(128)], &one).ok();
}
