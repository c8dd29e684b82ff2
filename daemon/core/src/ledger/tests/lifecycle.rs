//! One life: machines, verdicts, returns, reclaim (`lifecycle.md` 2, 3, 5-7, 9, 10).

use super::world::{Creates, NAMESPACE, World, machine, pending};
use crate::{
    id::{JournalId, PodUid},
    ledger::AtRisk,
    outcome::NamespaceOutcome,
    pod::{Phase, Reason, ReasonCode},
};

#[test]
fn a_machine_costs_one_post_and_one_delete() {
    let mut world = World::new();
    let id = world.request_ready(10);
    assert_eq!(world.told(id), "Complete: succeed 10");
    let names: Vec<_> = (0..10).map(|ordinal| machine(id, ordinal)).collect();
    let returned = world.return_machines(&names);
    assert_eq!(world.told_return(returned), "Complete: succeed 10");
    assert_eq!((world.count_sent("POST"), world.count_sent("DELETE"), world.sent.len()), (10, 10, 20));
}

#[test]
fn a_request_is_judged_by_the_count_asked_for_and_not_by_the_pods_that_exist() {
    let mut world = World::new();
    world.creates = Creates::NotDone;
    let id = world.request(3);
    world.all_ready();
    assert_eq!(world.told(id), "Running: executing 3");
}

#[test]
fn ready_latches() {
    let mut world = World::new();
    let id = world.request_ready(1);
    world.change_pod(machine(id, 0), |pod| pod.ready = false);
    world.pass(1000);
    assert_eq!(world.told(id), "Complete: succeed 1");
    assert_eq!(world.count_sent("DELETE"), 0);
}

#[test]
fn a_ready_pod_without_address_is_not_ready() {
    let mut world = World::new();
    let id = world.request(1);
    world.change_pod(machine(id, 0), |pod| pod.ready = true);
    assert_eq!(world.told(id), "Running: executing 1");
}

#[test]
fn a_missed_deadline_fails_with_the_schedulers_own_words_and_the_pod_is_deleted() {
    let mut world = World::new();
    let id = world.request(1);
    world.change_pod(machine(id, 0), |pod| {
        let message = "Unschedulable: 0/10 nodes are available: 10 Insufficient cpu.".into();
        pod.reason = Some(Reason { code: ReasonCode::Unschedulable, message }.into());
    });
    world.pass(301);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
    let message = world.message(machine(id, 0));
    assert_eq!(message, "not ready within 300 s: Unschedulable: 0/10 nodes are available: 10 Insufficient cpu.");
    assert!(world.cluster.is_empty());
}

#[test]
fn readiness_that_is_in_the_cache_at_the_deadline_wins() {
    let mut world = World::new();
    let id = world.request(1);
    let name = machine(id, 0);
    let pod = world.cluster.get_mut(&name).expect("created");
    (pod.ready, pod.ip) = (true, Some([10, 0, 0, 1].into()));
    world.watching = false;
    world.now.mono += std::time::Duration::from_secs(400);
    world.watching = true;
    world.deliver();
    world.pass(1);
    assert_eq!(world.told(id), "Complete: succeed 1");
}

#[test]
fn blind_time_extends_the_deadline() {
    let mut world = World::new();
    let id = world.request(1);
    world.ledger.polled(&[id]);
    world.step(|ledger, ctx| ledger.freshness(ctx, false));
    world.pass(3600);
    assert_eq!(world.told(id), "Running: executing 1");
    world.step(|ledger, ctx| ledger.freshness(ctx, true));
    world.pass(200);
    assert_eq!(world.told(id), "Running: executing 1");
    world.pass(101);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
}

#[test]
fn a_refused_create_fails_that_machine_with_the_servers_words_and_is_not_repeated() {
    let mut world = World::new();
    world.creates = Creates::Refused;
    let id = world.request(2);
    assert_eq!(world.told(id), "CompleteWithError: fail 2");
    assert!(world.message(machine(id, 0)).contains("exceeded quota: pods=10"));
    world.pass(600);
    assert_eq!(world.count_sent("POST"), 2);
}

#[test]
fn a_409_for_a_pod_that_is_not_there_is_tried_again_at_once_and_then_after_longer_and_longer_waits() {
    let mut world = World::new();
    world.creates = Creates::SaysExists;
    let id = world.request(1);
    assert_eq!(world.count_sent("POST"), 2);
    for _ in 0..30 {
        world.pass(1);
    }
    assert!((4..12).contains(&world.count_sent("POST")), "{:?}", world.sent);
    world.creates = Creates::Work;
    world.pass(31);
    world.all_ready();
    assert_eq!(world.told(id), "Complete: succeed 1");
}

#[test]
fn a_create_that_was_not_done_is_repeated_after_a_wait() {
    let mut world = World::new();
    world.creates = Creates::NotDone;
    let id = world.request(1);
    assert_eq!(world.count_sent("POST"), 1);
    world.creates = Creates::Work;
    world.pass(1);
    world.all_ready();
    assert_eq!(world.told(id), "Complete: succeed 1");
}

#[test]
fn a_create_whose_answer_was_lost_is_settled_by_the_watch_and_not_repeated() {
    let mut world = World::new();
    world.creates = Creates::AnswerLost;
    let id = world.request_ready(1);
    assert_eq!(world.told(id), "Complete: succeed 1");
    world.pass(100);
    assert_eq!(world.count_sent("POST"), 1);
}

#[test]
fn a_create_that_vanished_is_looked_for_only_after_the_servers_time_out() {
    let mut world = World::new();
    world.creates = Creates::Vanish;
    let id = world.request(1);
    world.creates = Creates::Work;
    world.pass(59);
    assert_eq!(world.sent.len(), 1);
    world.pass(2);
    assert_eq!(world.count_sent("GET"), 1);
    world.all_ready();
    assert_eq!(world.told(id), "Complete: succeed 1");
}

#[test]
fn an_unsettled_create_keeps_a_return_from_ending() {
    let mut world = World::new();
    world.creates = Creates::Vanish;
    let id = world.request(1);
    let returned = world.return_machines(&[machine(id, 0)]);
    world.pass(30);
    assert_eq!(world.told_return(returned), "Running: executing 1");
    let late = machine(id, 0);
    world.land(late);
    world.settle();
    assert!(world.cluster.is_empty(), "a pod that appears under a tombstone is deleted");
    world.pass(31);
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
    assert_eq!(world.message(late), "returned before ready");
}

#[test]
fn a_name_taken_by_somebody_else_fails_the_machine_and_the_pod_is_not_touched() {
    let mut world = World::new();
    let id = world.try_request(1, None, None).expect("accepted");
    world.strangers.insert(machine(id, 0).to_string());
    world.settle();
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
    assert!(world.message(machine(id, 0)).contains("taken"));
    assert_eq!(world.count_sent("DELETE"), 0);
}

#[test]
fn a_pod_that_came_and_went_unseen_fails_and_is_not_created_again() {
    let mut world = World::new();
    let id = world.try_request(1, None, None).expect("accepted");
    world.commit();
    world.watching = false; // nothing is delivered
    let call = world.step(|ledger, ctx| ledger.next_call(ctx)).expect("a create");
    let (target, slot) = (call.target, call.slot);
    let created = crate::ledger::CallEnd::Create(crate::outcome::CreateOutcome::Created(PodUid::from_bytes([77; 16])));
    world.step(|ledger, ctx| ledger.call_ended(ctx, &target, &slot, created));
    world.watching = true;
    world.pass(6);
    assert_eq!(world.count_sent("GET"), 1);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
    assert_eq!(world.count_sent("POST"), 0);
}

#[test]
fn a_pod_created_after_the_list_began_is_not_taken_for_gone() {
    let mut world = World::new();
    let id = world.try_request(1, None, None).expect("accepted");
    world.commit();
    world.list_begins();
    let snapshot = world.cluster.clone();
    world.settle(); // creates: after the LIST began
    let created = std::mem::replace(&mut world.cluster, snapshot);
    world.list_ends();
    world.cluster = created;
    world.settle();
    world.all_ready();
    assert_eq!(world.told(id), "Complete: succeed 1");
}

#[test]
fn a_pod_deleted_by_someone_before_ready_fails_and_after_ready_is_lost() {
    let mut world = World::new();
    let id = world.request(2);
    world.remove_pod(machine(id, 0));
    world.all_ready();
    assert_eq!(world.told(id), "CompleteWithError: fail 1, succeed 1");
    world.remove_pod(machine(id, 1));
    assert_eq!(world.told(id), "CompleteWithError: fail 1, succeed 1", "terminal answers are frozen");
    assert_eq!(world.at_risk(machine(id, 1)), Some(AtRisk::Lost));
    assert_eq!(world.at_risk(machine(id, 0)), None);
}

#[test]
fn a_ready_machine_lost_before_its_request_is_terminal_fails() {
    let mut world = World::new();
    let id = world.request(2);
    let pod = world.cluster.get_mut(&machine(id, 0)).expect("created");
    (pod.ready, pod.ip) = (true, Some([10, 0, 0, 1].into()));
    world.settle();
    assert_eq!(world.told(id), "Running: executing 1, succeed 1");
    world.remove_pod(machine(id, 0));
    world.all_ready();
    assert_eq!(world.told(id), "CompleteWithError: fail 1, succeed 1");
}

#[test]
fn a_machine_being_evicted_is_listed_with_its_grace_and_is_lost_when_gone() {
    let mut world = World::new();
    let id = world.request_ready(1);
    world.evict(machine(id, 0), 25);
    assert_eq!(world.at_risk(machine(id, 0)), Some(AtRisk::EndsAt(world.now.wall + 25)));
    world.remove_pod(machine(id, 0));
    assert_eq!(world.at_risk(machine(id, 0)), Some(AtRisk::Lost));
    world.return_machines(&[machine(id, 0)]);
    assert_eq!(world.at_risk(machine(id, 0)), None);
}

#[test]
fn a_lost_pod_is_kept_for_its_logs_and_then_deleted() {
    let mut world = World::new();
    let id = world.request_ready(1);
    world.change_pod(machine(id, 0), |pod| pod.phase = Phase::Failed);
    assert_eq!(world.at_risk(machine(id, 0)), Some(AtRisk::Lost));
    world.pass(500);
    assert_eq!(world.count_sent("DELETE"), 0);
    world.pass(101);
    assert_eq!(world.count_sent("DELETE"), 1);
}

#[test]
fn crash_looping_after_ready_for_long_is_loss_and_shortly_is_not() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let crashing = |pod: &mut crate::pod::PodRecord| {
        pod.ready = false;
        pod.reason = Some(Reason { code: ReasonCode::CrashLoop, message: "back-off".into() }.into());
    };
    world.change_pod(machine(id, 0), crashing);
    world.pass(100);
    world.change_pod(machine(id, 0), |pod| (pod.ready, pod.reason) = (true, None));
    world.pass(100);
    assert_eq!(world.at_risk(machine(id, 0)), None);
    world.change_pod(machine(id, 0), crashing);
    world.pass(121);
    assert_eq!(world.at_risk(machine(id, 0)), Some(AtRisk::Lost));
}

#[test]
fn nothing_is_judged_while_the_view_is_not_fresh() {
    let mut world = World::new();
    let id = world.request_ready(1);
    world.step(|ledger, ctx| ledger.freshness(ctx, false));
    world.remove_pod(machine(id, 0));
    assert_eq!(world.at_risk(machine(id, 0)), None);
    world.step(|ledger, ctx| ledger.freshness(ctx, true));
    world.settle();
    assert_eq!(world.at_risk(machine(id, 0)), Some(AtRisk::Lost));
}

#[test]
fn a_mass_loss_is_confirmed_by_one_list_before_it_is_told() {
    let mut world = World::new();
    let id = world.request_ready(8);
    world.cluster.clear();
    world.deliver();
    world.commit();
    assert!(world.ledger.is_guarding());
    assert_eq!(world.at_risk(machine(id, 0)), None);
    world.settle();
    assert!(!world.ledger.is_guarding());
    assert_eq!(world.at_risk(machine(id, 7)), Some(AtRisk::Lost));
    assert_eq!(world.count_sent("LIST"), 1);
}

#[test]
fn a_view_that_lies_about_a_mass_loss_is_not_believed() {
    let mut world = World::new();
    let id = world.request_ready(8);
    let truth = std::mem::take(&mut world.cluster);
    world.deliver(); // the view shows nothing
    world.cluster = truth; // the LIST shows all
    world.settle();
    assert_eq!(world.at_risk(machine(id, 0)), None);
    assert_eq!(world.told(id), "Complete: succeed 8");
    assert_eq!(world.count_sent("RELIST"), 1);
}

#[test]
fn a_surplus_pod_is_deleted() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let name = machine(id, 0);
    world.watching = false;
    world.cluster.insert(name, pending(PodUid::from_bytes([99; 16])));
    world.watching = true;
    world.settle();
    assert_eq!(world.count_sent("DELETE"), 1);
    assert_eq!(world.at_risk(name), Some(AtRisk::Lost));
}

#[test]
fn a_second_writer_stops_every_delete_but_hostfactorys_returns() {
    let mut world = World::new();
    let id = world.request_ready(2);
    world.change_pod(machine(id, 0), |pod| pod.journal = Some(JournalId([1; 8])));
    world.change_pod(machine(id, 1), |pod| pod.phase = Phase::Failed);
    world.pass(1000);
    assert_eq!(world.count_sent("DELETE"), 0);
    world.return_machines(&[machine(id, 0)]);
    assert_eq!(world.count_sent("DELETE"), 1);
    world.pass(1);
    assert_eq!(world.count_sent("DELETE"), 2, "held-back deletes go on when the second writer is gone");
}

#[test]
fn a_refused_delete_is_pursued_and_the_return_ends_at_its_deadline_saying_why() {
    let mut world = World::new();
    let id = world.request_ready(1);
    world.deletes_refused = true;
    let returned = world.return_machines(&[machine(id, 0)]);
    world.pass(65);
    assert_eq!(world.count_sent("DELETE"), 2);
    world.pass(1800);
    assert_eq!(world.told_return(returned), "CompleteWithError: fail 1");
    world.deletes_refused = false;
    world.pass(65);
    assert!(world.cluster.is_empty(), "deletion is pursued after the return's deadline");
    assert_eq!(world.told_return(returned), "CompleteWithError: fail 1", "terminal answers are frozen");
}

#[test]
fn a_request_that_nobody_polls_is_warned_about_and_cancelled_although_it_is_complete() {
    let mut world = World::new();
    let (polled, unpolled) = (world.request_ready(1), world.request_ready(2));
    world.ledger.polled(&[polled]);
    for _ in 0..11 {
        world.pass(60);
    }
    assert_eq!(world.ledger.never_polled().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [unpolled]);
    assert_eq!(world.cluster.len(), 3);
    for _ in 0..50 {
        world.pass(60);
    }
    assert_eq!(world.cluster.keys().map(|name| name.request).collect::<Vec<_>>(), [polled]);
    assert_eq!(world.told(unpolled), "Complete: succeed 2", "terminal answers are frozen");
}

#[test]
fn a_cancelled_request_fails_what_is_not_ready_and_says_why() {
    let mut world = World::new();
    world.policy.never_polled_cancel = Some(std::time::Duration::from_secs(120));
    world.crash(0);
    world.sync();
    let id = world.request(2);
    let pod = world.cluster.get_mut(&machine(id, 0)).expect("created");
    (pod.ready, pod.ip) = (true, Some([10, 0, 0, 1].into()));
    for _ in 0..3 {
        world.pass(60);
    }
    assert!(world.cluster.is_empty());
    assert_eq!(world.told(id), "CompleteWithError: fail 1, succeed 1");
    assert!(world.message(machine(id, 1)).starts_with("cancelled"));
}

#[test]
fn nobody_is_cancelled_while_nobody_polls_at_all() {
    let mut world = World::new();
    world.request_ready(1);
    for _ in 0..100 {
        world.now.mono += std::time::Duration::from_secs(60);
        world.now.wall += 60;
        world.step(|ledger, ctx| ledger.tick(ctx, None));
        world.settle();
    }
    assert_eq!(world.cluster.len(), 1);
}

#[test]
fn launch_time_is_acceptance_until_ready_and_then_the_first_readiness() {
    let mut world = World::new();
    let id = world.request(1);
    let accepted = world.now.wall;
    world.pass(20);
    assert_eq!(crate::answer::machine_request(world.request_of(id), world.now.wall).machines[0].launchtime, accepted);
    world.all_ready();
    world.pass(20);
    let told = crate::answer::machine_request(world.request_of(id), world.now.wall).machines[0].launchtime;
    assert_eq!(told, accepted + 20);
}

#[test]
fn what_ended_is_forgotten_after_the_retention_time_and_what_lives_is_not() {
    let mut world = World::new();
    let (ended, living) = (world.request_ready(1), world.request_ready(1));
    let returned = world.return_machines(&[machine(ended, 0)]);
    world.step(|ledger, ctx| ledger.told(ctx, &[returned]));
    world.pass(6 * 24 * 3600);
    assert!(world.ledger.committed_request(ended).is_some());
    world.pass(25 * 3600);
    assert!(world.ledger.committed_request(ended).is_none());
    assert!(world.ledger.committed_request(living).is_some());
}

#[test]
fn an_operator_forces_a_pod_that_hangs_in_terminating() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let name = machine(id, 0);
    world.evict(name, 30);
    let returned = world.return_machines(&[name]);
    assert_eq!(world.count_sent("DELETE"), 0, "it is being deleted already");
    world.step(|ledger, ctx| ledger.force(ctx, &[name]));
    world.settle();
    assert_eq!(world.count_sent("DELETE"), 1);
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
}

#[test]
fn a_new_request_is_not_charged_with_polling_before_its_acceptance() {
    let mut world = World::new();
    let old = world.request_ready(1);
    world.ledger.polled(&[old]);
    world.pass(10);
    world.now.mono += std::time::Duration::from_secs(3600); // no tick: the engine had nothing to wait for
    world.now.wall += 3600;
    let new = world.request_ready(1);
    world.pass(1);
    assert_eq!(world.ledger.never_polled(), []);
    assert_eq!(world.told(new), "Complete: succeed 1");
    assert_eq!(world.cluster.len(), 2);
}

#[test]
fn a_namespace_made_again_is_not_taken_for_a_mass_loss() {
    use crate::outcome::NamespaceOutcome;

    let mut world = World::new();
    let id = world.request_ready(8);
    world.cluster.clear();
    world.deliver();
    let needs = world.ledger.take_needs();
    assert!(needs.list && needs.namespace);
    world.step(|ledger, ctx| ledger.guard_listed(ctx, crate::outcome::ListOutcome::Pods(Vec::new())));
    let other = NamespaceOutcome::Known(PodUid::from_bytes([42; 16]));
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &other));
    world.commit();
    assert_eq!(world.at_risk(machine(id, 0)), None);
    assert!(world.ledger.binding().is_foreign());
}

#[test]
fn a_single_machine_that_goes_with_a_namespace_made_again_is_not_told_lost() {
    let other = NamespaceOutcome::Known(PodUid::from_bytes([42; 16]));
    for deletion_is_seen in [false, true] {
        let mut world = World::new();
        let id = world.request_ready(3);
        let pending = world.request(1);
        if deletion_is_seen {
            let ends_at = world.now.wall + 30;
            for pod in world.cluster.values_mut() {
                pod.deletion = Some(crate::pod::Deletion { ends_at });
            }
            world.deliver();
            world.commit();
            assert_eq!(world.at_risk(machine(id, 0)), None);
        }
        world.cluster.clear();
        world.deliver();
        world.commit();
        assert_eq!(world.at_risk(machine(id, 0)), None);
        assert_eq!(world.told(pending), "Running: executing 1");
        assert!(world.ledger.take_needs().namespace);
        world.step(|ledger, ctx| ledger.namespace_seen(ctx, &other));
        world.settle();
        assert_eq!(world.at_risk(machine(id, 0)), None);
        assert_eq!(world.told(pending), "Running: executing 1");
        assert!(world.ledger.binding().is_foreign());
    }
}

#[test]
fn an_answer_to_a_question_that_was_sent_before_a_loss_was_seen_says_nothing_of_it() {
    let mut world = World::new();
    let id = world.request_ready(2);
    world.step(|ledger, ctx| ledger.list_began(ctx));
    assert!(world.ledger.take_needs().namespace);
    world.list_ends();
    world.cluster.clear();
    world.deliver();
    assert!(!world.ledger.take_needs().namespace, "one question at a time");
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(NAMESPACE)));
    world.commit();
    assert_eq!(world.at_risk(machine(id, 0)), None);
    assert!(world.ledger.take_needs().namespace, "asked again, after it was seen");
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(NAMESPACE)));
    world.commit();
    assert_eq!(world.at_risk(machine(id, 0)), Some(AtRisk::Lost));
}

#[test]
fn being_refused_a_look_at_the_namespace_makes_no_other_namespace_ours() {
    let mut world = World::new();
    let id = world.request_ready(2);
    let other = NamespaceOutcome::Known(PodUid::from_bytes([42; 16]));
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &other));
    world.cluster.clear();
    for _ in 0..2 {
        world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::NotAllowed));
        world.deliver();
        world.commit();
    }
    assert!(world.ledger.binding().is_foreign());
    assert_eq!(world.at_risk(machine(id, 0)), None);
}

#[test]
fn one_refusal_after_answers_does_not_switch_the_question_off() {
    let mut world = World::new();
    let id = world.request_ready(2);
    world.cluster.clear();
    world.deliver();
    assert!(world.ledger.take_needs().namespace);
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::NotAllowed));
    world.commit();
    assert_eq!(world.at_risk(machine(id, 0)), None);
    assert!(world.ledger.unanswered_losses().is_some_and(|(count, why)| count == 2 && why.contains("403")));
    world.namespace = NamespaceOutcome::NotAllowed;
    world.pass(3);
    assert_eq!(world.at_risk(machine(id, 0)), Some(AtRisk::Lost), "it is refused indeed, and nothing can tell");
    assert!(world.ledger.is_namespace_hidden());
    world.namespace = NamespaceOutcome::Known(NAMESPACE);
    world.pass(61);
    assert!(!world.ledger.is_namespace_hidden(), "a journal that is bound asks again");
}

#[test]
fn what_was_told_to_be_going_stays_told_until_it_is_lost() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let name = machine(id, 0);
    world.change_pod(name, |pod| {
        pod.disruption = Some(Reason { code: ReasonCode::Evicted, message: "drained".into() }.into());
    });
    world.settle();
    let going = world.at_risk(name);
    assert!(matches!(going, Some(AtRisk::EndsAt(_))), "{going:?}");
    world.namespace =
        NamespaceOutcome::NotDone(crate::outcome::NotDone { why: "503".into(), retry_after: None, throttled: false });
    world.evict(name, 30);
    world.settle();
    assert!(matches!(world.at_risk(name), Some(AtRisk::EndsAt(_))), "though the namespace is not answered");
    world.namespace = NamespaceOutcome::Known(NAMESPACE);
    world.pass(3);
    world.cluster.get_mut(&name).expect("it is terminating").phase = Phase::Failed;
    world.deliver();
    assert!(matches!(world.at_risk(name), Some(AtRisk::EndsAt(_))), "its end is not durable yet");
    world.settle();
    assert_eq!(world.at_risk(name), Some(AtRisk::Lost));
}

#[test]
fn what_was_told_to_be_going_stays_told_while_its_pod_is_gone_and_its_loss_is_not_durable() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let name = machine(id, 0);
    world.evict(name, 30);
    world.pass(3);
    assert!(matches!(world.at_risk(name), Some(AtRisk::EndsAt(_))));
    world.cluster.remove(&name);
    world.deliver();
    assert!(matches!(world.at_risk(name), Some(AtRisk::EndsAt(_))), "its loss is not durable yet");
    world.settle();
    assert_eq!(world.at_risk(name), Some(AtRisk::Lost));
}

#[test]
fn losses_that_waited_for_one_answer_about_the_namespace_are_weighed_together() {
    let mut world = World::new();
    let id = world.request_ready(10);
    let unanswered = crate::outcome::NotDone { why: "429".into(), retry_after: None, throttled: true };
    world.namespace = NamespaceOutcome::NotDone(unanswered);
    for first in [0, 4] {
        for ordinal in first..first + 4 {
            world.remove_pod(machine(id, ordinal));
        }
        world.settle();
        world.pass(61);
    }
    assert_eq!(world.count_sent("LIST"), 0, "four at once are few");
    world.namespace = NamespaceOutcome::Known(NAMESPACE);
    world.pass(3);
    assert_eq!(world.count_sent("LIST"), 1, "eight of ten are many");
    assert_eq!(world.at_risk(machine(id, 7)), Some(AtRisk::Lost));
}

#[test]
fn a_machine_whose_pod_went_with_the_namespace_does_not_fail_at_its_deadline_before_that_is_known() {
    let mut world = World::new();
    let id = world.request(1);
    world.namespace = NamespaceOutcome::Unauthorized;
    world.cluster.clear();
    world.deliver();
    world.pass(2400);
    assert_eq!(world.told(id), "Running: executing 1", "{}", world.message(machine(id, 0)));
    world.namespace = NamespaceOutcome::Known(NAMESPACE);
    world.pass(3);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
    assert!(world.message(machine(id, 0)).contains("deleted by someone else"), "{}", world.message(machine(id, 0)));
}

#[test]
fn a_namespace_that_is_being_deleted_is_asked_for_until_it_is_gone_or_made_again() {
    let mut world = World::new();
    world.request_ready(1);
    world.cluster.clear();
    world.deliver();
    assert!(world.ledger.take_needs().namespace);
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Terminating(NAMESPACE)));
    for _ in 0..2 {
        assert!(!world.ledger.take_needs().namespace);
        world.now.mono += std::time::Duration::from_secs(3);
        world.step(|ledger, ctx| ledger.tick(ctx, None));
        assert!(world.ledger.take_needs().namespace);
        world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::NotFound));
    }
    assert!(world.ledger.binding().is_foreign());
}

#[test]
fn a_commit_does_not_tell_of_a_mass_loss_that_only_the_cache_shows_yet() {
    let mut world = World::new();
    let id = world.request(8);
    for pod in world.cluster.values_mut() {
        (pod.ready, pod.phase, pod.ip) = (true, Phase::Running, Some([10, 0, 0, 1].into()));
    }
    world.deliver();
    let ends_at = world.now.wall + 30;
    for pod in world.cluster.values_mut() {
        pod.deletion = Some(crate::pod::Deletion { ends_at });
    }
    world.cache_follows();
    world.commit();
    assert!(world.ledger.is_guarding());
    assert_eq!(world.at_risk(machine(id, 0)), None);
}

#[test]
fn a_namespace_made_again_is_noticed_without_a_new_list() {
    let mut world = World::new();
    world.step(|ledger, ctx| {
        ledger.list_began(ctx);
        ledger.namespace_seen(ctx, &NamespaceOutcome::NotFound);
    });
    world.ledger.take_needs();
    world.list_ends();
    assert!(world.step(|ledger, ctx| ledger.accept_namespace(ctx)).is_err(), "there is none to accept yet");
    world.now.mono += std::time::Duration::from_secs(3);
    world.step(|ledger, ctx| ledger.tick(ctx, None));
    assert!(world.ledger.take_needs().namespace, "a watch goes on over a namespace that is gone, so it is asked for");
    let other = PodUid::from_bytes([8; 16]);
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(other)));
    assert_eq!(world.step(|ledger, ctx| ledger.accept_namespace(ctx)), Ok(other));
}

#[test]
fn a_namespace_that_is_gone_does_not_come_back_by_not_being_allowed_to_look() {
    let mut world = World::new();
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::NotFound));
    assert!(!world.ledger.is_sighted());
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::NotAllowed));
    assert!(!world.ledger.is_sighted(), "nothing is known of it that was not known before");
}
