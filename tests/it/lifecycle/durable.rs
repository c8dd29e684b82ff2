//! `lifecycle.md` 2, "What is durable".

use std::time::Duration;

use serde_json::json;
use tests::{Template, World, eventually};

/// lifecycle.md 2: an accepted request survives a kill at once after its reply.
#[test]
fn a_request_acknowledged_before_a_crash_is_carried_out_after_it() {
    let mut world = World::start();
    let id = world.request("small", 20);
    world.crash();
    let end = world.wait_end(&id);
    assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", 20));
    assert_eq!(world.cluster.managed().len(), 20);
    world.assert_no_pod_twice();
}

/// lifecycle.md 2: the request's manifest is stored resolved: later edits of template or manifest never change it.
#[test]
fn an_accepted_request_keeps_the_manifest_it_was_accepted_with() {
    let mut world = World::start();
    let fault = world.cluster.pod_fault(
        "create",
        &json!({"status": {"code": 503, "reason": "ServiceUnavailable", "message": "not now", "retryAfter": 1}}),
    );
    let id = world.request("small", 2);
    world.write_templates(&[Template::new("small").pod("/spec/containers/0/image", json!("registry.example/late:9"))]);
    // A start reads the new file, whatever the running daemon has seen of it.
    world.crash();
    world.cluster.end_fault(fault);
    for machine in world.wait_end(&id).machines {
        let pod = world.cluster.pod(&machine.name).expect("it is ready");
        assert_eq!(pod["spec"]["containers"][0]["image"], "registry.example/worker:1");
    }
}

/// lifecycle.md 2: deadlines are those of the acceptance; later configuration never changes them.
#[test]
fn an_accepted_request_keeps_its_deadline() {
    let mut world = World::build()
        .template(Template::new("stuck").fate("never-scheduled"))
        .set("machines.ready_deadline", "10s")
        .start();
    let id = world.request("stuck", 1);
    world.daemon.spec().set("machines.ready_deadline", "300s");
    world.crash();
    world.wait_end(&id).failure();
}

/// lifecycle.md 2: a surplus pod (ours by name and label, another UID than the durable one) is deleted.
#[test]
fn a_surplus_pod_under_a_lost_machines_name_is_deleted() {
    let world = World::start();
    let machine = world.bring_up("small", 1).remove(0);
    let pod = world.cluster.pod(&machine.name).expect("it is ready");
    world.cluster.remove_pod(&machine.name);
    eventually("the loss is told", Duration::from_secs(20), || (!world.all_reclaims().is_empty()).then_some(()));
    world.cluster.create_pod(&machine.name, &pod["metadata"]["labels"], &pod["metadata"]["annotations"]);
    world.wait_no_pods();
    assert_eq!(world.reclaims(&[&machine.name]), [(machine.name.clone(), 0)]);
}

/// lifecycle.md 2 and 3: a machine with a durable UID whose pod is gone is failed, never created again, over any crash.
#[test]
fn a_machine_whose_pod_went_away_during_a_crash_is_not_created_again() {
    let mut world = World::build().template(Template::new("slow").annotate("sandbox.hfd/start-delay", "60s")).start();
    let id = world.request("slow", 3);
    let names: Vec<String> = world
        .wait(&id, "with ids", |status| status.machines.iter().all(|machine| !machine.id.is_empty()))
        .machines
        .into_iter()
        .map(|machine| machine.name)
        .collect();
    world.daemon.kill9();
    for name in &names {
        world.cluster.remove_pod(name);
    }
    world.daemon.start_again();
    let end = world.wait_end(&id);
    assert_eq!((end.status.as_str(), end.with("fail").len()), ("complete_with_error", 3));
    world.assert_no_pod_twice();
}

/// lifecycle.md 2: the terminal answer is committed before it is given; a crash right after can't unsay it. The strict
/// reader compares all later answers with the first terminal one.
#[test]
fn no_answer_is_unsaid_by_a_crash() {
    let mut world = World::start();
    let id = world.request("small", 10);
    for _ in 0..6 {
        world.status(&id);
        world.daemon.crash_and_restart();
    }
    assert_eq!(world.wait_end(&id).status, "complete");
    world.crash();
    assert_eq!(world.wait_end(&id).status, "complete");
    world.assert_no_pod_twice();
}
