//! Losses of ready machines, as a cluster inflicts them (`lifecycle.md` 3 and 6, `reliability.md`, "Cluster").

use std::time::Duration;

use serde_json::json;
use tests::{Template, World, eventually};

/// lifecycle.md 3: a node dies; its machines are reclaimed, the others are not, and the request's answer stands.
#[test]
fn machines_of_a_lost_node_are_reclaimed_and_no_others() {
    let world = World::build().cluster(|cluster| cluster.nodes = 3).start();
    let id = world.request("small", 9);
    let end = world.wait_end(&id);
    let node = world.cluster.node_of(&end.machines[0].name);
    let mut on_node: Vec<String> = end
        .machines
        .iter()
        .filter(|machine| world.cluster.node_of(&machine.name) == node)
        .map(|machine| machine.name.clone())
        .collect();
    on_node.sort();
    world.cluster.node(&node, "lose");
    eventually("its machines are listed", Duration::from_secs(30), || {
        let mut told: Vec<String> = world.all_reclaims().into_iter().map(|(name, _)| name).collect();
        told.sort();
        (told == on_node).then_some(())
    });
    assert_eq!(world.status(&id), end);
}

/// reliability.md, Cluster: a container that ends after it was ready is a lost machine, with its reason for people.
#[test]
fn a_machine_whose_container_ends_after_ready_is_reclaimed() {
    let fates = ["exit-0", "exit-1", "oom"];
    let mut build = World::build();
    for fate in fates {
        build = build.template(Template::new(fate).fate(fate).annotate("sandbox.hfd/fate-after", "1s"));
    }
    let world = build.start();
    for fate in fates {
        let machine = world.bring_up(fate, 1).remove(0);
        eventually("it is listed", Duration::from_secs(20), || {
            (world.reclaims(&[&machine.name]) == [(machine.name.clone(), 0)]).then_some(())
        });
        let described = world.hfctl_json(&["describe", "machine", &machine.name]).to_string().to_lowercase();
        let word = if fate == "oom" { "oom" } else { "exit" };
        assert!(described.contains(word), "{fate}: {described}");
        let ret = world.give_back(&[&machine.name]);
        assert_eq!(world.wait_end(&ret).status, "complete");
    }
    world.wait_no_pods();
}

/// lifecycle.md 6: NotReady of a node is reversible and by default no reason to reclaim.
#[test]
fn a_node_that_is_not_ready_for_a_while_costs_no_machine() {
    let world = World::build().cluster(|cluster| cluster.nodes = 1).start();
    let machines = world.bring_up("small", 3);
    let node = world.cluster.node_of(&machines[0].name);
    world.cluster.node(&node, "notready");
    tests::holds_for("nothing is reclaimed", Duration::from_secs(1), || world.all_reclaims().is_empty());
    world.cluster.node(&node, "ready");
    world.cluster.set_pod(&machines[0].name, &json!({"ready": true}));
    assert_eq!(world.all_reclaims(), []);
}
