//! After the journal was deleted: `FAdoptPoll`, `FAdoptDl`, `FWipeTerm`, `FRebuildWait`.

use super::super::world::{World, machine};
use crate::{id::RequestId, ledger::Mode};

/// One machine whose journal was deleted, adopted a minute after the start.
fn adopted(ready: bool) -> (World, RequestId) {
    let mut world = World::new();
    let id = if ready { world.request_ready(1) } else { world.request(1) };
    world.lose_journal();
    world.sync();
    world.pass(61);
    world.step(|ledger, ctx| ledger.start_rebuild(ctx));
    world.settle();
    assert_eq!(world.ledger.mode(), Mode::Serving);
    (world, id)
}

/// `FAdoptPoll`: Ready and told; the journal is deleted, a rebuild adopts the pod; nobody polls that request for an
/// hour, in this life and the next.
#[test]
fn fadoptpoll_an_adopted_request_counts_as_polled() {
    let (mut world, id) = adopted(true);
    for _ in 0..2 {
        for _ in 0..70 {
            world.pass(60);
        }
        assert_eq!(world.count_sent("DELETE"), 0);
        world.crash(5);
        world.sync();
    }
    assert_eq!(world.told(id), "Complete: succeed 1");
}

/// `FAdoptDl`: told `succeed`, readiness lost, the journal deleted, adopted as not ready; its deadline passes.
#[test]
fn fadoptdl_an_adopted_pod_that_misses_its_deadline_is_not_deleted() {
    let (mut world, id) = adopted(false);
    world.pass(301);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
    world.pass(3600);
    assert_eq!(world.count_sent("DELETE"), 0);
    assert!(world.cluster.contains_key(&machine(id, 0)));
}

/// `FWipeTerm`: failed at its deadline and told; the journal is deleted; the answer is lost with it, which is stated.
/// But nothing terminal is said before the cluster was seen.
#[test]
fn fwipeterm_after_the_journal_was_deleted_nothing_terminal_is_told_before_the_sync() {
    let mut world = World::new();
    let id = world.accept(1);
    world.pass_blindly(301);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
    world.lose_journal();
    assert_eq!(world.told_unknown(id), "Running: 0 machines");
    world.sync();
    assert_eq!(world.told_unknown(id), "CompleteWithError: 0 machines");
}

/// `FRebuildWait`: failed at its deadline, the late pod is Ready and its DELETE on its way; the journal is deleted; the
/// operator rebuilds at once. Adopted and told `succeed`, the pod would be deleted by that DELETE.
#[test]
fn frebuildwait_a_rebuild_adopts_nothing_before_calls_of_earlier_lives_have_ended() {
    let mut world = World::new();
    let id = world.accept(1);
    let name = machine(id, 0);
    let post = world.post();
    world.pass_blindly(301);
    world.created(&post);
    world.event(name, Some(world.pod(name)));
    assert!(world.call().is_some(), "the DELETE is on its way");
    world.lose_journal();
    world.sync();
    world.step(|ledger, ctx| ledger.start_rebuild(ctx));
    world.settle();
    assert_eq!(world.ledger.mode(), Mode::RebuildPending);
    assert_eq!(world.told_unknown(id), "Running: 0 machines");
    world.cluster.remove(&name); // the DELETE lands
    world.pass(59);
    assert_eq!(world.ledger.mode(), Mode::RebuildPending);
    world.pass(2);
    assert_eq!(world.ledger.mode(), Mode::Serving);
    assert!(!world.knows(id));
}
