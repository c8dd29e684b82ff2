//! What the watch's pods mean: facts, verdicts, gone (`lifecycle.md` 2, 3, 5, 7).

use std::sync::Arc;

use super::Ledger;
use crate::{
    clock::Now,
    doing::{Create, Delete},
    guard::Bounds,
    id::{MachineName, RequestId},
    machine::{Machine, Verdict, VerdictKind},
    pod::{PodRecord, ReasonCode},
    returns::ReturnEnd,
    view::Ctx,
};

/// A machine that HostFactory should give back (`lifecycle.md` 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtRisk {
    /// Lost already: grace 0.
    Lost,
    /// About to be lost; epoch seconds.
    EndsAt(i64),
}

impl Ledger {
    /// Takes pods that the watch showed or missed. Losses are weighed together first, so that a mass loss is confirmed
    /// before it is believed.
    pub fn observe_many(&mut self, ctx: Ctx<'_>, names: &[MachineName]) {
        let newly: Vec<_> = names.iter().copied().filter(|name| self.would_newly_report(ctx, *name)).collect();
        if !newly.is_empty() {
            let known = self.derived.live.saturating_sub(self.going);
            let bounds = Bounds { min: self.policy.guard_min, fraction: self.policy.guard_fraction };
            let (requests, at_risk) = (&self.requests, &self.at_risk);
            let is_live = |name: MachineName| {
                let machine = requests.get(name.request).and_then(|request| request.machine(name));
                machine.is_some_and(Machine::is_live) && !at_risk.contains_key(&name)
            };
            if self.guard.admit(&newly, known, is_live, bounds, ctx.now.mono) {
                self.needs.list = true;
            }
        }
        for name in names {
            self.observe(ctx, *name);
        }
    }

    /// Looks at every machine that is not gone, and at every pod.
    pub fn observe_all(&mut self, ctx: Ctx<'_>) {
        let mut names = ctx.pods.names();
        for (_, request) in self.requests.iter() {
            let waiting = request.named_machines().filter(|(_, machine)| machine.gone_at.is_none());
            names.extend(waiting.map(|(name, _)| name));
        }
        names.sort_unstable();
        names.dedup();
        self.observe_many(ctx, &names);
    }

    /// Draws every conclusion that the pod cache allows about one machine.
    pub(super) fn observe(&mut self, ctx: Ctx<'_>, name: MachineName) {
        let pod = ctx.pods.pod(name);
        self.note_writer(name, pod.as_ref());
        let Some(machine) = self.machine(name) else {
            match pod {
                Some(_) => self.orphans.insert(name),
                None => self.orphans.remove(&name),
            };
            return;
        };
        let finished = machine.gone_at.is_some() && pod.is_none();
        if finished && !self.doing.contains_key(&name) {
            self.refresh_at_risk(ctx, name);
            return;
        }
        if pod.as_ref().is_some_and(|pod| machine.owns(pod) && pod.deletion.is_none()) {
            self.forget_doubt(name);
            if pod.as_ref().is_some_and(|pod| !pod.has_ended()) {
                self.guard.unconfirm(name);
            }
        }
        self.settle_create(name, pod.as_ref());
        self.settle_delete(name, pod.as_ref());
        let current = pod.as_ref().filter(|pod| !self.is_older(name, pod));
        self.record(ctx.now, name, current);
        self.judge(ctx, name, current);
        self.end_if_gone(ctx, name, pod.as_ref());
        self.freeze_if_decided(ctx.now, name.request);
        self.refresh_at_risk(ctx, name);
        self.plan(ctx, name);
    }

    /// Gives a machine its verdict, unless it has one or was returned.
    pub(super) fn give_verdict(&mut self, now: Now, name: MachineName, kind: VerdictKind, message: &str) {
        if self.machine(name).is_some_and(|machine| !machine.is_over() && machine.gone_at.is_none()) {
            let verdict = Arc::new(Verdict { kind, message: message.into(), at: now.wall });
            self.edit_machine(name, |machine| machine.verdict = Some(verdict));
            self.guard.forget(name);
        }
    }

    /// Writes the end of one returned machine.
    pub(super) fn end_entry(&mut self, now: Now, id: RequestId, place: u32, end: ReturnEnd) {
        let Some(request) = self.returns.edit(id) else { return };
        let Some(entry) = request.entries.get_mut(place as usize).filter(|entry| entry.end.is_none()) else { return };
        entry.end = Some(end);
        self.dirty.entries.insert((id, place));
        if let Some(open) = self.derived.open_returns.get_mut(&id) {
            open.undecided = open.undecided.saturating_sub(1);
        }
        self.end_return_if_decided(now, id);
    }

    /// Freezes a return of which every machine has its end.
    pub(super) fn end_return_if_decided(&mut self, now: Now, id: RequestId) {
        if self.derived.open_returns.get(&id).is_some_and(|open| open.undecided == 0) {
            self.derived.open_returns.remove(&id);
            if let Some(request) = self.returns.edit(id) {
                request.ended_at = Some(now.wall);
                self.dirty.returns.insert(id);
            }
        }
    }

    /// Recomputes from the committed state and the cache whether HostFactory should give the machine back.
    pub(super) fn refresh_at_risk(&mut self, ctx: Ctx<'_>, name: MachineName) {
        let committed = self.requests.committed(name.request).and_then(|request| request.machine(name));
        let risk = committed.and_then(|machine| {
            if machine.is_returned() {
                return None;
            }
            match machine.verdict_kind() {
                Some(VerdictKind::Lost) => Some((AtRisk::Lost, false)),
                Some(_) => None,
                None if machine.was_ready() && !self.guard.holds(name) => {
                    let pod = ctx.pods.pod(name).filter(|pod| machine.owns(pod))?;
                    Some((going(&pod, ctx.now)?, pod.deletion.is_some()))
                }
                None => None,
            }
        });
        // One that is being deleted may go with a namespace that is made again. What was told stays told.
        let risk = risk.filter(|(_, deleted)| !deleted || self.is_loss_here(name) || self.at_risk.contains_key(&name));
        let risk = risk.map(|(risk, _)| risk).or_else(|| self.keeps_told(ctx, name));
        // While a disruption without a deletionTimestamp lasts, the first answer stands.
        if let (Some(AtRisk::EndsAt(_)), Some(AtRisk::EndsAt(_))) = (self.at_risk.get(&name), risk)
            && ctx.pods.pod(name).is_some_and(|pod| pod.deletion.is_none())
        {
            return;
        }
        self.set_at_risk(name, risk);
    }

    /// What was told of a machine whose pod is gone since, until its verdict is durable.
    fn keeps_told(&self, ctx: Ctx<'_>, name: MachineName) -> Option<AtRisk> {
        // Asked first: of most machines nothing was told.
        let told = self.at_risk.get(&name).copied().filter(|risk| matches!(risk, AtRisk::EndsAt(_)))?;
        let machine = self.requests.committed(name.request).and_then(|request| request.machine(name))?;
        let is_open = !machine.is_returned() && machine.verdict_kind().is_none();
        let is_gone = ctx.pods.pod(name).is_none_or(|pod| !machine.owns(&pod));
        (is_open && is_gone).then_some(told)
    }

    pub(super) fn set_at_risk(&mut self, name: MachineName, risk: Option<AtRisk>) {
        let before = match risk {
            Some(risk) => self.at_risk.insert(name, risk),
            None => self.at_risk.remove(&name),
        };
        let going = |risk: Option<AtRisk>| usize::from(matches!(risk, Some(AtRisk::EndsAt(_))));
        self.going = self.going + going(risk) - going(before);
        if before != risk {
            self.at_risk_changes.push((name, risk));
        }
    }

    /// Whether the view would newly report a machine that HostFactory holds for good.
    fn would_newly_report(&self, ctx: Ctx<'_>, name: MachineName) -> bool {
        let Some(machine) = self.machine(name).filter(|machine| machine.is_live()) else { return false };
        if !self.sight.is_sighted() || self.at_risk.contains_key(&name) {
            return false;
        }
        match ctx.pods.pod(name) {
            None => machine.uid.is_some(),
            Some(pod) => machine.owns(&pod) && (pod.has_ended() || going(&pod, ctx.now).is_some()),
        }
    }

    /// The watch settles a create by showing its UID; anything else of that name settles nothing (`lifecycle.md` 7).
    fn settle_create(&mut self, name: MachineName, pod: Option<&PodRecord>) {
        let Some(doing) = self.doing.get_mut(&name) else { return };
        let Some(pod) = pod else { return };
        match doing.create {
            Create::Exists { uid, .. } if uid == pod.uid => doing.create = Create::Idle,
            _ => return,
        }
        doing.went_well();
        self.forget_look_trouble(name);
    }

    /// Another pod of that name is known to exist by a 201 or a look, so this one was before it: late news, which says
    /// nothing of the machine (`lifecycle.md` 7).
    fn is_older(&self, name: MachineName, pod: &PodRecord) -> bool {
        let announced = self.doing.get(&name).map(|doing| doing.create);
        let unrecorded = self.machine(name).is_some_and(|machine| machine.uid.is_none());
        unrecorded && matches!(announced, Some(Create::Exists { uid, .. }) if uid != pod.uid)
    }

    fn settle_delete(&mut self, name: MachineName, pod: Option<&PodRecord>) {
        let Some(doing) = self.doing.get_mut(&name) else { return };
        if let Delete::Accepted { uid, .. } = doing.delete
            && pod.is_none_or(|pod| pod.uid != uid || pod.deletion.is_some())
        {
            doing.delete = Delete::Idle;
            doing.went_well();
        }
    }

    /// Facts that latch: UID, address, first readiness.
    fn record(&mut self, now: Now, name: MachineName, pod: Option<&PodRecord>) {
        let (Some(pod), Some(machine)) = (pod, self.machine(name)) else { return };
        if machine.verdict.is_some() || machine.gone_at.is_some() || !machine.owns(pod) {
            return;
        }
        let new_uid = machine.uid.is_none();
        if machine.is_returned() {
            // Its answer may be frozen, so nothing is recorded. If the return is undone, the pod was there all the same.
            if new_uid {
                let uid = pod.uid;
                self.doing.entry(name).or_default().seen_returned = Some(uid);
            }
            return;
        }
        let newly_ready = !machine.was_ready() && pod.is_usable();
        if new_uid || newly_ready {
            let (uid, ip) = (pod.uid, pod.ip);
            self.edit_machine(name, |machine| {
                if new_uid {
                    machine.uid = Some(uid);
                    machine.uid_recorded_at = now.wall;
                }
                if newly_ready {
                    machine.first_ready = Some(now.wall.max(1));
                    machine.ip = ip;
                }
            });
        }
    }

    /// Verdicts, only from a sighted view.
    fn judge(&mut self, ctx: Ctx<'_>, name: MachineName, pod: Option<&PodRecord>) {
        self.note_crash_loop(ctx, name, pod);
        let Some(machine) = self.machine(name) else { return };
        if !self.sight.is_sighted() || machine.is_over() || machine.gone_at.is_some() {
            return;
        }
        let Some((kind, message)) = self.end_seen(ctx, name, machine, pod) else { return };
        // Both are asked at once.
        let here = pod.is_some_and(|pod| pod.deletion.is_none()) || self.is_loss_here(name);
        if !here || (kind == VerdictKind::Lost && self.guard.holds(name)) {
            return;
        }
        self.give_verdict(ctx.now, name, kind, &message);
    }

    fn end_seen(
        &self,
        ctx: Ctx<'_>,
        name: MachineName,
        machine: &Machine,
        pod: Option<&PodRecord>,
    ) -> Option<(VerdictKind, String)> {
        let kind = if machine.was_ready() { VerdictKind::Lost } else { VerdictKind::Failed };
        let doing = self.doing.get(&name);
        let Some(pod) = pod else {
            let known = machine.uid.is_some() || doing.is_some_and(|doing| doing.create == Create::Absent);
            let message = match (known, machine.was_ready()) {
                (false, _) => return None,
                (true, true) => "the pod is gone: it was deleted by someone else than hfd, or its node was lost",
                (true, false) => "the pod was deleted by someone else than hfd before it became ready",
            };
            return Some((kind, message.into()));
        };
        if !machine.owns(pod) {
            return None;
        }
        if pod.has_ended() {
            return Some((kind, why(pod, "the pod ended")));
        }
        if pod.deletion.is_some() && !machine.was_ready() {
            return Some((kind, why(pod, "the pod is being deleted by someone else than hfd before it became ready")));
        }
        let crashing_since = doing.and_then(|doing| doing.crashing_since)?;
        (ctx.now.mono >= crashing_since + self.policy.crash_loop_after).then(|| (kind, why(pod, "crash looping")))
    }

    /// Remembers since when a machine that was ready crash loops; it ends when the pod is ready again.
    fn note_crash_loop(&mut self, ctx: Ctx<'_>, name: MachineName, pod: Option<&PodRecord>) {
        let was_ready = self.machine(name).is_some_and(Machine::is_live);
        let crashing = was_ready && pod.is_some_and(PodRecord::is_crash_looping);
        let recovered = pod.is_none_or(|pod| pod.ready);
        if crashing {
            let since = *self.doing.entry(name).or_default().crashing_since.get_or_insert(ctx.now.mono);
            let lost_at = since + self.policy.crash_loop_after;
            if lost_at > ctx.now.mono {
                self.wake_machine_at(name, lost_at); // every time: an earlier wake for something else replaces it
            }
        } else if (recovered || !was_ready)
            && let Some(doing) = self.doing.get_mut(&name)
        {
            doing.crashing_since = None;
        }
    }

    /// Gone: over, absent from a sighted view, and nothing in flight can bring a pod any more.
    fn end_if_gone(&mut self, ctx: Ctx<'_>, name: MachineName, pod: Option<&PodRecord>) {
        let Some(machine) = self.machine(name) else { return };
        let may_appear =
            self.doing.get(&name).is_some_and(super::Doing::is_create_unsettled) || self.unsettled.contains_key(&name);
        if !machine.is_over() || machine.gone_at.is_some() || !self.sight.is_sighted() || pod.is_some() || may_appear {
            return;
        }
        self.edit_machine(name, |machine| machine.gone_at = Some(ctx.now.wall));
        self.guard.forget(name);
        self.forget_doubt(name);
        self.forced.remove(&name);
        self.note_trouble(&name.to_string(), None);
        for (id, place) in self.derived.covering.remove(&name).unwrap_or_default() {
            self.end_entry(ctx.now, id, place, ReturnEnd::Gone);
        }
    }

    fn note_writer(&mut self, name: MachineName, pod: Option<&PodRecord>) {
        let foreign = pod
            .and_then(|pod| pod.journal)
            .is_some_and(|journal| journal != self.meta.id && !self.meta.adopted_journals.contains(&journal));
        if foreign {
            self.foreign_writers.insert(name);
        } else if self.foreign_writers.remove(&name) && self.foreign_writers.is_empty() {
            self.clocks.replan = true; // deletes that were held back may go on
        }
    }
}

/// The reason of a pod in the cluster's own words, after ours.
fn why(pod: &PodRecord, ours: &str) -> String {
    // That it is being deleted is what `ours` says.
    let reason = pod.reason.as_ref().filter(|reason| reason.code != ReasonCode::Terminating);
    match pod.disruption.as_ref().or(reason) {
        Some(reason) => format!("{ours}: {}", reason.text()),
        None => ours.to_owned(),
    }
}

/// Whether a living pod is about to go, and when.
fn going(pod: &PodRecord, now: Now) -> Option<AtRisk> {
    match (pod.deletion, &pod.disruption) {
        (Some(deletion), _) => Some(AtRisk::EndsAt(deletion.ends_at)),
        // Marked, and about to be deleted with the grace that it asks for.
        (None, Some(_)) => Some(AtRisk::EndsAt(now.wall + i64::from(pod.grace))),
        (None, None) => None,
    }
}
