//! What is judged and told: `Latch`, `Fresh`, `First`, `Freeze`, `Publish`, `FPolled`.

use super::super::world::{World, machine};
use crate::{
    answer,
    id::RequestId,
    pod::{Phase, PodRecord},
};
use proto_schema::hostfactory::MachineResult;

fn ready(mut pod: PodRecord) -> PodRecord {
    (pod.ready, pod.phase, pod.ip) = (true, Phase::Running, Some([10, 0, 0, 1].into()));
    pod
}

/// `Latch`: Ready is seen and durable; crash; the LIST shows a pod that is not ready; the deadline passes. A second
/// machine keeps the request open, as in the model only a poll freezes.
#[test]
fn latch_what_was_ready_once_does_not_miss_its_deadline() {
    let mut world = World::new();
    let id = world.request(2);
    let name = machine(id, 0);
    world.event(name, Some(ready(world.pod(name))));
    world.restart_unsynced(5);
    world.sync();
    world.pass(301);
    assert_eq!(world.told(id), "CompleteWithError: fail 1, succeed 1");
    assert!(world.cluster.contains_key(&name), "{:?}", world.sent);
}

/// `Fresh`: POST, lands, Ready; the watch breaks before it tells; the deadline passes while nobody can look.
#[test]
fn fresh_no_deadline_passes_while_the_view_is_not_fresh() {
    let mut world = World::new();
    let id = world.accept(1);
    let post = world.post();
    world.created(&post);
    let name = machine(id, 0);
    world.cluster.insert(name, ready(world.pod(name)));
    world.freshness(false);
    world.pass_blindly(1000);
    assert_eq!(world.told(id), "Running: executing 1");
    world.freshness(true);
    world.settle();
    assert_eq!(world.told(id), "Complete: succeed 1");
}

/// `First`: Ready is in the cache and nothing has looked at it yet when the deadline passes: observe first.
#[test]
fn first_what_the_cache_shows_is_observed_before_the_deadline_is_judged() {
    let mut world = World::new();
    let id = world.request(1);
    let name = machine(id, 0);
    world.cluster.insert(name, ready(world.pod(name)));
    world.cache_follows();
    world.pass_blindly(301);
    assert_eq!(world.told(id), "Complete: succeed 1");
    world.settle();
    assert_eq!(world.count_sent("DELETE"), 0);
}

/// `Freeze`: Ready, polled (`succeed`), Failed, polled again.
#[test]
fn freeze_a_terminal_answer_stays_when_the_machine_is_lost() {
    let mut world = World::new();
    let id = world.request_ready(1);
    assert_eq!(world.told(id), "Complete: succeed 1");
    world.change_pod(machine(id, 0), |pod| pod.phase = Phase::Failed);
    assert_eq!(world.told(id), "Complete: succeed 1");
}

/// `Publish`: the cache shows Ready; before that is durable HostFactory polls; crash; the pod is another one.
#[test]
fn publish_nothing_is_told_that_a_crash_could_unsay() {
    let result = |world: &World, id: RequestId| {
        let request = world.ledger.committed_request(id).expect("committed");
        answer::machine_request(request, world.now.wall).machines[0].result
    };
    let mut world = World::new();
    let id = world.request(1);
    let name = machine(id, 0);
    world.cluster.insert(name, ready(world.pod(name)));
    world.deliver(); // decided, not committed
    assert_eq!(result(&world, id), MachineResult::Executing);
    world.cluster.clear();
    world.crash(5);
    world.sync();
    assert_eq!(result(&world, id), MachineResult::Fail);
}

/// `FPolled`: Ready, polled (`succeed`); crash; nobody polls this one again for an hour while others are polled.
#[test]
fn fpolled_that_a_request_was_polled_outlives_a_crash() {
    let mut world = World::new();
    let id = world.request_ready(1);
    world.ledger.polled(&[id]);
    world.commit();
    world.crash(5);
    world.sync();
    for _ in 0..70 {
        world.pass(60);
    }
    assert_eq!(world.count_sent("DELETE"), 0);
    assert_eq!(world.told(id), "Complete: succeed 1");
}
