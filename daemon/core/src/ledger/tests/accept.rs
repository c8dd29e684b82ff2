//! Acceptance: keys, counts, maxNumber, returns (`lifecycle.md` 1, 4, 5).

use super::world::{World, machine};
use crate::ledger::Denied;

#[test]
fn the_same_key_with_the_same_body_is_one_request() {
    let mut world = World::new();
    let first = world.try_request(3, None, Some("k")).expect("accepted");
    let again = world.try_request(3, None, Some("k")).expect("the same");
    world.settle();
    assert_eq!(first, again);
    assert_eq!(world.count_sent("POST"), 3);
}

#[test]
fn the_same_key_survives_a_crash() {
    let mut world = World::new();
    let first = world.try_request(1, None, Some("k")).expect("accepted");
    world.settle();
    world.crash(5);
    assert_eq!(world.try_request(1, None, Some("k")), Ok(first));
}

#[test]
fn a_key_with_another_body_is_refused() {
    let mut world = World::new();
    world.try_request(3, None, Some("k")).expect("accepted");
    assert!(matches!(world.try_request(4, None, Some("k")), Err(Denied::KeyReused { .. })));
}

#[test]
fn a_count_above_the_limit_is_refused_and_nothing_is_stored() {
    let mut world = World::new();
    assert_eq!(world.try_request(10_001, None, None), Err(Denied::TooMany { count: 10_001, limit: 10_000 }));
    assert!(!world.ledger.has_changes());
}

#[test]
fn machines_beyond_max_number_fail_at_once_and_the_others_come_up() {
    let mut world = World::new();
    let first = world.try_request(3, Some(5), None).expect("accepted");
    let second = world.try_request(4, Some(5), None).expect("never refused outright");
    world.settle();
    world.all_ready();
    assert_eq!(world.told(first), "Complete: succeed 3");
    assert_eq!(world.told(second), "CompleteWithError: fail 2, succeed 2");
    assert_eq!(world.message(machine(second, 2)), "maxNumber 5 reached, 3 in use");
    assert_eq!(world.count_sent("POST"), 5);
}

#[test]
fn returned_and_failed_machines_no_longer_count_against_max_number() {
    let mut world = World::new();
    let first = world.request_ready(2);
    world.return_machines(&[machine(first, 0)]);
    world.remove_pod(machine(first, 1));
    let template = "T".parse().expect("a template id");
    assert_eq!(world.ledger.in_use(&template), 0);
}

#[test]
fn nothing_is_created_before_the_request_is_durable() {
    let mut world = World::new();
    world.try_request(2, None, None).expect("accepted");
    assert!(world.step(|ledger, ctx| ledger.next_call(ctx)).is_none());
    world.commit();
    assert!(world.step(|ledger, ctx| ledger.next_call(ctx)).is_some());
}

#[test]
fn nothing_is_deleted_before_the_return_is_durable() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let new = return_of(&mut world, machine(id, 0));
    world.step(|ledger, ctx| ledger.return_machines(ctx, new)).expect("accepted");
    assert!(world.step(|ledger, ctx| ledger.next_call(ctx)).is_none());
    world.commit();
    assert!(world.step(|ledger, ctx| ledger.next_call(ctx)).is_some());
}

#[test]
fn a_failed_commit_undoes_what_was_decided() {
    let mut world = World::new();
    let id = world.try_request(2, Some(2), Some("k")).expect("accepted");
    let _batch = world.ledger.take_batch();
    let now = world.now;
    world.ledger.roll_back(now);
    assert!(world.ledger.committed_request(id).is_none());
    assert_eq!(world.try_request(1, Some(2), None), Err(Denied::DiskFull));
    world.step(|ledger, ctx| ledger.probe_disk(ctx));
    world.settle();
    let again = world.try_request(2, Some(2), Some("k")).expect("there is room again");
    assert_ne!(again, id);
    world.settle();
    world.all_ready();
    assert_eq!(world.told(again), "Complete: succeed 2");
}

#[test]
fn a_fact_whose_commit_failed_is_seen_again() {
    let mut world = World::new();
    let id = world.request(1);
    for pod in world.cluster.values_mut() {
        (pod.ready, pod.ip) = (true, Some([10, 0, 0, 1].into()));
    }
    world.deliver();
    let _batch = world.ledger.take_batch();
    let now = world.now;
    world.ledger.roll_back(now);
    assert_eq!(world.told(id), "Running: executing 1");
    world.step(|ledger, ctx| ledger.probe_disk(ctx));
    world.settle();
    assert_eq!(world.told(id), "Complete: succeed 1");
}

/// Something else may be committed before room is looked for.
#[test]
fn a_fact_whose_commit_failed_is_seen_again_with_the_first_commit_that_has_room() {
    let mut world = World::new();
    let id = world.request(2);
    let turn_ready = |world: &mut World, ordinal| {
        let pod = world.cluster.get_mut(&machine(id, ordinal)).expect("it is created");
        (pod.ready, pod.ip) = (true, Some([10, 0, 0, 1].into()));
        world.deliver();
    };
    turn_ready(&mut world, 0);
    let _batch = world.ledger.take_batch();
    world.ledger.roll_back(world.now);
    turn_ready(&mut world, 1);
    world.settle();
    assert!(!world.ledger.is_disk_full());
    assert_eq!(world.told(id), "Complete: succeed 2");
}

#[test]
fn a_return_of_names_that_no_pod_can_have_ends_at_once() {
    let mut world = World::new();
    let names = ["../x", "a/b", "", "/etc"].map(str::to_owned);
    let id = world.return_names(&names);
    assert_eq!(world.told_return(id), "Complete: succeed 4");
    assert_eq!(world.count_sent("GET"), 0);
}

#[test]
fn a_pod_of_another_hostfactory_provider_is_deleted_and_followed() {
    let mut world = World::new();
    world.strangers.insert("old-1".into());
    let id = world.return_names(&["old-1".into()]);
    assert_eq!(world.told_return(id), "Running: executing 1");
    world.pass(1);
    assert_eq!(world.told_return(id), "Complete: succeed 1");
    assert_eq!(world.count_sent("DELETE old-1"), 1);
}

#[test]
fn a_pod_that_is_nobodys_is_not_touched() {
    let mut world = World::new();
    world.strangers.insert("database-0".into());
    let id = world.return_names(&["database-0".into()]);
    assert_eq!(world.told_return(id), "CompleteWithError: fail 1");
    assert_eq!(world.count_sent("DELETE"), 0);
}

#[test]
fn returned_names_that_we_do_not_know_are_undecided_until_the_cluster_is_seen() {
    let mut world = World::unseen();
    let id = world.return_names(&["ip-10-0-0-1".into()]);
    assert_eq!(world.told_return(id), "Running: executing 1");
    world.sync();
    assert_eq!(world.told_return(id), "Complete: succeed 1");
}

#[test]
fn a_second_return_joins_the_first() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let first = world.return_machines(&[machine(id, 0)]);
    let second = world.return_machines(&[machine(id, 0)]);
    assert_eq!(world.told_return(first), "Complete: succeed 1");
    assert_eq!(world.told_return(second), "Complete: succeed 1");
    assert_eq!(world.count_sent("DELETE"), 1);
}

fn return_of(world: &mut World, name: crate::id::MachineName) -> crate::ledger::NewReturn {
    crate::ledger::NewReturn {
        id: world.fresh_id(),
        machines: vec![crate::ledger::ReturnedMachine { name: name.to_string().into(), machine_id: None }],
        key: None,
        caller: crate::request::Caller::default(),
    }
}
