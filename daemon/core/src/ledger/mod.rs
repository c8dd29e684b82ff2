//! The ledger: every request, machine and return, what is in flight for them, and what must be done next.
//!
//! One task (the engine) owns it. A step takes a [`Ctx`] (an instant and the pod cache) and changes the *working*
//! state; [`Ledger::take_batch`] hands out what must become durable; [`Ledger::committed`] makes it the *committed*
//! state, which is what readers see and what calls to the API server are derived from. So nothing is done or told that
//! a crash could unsay.
//!
//! | file | what it decides |
//! |---|---|
//! | `accept.rs` | which requests and returns are accepted |
//! | `observe.rs` | what the watch's pods mean: facts, verdicts, gone |
//! | `work.rs` | which call a machine needs next, and what its answer means |
//! | `names.rs` | returned names that we did not issue |
//! | `sight.rs` | relists, freshness, the namespace's UID, the loss guard |
//! | `rebuild.rs` | adopting pods after the journal was lost |
//! | `tick.rs` | deadlines, unpolled requests, retention |
//! | `report.rs` | what people ask |

mod accept;
mod names;
mod observe;
mod rebuild;
mod report;
mod sight;
#[cfg(test)]
mod tests;
mod tick;
mod work;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

pub use self::{
    accept::{Denied, NewRequest, NewReturn, ReturnedMachine, TemplateTerms},
    observe::AtRisk,
    rebuild::Rebuilt,
    report::{Counts, MachineReport},
    sight::{Binding, Mode},
    work::{Action, Call, CallEnd, Slot},
};
use self::{names::NameDoing, rebuild::RebuildPhase};
use crate::{
    change::{Batch, Change, Meta, Restored},
    clock::{Now, SightClock},
    doing::Doing,
    guard::Guard,
    id::{MachineName, RequestId, TemplateId},
    machine::{Machine, MachineOutcome},
    policy::{Policy, wall_seconds},
    queue::Queues,
    request::{ContentHash, MachineRequest},
    returns::ReturnRequest,
    versioned::Versioned,
    view::Ctx,
};

/// What the ledger needs from the outside besides calls about single pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// One quorum LIST, for [`Ledger::guard_listed`].
    pub list: bool,
    /// A fresh LIST of the watch.
    pub relist: bool,
    /// The namespace's UID, for [`Ledger::namespace_seen`].
    pub namespace: bool,
}

/// All state of one provider instance. See the module documentation.
#[derive(Debug)]
pub struct Ledger {
    policy: Policy,
    meta: Meta,
    requests: Versioned<MachineRequest>,
    returns: Versioned<ReturnRequest>,
    dirty: Dirty,
    derived: Derived,

    // volatile
    mode: Mode,
    binding: Binding,
    watching: bool,
    fresh: bool,
    sight: SightClock,
    doing: HashMap<MachineName, Doing>,
    names: HashMap<Arc<str>, NameDoing>,
    queues: Queues,
    guard: Guard,
    at_risk: HashMap<MachineName, AtRisk>,
    at_risk_changes: Vec<(MachineName, Option<AtRisk>)>,
    /// Returned machines and names whose deletion is refused, and why.
    troubles: HashMap<Arc<str>, Arc<str>>,
    trouble_changes: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Machines whose creates of earlier lives may still land, and until when (monotonic).
    unsettled: HashMap<MachineName, Duration>,
    orphans: HashSet<MachineName>,
    /// Pods of ours that another journal created.
    foreign_writers: HashSet<MachineName>,
    rebuild: Option<RebuildPhase>,
    rebuilt: Option<Rebuilt>,
    needs: Needs,
    list_again_at: Option<Duration>,
    disk_full: bool,
    clocks: tick::Clocks,
}

/// What is edited and not yet taken into a batch.
#[derive(Debug, Default)]
struct Dirty {
    manifests: Vec<(ContentHash, Arc<str>)>,
    headers: BTreeSet<RequestId>,
    machines: BTreeSet<MachineName>,
    returns: BTreeSet<RequestId>,
    entries: BTreeSet<(RequestId, u32)>,
    forgotten: BTreeSet<RequestId>,
    accepted: Vec<RequestId>,
    meta: bool,
}

/// Indexes and counters that follow from requests and returns.
#[derive(Debug, Default)]
struct Derived {
    keys: HashMap<Arc<str>, RequestId>,
    in_use: HashMap<TemplateId, u32>,
    live: usize,
    open_requests: HashMap<RequestId, OpenRequest>,
    /// Requests that HostFactory never asked about, terminal ones included: nobody may know that their machines exist.
    /// With the clock of polling (see `tick.rs`) when they were accepted or loaded.
    unpolled: HashMap<RequestId, Duration>,
    open_returns: HashMap<RequestId, OpenReturn>,
    /// Open entries of returns by machine.
    covering: HashMap<MachineName, Vec<(RequestId, u32)>>,
}

/// A machine request without its terminal answer.
#[derive(Debug, Clone, Copy)]
struct OpenRequest {
    undecided: u32,
    /// On the clock of sighted time.
    due: Duration,
}

/// A return without its terminal answer.
#[derive(Debug, Clone, Copy)]
struct OpenReturn {
    undecided: usize,
    /// Monotonic.
    due: Duration,
}

impl Ledger {
    /// The ledger as the journal knows it. `now` is the start of this life.
    #[must_use]
    pub fn new(restored: Restored, policy: Policy, now: Now) -> Self {
        let empty = restored.requests.is_empty() && restored.returns.is_empty();
        let queues = Queues::new(policy.concurrency);
        let mut ledger = Self {
            policy,
            meta: restored.meta,
            requests: Versioned::new(restored.requests.into_iter().map(|request| (request.id, request))),
            returns: Versioned::new(restored.returns.into_iter().map(|request| (request.id, request))),
            dirty: Dirty::default(),
            derived: Derived::default(),
            mode: if empty { Mode::FirstStart } else { Mode::Serving },
            binding: Binding::Unknown,
            watching: false,
            fresh: false,
            sight: SightClock::default(),
            doing: HashMap::new(),
            names: HashMap::new(),
            queues,
            guard: Guard::default(),
            at_risk: HashMap::new(),
            at_risk_changes: Vec::new(),
            troubles: HashMap::new(),
            trouble_changes: Vec::new(),
            unsettled: HashMap::new(),
            orphans: HashSet::new(),
            foreign_writers: HashSet::new(),
            rebuild: None,
            rebuilt: None,
            needs: Needs::default(),
            list_again_at: None,
            disk_full: false,
            clocks: tick::Clocks::default(),
        };
        ledger.derive(now);
        ledger.unsettle_earlier_lives(now);
        ledger.resume_names(now);
        ledger
    }

    /// Puts every machine that lacks a pod into the queues. Call it once, after [`Self::new`], when the pod cache is
    /// there to be read.
    pub fn resume(&mut self, ctx: Ctx<'_>) {
        for id in self.requests.iter().map(|(id, _)| *id).collect::<Vec<_>>() {
            self.plan_request(ctx, id);
            self.freeze_if_decided(ctx.now, id);
        }
    }

    /// Takes what must become durable now. Follow it with [`Self::committed`] or [`Self::roll_back`] before the next.
    pub fn take_batch(&mut self) -> Batch {
        let dirty = std::mem::take(&mut self.dirty);
        let mut batch = Batch { uses_reserve: dirty.accepted.is_empty(), ..Batch::default() };
        batch.changes.extend(dirty.manifests.into_iter().map(|(hash, body)| Change::Manifest { hash, body }));
        let requests = |id: &RequestId| self.requests.get(*id).cloned();
        batch.changes.extend(dirty.headers.iter().filter_map(requests).map(Change::Request));
        for name in &dirty.machines {
            if let Some(machine) = self.machine(*name) {
                batch.changes.push(Change::Machine(*name, machine.clone()));
            }
        }
        let returns = |id: &RequestId| self.returns.get(*id).cloned();
        batch.changes.extend(dirty.returns.iter().filter_map(returns).map(Change::Return));
        for (id, place) in &dirty.entries {
            if let Some(entry) = self.returns.get(*id).and_then(|request| request.entries.get(*place as usize)) {
                batch.changes.push(Change::ReturnEntry(*id, *place, entry.clone()));
            }
        }
        batch.changes.extend(dirty.forgotten.into_iter().map(Change::Forget));
        if dirty.meta {
            batch.changes.push(Change::Meta(self.meta.clone()));
        }
        batch.requests = self.requests.take_dirty();
        batch.returns = self.returns.take_dirty();
        batch.machines = dirty.machines.into_iter().collect();
        batch.accepted = dirty.accepted;
        batch
    }

    /// There is something to commit.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        let dirty = &self.dirty;
        !(dirty.headers.is_empty()
            && dirty.machines.is_empty()
            && dirty.returns.is_empty()
            && dirty.entries.is_empty()
            && dirty.forgotten.is_empty()
            && !dirty.meta)
    }

    /// The batch is durable: what it says may be told and acted upon.
    pub fn committed(&mut self, ctx: Ctx<'_>, batch: &Batch) {
        self.disk_full = false;
        self.clocks.last_commit = ctx.now.mono;
        self.requests.commit(&batch.requests);
        self.returns.commit(&batch.returns);
        for id in &batch.accepted {
            self.plan_request(ctx, *id);
        }
        for name in &batch.machines {
            self.refresh_at_risk(ctx, *name);
            self.plan(ctx, *name);
        }
    }

    /// The batch could not be made durable (disk full): it and every edit since are undone. What the watch told is
    /// seen again by [`Self::observe_all`] once there is room.
    pub fn roll_back(&mut self, now: Now) {
        self.disk_full = true;
        self.requests.roll_back();
        self.returns.roll_back();
        self.dirty = Dirty::default();
        self.derive(now);
        self.names.clear();
        self.resume_names(now);
    }

    /// The committed machine request.
    #[must_use]
    pub fn committed_request(&self, id: RequestId) -> Option<&Arc<MachineRequest>> {
        self.requests.committed(id)
    }

    /// Everything committed, for the first publication after a start.
    pub fn all_committed(
        &self,
    ) -> (
        impl Iterator<Item = (RequestId, Arc<MachineRequest>)> + '_,
        impl Iterator<Item = (RequestId, Arc<ReturnRequest>)> + '_,
    ) {
        let requests = self.requests.iter().filter_map(|(id, _)| Some((*id, self.requests.committed(*id)?.clone())));
        let returns = self.returns.iter().filter_map(|(id, _)| Some((*id, self.returns.committed(*id)?.clone())));
        (requests, returns)
    }

    /// What is needed from the outside, once each.
    pub fn take_needs(&mut self) -> Needs {
        std::mem::take(&mut self.needs)
    }

    /// Changes of the machines about to be lost or lost, for readers.
    pub fn take_at_risk_changes(&mut self) -> Vec<(MachineName, Option<AtRisk>)> {
        std::mem::take(&mut self.at_risk_changes)
    }

    /// Changes of what keeps returned machines from going, by name, for readers.
    pub fn take_trouble_changes(&mut self) -> Vec<(Arc<str>, Option<Arc<str>>)> {
        std::mem::take(&mut self.trouble_changes)
    }

    /// Remembers, or forgets, why a returned machine or name does not go.
    fn note_trouble(&mut self, name: &str, why: Option<&str>) {
        let change = match why {
            Some(why) if self.troubles.get(name).is_none_or(|before| &**before != why) => Some(why.into()),
            None if self.troubles.contains_key(name) => None,
            _ => return,
        };
        let name: Arc<str> = name.into();
        match &change {
            Some(why) => self.troubles.insert(name.clone(), Arc::clone(why)),
            None => self.troubles.remove(&name),
        };
        self.trouble_changes.push((name, change));
    }

    /// The journal's own facts.
    #[must_use]
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    fn machine(&self, name: MachineName) -> Option<&Machine> {
        self.requests.get(name.request)?.machine(name)
    }

    /// Changes one machine and all that follows from it by counting.
    fn edit_machine(&mut self, name: MachineName, change: impl FnOnce(&mut Machine)) {
        let Some(request) = self.requests.edit(name.request) else { return };
        let Some(machine) = request.machines.get_mut(name.ordinal as usize) else { return };
        let before = (machine.is_in_use(), machine.is_live(), machine.outcome() == MachineOutcome::Executing);
        change(machine);
        let after = (machine.is_in_use(), machine.is_live(), machine.outcome() == MachineOutcome::Executing);
        self.dirty.machines.insert(name);
        match (before.0, after.0) {
            (true, false) => {
                if let Some(in_use) = self.derived.in_use.get_mut(&request.template) {
                    *in_use = in_use.saturating_sub(1);
                }
            }
            (false, true) => *self.derived.in_use.entry(request.template.clone()).or_default() += 1,
            _ => {}
        }
        self.derived.live = self.derived.live + usize::from(after.1) - usize::from(before.1);
        if before.2
            && !after.2
            && let Some(open) = self.derived.open_requests.get_mut(&name.request)
        {
            open.undecided = open.undecided.saturating_sub(1);
        }
    }

    /// Changes a machine request's own fields.
    fn edit_header(&mut self, id: RequestId, change: impl FnOnce(&mut MachineRequest)) {
        if let Some(request) = self.requests.edit(id) {
            change(request);
            self.dirty.headers.insert(id);
        }
    }

    /// Freezes the answer of a machine request of which no machine executes any more.
    fn freeze_if_decided(&mut self, now: Now, id: RequestId) {
        if self.derived.open_requests.get(&id).is_some_and(|open| open.undecided == 0) {
            self.derived.open_requests.remove(&id);
            self.edit_header(id, |request| request.freeze(now.wall));
        }
    }

    /// Computes indexes and counters anew, keeping the due times of what was open.
    fn derive(&mut self, now: Now) {
        let before = std::mem::take(&mut self.derived);
        let sighted_now = self.sight.read(now);
        let derived = &mut self.derived;
        for (id, request) in self.requests.iter() {
            if let Some(key) = &request.key {
                derived.keys.insert(key.text.clone(), *id);
            }
            let in_use = request.machines.iter().filter(|machine| machine.is_in_use()).count();
            *derived.in_use.entry(request.template.clone()).or_default() += u32::try_from(in_use).unwrap_or(u32::MAX);
            derived.live += request.machines.iter().filter(|machine| machine.is_live()).count();
            if !request.polled && request.cancelled.is_none() {
                let since = before.unpolled.get(id).copied().unwrap_or(self.clocks.polling);
                derived.unpolled.insert(*id, since);
            }
            if request.terminal.is_none() {
                let executing = |machine: &&Machine| machine.outcome() == MachineOutcome::Executing;
                let undecided = u32::try_from(request.machines.iter().filter(executing).count()).unwrap_or(u32::MAX);
                let open = before.open_requests.get(id).copied().unwrap_or_else(|| {
                    // The deadline did not run while nobody was alive to look: count to the last sign of life.
                    let ran = (self.meta.alive_at.min(now.wall) - request.accepted_at).max(0);
                    let left = (i64::from(request.ready_deadline) - ran).max(0);
                    let due = sighted_now + Duration::from_secs(left.unsigned_abs());
                    OpenRequest { undecided, due }
                });
                derived.open_requests.insert(*id, OpenRequest { undecided, ..open });
            }
        }
        for (id, request) in self.returns.iter() {
            if let Some(key) = &request.key {
                derived.keys.insert(key.text.clone(), *id);
            }
            if request.ended_at.is_some() {
                continue;
            }
            let due = before.open_returns.get(id).map_or_else(
                || {
                    let ran = (now.wall - request.accepted_at).max(0);
                    let left = (i64::from(request.deadline) - ran).max(0);
                    now.mono + Duration::from_secs(left.unsigned_abs())
                },
                |open| open.due,
            );
            let mut undecided = 0;
            for (place, entry) in (0..).zip(&request.entries).filter(|(_, entry)| entry.end.is_none()) {
                undecided += 1;
                if let Some(machine) = entry.machine {
                    derived.covering.entry(machine).or_default().push((*id, place));
                }
            }
            derived.open_returns.insert(*id, OpenReturn { undecided, due });
        }
    }

    /// Creates of earlier lives count as unsettled (`lifecycle.md` 5): without a durable UID until the server's
    /// time-out after the start, with one until the time-out after it was recorded.
    fn unsettle_earlier_lives(&mut self, now: Now) {
        let time_out = self.policy.server_request_timeout;
        for (_, request) in self.requests.iter() {
            if request.origin == crate::request::Origin::Adopted {
                continue;
            }
            for (name, machine) in request.named_machines().filter(|(_, machine)| machine.gone_at.is_none()) {
                let ran = match machine.uid {
                    None => 0,
                    Some(_) => (now.wall - machine.uid_recorded_at).max(0),
                };
                let left = wall_seconds(time_out).saturating_sub(ran);
                if left > 0 || machine.uid.is_none() {
                    let left = if machine.uid.is_none() {
                        time_out
                    } else {
                        Duration::from_secs(left.unsigned_abs()).min(time_out)
                    };
                    self.unsettled.insert(name, now.mono + left);
                }
            }
        }
    }
}
