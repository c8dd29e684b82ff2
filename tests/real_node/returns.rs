//! Returns: what happens between the deletion and the end of a container.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::Template;

use crate::world::{IDLE, NEVER, RealWorld, ready_if, script};

/// Returns one machine of the template, and gives how long the return took. All that time it is shutting down and its
/// pod is there.
#[track_caller]
fn time_of_return(template: Template) -> Duration {
    let id = template.id().to_owned();
    let world = RealWorld::start(&[template]);
    let name = world.bring_up(&id, 1).remove(0).name;
    let begun = Instant::now();
    let return_id = world.give_back(&[&name]);
    let end = world.wait(&return_id, "ended", |status| {
        let machine = status.only();
        let shutting_down = machine.result == "executing" && machine.status == "shutting-down";
        assert!(shutting_down || machine.result == "succeed", "{status:#?}");
        assert!(shutting_down || world.pod(&name).is_none(), "the return has ended and the pod is there");
        !shutting_down
    });
    assert_eq!(end.status, "complete", "{end:#?}");
    begun.elapsed()
}

#[test]
fn a_container_that_cleans_up_is_given_the_time_it_needs() {
    let cleans_up = script("careful", "trap 'sleep 4; exit 0' TERM; while :; do sleep 0.1; done")
        .pod("/spec/terminationGracePeriodSeconds", json!(60));
    let took = time_of_return(cleans_up);
    assert!(took >= Duration::from_secs(4), "gone after {took:?}, and it needed 4 s");
    assert!(took < Duration::from_secs(40), "gone after {took:?}: the whole grace was waited for");
}

#[test]
fn a_container_that_does_not_listen_is_killed_at_the_end_of_its_grace() {
    let deaf = script("deaf", "trap '' TERM; while :; do sleep 0.1; done")
        .pod("/spec/terminationGracePeriodSeconds", json!(4));
    let took = time_of_return(deaf);
    assert!(took >= Duration::from_secs(4), "gone after {took:?}, with 4 s of grace");
    assert!(took < Duration::from_secs(40), "gone after {took:?}, with 4 s of grace");
}

#[test]
fn a_return_before_readiness_ends_the_container() {
    let world = RealWorld::start(&[ready_if(script("early", IDLE), NEVER)]);
    let id = world.request("early", 1);
    let name = world.status(&id).only().name.clone();
    world.wait(&id, "running", |_| world.pod(&name).is_some_and(|pod| pod["status"]["phase"] == "Running"));
    world.take_down(&[&name]);
    let end = world.wait_end(&id);
    assert_eq!(end.only().result, "fail");
    assert!(end.only().message.contains("returned before ready"), "{}", end.only().message);
    assert!(world.pod(&name).is_none());
}
