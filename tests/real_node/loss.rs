//! Machines that end, crash or are deleted by someone else after they were ready, and before.

use std::time::Duration;

use serde_json::json;
use tests::{Template, eventually};

use crate::world::{IDLE, NEVER, PATIENCE, RealWorld, ready_if, script};

/// A container that ends with a code as soon as a file is there, in this run and in all later ones.
fn ends_on_demand(id: &str, code: u8) -> Template {
    script(id, &format!("until [ -e /state/end ]; do sleep 0.1; done; exit {code}"))
        .pod("/spec/volumes", json!([{"name": "state", "emptyDir": {}}]))
        .pod("/spec/containers/0/volumeMounts", json!([{"name": "state", "mountPath": "/state"}]))
}

/// Brings one machine up, ends its container, and returns it once it is wanted back.
#[track_caller]
fn ends_and_is_reclaimed(world: &RealWorld, template: &str) -> String {
    let name = world.bring_up(template, 1).remove(0).name;
    assert_eq!(world.reclaim(&name), None, "a healthy machine is wanted back");
    world.run(&name, "touch /state/end");
    assert_eq!(world.wait_reclaim(&name), 0, "a lost machine has no grace");
    let described = world.hfctl(&["describe", "machine", &name]);
    world.take_down(&[&name]);
    assert!(world.pod(&name).is_none(), "the lost machine's pod is still there");
    described
}

#[test]
fn a_container_that_ends_well_after_it_was_ready_is_wanted_back() {
    let world = RealWorld::start(&[ends_on_demand("done", 0).pod("/spec/restartPolicy", json!("Never"))]);
    let described = ends_and_is_reclaimed(&world, "done");
    assert!(described.contains("Completed (exit code 0)"), "{described}");
}

#[test]
fn a_container_that_ends_badly_after_it_was_ready_is_wanted_back() {
    let world = RealWorld::start(&[ends_on_demand("broken", 3).pod("/spec/restartPolicy", json!("Never"))]);
    let described = ends_and_is_reclaimed(&world, "broken");
    assert!(described.contains("Error (exit code 3)"), "{described}");
}

#[test]
fn a_crash_loop_after_readiness_is_wanted_back_after_its_time() {
    let world = RealWorld::start_with(&[ends_on_demand("crashing", 5)], &[("machines.crash_loop_after", "3s")]);
    let described = ends_and_is_reclaimed(&world, "crashing");
    assert!(described.contains("CrashLoopBackOff"), "{described}");
    assert!(described.contains("Error (exit code 5)"), "{described}");
}

#[test]
fn a_container_that_kubelet_starts_again_costs_no_machine() {
    let once = format!("[ ! -e /state/end ] || {{ {IDLE}; }}; until [ -e /state/end ]; do sleep 0.1; done; exit 5");
    let template = ends_on_demand("restarted", 5).pod("/spec/containers/0/command", json!(["/bin/sh", "-c", once]));
    let world = RealWorld::start(&[template]);
    let name = world.bring_up("restarted", 1).remove(0).name;
    world.run(&name, "touch /state/end");
    eventually("the container is ready again", PATIENCE, || {
        assert_eq!(world.reclaim(&name), None, "one end is no crash loop");
        let container = world.pod(&name)?["status"]["containerStatuses"][0].clone();
        (container["restartCount"] == 1 && container["ready"] == true).then_some(())
    });
    assert_eq!(world.run(&name, "hostname").trim(), name);
    world.take_down(&[&name]);
}

#[test]
fn a_pod_that_runs_out_of_its_active_deadline_is_wanted_back() {
    let world = RealWorld::start(&[script("short", IDLE)]);
    let name = world.bring_up("short", 1).remove(0).name;
    // Given to it when it is ready: its time counts from its start, and a start may take longer.
    let patch = json!({"spec": {"activeDeadlineSeconds": 1}}).to_string();
    world.kubectl(&["patch", "pod", &name, "--namespace", world.ground.namespace(), "--patch", &patch]);
    assert_eq!(world.wait_reclaim(&name), 0);
    let described = world.hfctl(&["describe", "machine", &name]);
    assert!(described.contains("DeadlineExceeded"), "{described}");
    world.take_down(&[&name]);
}

#[test]
fn a_pod_that_someone_deletes_before_it_is_ready_fails_at_once() {
    let world = RealWorld::start(&[ready_if(script("deleted", IDLE), NEVER)]);
    let id = world.request("deleted", 1);
    let name = world.status(&id).only().name.clone();
    world.wait(&id, "running", |_| world.pod(&name).is_some_and(|pod| pod["status"]["phase"] == "Running"));
    world.delete_pod(&name);
    let end = world.wait_end(&id);
    let message = &end.only().message;
    assert!(message.contains("deleted by someone else"), "{message}");
}

#[test]
fn a_pod_that_someone_deletes_after_it_was_ready_is_wanted_back_with_its_grace() {
    // It does not end before it is told to by the file.
    let text = "trap '' TERM; until [ -e /state/end ]; do sleep 0.1; done";
    let stubborn = ends_on_demand("stubborn", 0)
        .pod("/spec/containers/0/command", json!(["/bin/sh", "-c", text]))
        .pod("/spec/terminationGracePeriodSeconds", json!(300));
    let world = RealWorld::start(&[stubborn]);
    let name = world.bring_up("stubborn", 1).remove(0).name;
    world.delete_pod(&name);
    let grace = world.wait_reclaim(&name);
    assert!((200..=300).contains(&grace), "{grace} s of grace of 300");
    assert!(world.pod(&name).is_some(), "the pod has its grace");
    world.run(&name, "touch /state/end");
    eventually("the machine is lost when its pod is gone", PATIENCE, || {
        (world.reclaim(&name) == Some(0)).then_some(())
    });
    eventually("the pod is gone", Duration::from_secs(10), || world.pod(&name).is_none().then_some(()));
    world.take_down(&[&name]);
    assert_eq!(world.reclaim(&name), None, "a returned machine is wanted back");
}
