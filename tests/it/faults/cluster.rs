//! reliability.md, "Cluster": what becomes of pods and nodes, each while all five verbs are called.

use serde_json::json;
use tests::{Template, World, eventually};

use super::{Ordeal, SOON};

/// A world with the template `bad`, whose pods have this fate.
fn world_with(fate: &str) -> World {
    World::build().template(Template::new("small")).template(Template::new("bad").fate(fate)).start()
}

#[test]
fn machines_that_exit_with_0_before_they_are_ready_fail_alone() {
    Ordeal::failing("bad", &["exit", "0"]).undergo(&mut world_with("exit-0"), |_| (), |_| ());
}

#[test]
fn machines_that_are_killed_for_their_memory_fail_alone() {
    Ordeal::failing("bad", &["oomkilled"]).undergo(&mut world_with("oom"), |_| (), |_| ());
}

/// What only the deadline ends, all at once.
#[test]
fn machines_that_are_never_scheduled_never_pulled_never_ready_or_crash_loop_fail_alone() {
    let fates = [
        ("never-scheduled", "nodes are available"),
        ("image-pull-failure", "image"),
        ("never-ready", "not ready"),
        // Between two runs it is not said to be in a crash loop, but that it was restarted.
        ("crash-loop", "restart"),
    ];
    let mut builder = World::build().template(Template::new("small"));
    for (fate, _) in fates {
        builder = builder.template(Template::new(fate).fate(fate).field("readyDeadlineSeconds", json!(10)));
    }
    let mut world = builder.start();
    let asked: Vec<_> = fates.iter().map(|(fate, words)| (world.request(fate, 1), *fate, *words)).collect();
    Ordeal::delaying().undergo(
        &mut world,
        |_| (),
        |world| {
            for (id, fate, words) in &asked {
                let message = world.wait_end(id).failure();
                assert!(message.contains(words), "{fate}: {message}");
            }
        },
    );
}

#[test]
fn a_machine_that_is_deleted_by_hand_is_wanted_back_alone() {
    let mut world = World::start();
    let victims = world.bring_up("small", 2);
    let names: Vec<String> = victims.iter().map(|victim| victim.name.clone()).collect();
    Ordeal::losing(&victims).undergo(
        &mut world,
        |world| names.iter().for_each(|name| world.cluster.delete_pod(name)),
        |_| (),
    );
}

/// A drain: each machine of a node is evicted by the API that drains use.
#[test]
fn machines_that_a_drain_evicts_are_wanted_back_alone() {
    let mut world = World::start();
    let victims = world.bring_up("small", 3);
    let names: Vec<String> = victims.iter().map(|victim| victim.name.clone()).collect();
    Ordeal::losing(&victims).undergo(
        &mut world,
        |world| {
            for name in &names {
                let path = format!("/api/v1/namespaces/{}/pods/{name}/eviction", world.cluster.namespace());
                let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
                let answer = world.cluster.endpoint().call("POST", &path, Some(&eviction)).expect("the API answers");
                assert_eq!(answer.code, 201, "{answer:?}");
            }
        },
        |_| (),
    );
}

#[test]
fn a_machine_that_is_preempted_is_wanted_back_alone() {
    let mut world = World::start();
    let victims = world.bring_up("small", 1);
    let name = victims[0].name.clone();
    Ordeal::losing(&victims).undergo(
        &mut world,
        |world| {
            world.cluster.set_pod(&name, &json!({"disruption": "PreemptionByScheduler"}));
            eventually("it is listed before it is gone", SOON, || {
                world.all_reclaims().iter().any(|(wanted, _)| *wanted == name).then_some(())
            });
            world.cluster.delete_pod(&name);
        },
        |_| (),
    );
}

#[test]
fn machines_whose_containers_end_after_they_were_ready_are_wanted_back_alone() {
    let mut builder = World::build().template(Template::new("small"));
    for fate in ["exit-0", "oom"] {
        builder = builder.template(Template::new(fate).fate(fate).annotate("sandbox.hfd/fate-after", "2s"));
    }
    let mut world = builder.start();
    let victims = [world.bring_up("exit-0", 1), world.bring_up("oom", 1)].concat();
    Ordeal::losing(&victims).undergo(&mut world, |_| (), |_| ());
}
