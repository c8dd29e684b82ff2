//! Machines that never become ready: each message is in the cluster's own words, and says what an operator has to mend.

use serde_json::{Value, json};
use tests::{Template, eventually, testbed::IMAGE};

use crate::world::{IDLE, NEVER, PATIENCE, RealWorld, ready_if, script};

/// Long enough for a busy machine to see what is wrong before it is told.
const DEADLINE: &str = "15s";
/// A deadline within which kubelet starts a crashing container three times, on a busy machine too.
const SOME_STARTS: &str = "22s";

/// Asks for one machine of the template, which must fail at its deadline with a message that has all these words.
#[track_caller]
fn fails(template: Template, words: &[&str]) {
    fails_with(template, &[("machines.ready_deadline", DEADLINE)], words);
}

/// The same long before its deadline, which is longer than anything is waited for.
#[track_caller]
fn fails_at_once(template: Template, words: &[&str]) {
    fails_with(template, &[], words);
}

#[track_caller]
fn fails_with(template: Template, config: &[(&str, &str)], words: &[&str]) {
    let id = template.id().to_owned();
    let world = RealWorld::start_with(&[template], config);
    let message = world.failure(&id);
    for word in words {
        assert!(message.contains(word), "{word:?} is not in the message: {message}");
    }
}

/// Asks for one machine of a template that crashes again and again: hfd must tell so while it waits, and at the deadline
/// with all these words. Just after a crash kubelet tells how the container ended, and only then that it holds it back:
/// the deadline may meet either.
#[track_caller]
fn crashes_until_the_deadline(template: Template, words: &[&str]) {
    let id = template.id().to_owned();
    let world = RealWorld::start_with(&[template], &[("machines.ready_deadline", SOME_STARTS)]);
    let request = world.request(&id, 1);
    let name = world.status(&request).only().name.clone();
    eventually("hfctl tells of the crash loop", PATIENCE, || {
        world.hfctl(&["describe", "machine", &name]).contains("CrashLoopBackOff").then_some(())
    });
    let message = world.wait_end(&request).only().message.clone();
    for word in ["not ready within 22 s", "container \"main\""].iter().chain(words) {
        assert!(message.contains(word), "{word:?} is not in the message: {message}");
    }
}

/// A container that is never ready, so that a short life is not taken for readiness.
fn never_ready(id: &str, text: &str) -> Template {
    ready_if(script(id, text), NEVER)
}

fn once(template: Template) -> Template {
    template.pod("/spec/restartPolicy", json!("Never"))
}

fn limited(template: Template, memory: &str) -> Template {
    template.pod("/spec/containers/0/resources", json!({"limits": {"memory": memory}}))
}

fn init_container(text: &str) -> Value {
    json!([{"name": "setup", "image": IMAGE, "imagePullPolicy": "Never", "command": ["/bin/sh", "-c", text]}])
}

/// Doubles a variable until memory is short.
const GLUTTON: &str = "x=x; while :; do x=$x$x; done";

#[test]
fn an_image_that_cannot_be_pulled_is_named_at_the_deadline() {
    let image = "127.0.0.1:1/missing:1";
    let template = script("unpullable", IDLE)
        .pod("/spec/containers/0/image", json!(image))
        .pod("/spec/containers/0/imagePullPolicy", json!("Always"));
    fails(template, &["not ready within 15 s", "container \"main\"", "Pull", image]);
}

#[test]
fn an_image_that_must_be_there_and_is_not_is_named_at_the_deadline() {
    let template = script("absent", IDLE).pod("/spec/containers/0/image", json!("hfd.test/absent:1"));
    fails(template, &["not ready within 15 s", "ErrImageNeverPull", "hfd.test/absent:1"]);
}

#[test]
fn a_config_map_that_is_missing_is_named_at_the_deadline() {
    let template = script("unconfigured", IDLE)
        .pod("/spec/containers/0/envFrom", json!([{"configMapRef": {"name": "site-settings"}}]));
    fails(template, &["not ready within 15 s", "CreateContainerConfigError", "configmap \"site-settings\" not found"]);
}

#[test]
fn a_command_that_the_image_does_not_have_is_named_at_the_deadline() {
    let template = script("mistyped", IDLE).pod("/spec/containers/0/command", json!(["/opt/symphony/start"]));
    fails(template, &["not ready within 15 s", "/opt/symphony/start", "no such file or directory"]);
}

#[test]
fn a_container_that_is_killed_for_its_memory_before_it_is_ready_fails_at_once() {
    fails_at_once(
        once(limited(never_ready("glutton", GLUTTON), "16Mi")),
        &["container \"main\"", "OOMKilled (exit code 137)"],
    );
}

#[test]
fn a_container_that_is_killed_for_its_memory_again_and_again_fails_at_the_deadline() {
    crashes_until_the_deadline(limited(never_ready("glutton-again", GLUTTON), "16Mi"), &["OOMKilled (exit code 137)"]);
}

#[test]
fn a_crash_loop_before_readiness_fails_at_the_deadline_with_the_exit_code() {
    crashes_until_the_deadline(never_ready("crashing", "exit 5"), &["Error (exit code 5)"]);
}

#[test]
fn what_a_container_says_when_it_ends_is_part_of_the_message() {
    let text = "echo 'no license server' > /dev/termination-log; exit 4";
    fails_at_once(once(never_ready("speaking", text)), &["Error (exit code 4)", "no license server"]);
}

#[test]
fn a_container_that_ends_well_before_it_is_ready_fails_at_once() {
    fails_at_once(once(never_ready("done", "exit 0")), &["container \"main\"", "Completed (exit code 0)"]);
}

#[test]
fn a_container_that_ends_badly_before_it_is_ready_fails_at_once() {
    fails_at_once(once(never_ready("broken", "exit 3")), &["container \"main\"", "Error (exit code 3)"]);
}

#[test]
fn an_init_container_that_fails_for_good_is_named_at_once() {
    let template = once(script("unprepared", IDLE)).pod("/spec/initContainers", init_container("exit 6"));
    fails_at_once(template, &["container \"setup\"", "Error (exit code 6)"]);
}

#[test]
fn an_init_container_that_fails_again_and_again_is_named_at_the_deadline() {
    let template = script("never-prepared", IDLE).pod("/spec/initContainers", init_container("exit 7"));
    fails(template, &["not ready within 15 s", "container \"setup\"", "Error (exit code 7)"]);
}
