//! Adopting pods after the journal was lost (`lifecycle.md` 8).
//!
//! ```text
//! None ─command─> Waiting ─the server's time-out since the start, no delete in flight─> RelistAsked ─> Listing ─> None
//! ```
//! Adopted requests never create; what their pods do not show is failed, "unknown after rebuild".

use std::{collections::BTreeMap, sync::Arc};

use super::{Ledger, Mode, OpenRequest};
use crate::{
    doing::Delete,
    id::{JournalId, MachineName, RequestId},
    machine::{Machine, MachineOutcome, Verdict, VerdictKind},
    request::{Caller, MachineRequest, Origin},
    view::Ctx,
};

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RebuildPhase {
    Waiting,
    RelistAsked,
    Listing,
}

/// What a rebuild adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rebuilt {
    /// Machine requests.
    pub requests: u32,
    /// Machines with a pod.
    pub machines: u32,
}

impl Ledger {
    /// An operator asks to adopt every pod of ours whose request is unknown. [`Self::take_rebuilt`] tells the end.
    pub fn start_rebuild(&mut self, ctx: Ctx<'_>) {
        if self.rebuild.is_none() {
            self.rebuild = Some(RebuildPhase::Waiting);
        }
        self.rebuild_tick(ctx);
    }

    /// What the rebuild adopted, once, when it is over.
    pub fn take_rebuilt(&mut self) -> Option<Rebuilt> {
        self.rebuilt.take()
    }

    /// A rebuild is under way.
    #[must_use]
    pub const fn is_rebuilding(&self) -> bool {
        self.rebuild.is_some()
    }

    pub(super) fn rebuild_tick(&mut self, ctx: Ctx<'_>) {
        let deleting = || self.doing.values().any(|doing| matches!(doing.delete, Delete::InFlight(_)));
        if self.rebuild == Some(RebuildPhase::Waiting)
            && ctx.now.mono >= self.policy.server_request_timeout
            && !deleting()
        {
            self.rebuild = Some(RebuildPhase::RelistAsked);
            self.needs.relist = true;
        }
    }

    pub(super) fn adopt(&mut self, ctx: Ctx<'_>) {
        let mut unknown: BTreeMap<RequestId, Vec<MachineName>> = BTreeMap::new();
        for name in ctx.pods.names() {
            if !self.requests.contains(name.request) {
                unknown.entry(name.request).or_default().push(name);
            }
        }
        let mut rebuilt = Rebuilt::default();
        for (id, names) in unknown {
            rebuilt.requests += 1;
            rebuilt.machines += u32::try_from(names.len()).unwrap_or(u32::MAX);
            self.adopt_request(ctx, id, &names);
        }
        self.orphans.clear();
        self.foreign_writers.clear();
        self.rebuild = None;
        self.rebuilt = Some(rebuilt);
        self.mode = Mode::Serving;
        self.dirty.meta = true;
        self.refresh_sight(ctx);
        self.plan_names(ctx);
    }

    /// A journal whose pods are adopted is a predecessor of ours, not a second writer.
    fn adopt_journal(&mut self, journal: Option<JournalId>) {
        let known = &mut self.meta.adopted_journals;
        if let Some(journal) = journal.filter(|journal| *journal != self.meta.id && !known.contains(journal)) {
            known.push(journal);
        }
    }

    fn adopt_request(&mut self, ctx: Ctx<'_>, id: RequestId, names: &[MachineName]) {
        let facts = ctx.pods.facts(id).unwrap_or_default();
        let last = names.iter().map(|name| name.ordinal + 1).max().unwrap_or(0);
        let count = facts.count.unwrap_or(0).clamp(last, MachineName::MAX_COUNT.max(last));
        let accepted_at = facts.accepted_at.unwrap_or(ctx.now.wall).min(ctx.now.wall);
        let missing: Arc<str> = "unknown after rebuild".into();
        let missing = Arc::new(Verdict { kind: VerdictKind::Failed, message: missing, at: ctx.now.wall });
        let mut machines =
            vec![Machine { verdict: Some(missing), gone_at: Some(ctx.now.wall), ..Machine::default() }; count as usize];
        for name in names {
            let Some(pod) = ctx.pods.pod(*name) else { continue };
            self.adopt_journal(pod.journal);
            if let Some(machine) = machines.get_mut(name.ordinal as usize) {
                let ready = pod.is_usable();
                *machine = Machine {
                    uid: Some(pod.uid),
                    uid_recorded_at: ctx.now.wall,
                    ip: pod.ip.filter(|_| ready),
                    first_ready: ready.then_some(ctx.now.wall.max(1)),
                    ..Machine::default()
                };
            }
        }
        let undecided = machines.iter().filter(|machine| machine.outcome() == MachineOutcome::Executing).count();
        let in_use = machines.iter().filter(|machine| machine.is_in_use()).count();
        self.derived.live += machines.iter().filter(|machine| machine.is_live()).count();
        let template = facts.template.or_else(|| "unknown".parse().ok());
        let Some(template) = template else { return };
        *self.derived.in_use.entry(template.clone()).or_default() += u32::try_from(in_use).unwrap_or(u32::MAX);
        let deadline = DEFAULT_ADOPTED_DEADLINE_SECONDS;
        let open = OpenRequest {
            undecided: u32::try_from(undecided).unwrap_or(u32::MAX),
            due: self.sight.read(ctx.now) + std::time::Duration::from_secs(u64::from(deadline)),
        };
        self.derived.open_requests.insert(id, open);
        self.dirty.machines.extend((0..count).map(|ordinal| MachineName { request: id, ordinal }));
        self.dirty.headers.insert(id);
        let request = MachineRequest {
            id,
            template,
            manifest: [0; 32],
            granted: count,
            limit: None,
            ready_deadline: deadline,
            accepted_at,
            origin: Origin::Adopted,
            key: None,
            caller: Caller::default(),
            polled: true,
            cancelled: None,
            terminal: None,
            machines,
        };
        self.requests.insert(id, request);
        self.freeze_if_decided(ctx.now, id);
    }
}

/// The deadline of adopted machines, counted from adoption: the manifest's own is not known to the cluster.
const DEFAULT_ADOPTED_DEADLINE_SECONDS: u32 = 300;
