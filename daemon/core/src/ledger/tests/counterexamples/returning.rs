//! When a return is over, and what HostFactory is told to give back: `Sync`, `Ambig`, `Name`, `FSettle`, `FUid`,
//! `F403`, `FUntold`.

use super::super::world::{World, machine};

/// `Sync`: returned, the pod lives; crash; before the sync the cache shows nothing. A second return makes hfd look at
/// the machine, in the model it does so at any time.
#[test]
fn sync_nothing_is_known_gone_before_the_first_sync() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let name = machine(id, 0);
    world.pass(100);
    world.deletes_refused = true;
    let first = world.return_machines(&[name]);
    world.restart_unsynced(5);
    let second = world.accept_return(name);
    assert!(world.cluster.contains_key(&name));
    assert_eq!(world.told_return(first), "Running: executing 1");
    assert_eq!(world.told_return(second), "Running: executing 1");
    world.deletes_refused = false;
    world.sync();
    assert_eq!(world.told_return(first), "Complete: succeed 1");
}

/// `Ambig`: POST; returned; the POST lands and its answer is lost; the watch has not told yet.
#[test]
fn ambig_a_post_without_answer_keeps_a_return_from_ending() {
    let mut world = World::new();
    let id = world.accept(1);
    let name = machine(id, 0);
    let post = world.post();
    let returned = world.accept_return(name);
    assert_eq!(world.told_return(returned), "Running: executing 1", "the POST is in flight");
    world.land(name);
    world.answer_lost(&post);
    assert_eq!(world.told_return(returned), "Running: executing 1", "the answer is lost");
    world.settle();
    world.pass(61);
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
    assert!(world.cluster.is_empty());
}

/// `Name`: the durable UID is gone, a late POST has made another pod of the name; returned. While that pod is there the
/// return is not over. Deletes are refused, so that it stays.
#[test]
fn name_a_pod_with_another_uid_keeps_a_return_from_ending() {
    let mut world = World::new();
    let id = world.request(1);
    let name = machine(id, 0);
    world.deletes_refused = true;
    let returned = world.accept_return(name);
    world.cluster.clear();
    world.land(name);
    world.event(name, Some(world.pod(name)));
    world.pass(120);
    assert_eq!(world.told_return(returned), "Running: executing 1");
    world.deletes_refused = false;
    world.pass(65);
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
    assert!(world.cluster.is_empty());
}

/// `FSettle`: POST; returned; crash; the LIST is read without the pod, then the POST of the earlier life lands, then
/// the LIST is delivered.
#[test]
fn fsettle_a_post_of_an_earlier_life_keeps_a_return_from_ending() {
    let mut world = World::new();
    let id = world.accept(1);
    let name = machine(id, 0);
    world.post();
    let returned = world.accept_return(name);
    world.restart_unsynced(5);
    world.begin_list();
    let read = world.cluster.clone();
    world.land(name);
    world.list_ends_with(read);
    world.freshness(true);
    assert_eq!(world.told_return(returned), "Running: executing 1");
    world.settle();
    world.pass(61);
    assert!(world.cluster.is_empty());
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
}

/// `FUid`: the first POST lands, its answer is lost, somebody deletes the pod, a look finds nothing; the second POST
/// lands, 201; returned. Only now the watch tells that the first pod came and went.
#[test]
fn fuid_a_late_event_of_an_older_pod_settles_nothing() {
    let mut world = World::new();
    let id = world.accept(1);
    let name = machine(id, 0);
    let post = world.post();
    world.land(name);
    let older = world.pod(name);
    world.cluster.clear();
    world.answer_lost(&post);
    world.pass_blindly(60);
    let look = world.call().expect("a look");
    let seen = world.look(name);
    world.answer(&look, crate::ledger::CallEnd::Look(seen));
    let post = world.post();
    let returned = world.accept_return(name);
    world.created(&post);
    world.event(name, Some(older));
    world.event(name, None);
    assert!(world.cluster.contains_key(&name));
    assert_eq!(world.told_return(returned), "Running: executing 1");
    world.settle();
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
    assert!(world.cluster.is_empty());
}

/// `F403`: deletes are refused, the return ends at its deadline with `fail`; the machine lives and is named.
#[test]
fn f403_a_machine_whose_return_failed_is_not_listed_while_it_lives() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let name = machine(id, 0);
    world.deletes_refused = true;
    let returned = world.return_machines(&[name]);
    world.pass(1801);
    assert_eq!(world.told_return(returned), "CompleteWithError: fail 1");
    world.step(|ledger, ctx| ledger.told(ctx, &[returned]));
    world.pass(400);
    assert!(world.cluster.contains_key(&name));
    assert_eq!(world.listed(name), None);
}

/// `FUntold`: returned, but the reply with the return's id is lost; the machine goes, and HostFactory still names it.
#[test]
fn funtold_a_machine_whose_return_nobody_asks_about_is_listed_once_it_is_gone() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let name = machine(id, 0);
    world.return_machines(&[name]);
    assert_eq!(world.listed(name), None);
    world.pass(301);
    assert_eq!(world.listed(name), Some(0));
}
