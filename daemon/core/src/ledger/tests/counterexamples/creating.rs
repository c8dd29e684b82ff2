//! What is sent again, and what is deleted: `Uid`, `Verdict`, `Tomb`, `Abs`, `Precond`, `Flag409`, `FLook`.

use super::super::{
    hand::name_of,
    world::{World, machine},
};
use crate::{
    ledger::{Action, CallEnd},
    outcome::{CreateOutcome, DeleteOutcome},
};

/// `Uid`: POST, lands, seen; crash; before the sync nothing shows the pod, and no POST may be sent.
#[test]
fn uid_a_machine_with_a_durable_uid_is_not_created_again_before_the_sync() {
    let mut world = World::new();
    let id = world.accept(1);
    let post = world.post();
    world.created(&post);
    let name = machine(id, 0);
    world.event(name, Some(world.pod(name)));
    world.restart_unsynced(5);
    assert!(world.call().is_none(), "{:?}", world.sent);
}

/// `Verdict`: the deadline passes before the POST is sent; then it may not be sent any more.
#[test]
fn verdict_a_machine_that_failed_is_not_created() {
    let mut world = World::new();
    let id = world.accept(1);
    world.pass_blindly(301);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
    assert!(world.call().is_none(), "{:?}", world.sent);
}

/// `Tomb`: returned before the POST is sent; then it may not be sent any more.
#[test]
fn tomb_a_machine_that_was_returned_is_not_created() {
    let mut world = World::new();
    let id = world.accept(1);
    world.ledger.polled(&[id]);
    world.accept_return(machine(id, 0));
    assert!(world.call().is_none(), "{:?}", world.sent);
}

/// `Abs`: crash; POST; LIST begins, is read; the POST lands and is answered; the LIST is delivered without the pod.
#[test]
fn abs_a_list_that_began_before_the_201_says_nothing_about_its_pod() {
    let mut world = World::new();
    let id = world.accept(1);
    world.restart_unsynced(5);
    let post = world.post();
    world.begin_list();
    let read = world.cluster.clone();
    world.created(&post);
    world.list_ends_with(read);
    world.freshness(true);
    assert_eq!(world.told(id), "Running: executing 1");
    world.all_ready();
    assert_eq!(world.told(id), "Complete: succeed 1");
}

/// `Precond`: a POST lands under a verdict; the pod is deleted by somebody and a stranger takes the name; only then the
/// DELETE is sent, and it may hit nobody but the pod that was seen.
#[test]
fn precond_a_delete_never_hits_a_pod_that_was_not_seen() {
    let mut world = World::new();
    let id = world.accept(1);
    let name = machine(id, 0);
    let post = world.post();
    world.pass_blindly(301);
    let uid = world.created(&post);
    let seen = world.pod(name);
    world.cluster.clear();
    world.strangers.insert(name.to_string());
    world.event(name, Some(seen));
    let call = world.call().expect("a delete");
    assert!(matches!(call.action, Action::Delete { uid: meant, .. } if meant == uid), "{call:?}");
    world.answer(&call, CallEnd::Delete(DeleteOutcome::Gone));
    world.event(name, None);
    world.settle();
    assert!(world.strangers.contains(&name.to_string()));
    assert_eq!(world.count_sent("DELETE"), 1);
}

/// `Flag409`: a stranger has the name; the POST gets 409, the machine is returned. The look has to see that the pod is
/// not ours, or the return never ends.
#[test]
fn flag409_a_strangers_pod_behind_a_409_does_not_hold_a_return() {
    let mut world = World::new();
    let id = world.accept(1);
    let name = machine(id, 0);
    world.strangers.insert(name.to_string());
    let post = world.post();
    let returned = world.accept_return(name);
    world.answer(&post, CallEnd::Create(CreateOutcome::AlreadyExists));
    for _ in 0..20 {
        world.pass(6);
    }
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
    assert_eq!(world.count_sent("DELETE"), 0);
    assert!(world.strangers.contains(&name.to_string()));
}

/// `FLook`: a LIST begins; the POST lands and is answered; somebody deletes the pod; the LIST shows nothing and no
/// watch will ever tell. One look has to settle it, or the return never ends.
#[test]
fn flook_a_pod_that_came_and_went_unseen_does_not_hold_a_return() {
    let mut world = World::new();
    let id = world.accept(1);
    let post = world.post();
    let returned = world.accept_return(machine(id, 0));
    world.begin_list();
    world.created(&post);
    assert_eq!(name_of(&post), machine(id, 0));
    world.cluster.clear();
    world.list_ends();
    world.freshness(true);
    world.settle();
    assert_eq!(world.told_return(returned), "Running: executing 1");
    for _ in 0..20 {
        world.pass(6);
    }
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
    assert_eq!(world.count_sent("GET"), 1);
}
