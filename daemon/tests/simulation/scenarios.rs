//! The races of seeing (`lifecycle.md` 7) by name, in the world of the simulation, driven by hand. Each ends as a seed
//! does: all faults over, and every promise kept.

use hfd_core::id::{MachineName, RequestId};
use proto_schema::hostfactory::{MachineResult, RequestState};

use crate::{
    factory::Body,
    profile::{Fault, Profile},
    world::World,
};

/// Template 1 of the world: no limit, 120 s to become ready.
const DEADLINE: u64 = 120;

/// A world that is synced; what becomes of pods is decided by the test.
fn synced() -> World {
    let mut world = World::new(7, Profile::calm(), true);
    world.by_hand = true;
    world.run_for(5);
    assert!(world.daemon.as_ref().is_some_and(|daemon| daemon.ledger.is_sighted()));
    world
}

impl World {
    /// One machine, asked for and acknowledged.
    fn one_machine(&mut self) -> MachineName {
        let before: Vec<_> = self.factory.requests.keys().copied().collect();
        self.call(Body::Request { template: 1, count: 1 });
        self.go_on();
        while self.factory.requests.len() == before.len() {
            let until = self.now + 1000;
            assert!(self.step(until), "the call is never answered");
        }
        let request = self.factory.requests.keys().find(|id| !before.contains(id));
        MachineName { request: *request.expect("it was acknowledged"), ordinal: 0 }
    }

    fn ready_in_cluster(&mut self, name: MachineName) {
        let (name, now) = (name.to_string(), self.wall());
        assert!(self.cluster.pods.contains_key(&name), "the pod {name} is there");
        self.cluster.start(&name, now, 0);
        self.cluster.make_ready(&name, now, 1);
    }

    fn hold_watch(&mut self, held: bool) {
        self.watch().expect("the daemon lives").held = held;
    }

    /// Nothing reaches the cluster, or from it.
    fn cut_off(&mut self, seconds: u64) {
        self.outage = true;
        self.run_for(seconds);
        self.outage = false;
    }

    fn told(&mut self, id: RequestId) -> (RequestState, MachineResult) {
        self.poll(vec![id.to_string()]);
        self.go_on();
        self.run_for(1);
        let status = self.model.last_told(id).expect("it was told");
        (status.status, status.machines[0].result)
    }

    fn is_listed(&mut self, name: MachineName) -> bool {
        let before = self.stats.reclaims;
        self.factory.held.insert(name.to_string());
        for _ in 0..8 {
            self.ask_return_requests();
        }
        self.stats.reclaims > before
    }
}

const SUCCEEDED: (RequestState, MachineResult) = (RequestState::Complete, MachineResult::Succeed);
const EXECUTING: (RequestState, MachineResult) = (RequestState::Running, MachineResult::Executing);
const FAILED: (RequestState, MachineResult) = (RequestState::CompleteWithError, MachineResult::Fail);

#[test]
fn a_pod_created_while_a_relist_is_under_way_is_not_taken_for_absent() {
    let mut world = synced();
    world.connect();
    while !world.watch().is_some_and(|watch| watch.is_paging()) {
        let until = world.now + 1000;
        world.step(until);
    }
    world.hold_watch(true);
    let name = world.one_machine();
    world.run_for(3);
    assert!(world.cluster.pods.contains_key(&name.to_string()), "it is created after the LIST was read");
    world.hold_watch(false);
    world.run_for(3);
    assert_eq!(world.told(name.request), EXECUTING);
    world.ready_in_cluster(name);
    world.run_for(5);
    assert_eq!(world.told(name.request), SUCCEEDED);
    assert_eq!(world.stats.posts, 1);
    world.heal();
}

#[test]
fn a_silent_half_open_watch_is_noticed_and_what_it_hid_is_seen() {
    let mut world = synced();
    let name = world.one_machine();
    world.run_for(3);
    world.ready_in_cluster(name);
    world.run_for(5);
    assert_eq!(world.told(name.request), SUCCEEDED);
    world.watch().expect("the daemon lives").silent = true;
    let now = world.wall();
    world.cluster.remove(&name.to_string(), now);
    world.run_for(60);
    assert!(!world.is_listed(name), "nothing has told of it");
    world.run_for(40);
    assert!(world.is_listed(name), "the stream was opened again and told");
    world.heal();
}

#[test]
fn a_deadline_does_not_run_during_an_hour_of_outage() {
    let mut world = synced();
    let name = world.one_machine();
    world.run_for(30);
    world.cut_off(3600);
    assert_eq!(world.told(name.request), EXECUTING);
    world.run_for(DEADLINE - 60);
    assert_eq!(world.told(name.request), EXECUTING, "what was left of the deadline is not over");
    world.run_for(60);
    assert_eq!(world.told(name.request), FAILED, "then it is");
    world.heal();
}

#[test]
fn what_became_ready_during_an_hour_of_outage_succeeds() {
    let mut world = synced();
    let name = world.one_machine();
    world.run_for(30);
    world.outage = true;
    world.run_for(1800);
    world.ready_in_cluster(name);
    world.cut_off(1800);
    world.run_for(10);
    assert_eq!(world.told(name.request), SUCCEEDED);
    world.heal();
}

/// The machine becomes ready so long after its acceptance and is seen at once; what is told 5 s later.
fn ready_after(milliseconds: u64) -> (RequestState, MachineResult) {
    let mut world = synced();
    let accepted = world.now;
    let name = world.one_machine();
    while world.step(accepted + milliseconds) {}
    world.hold_watch(true);
    if world.cluster.ours(&name.to_string()).is_some_and(|pod| pod.record.deletion.is_none()) {
        world.ready_in_cluster(name);
    }
    world.hold_watch(false);
    world.run_for(5);
    let told = world.told(name.request);
    world.run_for(300);
    assert_eq!(world.told(name.request), told, "it stays as it was told");
    world.heal();
    told
}

#[test]
fn ready_before_the_deadline_succeeds_and_after_it_fails_and_at_its_edge_stays_as_told() {
    assert_eq!(ready_after(DEADLINE * 1000 - 4000), SUCCEEDED);
    assert_eq!(ready_after(DEADLINE * 1000 + 6000), FAILED);
    for edge in (0..4000).step_by(250) {
        let told = ready_after(DEADLINE * 1000 - 2000 + edge);
        assert!(told == SUCCEEDED || told == FAILED, "{told:?}");
    }
}

#[test]
fn ready_but_unseen_when_the_deadline_passes_in_a_fresh_view_fails_and_is_removed() {
    let mut world = synced();
    let name = world.one_machine();
    world.run_for(DEADLINE - 10);
    world.hold_watch(true); // it lags, and nothing says so
    world.ready_in_cluster(name);
    world.run_for(20);
    assert_eq!(world.told(name.request), FAILED);
    world.hold_watch(false);
    world.run_for(60);
    assert_eq!(world.told(name.request), FAILED);
    assert!(!world.cluster.pods.contains_key(&name.to_string()), "its pod is removed");
    world.heal();
}

#[test]
fn ready_but_unseen_when_the_deadline_passes_while_not_fresh_succeeds() {
    let mut world = synced();
    let name = world.one_machine();
    world.run_for(DEADLINE - 10);
    world.outage = true;
    world.run_for(2);
    world.ready_in_cluster(name);
    world.cut_off(60);
    world.run_for(10);
    assert_eq!(world.told(name.request), SUCCEEDED, "observed first, judged second");
    world.heal();
}

#[test]
fn a_create_that_lands_after_its_return_is_deleted_before_the_return_ends() {
    let mut world = synced();
    world.profile = Profile::calm().with(Fault::PostLate, 1000);
    let name = world.one_machine();
    world.run_for(1);
    world.profile = Profile::calm();
    world.call(Body::Return(vec![(name.to_string(), None)]));
    world.run_for(2);
    let id = *world.factory.returns.keys().next().expect("it was acknowledged");
    assert_eq!(world.told(id).0, RequestState::Running, "a create of it may still land");
    world.run_for(200);
    assert_eq!(world.told(id).0, RequestState::Complete);
    assert!(world.cluster.pods.is_empty());
    assert_eq!(world.cluster.history.len(), 1, "it did land");
    world.heal();
}

#[test]
fn a_create_that_lands_after_a_crash_is_found_and_not_doubled() {
    let mut world = synced();
    world.profile = Profile::calm().with(Fault::PostLate, 1000);
    let name = world.one_machine();
    world.run_for(1);
    world.profile = Profile::calm();
    world.crash(None);
    world.start();
    world.run_for(90);
    world.ready_in_cluster(name);
    world.run_for(10);
    assert_eq!(world.told(name.request), SUCCEEDED);
    assert_eq!(world.cluster.history.len(), 1, "one pod, whoever came first");
    world.heal();
}

#[test]
fn an_event_of_an_older_pod_of_the_name_after_the_201_settles_nothing() {
    let mut world = synced();
    world.hold_watch(true);
    world.profile = Profile::calm().with(Fault::PostAnswerLost, 1000);
    let name = world.one_machine();
    world.run_for(2);
    world.profile = Profile::calm();
    let now = world.wall();
    world.cluster.remove(&name.to_string(), now); // nobody has seen it
    world.run_for(80);
    assert_eq!(world.cluster.history.len(), 2, "it is created again once the first can't land any more");
    world.one_by_one = true;
    world.hold_watch(false);
    world.run_for(10);
    assert_eq!(world.told(name.request), EXECUTING, "the older one's coming and going says nothing of this one");
    world.ready_in_cluster(name);
    world.run_for(10);
    assert_eq!(world.told(name.request), SUCCEEDED);
    world.heal();
}
