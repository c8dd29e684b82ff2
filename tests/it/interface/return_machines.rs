//! `interface.md`, "requestReturnMachines".

use serde_json::{Value, json};
use tests::{Verb, World};

/// interface.md, requestReturnMachines: already gone or already returned machines count as returned.
#[test]
fn returning_twice_or_what_is_gone_already_is_no_error() {
    let world = World::start();
    let machines = world.bring_up("small", 2);
    let all = tests::names(&machines);
    let first = world.give_back(&all);
    let joined = world.give_back(&all);
    assert_ne!(first, joined);
    for id in [&first, &joined] {
        assert_eq!(world.wait_end(id).status, "complete");
    }
    world.cluster.reset_counters();
    let late = world.give_back(&all);
    assert_eq!(world.wait_end(&late).status, "complete");
    assert_eq!(world.cluster.count("delete pods"), 0);
}

/// interface.md, requestReturnMachines: by name; an absent, empty, equal or wrong machineId changes nothing.
#[test]
fn the_name_decides_and_the_machine_id_does_not() {
    let world = World::start();
    let machines = world.bring_up("small", 5);
    let other = machines[4].id.clone();
    let name = |index: usize| machines[index].name.clone();
    let document = json!({"machines": [
        {"name": name(0)},
        {"name": name(1), "machineId": ""},
        {"name": name(2), "machineId": name(2)},
        {"name": name(3), "machineId": other},
        {"name": name(4), "machineId": machines[4].id},
    ]});
    let ret = world.give_back_as(&document);
    let end = world.wait_end(&ret);
    assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", 5));
    assert!(world.cluster.managed().is_empty());
}

/// interface.md, requestReturnMachines: an empty list is exit 1, as is one that is missing or of a wrong kind.
#[test]
fn an_empty_or_missing_list_is_refused() {
    let world = World::start();
    for input in [json!({}), json!({"machines": []}), json!({"machines": "x"}), json!({"machines": 5}), json!([])] {
        world.call(Verb::RequestReturnMachines, &input).refused();
    }
}

/// interface.md, requestReturnMachines: names are data.
#[test]
fn names_like_paths_are_harmless_and_an_id_is_always_answered() {
    let world = World::start();
    let long = "n".repeat(300);
    let strange = ["../x", "a/b", "/etc", "", "..", "%2e%2e", "a?b#c", "ü", long.as_str(), "x\u{0}y"];
    for name in strange {
        let ret = world.give_back(&[name]);
        let end = world.wait_end(&ret);
        assert_eq!(end.status, "complete", "{name:?}: {end:#?}");
    }
    let ret = world.give_back(&strange);
    assert_eq!(world.wait_end(&ret).machines.len(), strange.len());
    let outside: Vec<Value> = world.cluster.nodes().into_iter().map(Value::from).collect();
    assert_eq!(outside.len(), 4, "the nodes are untouched");
}

/// interface.md, requestReturnMachines: a name given twice is one machine.
#[test]
fn a_machine_named_twice_in_one_return_is_returned_once() {
    let world = World::start();
    let machine = world.bring_up("small", 1).remove(0);
    world.cluster.reset_counters();
    let ret = world.give_back(&[&machine.name, &machine.name]);
    assert_eq!(world.wait_end(&ret).status, "complete");
    assert_eq!(world.cluster.count("delete pods"), 1);
}
