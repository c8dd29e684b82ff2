//! The node is drained, falls silent, comes back. Each of these tests has the node for itself.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tests::{Template, eventually, holds_for, names, process::Process, testbed::Ground};

use crate::world::{IDLE, NEVER, PATIENCE, RealWorld, ready_if, script};

/// A container that takes some seconds to end.
fn slow_to_end(id: &str) -> Template {
    script(id, "trap 'sleep 3; exit 0' TERM; while :; do sleep 0.1; done")
        .pod("/spec/terminationGracePeriodSeconds", json!(20))
}

/// Lets pods start on the node again, however the test ends.
struct Uncordon<'a>(&'a RealWorld);

impl Drop for Uncordon<'_> {
    fn drop(&mut self) {
        let path = format!("/api/v1/nodes/{}", self.0.node.name());
        // Best effort: the next test waits until the node is usable, and says so when it is not.
        drop(self.0.ground.admin().call("PATCH", &path, Some(&json!({"spec": {"unschedulable": null}}))));
    }
}

/// Kubelet is stopped until this is dropped.
struct Silence<'a>(&'a RealWorld);

impl<'a> Silence<'a> {
    fn of(world: &'a RealWorld) -> Self {
        world.node.stop_kubelet();
        Self(world)
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.0.node.start_kubelet();
    }
}

#[test]
fn a_drained_node_gives_each_machine_its_grace_and_wants_it_back() {
    let world = RealWorld::start_alone(&[slow_to_end("worker")]);
    let machines = world.bring_up("worker", 2);
    let _uncordon = Uncordon(&world);
    let arguments = ["drain", world.node.name(), "--force", "--ignore-daemonsets", "--timeout=80s"];
    let log = NamedTempFile::new().expect("a temporary file can be made");
    let mut drain = Process::start("kubectl drain", world.kubectl_command(&arguments), log.path());
    for machine in &machines {
        world.wait_reclaim_within(&machine.name, 20);
    }
    world.take_down(&names(&machines));
    let status = drain.ended(PATIENCE);
    assert!(status.success(), "kubectl drain: {}", drain.log());
    for name in names(&machines) {
        assert!(world.pod(name).is_none(), "{name} survived the drain");
    }
}

#[test]
fn a_drained_machine_that_nobody_returned_is_lost_in_the_words_of_the_eviction() {
    let world = RealWorld::start_alone(&[script("worker", IDLE)]);
    let name = world.bring_up("worker", 1).remove(0).name;
    let _uncordon = Uncordon(&world);
    world.kubectl(&["drain", world.node.name(), "--force", "--ignore-daemonsets", "--timeout=80s"]);
    eventually("the machine is lost", PATIENCE, || (world.reclaim(&name) == Some(0)).then_some(()));
    let described = world.hfctl(&["describe", "machine", &name]);
    assert!(described.contains("EvictionByEvictionAPI"), "{described}");
    world.take_down(&[&name]);
}

#[test]
fn a_lost_node_takes_its_machines_with_it_and_a_forced_return_does_not_wait_for_it() {
    let world = RealWorld::start_alone(&[script("worker", IDLE)]);
    // The control plane evicts nothing while no node at all is healthy: it then thinks that it is itself cut off.
    let _others = Ground::prepare(&world.facts, 3, 1).expect("the testbed prepares nodes");
    let machines = world.bring_up("worker", 2);
    let (first, second) = (machines[0].name.as_str(), machines[1].name.as_str());

    let silence = Silence::of(&world);
    for name in [first, second] {
        world.wait_reclaim_within(name, 1);
        let pod = world.pod(name).expect("nobody is there to confirm that the container ended");
        assert!(disrupted(&pod, "DeletionByTaintManager"), "{}", pod["status"]["conditions"]);
    }
    let ended = world.give_back(&[first, second]);
    holds_for("a machine on a silent node is shutting down", Duration::from_secs(3), || {
        world.status(&ended).machines.iter().all(|machine| machine.status == "shutting-down")
    });
    world.hfctl(&["return", first, "--force"]);
    world.wait(&ended, "rid of the forced machine", |status| {
        status.machines.iter().any(|machine| machine.name == first && machine.result == "succeed")
    });
    assert!(world.pod(first).is_none(), "the forced machine's pod is still there");
    let other = world.status(&ended);
    assert_eq!(other.status, "running", "{other:#?}");
    assert!(world.pod(second).is_some(), "the other machine's pod is gone");

    drop(silence);
    world.node.wait_ready();
    let end = world.wait_end(&ended);
    assert_eq!(end.status, "complete", "{end:#?}");
    world.bring_up("worker", 1);
}

#[test]
fn a_machine_that_waits_on_a_lost_node_fails_at_once_in_the_words_of_the_eviction() {
    let world = RealWorld::start_alone(&[ready_if(script("worker", IDLE), NEVER)]);
    let _others = Ground::prepare(&world.facts, 3, 1).expect("the testbed prepares nodes");
    let id = world.request("worker", 1);
    let name = world.status(&id).only().name.clone();
    world.wait(&id, "running", |_| world.pod(&name).is_some_and(|pod| pod["status"]["phase"] == "Running"));
    let silence = Silence::of(&world);
    let end = world.wait_end(&id);
    let message = &end.only().message;
    assert!(message.contains("taint"), "{message}");
    drop(silence);
    world.node.wait_ready();
    eventually("the failed machine's pod is gone", PATIENCE, || world.pod(&name).is_none().then_some(()));
}

#[test]
fn a_kubelet_that_is_restarted_costs_no_machine() {
    let world = RealWorld::start_alone(&[script("worker", IDLE)]);
    let machines = world.bring_up("worker", 2);
    drop(Silence::of(&world));
    world.node.wait_ready();
    holds_for("no machine is wanted back", Duration::from_secs(5), || {
        machines.iter().all(|machine| world.reclaim(&machine.name).is_none())
    });
    for machine in &machines {
        assert_eq!(world.run(&machine.name, "hostname").trim(), machine.name);
    }
    world.take_down(&names(&machines));
}

/// Whether a pod is marked as about to be removed, for that reason.
fn disrupted(pod: &Value, reason: &str) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|one| one["type"] == "DisruptionTarget" && one["status"] == "True" && one["reason"] == reason)
}
