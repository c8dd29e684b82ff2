//! What people ask about the ledger. Nothing here changes anything.

use super::Ledger;
use crate::{
    doing::{Create, Delete},
    id::{MachineName, RequestId},
    machine::{Machine, VerdictKind},
    view::Ctx,
};

/// Counts for one screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Machine requests without terminal answer.
    pub open_requests: usize,
    /// Machine requests with one.
    pub terminal_requests: usize,
    /// Returns without terminal answer.
    pub open_returns: usize,
    /// Returns with one.
    pub ended_returns: usize,
    /// Machines that lack a pod and wait for their create.
    pub wanted: usize,
    /// Machines whose pod is created and not seen yet.
    pub creating: usize,
    /// Machines with a pod that was not ready yet.
    pub pending: usize,
    /// Machines ready and not returned.
    pub ready: usize,
    /// Machines that failed and are not gone.
    pub failed: usize,
    /// Machines lost and not returned.
    pub lost: usize,
    /// Machines returned and not gone.
    pub returning: usize,
    /// Machines known gone.
    pub gone: usize,
    /// Pods of ours whose request is unknown.
    pub orphans: usize,
    /// Pods of ours that another journal created.
    pub foreign_writers: usize,
    /// Creates that wait for a slot.
    pub create_queue: usize,
    /// Deletes and looks that wait for a slot.
    pub return_queue: usize,
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls that may be in flight now.
    pub limit: usize,
    /// Calls that may ever be in flight.
    pub most: usize,
}

/// Where one machine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineReport {
    /// One word for its state.
    pub state: &'static str,
    /// Why it is not ready, or not gone; empty when nothing is wrong.
    pub reason: String,
    /// What hfd does next, for people.
    pub next: String,
    /// What the last call for it said.
    pub last_error: Option<String>,
    /// The returns that cover it and are open.
    pub open_returns: Vec<RequestId>,
}

impl Ledger {
    /// Counts over everything.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            open_requests: self.derived.open_requests.len(),
            open_returns: self.derived.open_returns.len(),
            orphans: self.orphans.len(),
            foreign_writers: self.foreign_writers.len(),
            ..Counts::default()
        };
        (counts.create_queue, counts.return_queue, counts.in_flight) = self.queues.depths();
        (counts.limit, counts.most) = self.queues.limits();
        for (_, request) in self.requests.iter() {
            counts.terminal_requests += usize::from(request.terminal.is_some());
            for (name, machine) in request.named_machines() {
                let count = match self.state(name, machine) {
                    "wanted" => &mut counts.wanted,
                    "creating" => &mut counts.creating,
                    "pending" => &mut counts.pending,
                    "ready" => &mut counts.ready,
                    "failed" => &mut counts.failed,
                    "lost" => &mut counts.lost,
                    "returning" => &mut counts.returning,
                    _ => &mut counts.gone,
                };
                *count += 1;
            }
        }
        counts.ended_returns = self.returns.iter().filter(|(_, request)| request.ended_at.is_some()).count();
        counts
    }

    /// One machine, if we know it.
    #[must_use]
    pub fn machine_report(&self, ctx: Ctx<'_>, name: MachineName) -> Option<MachineReport> {
        let machine = self.machine(name)?;
        let state = self.state(name, machine);
        let reason = match (state, &machine.verdict) {
            ("failed" | "lost" | "gone", Some(verdict)) => verdict.message.to_string(),
            ("returning", _) => self.what_holds(ctx, name),
            ("ready" | "gone", _) => String::new(),
            _ => self.why_not_ready(ctx, name),
        };
        let doing = self.doing.get(&name);
        let next = match (state, doing.map(|doing| (doing.create, doing.delete))) {
            ("ready", _) => "nothing: HostFactory may use it",
            ("gone", _) => "nothing: it is over",
            ("lost", _) => "it is told by getReturnRequests; its pod is kept for its logs for a while, then deleted",
            (_, Some((Create::Ambiguous { .. }, _))) => {
                "a create got no answer: it is looked for once the server cannot act on it any more"
            }
            (_, Some((Create::Conflict, _))) => "the name is taken: a look finds out by whom",
            (_, Some((_, Delete::InFlight(_) | Delete::Accepted { .. }))) => "its deletion is under way",
            ("wanted", _) => "its pod is created as soon as a slot is free",
            ("creating" | "pending", _) => "it becomes ready, or fails at its deadline with the reason shown",
            _ => "its pod is deleted",
        };
        let covering = self.derived.covering.get(&name).into_iter().flatten();
        Some(MachineReport {
            state,
            reason,
            next: next.to_owned(),
            last_error: doing.and_then(|doing| doing.last_error.as_deref()).map(str::to_owned),
            open_returns: covering.map(|(id, _)| *id).collect(),
        })
    }

    /// What keeps a returned machine or name from being gone.
    #[must_use]
    pub fn return_holder(&self, ctx: Ctx<'_>, name: &str) -> String {
        match name.parse::<MachineName>().ok().filter(|machine| self.machine(*machine).is_some()) {
            Some(machine) => self.what_holds(ctx, machine),
            None => self.what_holds_name(name),
        }
    }

    fn state(&self, name: MachineName, machine: &Machine) -> &'static str {
        if machine.gone_at.is_some() {
            return "gone";
        }
        if machine.is_returned() {
            return "returning";
        }
        match machine.verdict_kind() {
            Some(VerdictKind::Lost) => return "lost",
            Some(VerdictKind::Failed | VerdictKind::Overdue) => return "failed",
            None => {}
        }
        match (machine.was_ready(), machine.uid.is_some()) {
            (true, _) => "ready",
            (false, true) => "pending",
            (false, false) if self.doing.get(&name).is_some_and(|doing| doing.is_create_unsettled()) => "creating",
            (false, false) => "wanted",
        }
    }
}
