//! Across crashes, and with a journal that is lost (`lifecycle.md` 2, 5, 8).

use super::world::{Creates, World, machine};
use crate::ledger::{AtRisk, Denied, Mode};

#[test]
fn a_crash_between_commit_and_create_repairs_itself() {
    let mut world = World::new();
    let id = world.try_request(3, None, None).expect("accepted");
    world.commit();
    world.crash(5);
    world.sync();
    world.all_ready();
    assert_eq!(world.told(id), "Complete: succeed 3");
    assert_eq!(world.count_sent("POST"), 3);
}

#[test]
fn a_crash_before_the_commit_leaves_no_trace() {
    let mut world = World::new();
    let id = world.try_request(3, None, None).expect("accepted");
    world.crash(5);
    world.sync();
    assert!(world.ledger.committed_request(id).is_none());
    assert_eq!(world.count_sent("POST"), 0);
}

#[test]
fn pods_created_before_the_crash_are_found_again_and_not_doubled() {
    let mut world = World::new();
    let id = world.try_request(3, None, None).expect("accepted");
    world.commit();
    world.watching = false; // created, never seen
    world.settle();
    world.crash(5);
    world.settle(); // creates go on before the sync and meet 409
    world.sync();
    world.all_ready();
    assert_eq!(world.told(id), "Complete: succeed 3");
    assert_eq!(world.cluster.len(), 3);
}

#[test]
fn a_machine_with_a_durable_uid_is_never_created_again() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let before = world.count_sent("POST");
    world.cluster.clear();
    world.crash(5);
    world.sync();
    assert_eq!(world.count_sent("POST"), before);
    assert_eq!(world.at_risk(machine(id, 0)), Some(AtRisk::Lost));
}

#[test]
fn creates_of_earlier_lives_keep_a_return_from_ending_until_they_cannot_land() {
    let mut world = World::new();
    world.creates = Creates::Vanish;
    let id = world.request(1);
    world.crash(5);
    world.sync();
    let returned = world.return_machines(&[machine(id, 0)]);
    world.pass(30);
    assert_eq!(world.told_return(returned), "Running: executing 1");
    world.pass(60);
    world.pass(1);
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
    assert!(world.count_sent("GET") >= 1, "after the time-out, a look settles it");
}

#[test]
fn the_deadline_does_not_run_while_the_daemon_is_down() {
    let mut world = World::new();
    let id = world.request(1);
    world.pass(40);
    world.crash(3600);
    world.sync();
    world.pass(200);
    assert_eq!(world.told(id), "Running: executing 1");
    world.pass(100);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
}

#[test]
fn a_return_goes_on_after_a_crash() {
    let mut world = World::new();
    let id = world.request_ready(2);
    world.deletes_refused = true;
    let returned = world.return_machines(&[machine(id, 0), machine(id, 1)]);
    world.crash(5);
    world.deletes_refused = false;
    world.sync();
    world.pass(61);
    assert_eq!(world.told_return(returned), "Complete: succeed 2");
    assert!(world.cluster.is_empty());
}

#[test]
fn an_empty_journal_accepts_nothing_before_the_first_sync() {
    let mut world = World::unseen();
    assert!(matches!(world.try_request(1, None, None), Err(Denied::NotServing(_))));
    world.sync();
    assert!(world.try_request(1, None, None).is_ok());
}

#[test]
fn an_empty_journal_that_finds_pods_waits_for_a_rebuild_and_removes_nothing() {
    let mut world = World::new();
    let id = world.request_ready(2);
    world.lose_journal();
    world.sync();
    assert_eq!(world.ledger.mode(), Mode::RebuildPending);
    assert!(matches!(world.try_request(1, None, None), Err(Denied::NotServing(_))));
    let returned = world.return_machines(&[machine(id, 0)]);
    world.pass(30);
    assert_eq!(world.told_return(returned), "Running: executing 1");
    assert_eq!(world.count_sent("DELETE"), 0);
}

#[test]
fn a_rebuild_adopts_what_runs_and_returns_work_again() {
    let mut world = World::new();
    let id = world.request_ready(2);
    world.lose_journal();
    world.sync();
    let returned = world.return_machines(&[machine(id, 0)]);
    world.step(|ledger, ctx| ledger.start_rebuild(ctx));
    world.settle();
    assert_eq!(world.ledger.mode(), Mode::RebuildPending, "creates of the earlier life may still land");
    world.pass(61);
    world.settle();
    assert_eq!(world.ledger.mode(), Mode::Serving);
    assert_eq!(world.told(id), "Complete: succeed 2");
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
    assert_eq!(world.cluster.len(), 1);
    assert_eq!(world.ledger.counts().foreign_writers, 0, "pods of the lost journal are no second writer's");
}

#[test]
fn an_adopted_machine_that_misses_its_deadline_is_told_but_not_deleted() {
    let mut world = World::new();
    let id = world.request(1);
    world.lose_journal();
    world.sync();
    world.pass(61);
    world.step(|ledger, ctx| ledger.start_rebuild(ctx));
    world.settle();
    world.pass(301);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
    assert_eq!(world.cluster.len(), 1);
    world.return_machines(&[machine(id, 0)]);
    assert!(world.cluster.is_empty());
}

#[test]
fn another_namespace_stops_creates_verdicts_and_requests_until_accepted() {
    use crate::{id::PodUid, outcome::NamespaceOutcome};

    let mut world = World::new();
    let id = world.request_ready(1);
    let other = PodUid::from_bytes([42; 16]);
    world.cluster.clear();
    world.crash(5);
    world.ledger.take_needs();
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(other)));
    world.relist();
    world.namespace = NamespaceOutcome::Known(other);
    world.step(|ledger, ctx| ledger.freshness(ctx, true));
    world.settle();
    assert_eq!(world.at_risk(machine(id, 0)), None);
    assert!(matches!(world.try_request(1, None, None), Err(Denied::NotServing(_))));
    assert_eq!(world.step(|ledger, ctx| ledger.accept_namespace(ctx)), Ok(other));
    world.settle();
    assert_eq!(world.at_risk(machine(id, 0)), Some(AtRisk::Lost));
}

#[test]
fn a_namespace_that_may_not_be_read_is_taken_for_ours_and_said_until_it_may() {
    use super::world::NAMESPACE;
    use crate::{ledger::Binding, outcome::NamespaceOutcome};

    let mut world = World::new();
    world.request_ready(1);
    for (outcome, hidden) in [(NamespaceOutcome::NotAllowed, true), (NamespaceOutcome::Known(NAMESPACE), false)] {
        // A refusal after an answer is believed when it is repeated.
        world.step(|ledger, ctx| ledger.namespace_seen(ctx, &outcome));
        world.step(|ledger, ctx| ledger.namespace_seen(ctx, &outcome));
        assert_eq!((world.ledger.is_namespace_hidden(), world.ledger.binding()), (hidden, Binding::Ours));
    }
}
