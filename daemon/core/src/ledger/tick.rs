//! What the passing of time means: deadlines, requests that nobody polls, retention (`lifecycle.md` 3, 5, 9, 10).

use std::time::Duration;

use super::{Ledger, OpenRequest};
use crate::{
    id::{MachineName, RequestId},
    machine::{Machine, MachineOutcome, VerdictKind},
    policy::wall_seconds,
    request::{MachineRequest, Origin},
    returns::ReturnEnd,
    view::Ctx,
};

/// "While others are polled": a poll at most this long ago.
const POLLED_LATELY: Duration = Duration::from_secs(120);
/// While a machine waits, the journal gets a sign of life this often, so that a restart knows how long nobody looked.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(30);
/// Ended requests are looked through this often.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// From when on a request's deadline counts, wall clock: acceptance, or adoption (`lifecycle.md` 3, 8).
pub(super) fn deadline_start(request: &MachineRequest) -> i64 {
    let adopted_at = || request.machines.iter().map(|machine| machine.uid_recorded_at).max();
    match request.origin {
        Origin::Accepted => request.accepted_at,
        Origin::Adopted => adopted_at().unwrap_or(request.accepted_at).max(request.accepted_at),
    }
}

/// Clocks and due times of this life.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// Time during which HostFactory was seen polling.
    pub(super) polling: Duration,
    last_tick: Duration,
    /// When the next sign of life is due.
    sign_at: Duration,
    forget_at: Duration,
    /// Every machine is to be planned anew at the next tick.
    pub(super) replan: bool,
}

impl Clocks {
    /// The clock of polling as the next tick can have it at most: what passed since the last one may still be added.
    pub(super) fn polling_by(&self, now: Duration) -> Duration {
        self.polling + now.saturating_sub(self.last_tick)
    }
}

impl Ledger {
    /// Time has passed. `last_poll` is the monotonic time of HostFactory's last getRequestStatus in this life.
    pub fn tick(&mut self, ctx: Ctx<'_>, last_poll: Option<Duration>) {
        let now = ctx.now.mono;
        let passed = now.saturating_sub(self.clocks.last_tick);
        self.clocks.last_tick = now;
        if last_poll.is_some_and(|at| now.saturating_sub(at) <= POLLED_LATELY) {
            self.clocks.polling += passed;
        }
        self.wake_sleepers(ctx);
        self.guard_tick(now);
        if std::mem::take(&mut self.clocks.replan) {
            self.replan_all(ctx);
        }
        self.rebuild_tick(ctx);
        self.judge_deadlines(ctx);
        self.end_overdue_returns(ctx);
        self.cancel_unpolled(ctx);
        if !self.derived.open_requests.is_empty() && now >= self.clocks.sign_at {
            self.give_sign_of_life(ctx);
        }
        if now >= self.clocks.forget_at {
            // What is kept for less than that is kept so by a test: sites keep for an hour at least.
            self.clocks.forget_at = now + FORGET_EVERY.min(self.policy.keep);
            self.forget_old(ctx);
        }
    }

    /// The last commit failed for lack of room: makes something to commit, so that room is noticed, and sees again what
    /// the undone commit had seen.
    pub fn probe_disk(&mut self, ctx: Ctx<'_>) {
        self.give_sign_of_life(ctx);
        self.bind_if_new();
        self.observe_all(ctx);
        self.plan_names(ctx);
    }

    /// Notes how far the deadlines have run. Where blind time held them up, that is less than the wall clock says; the
    /// least of the open requests is taken, because a deadline that comes late after a restart fails nobody wrongly.
    fn give_sign_of_life(&mut self, ctx: Ctx<'_>) {
        let sighted_now = self.sight.read(ctx.now);
        let run_until = |(id, open): (&RequestId, &OpenRequest)| {
            let request = self.requests.get(*id)?;
            let left = wall_seconds(open.due.saturating_sub(sighted_now));
            Some(deadline_start(request).saturating_add(i64::from(request.ready_deadline) - left))
        };
        let least = self.derived.open_requests.iter().filter_map(run_until).min();
        self.clocks.sign_at = ctx.now.mono + SIGN_OF_LIFE_EVERY;
        self.meta.alive_at = least.map_or(ctx.now.wall, |least| least.min(ctx.now.wall));
        self.dirty.meta = true;
    }

    /// Something has a deadline, so the ledger wants to be ticked every second.
    #[must_use]
    pub fn has_deadlines(&self) -> bool {
        !self.derived.open_requests.is_empty()
            || !self.derived.unpolled.is_empty()
            || !self.derived.open_returns.is_empty()
            || self.rebuild.is_some()
            || self.list_again_at.is_some()
            || self.namespace.waits()
    }

    /// Requests that nobody polled for the warning time while others were polled, with that time.
    #[must_use]
    pub fn never_polled(&self) -> Vec<(RequestId, Duration)> {
        let mut unpolled: Vec<_> = self
            .derived
            .unpolled
            .iter()
            .filter(|(id, _)| !self.is_cancelled(**id))
            .map(|(id, since)| (*id, self.clocks.polling.saturating_sub(*since)))
            .filter(|(_, unpolled)| *unpolled >= self.policy.never_polled_warn)
            .collect();
        unpolled.sort_unstable();
        unpolled
    }

    /// Machines that are not ready by their deadline fail, with the reason that the cluster gives.
    fn judge_deadlines(&mut self, ctx: Ctx<'_>) {
        if !self.sight.is_sighted() {
            return;
        }
        let sighted_now = self.sight.read(ctx.now);
        let due: Vec<_> =
            self.derived.open_requests.iter().filter(|(_, open)| open.due <= sighted_now).map(|(id, _)| *id).collect();
        for id in due {
            let Some(request) = self.requests.get(id).cloned() else { continue };
            let kind = match request.origin {
                Origin::Accepted => VerdictKind::Failed,
                Origin::Adopted => VerdictKind::Overdue,
            };
            for (name, machine) in request.named_machines() {
                if machine.outcome() != MachineOutcome::Executing {
                    continue;
                }
                self.observe(ctx, name); // observe first, judge second
                let executing = |machine: &Machine| machine.outcome() == MachineOutcome::Executing;
                if self.machine(name).is_some_and(executing) && !self.waits_for_namespace(name) {
                    let why = self.why_not_ready(ctx, name);
                    let message = format!("not ready within {} s: {why}", request.ready_deadline);
                    self.give_verdict(ctx.now, name, kind, &message);
                    self.observe(ctx, name);
                }
            }
            self.freeze_if_decided(ctx.now, id);
        }
    }

    /// The most telling reason why a machine is not ready, in the cluster's words where it has any.
    pub(super) fn why_not_ready(&self, ctx: Ctx<'_>, name: MachineName) -> String {
        if let Some(pod) = ctx.pods.pod(name) {
            return match (&pod.reason, &pod.node) {
                (Some(reason), _) => reason.text().to_owned(),
                (None, Some(node)) => format!("the pod is not ready on node {node}"),
                (None, None) => "the pod was not scheduled yet".to_owned(),
            };
        }
        let doing = self.doing.get(&name);
        if let Some(error) = doing.and_then(|doing| doing.last_error.as_deref()) {
            return format!("the pod could not be created: {error}");
        }
        match doing.map(|doing| doing.create) {
            Some(crate::doing::Create::InFlight) => "the API server has not answered its creation yet".to_owned(),
            Some(crate::doing::Create::Exists { .. }) => "its pod was created but is not seen yet".to_owned(),
            _ if !self.namespace.binding.allows_creates() => "the namespace could not be checked yet".to_owned(),
            _ => "its creation waits in the queue".to_owned(),
        }
    }

    fn end_overdue_returns(&mut self, ctx: Ctx<'_>) {
        let now = ctx.now.mono;
        let due: Vec<_> =
            self.derived.open_returns.iter().filter(|(_, open)| open.due <= now).map(|(id, _)| *id).collect();
        for id in due {
            let Some(request) = self.returns.get(id).cloned() else { continue };
            for (place, entry) in (0..).zip(&request.entries).filter(|(_, entry)| entry.end.is_none()) {
                let held = match entry.machine {
                    Some(machine) => self.what_holds(ctx, machine),
                    None => self.what_holds_name(&entry.name),
                };
                let why = format!("not gone within {} s: {held}", request.deadline);
                if let Some(machine) = entry.machine
                    && let Some(open) = self.derived.covering.get_mut(&machine)
                {
                    open.retain(|covering| *covering != (id, place));
                }
                self.end_entry(ctx.now, id, place, ReturnEnd::Failed(why.into()));
            }
        }
    }

    fn cancel_unpolled(&mut self, ctx: Ctx<'_>) {
        let Some(limit) = self.policy.never_polled_cancel else { return };
        let due = |since: &Duration| self.clocks.polling.saturating_sub(*since) >= limit;
        // Its clock is kept: what is cancelled and not durable may be undone, and is due again at once.
        let waits = |(id, since): &(&RequestId, &Duration)| due(since) && !self.is_cancelled(**id);
        let unpolled: Vec<_> = self.derived.unpolled.iter().filter(waits).map(|(id, _)| *id).collect();
        for id in unpolled {
            let Some(request) = self.requests.get(id).cloned() else { continue };
            let waited = match limit.as_secs() {
                seconds @ 0..60 => format!("{seconds} s"),
                seconds => format!("{} min", seconds / 60),
            };
            let reason = format!("cancelled: nobody asked for this request for {waited} while others were polled");
            self.edit_header(id, |request| request.cancelled = Some(reason.into()));
            for (name, machine) in request.named_machines() {
                if machine.gone_at.is_none() && !machine.is_returned() {
                    self.edit_machine(name, |machine| machine.returned_by = Some(id));
                    self.observe(ctx, name);
                }
            }
            self.freeze_if_decided(ctx.now, id);
        }
    }

    fn is_cancelled(&self, id: RequestId) -> bool {
        self.requests.get(id).is_none_or(|request| request.cancelled.is_some())
    }

    /// Forgets what ended long ago.
    fn forget_old(&mut self, ctx: Ctx<'_>) {
        let keep = wall_seconds(self.policy.keep);
        let over = |at: i64| at.saturating_add(keep) <= ctx.now.wall;
        let requests: Vec<_> = self
            .requests
            .iter()
            .filter(|(_, request)| {
                let gone = request.machines.iter().map(|machine| machine.gone_at).max();
                let all_gone = request.machines.iter().all(|machine| machine.gone_at.is_some());
                request.terminal.is_some() && all_gone && gone.flatten().is_none_or(over)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in requests {
            if let Some(key) = self.requests.get(id).and_then(|request| request.key.as_ref()) {
                self.derived.keys.remove(&key.text);
            }
            self.requests.remove(id);
            self.derived.unpolled.remove(&id);
            self.dirty.headers.remove(&id);
            self.dirty.forgotten.insert(id);
        }
        let unasked = wall_seconds(self.policy.told_or_unasked);
        let returns: Vec<_> = self
            .returns
            .iter()
            .filter_map(|(id, request)| {
                let ended_at = request.ended_at?;
                over(request.told_at.unwrap_or(ended_at.saturating_add(unasked))).then_some(*id)
            })
            .collect();
        for id in returns {
            if let Some(key) = self.returns.get(id).and_then(|request| request.key.as_ref()) {
                self.derived.keys.remove(&key.text);
            }
            self.returns.remove(id);
            self.dirty.returns.remove(&id);
            self.dirty.forgotten.insert(id);
        }
    }
}
