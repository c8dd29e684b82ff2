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
//! | `work.rs`, `ended.rs` | which call a machine needs next, and what its answer means |
//! | `commit.rs`, `derive.rs` | what becomes durable together, or is undone; what follows from it by counting |
//! | `names.rs` | returned names that we did not issue |
//! | `sight.rs`, `namespace.rs` | relists, freshness, the loss guard; whether the namespace is the one we know |
//! | `rebuild.rs` | adopting pods after the journal was lost |
//! | `tick.rs` | deadlines, unpolled requests, retention |
//! | `report.rs` | what people ask |

mod accept;
mod commit;
mod derive;
mod ended;
mod names;
mod namespace;
mod observe;
mod rebuild;
mod report;
mod sight;
#[cfg(test)]
mod tests;
mod tick;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use self::{
    accept::{Denied, NewRequest, NewReturn, ReturnedMachine, TemplateTerms},
    namespace::Binding,
    observe::AtRisk,
    rebuild::Rebuilt,
    report::{Counts, MachineReport},
    sight::Mode,
    work::{Action, Call, CallEnd, Slot},
};
use self::{names::NameDoing, namespace::Namespace, rebuild::RebuildPhase};
use crate::{
    change::{Meta, Restored},
    clock::{Now, SightClock},
    doing::Doing,
    guard::Guard,
    id::{MachineName, RequestId, TemplateId},
    machine::{Machine, MachineOutcome},
    ordered::{HashMap, HashSet},
    policy::Policy,
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
    durable_meta: Meta,
    requests: Versioned<MachineRequest>,
    returns: Versioned<ReturnRequest>,
    dirty: Dirty,
    derived: Derived,

    // volatile
    mode: Mode,
    namespace: Namespace,
    watching: bool,
    fresh: bool,
    sight: SightClock,
    doing: HashMap<MachineName, Doing>,
    names: BTreeMap<Arc<str>, NameDoing>,
    queues: Queues,
    guard: Guard,
    at_risk: HashMap<MachineName, AtRisk>,
    at_risk_changes: Vec<(MachineName, Option<AtRisk>)>,
    /// How many of them are about to be lost.
    going: usize,
    /// Returned machines and names whose deletion is refused, and why.
    troubles: BTreeMap<Arc<str>, Arc<str>>,
    trouble_changes: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Machines whose creates of earlier lives may still land, and until when (monotonic).
    unsettled: HashMap<MachineName, Duration>,
    orphans: HashSet<MachineName>,
    /// Pods of ours that another journal created.
    foreign_writers: HashSet<MachineName>,
    /// Returned machines whose pods an operator wants deleted without grace.
    forced: HashSet<MachineName>,
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
    keys: BTreeMap<Arc<str>, RequestId>,
    in_use: HashMap<TemplateId, u32>,
    live: usize,
    open_requests: HashMap<RequestId, OpenRequest>,
    /// Requests whose end is decided and not durable: when it is undone, their deadline goes on where it was.
    ending_requests: HashMap<RequestId, OpenRequest>,
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
        // Returns alone prove nothing: they are accepted while a rebuild is pending, too.
        let empty = restored.requests.is_empty();
        let queues = Queues::new(policy.concurrency);
        let mut ledger = Self {
            policy,
            durable_meta: restored.meta.clone(),
            meta: restored.meta,
            requests: Versioned::new(restored.requests.into_iter().map(|request| (request.id, request))),
            returns: Versioned::new(restored.returns.into_iter().map(|request| (request.id, request))),
            dirty: Dirty::default(),
            derived: Derived::default(),
            mode: if empty { Mode::FirstStart } else { Mode::Serving },
            namespace: Namespace::default(),
            watching: false,
            fresh: false,
            sight: SightClock::default(),
            doing: HashMap::default(),
            names: BTreeMap::new(),
            queues,
            guard: Guard::default(),
            at_risk: HashMap::default(),
            at_risk_changes: Vec::new(),
            going: 0,
            troubles: BTreeMap::new(),
            trouble_changes: Vec::new(),
            unsettled: HashMap::default(),
            orphans: HashSet::default(),
            foreign_writers: HashSet::default(),
            forced: HashSet::default(),
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
        let asks_namespace = self.take_namespace_question();
        let namespace = self.needs.namespace;
        let needs = Needs { namespace: asks_namespace, ..self.needs };
        self.needs = Needs { namespace, ..Needs::default() };
        needs
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
            let open = self.derived.open_requests.remove(&id);
            self.derived.ending_requests.extend(open.map(|open| (id, open)));
            self.edit_header(id, |request| request.freeze(now.wall));
        }
    }
}
