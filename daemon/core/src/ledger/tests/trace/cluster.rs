//! What happens in the cluster, to the stream and to the daemon's process.

use super::{
    super::model::state::{B_CRASH, B_FLAP, B_KILL, B_LOSS, B_OUT, B_RELIST, B_WIPE},
    oracle::Beside,
    walk::Walk,
};
use crate::{
    id::PodUid,
    ledger::Mode,
    outcome::NamespaceOutcome,
    pod::{Deletion, Phase, PodRecord},
};

impl Walk {
    /// The stream has room for one more event.
    pub(super) fn room(&self) -> bool {
        self.stream < 2 || self.queue.len() < 4
    }

    /// Somebody's pod has the name.
    pub(super) fn is_taken(&self) -> bool {
        self.stranger || self.pod().is_some()
    }

    fn pod(&self) -> Option<&PodRecord> {
        self.name.and_then(|name| self.world.cluster.get(&name))
    }

    /// The stream takes the pod as it is now.
    pub(super) fn emit(&mut self) {
        if self.stream >= 2 {
            self.queue.push_back(self.pod().cloned());
        }
    }

    /// A POST makes the pod.
    pub(super) fn create(&mut self) -> PodUid {
        let uid = self.world.land(self.name.expect("a POST is for a machine"));
        self.uids.insert(uid, self.next_uid);
        self.next_uid += 1;
        self.emit();
        uid
    }

    pub(super) fn pod_lives(&mut self) {
        let Some((name, pod)) = self.name.and_then(|name| Some((name, self.pod()?.clone()))) else { return };
        if !self.room() {
            return;
        }
        let (dying, ended) = (pod.deletion.is_some(), pod.has_ended());
        let (pending, ready) = (pod.phase == Phase::Pending, pod.ready);
        let ends_at = self.world.now.wall + 30;
        let mut now = Some(pod);
        let change = now.as_mut().expect("it is there");
        let step = match self.dice.roll(6) {
            0 | 1 if !dying && !ended && !ready => {
                (change.phase, change.ready, change.ip) = (Phase::Running, true, Some([10, 0, 0, 1].into()));
                if pending { "pod: Ready" } else { "pod: Ready again" }
            }
            2 if !dying && ready && self.has(B_FLAP) => {
                change.ready = false;
                "pod: readiness lost"
            }
            3 if !dying && !ended && self.has(B_LOSS) => {
                (change.phase, change.ready) = (Phase::Failed, false);
                "pod: Failed"
            }
            4 if !dying && !ended && !pending && self.has(B_LOSS) => {
                change.deletion = Some(Deletion { ends_at });
                "pod: evicted with grace"
            }
            5 if !dying && self.has(B_LOSS) => {
                now = None;
                "pod: deleted by somebody at once"
            }
            0..=2 if dying => {
                now = None;
                "pod: removed after grace"
            }
            _ => return,
        };
        match now {
            Some(pod) => drop(self.world.cluster.insert(name, pod)),
            None => drop(self.world.cluster.remove(&name)),
        }
        self.emit();
        self.say_of_machine(step);
        self.compare(Beside::Nothing);
    }

    pub(super) fn strangers_act(&mut self) {
        if self.stranger && self.has(B_KILL) {
            self.stranger = false;
            self.world.strangers.clear();
            self.say_of_machine("stranger's pod removed by its owner");
        } else if self.strangers && !self.is_taken() && self.next_uid < 4 && self.has(B_FLAP) {
            self.stranger = true;
            self.next_uid += 1;
            if let Some(name) = self.name {
                self.world.strangers.insert(name.to_string());
            }
            self.say_of_machine("a stranger creates a pod of that name");
        }
    }

    // --- the stream

    pub(super) fn stream_moves(&mut self) {
        if !self.up {
            return;
        }
        match self.stream {
            0 => {
                self.stream = 1;
                self.say("stream: LIST begins");
                self.world.begin_list();
            }
            1 => {
                self.stream = 2;
                self.read = self.pod().cloned();
                self.say("stream: LIST snapshot taken");
            }
            2 => {
                self.stream = 3;
                let read = self.name.zip(self.read.take()).into_iter().collect();
                self.say("stream: LIST delivered (sync)");
                self.world.list_ends_with(read);
                self.world.freshness(true);
            }
            _ => {
                let Some((name, pod)) = self.name.and_then(|name| Some((name, self.queue.pop_front()?))) else {
                    return;
                };
                self.say_of_machine("stream: event delivered");
                self.world.event(name, pod);
            }
        }
        self.compare(if self.shown() { Beside::Shown } else { Beside::Nothing });
    }

    /// hfd's cache shows a pod of the name.
    fn shown(&self) -> bool {
        self.name.is_some_and(|name| self.world.cache.0.borrow().contains_key(&name))
    }

    fn drop_stream(&mut self) {
        self.stream = 0;
        self.queue.clear();
        self.read = None;
        self.world.freshness(false);
    }

    pub(super) fn fault(&mut self) {
        let calm = !self.world.ledger.is_rebuilding();
        match self.dice.roll(7) {
            0 if self.has(B_CRASH) => self.crash(),
            1 if self.has(B_WIPE) && self.live() => self.crash_and_lose_journal(),
            2 if calm && self.has(B_RELIST) && self.stream == 3 => {
                self.drop_stream();
                self.say("stream: watch broken or expired");
                self.compare(Beside::Nothing);
            }
            3 if calm && self.has(B_OUT) && self.up => {
                self.up = false;
                if self.stream < 3 {
                    self.drop_stream();
                }
                self.say("api: unreachable");
            }
            4 if !self.up && self.stream == 3 => {
                self.drop_stream();
                self.say("hfd: silent stream noticed (90 s)");
                self.compare(Beside::Nothing);
            }
            4 | 5 if !self.up => {
                self.up = true;
                self.say("api: reachable again");
            }
            6 => self.refuse_deletes(),
            _ => {}
        }
    }

    // --- the process

    fn crash(&mut self) {
        self.say("crash or power cut, restart");
        self.world.restart_unsynced(0);
        self.restarted();
    }

    fn crash_and_lose_journal(&mut self) {
        self.say("crash, journal deleted, restart");
        self.world.lose_journal();
        let ours = NamespaceOutcome::Known(super::super::world::NAMESPACE);
        self.world.step(|ledger, ctx| ledger.namespace_seen(ctx, &ours));
        self.returns.clear();
        self.restarted();
    }

    /// Calls of the life that ended may still land.
    fn restarted(&mut self) {
        self.stream = 0;
        self.queue.clear();
        self.read = None;
        self.started();
        self.old.append(&mut self.late);
        self.old.extend(self.post.take().map(|post| post.until));
        if let Some(delete) = &mut self.delete {
            delete.what.1 = None;
        }
        self.compare(Beside::Nothing);
    }

    /// The operator's command.
    pub(super) fn rebuild(&mut self) {
        let pending = self.world.ledger.mode() == Mode::RebuildPending;
        if pending && self.stream == 3 && self.up {
            self.world.step(|ledger, ctx| ledger.start_rebuild(ctx));
            self.world.commit();
            self.relist_if_wanted();
        }
    }

    /// A rebuild's relist, whole.
    pub(super) fn relist_if_wanted(&mut self) {
        if !self.world.ledger.take_needs().relist {
            return;
        }
        self.queue.clear();
        self.world.begin_list();
        self.world.list_ends();
        self.world.freshness(true);
        self.say("operator: rebuild --from-cluster");
        self.compare(Beside::Nothing);
    }
}
