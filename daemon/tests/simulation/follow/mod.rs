//! Runs held against the model of `lifecycle.md` (`hfd-core`, `ledger/tests/model`), one machine at a time: what happens
//! to a machine, and what happens to all (LIST, watch, crashes, time), must be a trace that the step relation allows.
//!
//! A world that is followed is one of the ordinary ones, but for what the model has no word for:
//! * A commit is durable in the step that decided it, or lost with a crash. So is a GET sent, read and answered. A POST
//!   or a DELETE is answered when it arrives, if at all. A LIST comes as one page.
//! * No full or broken disk, no quota, no crash loop, no lost state or namespace, no LIST that lies.
//!
//! What the model does not decide is not compared: the terminal answers and the ends of returns as wholes, which depend
//! on several machines, and getReturnRequests. They are the naive model's (`model.rs`). A call that was not done, an
//! outage, and a stream that goes on where it was are no steps of the model: hfd may only do less meanwhile.
//! Deadlines may pass at any time there. A machine is followed until the model's bounds end: the fourth pod of its name,
//! the fifth event that waits, the third return.

mod machine;
mod oracle;

#[path = "../../../core/src/ledger/tests/model/mod.rs"]
#[expect(dead_code, reason = "the search itself is run elsewhere")]
mod model;

use std::{collections::BTreeMap, ops::Range};

use hfd_core::{
    change::Change as Row,
    id::{MachineName, PodUid},
    outcome::CreateOutcome,
    request::Origin,
};

pub(crate) use self::machine::Post;
use self::{
    machine::{Machine, Seen},
    model::state::{NOBODY, small},
    oracle::Oracle,
};
use crate::{cluster::Change, disk::Rows, profile::Fault, seeds, world::World};

/// Machines of each request that are followed.
const OF_EACH: u32 = 2;
/// Milliseconds after which no call of an earlier life is under way.
const SETTLED_AFTER: u64 = crate::calls::SERVER_TIMEOUT;
/// The model has this many pods of one name.
const PODS: u8 = 4;

/// Seeds of each ordinary run.
const SEEDS: Range<u64> = 0..200;

/// What became of the machines that were followed.
#[derive(Debug, Default, Clone, Copy)]
struct Followed {
    machines: u64,
    /// Until they were gone.
    to_the_end: u64,
    /// Until the model's bounds.
    to_the_bounds: u64,
    compared: u64,
}

/// All machines that are followed in a world.
#[derive(Default)]
pub(crate) struct Follow {
    machines: BTreeMap<MachineName, Machine>,
    /// How much of the cluster's log is in the oracles.
    place: usize,
    synced: bool,
    settled: bool,
    /// When the present life began; none since a crash.
    started: Option<u64>,
    /// The stream as the model numbers it.
    stream: u8,
    counts: Followed,
}

impl Follow {
    /// What the model has no word for.
    pub(crate) const NOT_MODELLED: [Fault; 8] = [
        Fault::SlowDisk,
        Fault::DiskFull,
        Fault::DiskError,
        Fault::StateLost,
        Fault::Quota,
        Fault::CrashLoop,
        Fault::NamespaceRecreated,
        Fault::LyingList,
    ];

    /// Of a world that has just begun.
    pub(crate) fn new() -> Self {
        Self { started: Some(0), ..Self::default() }
    }

    fn all(&mut self, mut step: impl FnMut(&mut Machine)) {
        for machine in self.machines.values_mut().filter(|machine| !machine.over) {
            step(machine);
            machine.touched = true;
        }
    }

    fn say(&mut self, step: &'static str) {
        self.all(|machine| machine.oracle.step((step, small(NOBODY))));
    }

    /// What was open is closed before the next LIST; one that is not read is dropped there by an outage.
    fn stream_dropped(&mut self) {
        match std::mem::take(&mut self.stream) {
            0 => {}
            3 => self.say("stream: watch broken or expired"),
            _ => {
                self.say("api: unreachable");
                self.say("api: reachable again");
            }
        }
    }

    pub(crate) fn list_began(&mut self) {
        self.stream_dropped();
        self.stream = 1;
        self.say("stream: LIST begins");
    }

    pub(crate) fn list_read(&mut self) {
        self.stream = 2;
        self.say("stream: LIST snapshot taken");
    }

    pub(crate) fn list_done(&mut self) {
        (self.stream, self.synced) = (3, true);
        self.say("stream: LIST delivered (sync)");
    }

    pub(crate) fn delivered(&mut self, changes: &[Change]) {
        for name in changes.iter().map(name_of) {
            if let Some(machine) = self.machines.get_mut(&name).filter(|machine| !machine.over) {
                machine.oracle.step(("stream: event delivered", 0));
                machine.touched = true;
            }
        }
    }

    /// The daemon dies. Of these machines a POST is under way that will do nothing.
    pub(crate) fn crashed(&mut self, in_vain: &[MachineName]) {
        (self.stream, self.synced, self.settled, self.started) = (0, false, false, None);
        self.all(|machine| {
            machine.oracle.step(("crash or power cut, restart", small(NOBODY)));
            machine.settled = false;
            machine.old += std::mem::take(&mut machine.late) + usize::from(std::mem::take(&mut machine.posting));
            machine.over |= machine.old > 2;
        });
        for name in in_vain {
            self.post(*name, Post::Late { this_life: false, lands: false });
        }
    }

    /// It is started again. The model has the end and the start in one step; here calls land in between, and what is
    /// unsettled is what is so at the start: it is as if it had ended again.
    pub(crate) fn started(&mut self, now: u64) {
        self.started = Some(now);
        self.say("crash or power cut, restart");
    }

    pub(crate) fn post(&mut self, name: MachineName, what: Post) {
        let Some(machine) = self.machines.get_mut(&name).filter(|machine| !machine.over) else { return };
        machine.post(what);
    }

    /// A POST has made that pod.
    fn created(&mut self, name: MachineName, uid: PodUid) {
        if let Some(machine) = self.machines.get_mut(&name) {
            machine.number(uid);
        }
    }

    pub(crate) fn delete_sent(&mut self, name: MachineName) {
        if let Some(machine) = self.machines.get_mut(&name).filter(|machine| !machine.over) {
            // What it does is what becomes of the pod.
            machine.oracle.in_vain(("hfd: sends DELETE", 0));
        }
    }

    pub(crate) fn looked(&mut self, name: MachineName, sighted: bool) {
        if let Some(machine) = self.machines.get_mut(&name).filter(|machine| !machine.over) {
            machine.oracle.look(sighted);
            machine.touched = true;
        }
    }

    /// A batch is durable; `rows` are those before it.
    pub(crate) fn becomes_durable(&mut self, changes: &[Row], rows: &Rows) {
        for change in changes {
            match change {
                Row::Request(request) if !rows.requests.contains_key(&request.id) => {
                    let followed = if request.origin == Origin::Accepted { OF_EACH.min(request.granted) } else { 0 };
                    for name in (0..followed).map(|ordinal| MachineName { request: request.id, ordinal }) {
                        let oracle = Oracle::new(name.to_string(), self.stream, self.synced, self.settled);
                        self.machines.insert(name, Machine::new(oracle, self.settled));
                        self.counts.machines += 1;
                    }
                }
                Row::ReturnEntry(id, place, entry) if !rows.entries.contains_key(&(*id, *place)) => {
                    let name = entry.machine.and_then(|name| self.machines.get_mut(&name));
                    if let Some(machine) = name.filter(|machine| !machine.over) {
                        machine.returned((*id, *place));
                    }
                }
                _ => {}
            }
        }
    }
}

impl World {
    /// Takes the oracles along, if there are any.
    pub(crate) fn following(&mut self, step: impl FnOnce(&mut Follow)) {
        if self.follow.is_some() {
            self.follow_cluster();
        }
        if let Some(follow) = &mut self.follow {
            step(follow);
        }
    }

    /// What has happened in the cluster since the last look at it.
    fn follow_cluster(&mut self) {
        let Some(follow) = &mut self.follow else { return };
        let new = follow.place..self.cluster.log.len();
        follow.place = new.end;
        for change in &self.cluster.log[new] {
            let Some(machine) = follow.machines.get_mut(&name_of(change)).filter(|machine| !machine.over) else {
                continue;
            };
            machine.pod_is(match change {
                Change::Applied(_, pod) => Some(pod),
                Change::Deleted(..) => None,
            });
        }
        for (name, machine) in follow.machines.iter_mut().filter(|(_, machine)| !machine.over && !machine.stranger) {
            let text = name.to_string();
            if self.cluster.pods.contains_key(&text) && self.cluster.ours(&text).is_none() {
                machine.taken();
            }
        }
    }

    /// A POST took effect or met a pod; what the cluster's log says of it is part of that step.
    pub(crate) fn follow_post(&mut self, name: MachineName, outcome: &CreateOutcome, what: Post) {
        let Some(follow) = &mut self.follow else { return };
        follow.post(name, what);
        if let CreateOutcome::Created(uid) = outcome {
            follow.created(name, *uid);
            follow.place += 1;
        }
    }

    /// After each step: what is durable and true, against the model's states.
    pub(crate) fn compare_with_model(&mut self) {
        self.follow_cluster();
        let Some(mut follow) = self.follow.take() else { return };
        let settled = follow.started.is_some_and(|at| self.now >= at + SETTLED_AFTER);
        let sighted = self.daemon.as_ref().is_some_and(|daemon| daemon.ledger.is_sighted());
        follow.settled |= settled;
        for (name, machine) in follow.machines.iter_mut().filter(|(_, machine)| !machine.over) {
            let recorded = self.disk.rows.machine(*name).filter(|row| row.uid.is_some()).map(|row| row.uid_recorded_at);
            // The record has whole seconds: the one that it was made in may have been all but over.
            let over = recorded.is_some_and(|at| self.wall() > at + SETTLED_AFTER.cast_signed() / 1000);
            if !machine.settled && follow.started.is_some() && (settled || over) {
                machine.settled = true;
                machine.oracle.settled();
                machine.touched = true;
            }
            let Some(seen) = Seen::of(*name, machine, self) else { continue };
            if std::mem::take(&mut machine.touched) || machine.seen.as_ref() != Some(&seen) {
                machine.oracle.keep(seen.polled, sighted, &format!("{seen:?}"), |s| seen.agrees(s));
                follow.counts.compared += 1;
            }
            machine.seen = Some(seen);
        }
        let done = |machine: &Machine| {
            let seen = machine.seen.as_ref();
            machine.over || seen.is_some_and(|seen| seen.gone && seen.returns.iter().all(|(ended, _)| *ended))
        };
        let over: Vec<_> = follow.machines.iter().filter(|(_, machine)| done(machine)).collect();
        let (bounds, ends) = (over.iter().filter(|(_, machine)| machine.over).count(), over.len());
        follow.counts.to_the_bounds += bounds as u64;
        follow.counts.to_the_end += (ends - bounds) as u64;
        follow.machines.retain(|_, machine| !done(machine));
        self.follow = Some(follow);
    }
}

#[test]
fn followed_runs_are_traces_that_the_model_allows() {
    let (range, show) = seeds::chosen(SEEDS);
    let mut all = Followed::default();
    let worlds = seeds::run_all(range.clone(), |seed| {
        let world = seeds::live(World::followed(seed), seed, "followed", show);
        world.follow.expect("it is followed").counts
    });
    for one in worlds {
        all.machines += one.machines;
        all.to_the_end += one.to_the_end;
        all.to_the_bounds += one.to_the_bounds;
        all.compared += one.compared;
    }
    println!("followed {range:?}: {all:?}");
    assert!(all.to_the_end * 2 > all.machines, "most machines are followed to their ends: {all:?}");
}

/// A POST was under way for the last part of the second in which the pod's UID was recorded.
#[test]
fn a_create_is_under_way_until_the_second_of_the_record_is_over_too_seed_3817() {
    seeds::live(World::followed(3817), 3817, "followed", true);
}

const fn name_of(change: &Change) -> MachineName {
    match change {
        Change::Applied(name, _) | Change::Deleted(name, _) => *name,
    }
}
