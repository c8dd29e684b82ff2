//! Fairness (`lifecycle.md` 13): many or hopeless machines never hold up a small healthy request behind them.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Template, World, names};

/// What a small request may take behind a large or sick one, in a debug build on a small machine. A real cluster's own
/// scheduler and nodes serve all pods in turn, so the pods before it in their queues count too.
fn held_up(world: &World) -> Duration {
    Duration::from_secs(if world.cluster.is_simulated() { 10 } else { 40 })
}

/// Fairness: a template whose pods can't be created.
#[test]
fn a_template_whose_pods_can_not_be_created_holds_up_nobody() {
    let world = World::build()
        .template(Template::new("sick").pod("/metadata/labels", json!({"app": "sick"})))
        .template(Template::new("well"))
        .start();
    for action in [
        json!({"status": {"code": 500, "reason": "InternalError", "message": "webhook failed"}}),
        json!({"hang": true}),
    ] {
        let fault = world
            .cluster
            .fault(&json!({"verb": "create", "resource": "pods", "labelContains": "app=sick", "action": action}));
        let sick = world.request("sick", 300);
        let begun = Instant::now();
        world.bring_up("well", 3);
        assert!(begun.elapsed() < held_up(&world), "held up for {:?} by {action}", begun.elapsed());
        assert_eq!(world.status(&sick).status, "running");
        let status = world.status(&sick);
        world.give_back(&names(&status.machines));
        world.cluster.end_fault(fault);
    }
}

/// Fairness: a request of 10,000 machines.
#[test]
fn a_request_for_ten_thousand_machines_holds_up_nobody() {
    let world = World::build().cluster(|cluster| cluster.nodes = 100).start();
    world.cluster.pod_fault("create", &json!({"delayMs": 50}));
    let large = world.request("small", 10_000);
    let begun = Instant::now();
    let machines = world.bring_up("small", 5);
    assert!(begun.elapsed() < held_up(&world), "held up for {:?}", begun.elapsed());
    let begun = Instant::now();
    let ret = world.give_back(&names(&machines));
    assert_eq!(world.wait_end(&ret).status, "complete");
    assert!(begun.elapsed() < held_up(&world), "the return was held up for {:?}", begun.elapsed());
    assert_eq!(world.status(&large).status, "running", "the large one was too quick to prove anything");
}

/// Fairness: a large return in front of a small return and a small request.
#[test]
fn a_large_return_holds_up_neither_a_small_return_nor_a_small_request() {
    let world = World::build().cluster(|cluster| cluster.nodes = 12).set_literal("kube.concurrency", "8").start();
    let id = world.request("small", 600);
    let large = world.wait_end(&id).machines;
    let small = world.bring_up("small", 3);
    // 600 of these, eight at once: 75 s, longer than the small ones may take anywhere.
    let late = json!({"verb": "delete", "resource": "pods", "namePrefix": id, "action": {"delayMs": 1000}});
    world.cluster.fault(&late);
    let slow = world.give_back(&names(&large));
    let begun = Instant::now();
    let quick = world.give_back(&names(&small));
    assert_eq!(world.wait_end(&quick).status, "complete");
    world.bring_up("small", 3);
    assert!(begun.elapsed() < held_up(&world), "held up for {:?}", begun.elapsed());
    assert_eq!(world.status(&slow).status, "running", "the large one was too quick to prove anything");
}
