//! From a request to a running container.

use std::time::Duration;

use serde_json::json;
use tests::{answer::epoch_seconds, eventually, holds_for, names, testbed::IMAGE};

use crate::world::{IDLE, NEVER, RealWorld, ready_if, script};

#[test]
fn the_host_name_inside_each_container_is_the_machines_name() {
    let world = RealWorld::start(&[script("small", IDLE)]);
    let machines = world.bring_up("small", 3);
    for machine in &machines {
        assert_eq!(world.run(&machine.name, "hostname").trim(), machine.name);
        let pod = world.pod(&machine.name).expect("the pod of a machine that succeeded is there");
        assert_eq!(pod["status"]["podIP"], machine.ip.as_str());
        assert_eq!(pod["metadata"]["uid"], machine.id.as_str());
    }
    world.take_down(&names(&machines));
    assert!(
        machines.iter().all(|machine| world.pod(&machine.name).is_none()),
        "a returned machine's pod is still there"
    );
}

#[test]
fn a_machine_succeeds_when_its_readiness_probe_does_and_not_before() {
    let world = RealWorld::start(&[ready_if(script("probed", IDLE), "/tmp/ready")]);
    let id = world.request("probed", 1);
    let name = world.status(&id).only().name.clone();
    world.wait(&id, "running in the cluster", |_| {
        world.pod(&name).is_some_and(|pod| pod["status"]["phase"] == "Running")
    });
    holds_for("a machine whose probe fails is executing", Duration::from_secs(4), || {
        world.status(&id).only().result == "executing"
    });
    let released = epoch_seconds();
    world.run(&name, "touch /tmp/ready");
    let end = world.wait_end(&id);
    assert_eq!(end.status, "complete", "{end:#?}");
    assert!(end.only().launchtime >= released, "launched at {} before {released}", end.only().launchtime);
}

#[test]
fn a_machine_waits_for_its_init_containers() {
    let waits = json!([{
        "name": "setup", "image": IMAGE, "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", "until [ -e /tmp/done ]; do sleep 0.1; done"],
    }]);
    let world = RealWorld::start(&[script("prepared", IDLE).pod("/spec/initContainers", waits)]);
    let id = world.request("prepared", 1);
    let name = world.status(&id).only().name.clone();
    let running = |pod: serde_json::Value| pod["status"]["initContainerStatuses"][0]["state"]["running"].is_object();
    world.wait(&id, "running its init container", |_| world.pod(&name).is_some_and(running));
    holds_for("a machine whose init container runs is executing", Duration::from_secs(2), || {
        world.status(&id).only().result == "executing"
    });
    world.node.run(world.ground.namespace(), &name, "setup", "touch /tmp/done").expect("the init container runs");
    let end = world.wait_end(&id);
    assert_eq!(end.status, "complete", "{end:#?}");
}

#[test]
fn a_machine_whose_probe_never_succeeds_fails_at_its_deadline_and_its_container_is_removed() {
    let never = ready_if(script("never", IDLE), NEVER);
    let world = RealWorld::start_with(&[never], &[("machines.ready_deadline", "10s")]);
    let id = world.request("never", 1);
    let end = world.wait_end(&id);
    let machine = end.only();
    assert!(machine.message.contains("not ready within 10 s"), "{}", machine.message);
    assert!(machine.message.contains("containers with unready status: [main]"), "{}", machine.message);
    eventually("the failed machine's pod is gone", Duration::from_secs(30), || {
        world.pod(&machine.name).is_none().then_some(())
    });
}
