//! What a hostile reader found: each test is a way in which a machine was lost, doubled, orphaned or lied about.

use std::time::Duration;

use super::world::{Creates, NAMESPACE, World, machine, pending};
use crate::{
    id::PodUid,
    ledger::{Action, AtRisk, Binding, Call, CallEnd, Mode},
    outcome::{
        CreateOutcome, DeleteOutcome, ListOutcome, ListedPod, LookOutcome, NamespaceOutcome, NotDone, RefusalKind,
    },
    pod::{Reason, ReasonCode},
};

fn take_call(world: &mut World) -> Call {
    world.step(|ledger, ctx| ledger.next_call(ctx)).expect("a call")
}

fn end_call(world: &mut World, call: &Call, end: CallEnd) {
    world.step(|ledger, ctx| ledger.call_ended(ctx, &call.target, &call.slot, end));
}

fn refused(kind: RefusalKind) -> CallEnd {
    CallEnd::Create(CreateOutcome::Refused { kind, message: "no".into() })
}

// --- creates

#[test]
fn a_refused_create_takes_nothing_from_a_machine_whose_pod_the_watch_has_shown() {
    let mut world = World::new();
    let id = world.try_request(1, None, None).expect("accepted");
    world.commit();
    let post = take_call(&mut world); // of this life, while an earlier one's pod uses the quota up
    world.land(machine(id, 0));
    world.all_ready();
    assert_eq!(world.told(id), "Complete: succeed 1");
    end_call(&mut world, &post, refused(RefusalKind::Quota));
    world.settle();
    assert_eq!((world.cluster.len(), world.count_sent("DELETE")), (1, 0));
    assert_eq!(world.at_risk(machine(id, 0)), None);
}

#[test]
fn a_create_refused_before_the_sync_fails_nothing_that_an_earlier_life_created() {
    let mut world = World::new();
    let id = world.try_request(1, None, None).expect("accepted");
    world.commit();
    world.watching = false;
    world.settle(); // created, never seen
    world.crash(5);
    world.creates = Creates::Refused; // the quota is checked before the name
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(NAMESPACE)));
    world.settle();
    world.sync();
    world.all_ready();
    assert_eq!(world.told(id), "Complete: succeed 1");
}

#[test]
fn a_refused_look_says_which_permission_is_missing_and_delays_no_delete() {
    let mut world = World::new();
    let id = world.accept(1);
    let name = machine(id, 0);
    let post = world.post();
    world.land(name);
    world.answer(&post, CallEnd::Create(CreateOutcome::AlreadyExists));
    let look = world.call().expect("whose pod has the name");
    assert!(matches!(look.action, Action::Look), "{look:?}");
    let forbidden = "pods is forbidden: User \"hfd\" cannot get resource \"pods\"";
    world.answer(&look, CallEnd::Look(LookOutcome::Refused(forbidden.into())));
    assert!(world.call().is_none(), "it is refused for a while");
    let report = world.step(|ledger, ctx| ledger.machine_report(ctx, name)).expect("known");
    assert!(report.reason.contains("verb get on pods"), "{report:?}");
    world.event(name, Some(world.pod(name)));
    world.accept_return(name);
    let delete = world.call().expect("it is deletable all the same");
    assert!(matches!(delete.action, Action::Delete { .. }), "{delete:?}");
}

#[test]
fn a_create_refused_for_good_while_blind_fails_once_the_view_is_back() {
    let mut world = World::new();
    world.creates = Creates::Refused;
    world.step(|ledger, ctx| ledger.freshness(ctx, false));
    let id = world.request(1);
    assert_eq!(world.told(id), "Running: executing 1");
    world.step(|ledger, ctx| ledger.freshness(ctx, true));
    world.settle();
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
}

#[test]
fn a_create_into_a_namespace_that_is_not_there_fails_and_the_others_wait_until_it_is_known() {
    let mut world = World::new();
    let id = world.try_request(2, None, None).expect("accepted");
    world.commit();
    let post = take_call(&mut world);
    end_call(&mut world, &post, refused(RefusalKind::NamespaceGone));
    assert!(world.ledger.take_needs().namespace, "the namespace is asked for at once");
    world.namespace = NamespaceOutcome::NotFound;
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::NotFound));
    world.pass(600);
    assert_eq!(world.told(id), "Running: executing 1, fail 1");
    assert_eq!(world.count_sent("POST"), 0, "nothing is created while the namespace is not ours");
    world.namespace = NamespaceOutcome::Known(NAMESPACE);
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(NAMESPACE)));
    world.settle();
    world.all_ready();
    assert_eq!(world.told(id), "CompleteWithError: fail 1, succeed 1");
}

#[test]
fn a_look_that_finds_our_pod_early_settles_no_other_create_of_an_earlier_life() {
    let mut world = World::new();
    world.creates = Creates::Vanish;
    let id = world.request(1);
    let name = machine(id, 0);
    world.crash(1);
    world.land(name);
    world.creates = Creates::Work;
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(NAMESPACE)));
    world.settle(); // 409, and a look finds it
    world.sync();
    let returned = world.return_machines(&[name]);
    assert_eq!(world.told_return(returned), "Running: executing 1");
    world.pass(10);
    world.land(name);
    world.settle();
    assert!(world.cluster.is_empty());
    world.pass(51);
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
}

#[test]
fn a_look_sent_before_earlier_creates_are_dead_does_not_settle_them() {
    let mut world = World::new();
    world.creates = Creates::Vanish;
    let id = world.request(1);
    let name = machine(id, 0);
    world.crash(1);
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(NAMESPACE)));
    let post = take_call(&mut world);
    world.pass(59);
    world.land(name);
    end_call(&mut world, &post, CallEnd::Create(CreateOutcome::AlreadyExists));
    let look = take_call(&mut world);
    world.cluster.clear();
    world.sync();
    let returned = world.return_machines(&[name]);
    world.pass(2);
    end_call(&mut world, &look, CallEnd::Look(crate::outcome::LookOutcome::Absent));
    assert!(world.told_return(returned).starts_with("Running"));
    world.settle();
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
    assert_eq!(world.count_sent("GET"), 1, "one look begun after their time");
}

// --- a full disk

#[test]
fn a_rebuild_that_could_not_be_made_durable_is_still_pending() {
    let mut world = World::new();
    let id = world.request_ready(2);
    world.lose_journal();
    world.sync();
    world.pass(61);
    world.disk_full = true;
    world.step(|ledger, ctx| ledger.start_rebuild(ctx));
    world.settle();
    assert_eq!(world.ledger.mode(), Mode::RebuildPending, "unknown ids are not terminal");
    world.disk_full = false;
    world.step(|ledger, ctx| ledger.probe_disk(ctx));
    world.step(|ledger, ctx| ledger.start_rebuild(ctx));
    world.settle();
    assert_eq!(world.told(id), "Complete: succeed 2");
}

#[test]
fn a_namespace_whose_acceptance_could_not_be_made_durable_is_still_in_question() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let other = PodUid::from_bytes([42; 16]);
    world.namespace = NamespaceOutcome::Known(other);
    world.cluster.clear();
    world.relist();
    world.settle();
    world.disk_full = true;
    assert_eq!(world.step(|ledger, ctx| ledger.accept_namespace(ctx)), Ok(other));
    world.settle();
    assert_eq!(world.ledger.binding(), Binding::Foreign(Some(other)), "the operator was told that it failed");
    world.disk_full = false;
    world.step(|ledger, ctx| ledger.probe_disk(ctx));
    world.settle();
    assert_eq!(world.at_risk(machine(id, 0)), None);
    assert_eq!(world.step(|ledger, ctx| ledger.accept_namespace(ctx)), Ok(other));
    world.settle();
    assert_eq!(world.at_risk(machine(id, 0)), Some(AtRisk::Lost));
}

#[test]
fn a_cancellation_that_could_not_be_made_durable_is_due_again_at_once() {
    let mut world = World::new();
    world.policy.never_polled_cancel = Some(Duration::from_secs(120));
    world.crash(0);
    world.sync();
    world.request_ready(1);
    world.pass(60);
    world.disk_full = true;
    world.pass(60);
    world.disk_full = false;
    world.step(|ledger, ctx| ledger.probe_disk(ctx));
    world.settle();
    assert_eq!(world.cluster.len(), 1, "it was undone");
    world.pass(1);
    assert!(world.cluster.is_empty(), "the time of its caller's silence is not counted anew");
}

#[test]
fn a_pod_that_went_while_the_disk_was_full_is_not_created_again() {
    let mut world = World::new();
    let id = world.try_request(1, None, None).expect("accepted");
    world.commit();
    world.disk_full = true;
    world.settle(); // created and seen, but its UID is not durable
    assert_eq!(world.count_sent("POST"), 1);
    world.remove_pod(machine(id, 0));
    world.disk_full = false;
    world.step(|ledger, ctx| ledger.probe_disk(ctx));
    world.settle();
    world.pass(6);
    assert_eq!(world.count_sent("POST"), 1);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
}

#[test]
fn a_pod_that_went_under_a_return_that_was_undone_is_not_created_again() {
    let mut world = World::new();
    let id = world.accept(1);
    let name = machine(id, 0);
    let post = world.post();
    let uid = world.created(&post);
    world.cluster.insert(name, pending(uid));
    world.deliver();
    world.disk_full = true;
    world.commit(); // its UID is undone
    world.try_return(&[name.to_string()]);
    world.cluster.clear();
    world.deliver();
    world.commit(); // and so is its return
    world.disk_full = false;
    world.step(|ledger, ctx| ledger.probe_disk(ctx));
    world.settle();
    world.pass(10);
    assert_eq!(world.count_sent("POST"), 1, "its one pod came and went");
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
}

#[test]
fn a_frozen_answer_gets_no_machine_id_from_a_pod_that_comes_late() {
    let mut world = World::new();
    let id = world.accept(1);
    let name = machine(id, 0);
    let post = world.post();
    world.accept_return(name);
    let frozen = crate::answer::machine_request(world.request_of(id), world.now.wall);
    world.created(&post);
    world.event(name, Some(world.pod(name)));
    assert_eq!(crate::answer::machine_request(world.request_of(id), world.now.wall), frozen);
}

#[test]
fn a_returned_name_whose_end_could_not_be_made_durable_ends_when_there_is_room() {
    let mut world = World::new();
    let id = world.try_return(&["ip-10-0-0-1".into()]);
    world.commit();
    world.disk_full = true;
    world.settle();
    assert_eq!(world.told_return(id), "Running: executing 1");
    world.disk_full = false;
    world.step(|ledger, ctx| ledger.probe_disk(ctx));
    world.settle();
    assert_eq!(world.told_return(id), "Complete: succeed 1");
}

// --- restarts

#[test]
fn a_rebuild_stays_pending_across_a_crash_although_a_return_was_accepted_meanwhile() {
    let mut world = World::new();
    let id = world.request_ready(2);
    world.lose_journal();
    world.sync();
    let returned = world.return_machines(&[machine(id, 0)]);
    world.crash(5);
    world.sync();
    assert_eq!(world.ledger.mode(), Mode::RebuildPending);
    assert_eq!(world.told_return(returned), "Running: executing 1");
    assert_eq!(world.count_sent("DELETE"), 0);
}

#[test]
fn blind_time_before_a_restart_extends_the_deadline_too() {
    let mut world = World::new();
    let id = world.request(1);
    world.ledger.polled(&[id]);
    world.pass(10);
    world.step(|ledger, ctx| ledger.freshness(ctx, false));
    for _ in 0..60 {
        world.pass(60);
    }
    world.step(|ledger, ctx| ledger.freshness(ctx, true));
    world.pass(31);
    world.crash(5);
    world.sync();
    world.pass(200);
    assert_eq!(world.told(id), "Running: executing 1");
    world.pass(100);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
}

#[test]
fn a_journal_that_is_always_written_knows_how_far_the_deadlines_ran() {
    let mut world = World::new();
    let id = world.request(1);
    for _ in 0..10 {
        world.pass(20);
        world.request(1); // a commit
    }
    world.crash(0);
    world.sync();
    world.pass(150);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
}

#[test]
fn an_adopted_machines_deadline_counts_from_adoption_across_a_restart() {
    let mut world = World::new();
    world.pass(500);
    let id = world.request(1);
    world.lose_journal();
    world.sync();
    world.pass(61);
    world.step(|ledger, ctx| ledger.probe_disk(ctx)); // a sign of life long after the acceptance
    world.step(|ledger, ctx| ledger.start_rebuild(ctx));
    world.settle();
    world.crash(5);
    world.sync();
    world.pass(200);
    assert_eq!(world.told(id), "Running: executing 1");
    world.pass(100);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
}

// --- what we see

#[test]
fn an_empty_list_is_not_judged_by_before_the_namespace_was_asked_for_again() {
    let mut world = World::new();
    let id = world.request_ready(1);
    world.cluster.clear(); // the namespace was deleted and made again
    world.relist();
    world.commit();
    assert_eq!(world.at_risk(machine(id, 0)), None);
    let other = PodUid::from_bytes([42; 16]);
    world.ledger.take_needs();
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(other)));
    world.settle();
    assert_eq!(world.at_risk(machine(id, 0)), None);
}

#[test]
fn a_view_that_a_list_contradicts_is_not_believed_about_a_single_machine_either() {
    let mut world = World::new();
    let id = world.request_ready(8);
    let truth = std::mem::take(&mut world.cluster);
    world.deliver();
    assert!(world.ledger.take_needs().list);
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(NAMESPACE)));
    let listed = |(name, pod): (&crate::id::MachineName, &crate::pod::PodRecord)| ListedPod {
        name: *name,
        uid: pod.uid,
        deleting: false,
        ended: false,
    };
    let pods = truth.iter().map(listed).collect();
    world.step(|ledger, ctx| ledger.guard_listed(ctx, ListOutcome::Pods(pods)));
    world.step(|ledger, ctx| ledger.pods_seen(ctx, &[machine(id, 3)]));
    world.commit();
    assert_eq!(world.at_risk(machine(id, 3)), None);
    world.cluster = truth;
    world.settle();
    assert!(world.ledger.is_sighted());
    assert_eq!(world.told(id), "Complete: succeed 8");
}

#[test]
fn a_mass_loss_that_comes_to_light_as_calls_end_is_confirmed_too() {
    let mut world = World::new();
    let id = world.request_ready(8);
    for (place, pod) in (100..).zip(world.cluster.values_mut()) {
        *pod = pending(PodUid::from_bytes([place; 16])); // surplus pods under every name
    }
    world.deliver();
    let deletes: Vec<_> = (0..8).map(|_| take_call(&mut world)).collect();
    world.cluster.clear();
    world.cache_follows(); // the watch has written the cache; the engine has not heard of it
    for delete in &deletes {
        end_call(&mut world, delete, CallEnd::Delete(DeleteOutcome::Accepted));
    }
    assert!(world.ledger.is_guarding());
    world.settle();
    assert_eq!(world.at_risk(machine(id, 7)), Some(AtRisk::Lost));
}

#[test]
fn a_crash_loop_is_noticed_though_the_machine_wakes_for_something_else_first() {
    let mut world = World::new();
    world.creates = Creates::AnswerLost;
    let id = world.request_ready(1);
    world.pass(50);
    world.change_pod(machine(id, 0), |pod| {
        pod.ready = false;
        pod.reason = Some(Reason { code: ReasonCode::CrashLoop, message: "back-off".into() }.into());
    });
    world.pass(11); // the create's time is up
    world.pass(110);
    assert_eq!(world.at_risk(machine(id, 0)), Some(AtRisk::Lost));
}

// --- what is remembered

#[test]
fn nothing_is_remembered_about_a_machine_that_is_gone() {
    let mut world = World::new();
    let id = world.request_ready(2);
    world.deletes_refused = true;
    world.return_machines(&[machine(id, 0)]);
    assert!(!world.ledger.troubles.is_empty());
    world.remove_pod(machine(id, 0)); // by an operator
    world.remove_pod(machine(id, 1));
    world.pass(61);
    assert!(world.ledger.doing.is_empty(), "{:?}", world.ledger.doing);
    assert!(world.ledger.troubles.is_empty() && world.ledger.unsettled.is_empty());
    world.pass(8 * 24 * 3600);
    assert!(world.ledger.committed_request(id).is_none());
    assert!(world.ledger.at_risk.is_empty(), "a forgotten machine is not listed");
}

#[test]
fn a_name_that_never_went_is_not_followed_for_ever_once_its_return_is_forgotten() {
    let mut world = World::new();
    world.strangers.insert("old-1".into());
    world.deletes_refused = true;
    let returned = world.return_names(&["old-1".into()]);
    world.pass(1801);
    assert_eq!(world.told_return(returned), "CompleteWithError: fail 1");
    world.pass(8 * 24 * 3600);
    world.pass(61);
    assert!(world.ledger.names.is_empty());
    assert!(world.ledger.next_wake().is_none());
}

#[test]
fn a_create_that_was_not_done_leaves_no_trace_once_the_pod_is_there() {
    let mut world = World::new();
    let id = world.try_request(1, None, None).expect("accepted");
    world.commit();
    let post = take_call(&mut world);
    let not_done = NotDone { why: "429".into(), retry_after: Some(Duration::from_secs(5)), throttled: true };
    end_call(&mut world, &post, CallEnd::Create(CreateOutcome::NotDone(not_done)));
    world.land(machine(id, 0));
    world.all_ready();
    world.pass(10);
    assert!(world.ledger.doing.is_empty(), "{:?}", world.ledger.doing);
}

// --- rules whose removal no other test noticed

#[test]
fn a_201_known_before_a_list_began_counts_against_it_without_a_look() {
    let mut world = World::new();
    let id = world.try_request(1, None, None).expect("accepted");
    world.commit();
    let post = take_call(&mut world);
    let created = CreateOutcome::Created(PodUid::from_bytes([77; 16])); // and gone before the LIST
    end_call(&mut world, &post, CallEnd::Create(created));
    world.relist();
    world.settle();
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
    assert_eq!(world.count_sent("GET") + world.count_sent("POST"), 0);
}

#[test]
fn a_pod_of_another_uid_does_not_settle_a_create() {
    let mut world = World::new();
    let id = world.try_request(1, None, None).expect("accepted");
    world.commit();
    let name = machine(id, 0);
    let post = take_call(&mut world);
    let created = CreateOutcome::Created(PodUid::from_bytes([77; 16]));
    end_call(&mut world, &post, CallEnd::Create(created));
    world.land(name); // what the watch shows is an older pod
    world.settle();
    let returned = world.return_machines(&[name]);
    assert!(world.cluster.is_empty());
    assert_eq!(world.told_return(returned), "Running: executing 1", "the created pod was not seen to go");
    world.pass(6);
    assert_eq!((world.told_return(returned).as_str(), world.count_sent("GET")), ("Complete: succeed 1", 1));
}

#[test]
fn a_pod_does_not_settle_an_ambiguous_create_that_may_be_another_ones() {
    let mut world = World::new();
    world.creates = Creates::Vanish;
    let id = world.request(1);
    let name = machine(id, 0);
    world.crash(1);
    world.creates = Creates::NotDone;
    world.sync();
    world.pass(50);
    world.creates = Creates::Vanish;
    world.pass(5); // a second POST under way
    world.land(name); // by the first
    world.settle();
    let returned = world.return_machines(&[name]);
    assert!(world.cluster.is_empty());
    world.pass(10);
    world.pass(10);
    assert_eq!(world.told_return(returned), "Running: executing 1", "the second POST may still land");
    world.pass(60);
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
}

#[test]
fn readiness_that_only_the_cache_has_heard_of_wins_at_the_deadline() {
    let mut world = World::new();
    let id = world.request(1);
    let pod = world.cluster.get_mut(&machine(id, 0)).expect("created");
    (pod.ready, pod.ip) = (true, Some([10, 0, 0, 1].into()));
    world.cache_follows();
    world.pass(301);
    assert_eq!(world.told(id), "Complete: succeed 1");
}

#[test]
fn what_happens_to_a_surplus_pod_is_not_told_of_the_machine() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let surplus = pending(PodUid::from_bytes([99; 16]));
    world.cluster.insert(machine(id, 0), surplus);
    world.evict(machine(id, 0), 25);
    assert_eq!(world.at_risk(machine(id, 0)), None);
    assert_eq!(world.told(id), "Complete: succeed 1");
}

#[test]
fn a_foreign_namespace_stops_every_delete_of_ours() {
    let mut world = World::new();
    let id = world.request_ready(1);
    world.change_pod(machine(id, 0), |pod| pod.phase = crate::pod::Phase::Failed);
    let other = PodUid::from_bytes([42; 16]);
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(other)));
    world.pass(700);
    assert_eq!(world.count_sent("DELETE"), 0);
    world.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(NAMESPACE)));
    world.settle();
    assert_eq!(world.count_sent("DELETE"), 1);
}

#[test]
fn a_rebuild_adopts_only_from_a_list_that_began_after_its_wait() {
    let mut world = World::new();
    world.request_ready(2);
    world.lose_journal();
    world.sync();
    assert!(!world.ledger.is_sighted(), "nothing is judged while a rebuild is pending");
    world.step(|ledger, ctx| ledger.start_rebuild(ctx));
    world.list_begins();
    world.pass_blindly(61);
    world.list_ends();
    assert_eq!(world.ledger.mode(), Mode::RebuildPending);
    world.settle();
    assert_eq!(world.ledger.mode(), Mode::Serving);
}

#[test]
fn a_returned_machines_reason_stays_what_it_was_told() {
    let mut world = World::new();
    let id = world.try_request(1, None, None).expect("accepted");
    world.commit();
    let post = take_call(&mut world);
    world.return_machines(&[machine(id, 0)]);
    assert_eq!(world.message(machine(id, 0)), "returned before ready");
    end_call(&mut world, &post, refused(RefusalKind::Quota));
    world.settle();
    assert_eq!(world.message(machine(id, 0)), "returned before ready");
}

#[test]
fn a_delete_that_was_taken_and_had_no_effect_is_sent_again() {
    let mut world = World::new();
    let id = world.request_ready(1);
    let returned = world.try_return(&[machine(id, 0).to_string()]);
    world.commit();
    let delete = take_call(&mut world);
    end_call(&mut world, &delete, CallEnd::Delete(DeleteOutcome::Accepted));
    world.settle();
    assert_eq!(world.count_sent("DELETE"), 0);
    world.pass(31);
    assert_eq!(world.told_return(returned), "Complete: succeed 1");
}

#[test]
fn a_machine_that_failed_is_not_created_again_though_nobody_sees_that_it_is_gone() {
    let mut world = World::new();
    world.creates = Creates::NotDone;
    let id = world.request(1);
    world.pass(250);
    world.creates = Creates::Vanish;
    world.pass(35);
    assert_eq!(world.count_sent("POST"), 3);
    world.pass(20);
    assert_eq!(world.told(id), "CompleteWithError: fail 1");
    world.step(|ledger, ctx| ledger.freshness(ctx, false));
    world.pass(61); // a look settles the create
    assert_eq!((world.count_sent("GET"), world.count_sent("POST")), (1, 3));
}

#[test]
fn the_deadline_of_a_request_whose_end_is_undone_goes_on_without_the_blind_time() {
    let mut world = World::new();
    let id = world.try_request(1, None, None).expect("accepted");
    world.commit();
    let post = take_call(&mut world);
    world.step(|ledger, ctx| ledger.freshness(ctx, false));
    world.pass_blindly(1000);
    world.step(|ledger, ctx| ledger.freshness(ctx, true));
    let _later = world.try_request(1, None, None).expect("accepted");
    world.commit();
    end_call(&mut world, &post, refused(RefusalKind::Quota));
    world.disk_full = true;
    world.pass_blindly(31); // with a sign of life of the later request
    assert!(world.ledger.is_disk_full(), "the end was decided, and there was no room for it");
    world.disk_full = false;
    world.step(|ledger, ctx| ledger.probe_disk(ctx));
    world.pass(1);
    world.all_ready();
    assert_eq!(world.told(id), "Complete: succeed 1", "it is tried again, in its time");
}
