//! What goes wrong by itself: in the cluster, the disk, the watch; and what an operator does about it.

use hfd_core::{
    id::{JournalId, MachineName, PodUid, RequestId},
    ledger::{Binding, Mode},
    pod::{Reason, ReasonCode},
    view::RebuildFacts,
};

use crate::{
    cluster::Owner,
    profile::Fault,
    world::{Event, World},
};

impl World {
    /// What becomes of a new pod.
    pub(crate) fn plan_life(&mut self, name: &str, uid: PodUid) {
        if self.by_hand {
            return;
        }
        if self.strikes(Fault::NeverScheduled) {
            let now = self.wall();
            let message = "0/3 nodes are available: 3 Insufficient memory".into();
            let reason = Reason { code: ReasonCode::Unschedulable, message };
            return self.cluster.change(name, now, |pod| pod.reason = Some(reason.into()));
        }
        let slow = self.strikes(Fault::SlowStart);
        let longest = if slow { 320_000 } else { 30_000 };
        let starts = self.dice.within(50..3000);
        let name = name.to_owned();
        self.after(starts, Event::PodStarts { name: name.clone(), uid });
        let then = starts + self.dice.within(50..longest);
        let event = if self.strikes(Fault::EndsBeforeReady) {
            Event::PodEnds { name, uid }
        } else if self.strikes(Fault::CrashLoop) {
            Event::PodLoops { name, uid }
        } else {
            Event::PodReady { name, uid }
        };
        self.after(then, event);
    }

    fn is_there(&self, name: &str, uid: PodUid) -> bool {
        self.cluster.pods.get(name).is_some_and(|pod| pod.record.uid == uid && !pod.record.has_ended())
    }

    pub(crate) fn pod_starts(&mut self, name: &str, uid: PodUid) {
        if self.is_there(name, uid) {
            let (now, node) = (self.wall(), self.dice.bytes::<1>()[0]);
            self.cluster.start(name, now, node);
        }
    }

    pub(crate) fn pod_ready(&mut self, name: &str, uid: PodUid) {
        if self.is_there(name, uid) {
            let (now, address) = (self.wall(), self.dice.bytes::<1>()[0]);
            self.cluster.make_ready(name, now, address);
        }
    }

    pub(crate) fn pod_ends(&mut self, name: &str, uid: PodUid) {
        if self.is_there(name, uid) {
            let now = self.wall();
            self.cluster.end(name, now, "exit status 1");
        }
    }

    pub(crate) fn pod_loops(&mut self, name: &str, uid: PodUid) {
        if self.is_there(name, uid) {
            let now = self.wall();
            let reason = Reason { code: ReasonCode::CrashLoop, message: "back-off restarting".into() };
            self.cluster.change(name, now, |pod| (pod.ready, pod.reason) = (false, Some(reason.into())));
        }
    }

    pub(crate) fn pod_removed(&mut self, name: &str, uid: PodUid) {
        if self.cluster.pods.get(name).is_some_and(|pod| pod.record.uid == uid) {
            let now = self.wall();
            self.cluster.remove(name, now);
        }
    }

    /// Once in a while each fault has its chance.
    pub(crate) fn gremlin_acts(&mut self) {
        if self.healing || !self.lively {
            return;
        }
        let wait = self.dice.within(500..15_000);
        self.after(wait, Event::Gremlin);
        for fault in Fault::GREMLINS {
            if self.dice.chance(self.profile.rate(fault)) && self.strike(fault) {
                self.happens(fault);
            }
        }
    }

    /// Does it; returns whether there was anything to do it to.
    pub(crate) fn strike(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Crash => self.strike_daemon(),
            Fault::DiskFull | Fault::DiskError | Fault::StateLost => self.strike_disk(fault),
            Fault::Outage => {
                let wait = if self.dice.chance(100) { 3_600_000 } else { self.dice.within(1000..120_000) };
                self.outage = true;
                self.after(wait, Event::OutageEnds);
                true
            }
            Fault::WatchCut | Fault::WatchExpired | Fault::WatchSilent | Fault::WatchUnauthorized => {
                self.strike_watch(fault)
            }
            // Strikes where a LIST is read; here it only causes one.
            Fault::LyingList => {
                self.connect();
                false
            }
            Fault::NamespaceRecreated => self.delete_namespace(),
            Fault::Stranger | Fault::OtherInstance => self.take_a_name(fault),
            Fault::SecondWriter => self.second_writer(),
            fault => self.strike_pods(fault),
        }
    }

    fn strike_daemon(&mut self) -> bool {
        let alive = self.daemon.is_some();
        self.crash(None);
        alive
    }

    fn strike_disk(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::DiskFull => {
                self.disk.full = true;
                self.disk.reserve = self.dice.chance(500);
                let wait = self.dice.within(1000..60_000);
                self.after(wait, Event::DiskHasRoom);
            }
            Fault::DiskError => self.disk.broken = true,
            _ => {
                // It is lost while the daemon is down: a running one would notice nothing before its next start.
                if self.daemon.is_some() || self.disk.rows.requests.is_empty() {
                    return false;
                }
                let (id, now) = (JournalId(self.dice.bytes()), self.wall());
                self.disk.lose(id, now);
                self.model.lose_state();
                self.factory.lose_state();
                self.after(90_000, Event::Operator);
            }
        }
        true
    }

    fn strike_watch(&mut self, fault: Fault) -> bool {
        let streaming = self.watch().is_some_and(|watch| watch.is_streaming());
        if !streaming {
            return false;
        }
        match fault {
            Fault::WatchSilent => {
                if let Some(watch) = self.watch() {
                    watch.silent = true;
                }
            }
            Fault::WatchCut => self.cut_watch(),
            Fault::WatchExpired => self.connect(),
            // A new client is made, and lists.
            _ => self.close_watch(None, 1500),
        }
        true
    }

    /// A pod of ours, by the dice.
    fn any_pod(&mut self) -> Option<(String, PodUid)> {
        let pods: Vec<_> = self.cluster.pods.iter().filter(|(_, pod)| pod.owner == Owner::Ours).collect();
        let pods: Vec<_> = pods.into_iter().map(|(name, pod)| (name.clone(), pod.record.uid)).collect();
        self.dice.pick(&pods).cloned()
    }

    fn strike_pods(&mut self, fault: Fault) -> bool {
        let Some((name, uid)) = self.any_pod() else { return false };
        let now = self.wall();
        match fault {
            Fault::Deleted => drop(self.delete_pod(&name, uid, false)),
            Fault::Evicted => {
                let reason = Reason { code: ReasonCode::Evicted, message: "evicted by the API".into() };
                self.cluster.change(&name, now, |pod| pod.disruption = Some(reason.into()));
                if self.dice.chance(700) {
                    let _marked = self.delete_pod(&name, uid, false);
                }
            }
            Fault::Ended => self.pod_ends(&name, uid),
            Fault::Flap => self.cluster.change(&name, now, |pod| pod.ready = !pod.ready && pod.ip.is_some()),
            Fault::MassLoss => {
                let all: Vec<_> = self.cluster.list().into_iter().map(|(name, _)| name.to_string()).collect();
                for name in all {
                    self.cluster.remove(&name, now);
                }
            }
            // A node is lost: what ran there is marked and can't be ended, or is removed with it.
            _ => {
                let node = self.cluster.pods[&name].record.node.clone();
                let on_it =
                    self.cluster.pods.iter().filter(|(_, pod)| pod.owner == Owner::Ours && pod.record.node == node);
                let on_it: Vec<_> = on_it.map(|(name, _)| name.clone()).collect();
                let removed = self.dice.chance(500);
                for name in on_it.iter().filter(|_| node.is_some()) {
                    match removed {
                        true => self.cluster.remove(name, now),
                        false => {
                            self.cluster.mark(name, now);
                            self.cluster.pods.entry(name.clone()).and_modify(|pod| pod.stuck = true);
                        }
                    }
                }
                return node.is_some();
            }
        }
        true
    }

    /// Somebody else makes a pod under a name that will be ours.
    fn take_a_name(&mut self, fault: Fault) -> bool {
        let requests = self.disk.rows.requests.values();
        let names = requests
            .flat_map(|request| (0..request.count()).map(|ordinal| MachineName { request: request.id, ordinal }));
        let names: Vec<_> = names.filter(|name| !self.cluster.pods.contains_key(&name.to_string())).collect();
        let Some(name) = self.dice.pick(&names).map(MachineName::to_string) else { return false };
        let owner = if fault == Fault::Stranger { Owner::Stranger } else { Owner::OtherInstance };
        let now = self.wall();
        self.cluster.add(&name, owner, None, RebuildFacts::default(), now);
        self.model.taken.insert(name);
        true
    }

    /// Another hfd writes for our instance, from another journal.
    fn second_writer(&mut self) -> bool {
        let name = MachineName { request: RequestId::from_random(self.dice.bytes()), ordinal: 0 };
        let journal = Some(JournalId([0xEE; 8]));
        let facts = RebuildFacts { count: Some(1), journal, accepted_at: Some(self.wall()), ..RebuildFacts::default() };
        let now = self.wall();
        self.cluster.add(&name.to_string(), Owner::Ours, journal, facts, now);
        true
    }

    /// The namespace is deleted with all that is in it, and made again under another UID.
    fn delete_namespace(&mut self) -> bool {
        let now = self.wall();
        if !self.cluster.delete_namespace(now) {
            return false;
        }
        // A watch goes on over it, or is broken by it.
        if self.dice.chance(500) {
            self.connect();
        }
        let wait = self.dice.within(1..60_000);
        self.after(wait, Event::NamespaceIsMade);
        self.after(wait + 90_000, Event::Operator);
        true
    }

    /// An operator does what the status asks for.
    pub(crate) fn operator_acts(&mut self) {
        let Some(daemon) = self.daemon.as_ref() else { return self.after(10_000, Event::Operator) };
        let (mode, binding) = (daemon.ledger.mode(), daemon.ledger.binding());
        self.note(|| format!("  {mode:?}, {binding:?}"));
        if mode == Mode::RebuildPending {
            self.ledger(|ledger, ctx| ledger.start_rebuild(ctx));
        }
        if matches!(binding, Binding::Foreign(Some(_))) {
            let _accepted = self.ledger(|ledger, ctx| ledger.accept_namespace(ctx));
        }
        // Looks again until nothing is asked of an operator.
        let settled = mode == Mode::Serving && binding == Binding::Ours;
        if !settled {
            self.after(100_000, Event::Operator);
        }
    }
}
