//! `interface.md`, "getReturnRequests"; the rules on what is listed are in `lifecycle::reclaim`.

use std::time::Duration;

use serde_json::json;
use tests::{Verb, World, eventually};

/// interface.md, getReturnRequests: the shape, and an empty list when there is nothing to say.
#[test]
fn nothing_to_say_is_an_empty_list() {
    let world = World::start();
    let machine = world.bring_up("small", 1).remove(0);
    for input in [
        json!({}),
        json!({"machines": []}),
        json!({"machines": [{"name": machine.name, "machineId": machine.id}]}),
        json!({"machines": {"name": machine.name}}),
        json!({"machines": [{"name": machine.name}], "unknown": [1]}),
    ] {
        let reply = world.call(Verb::GetReturnRequests, &input);
        assert_eq!(reply.ok()["requests"], json!([]), "{input}");
        assert_eq!(reply.ok()["status"], "complete");
    }
}

/// interface.md, getReturnRequests: about the input; HostFactory answers each entry with a return.
#[test]
fn a_lost_machine_is_told_when_asked_about_and_ends_with_its_return() {
    let world = World::start();
    let machines = world.bring_up("small", 3);
    let lost = machines[1].name.as_str();
    world.cluster.remove_pod(lost);
    let all = tests::names(&machines);
    eventually("the loss is told", Duration::from_secs(20), || (!world.reclaims(&all).is_empty()).then_some(()));
    assert_eq!(world.reclaims(&all), [(lost.to_owned(), 0)]);
    assert_eq!(world.reclaims(&[machines[0].name.as_str()]), []);
    assert_eq!(world.all_reclaims(), [(lost.to_owned(), 0)]);
    let ret = world.give_back(&[lost]);
    assert_eq!(world.reclaims(&all), [], "while its return is open or just told");
    assert_eq!(world.wait_end(&ret).status, "complete");
    assert_eq!(world.all_reclaims(), []);
}
