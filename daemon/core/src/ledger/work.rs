//! Which call a machine needs next.
//!
//! Calls are never stored: [`Ledger::plan`] derives them from the committed state, the pod cache and what is in flight,
//! whenever one of these changes. A place in a queue is only a hint that is checked again when its turn comes.

use std::{sync::Arc, time::Duration};

use super::{Ledger, Mode};
use crate::{
    doing::{Create, Delete, Doing},
    id::{MachineName, PodUid, RequestId, TemplateId},
    limit::Load,
    machine::{Machine, VerdictKind},
    outcome::{CreateOutcome, DeleteOutcome, LookOutcome},
    pod::PodRecord,
    policy::wall_seconds,
    queue::{Class, Target, Ticket},
    request::{MachineRequest, Origin},
    view::Ctx,
};

/// One call to the API server, to be made now.
#[derive(Debug, Clone)]
pub struct Call {
    /// What it is about.
    pub target: Target,
    /// What to do.
    pub action: Action,
    /// The slot it holds; given back with its end.
    pub slot: Slot,
}

/// What to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// POST the machine's pod, from the manifest of its request.
    Create(Arc<MachineRequest>),
    /// DELETE with the UID as precondition.
    Delete {
        /// The pod's UID.
        uid: PodUid,
        /// Without grace, by an operator's command; else the grace period is left to the pod.
        force: bool,
    },
    /// GET by name, without the selector.
    Look,
}

/// A slot of the scheduler.
#[derive(Debug, Clone)]
pub struct Slot {
    class: Class,
    template: Option<TemplateId>,
    /// When the call was handed out (monotonic).
    sent: Duration,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub enum CallEnd {
    /// A create.
    Create(CreateOutcome),
    /// A delete.
    Delete(DeleteOutcome),
    /// A look.
    Look(LookOutcome),
}

impl CallEnd {
    /// What it says about the API server's load. How long it takes tells something of writes that it took alone.
    fn load(&self) -> Load {
        match self {
            Self::Create(CreateOutcome::Created(_)) | Self::Delete(DeleteOutcome::Accepted) => Load::Taken,
            Self::Delete(DeleteOutcome::Gone)
            | Self::Look(LookOutcome::Absent | LookOutcome::Ours { .. } | LookOutcome::Foreign { .. }) => {
                Load::Answered
            }
            Self::Create(CreateOutcome::NotDone(why))
            | Self::Delete(DeleteOutcome::NotDone(why))
            | Self::Look(LookOutcome::NotDone(why))
                if why.throttled =>
            {
                Load::TooMuch
            }
            _ => Load::Unknown,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Delete(PodUid),
    Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    Now(Class, Kind),
    At(Duration),
}

enum Removal {
    No,
    Now,
    /// Wall clock, epoch seconds.
    At(i64),
}

impl Ledger {
    /// The next call that may start, if any. Its slot is held until [`Self::call_ended`].
    pub fn next_call(&mut self, ctx: Ctx<'_>) -> Option<Call> {
        while let Some((class, ticket)) = self.queues.next() {
            let slot = Slot { class, template: ticket.template, sent: ctx.now.mono };
            let action = match &ticket.target {
                Target::Machine(name) => self.start_machine_call(ctx, class, *name),
                Target::Name(name) => self.start_name_call(ctx, name),
            };
            if let Some(action) = action {
                return Some(Call { target: ticket.target, action, slot });
            }
            self.queues.finished(slot.class, slot.template.as_ref());
        }
        None
    }

    /// Takes the end of a call and draws the conclusions.
    pub fn call_ended(&mut self, ctx: Ctx<'_>, target: &Target, slot: &Slot, end: CallEnd) {
        self.queues.finished(slot.class, slot.template.as_ref());
        self.queues.heard(slot.sent, ctx.now.mono, end.load());
        match target {
            Target::Machine(name) => {
                match end {
                    CallEnd::Create(outcome) => self.create_ended(ctx, *name, outcome),
                    CallEnd::Delete(outcome) => self.delete_ended(ctx, *name, outcome),
                    CallEnd::Look(outcome) => self.look_ended(ctx, *name, outcome),
                }
                self.observe_many(ctx, &[*name]);
            }
            Target::Name(name) => self.name_call_ended(ctx, name, end),
        }
    }

    /// When the ledger wants to be ticked next, if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        self.queues.next_wake()
    }

    /// Wakes what slept until now.
    pub(super) fn wake_sleepers(&mut self, ctx: Ctx<'_>) {
        while let Some(target) = self.queues.wake(ctx.now.mono) {
            match target {
                Target::Machine(name) => {
                    let due = self.doing.get_mut(&name).is_some_and(|doing| {
                        let due = doing.wake_at.is_some_and(|wake_at| wake_at <= ctx.now.mono);
                        if due {
                            doing.wake_at = None;
                        }
                        due
                    });
                    if due {
                        self.observe_many(ctx, &[name]);
                    }
                }
                Target::Name(name) => self.plan_name(ctx, &name),
            }
        }
    }

    /// Puts every machine of a request where it belongs.
    pub(super) fn plan_request(&mut self, ctx: Ctx<'_>, id: RequestId) {
        let Some(request) = self.requests.committed(id).cloned() else { return };
        for (name, machine) in request.named_machines() {
            if machine.gone_at.is_none() {
                self.plan(ctx, name);
            }
        }
    }

    /// Puts one machine where it belongs: into a queue, to sleep, or nowhere.
    pub(super) fn plan(&mut self, ctx: Ctx<'_>, name: MachineName) {
        if self.doing.get(&name).is_some_and(|doing| doing.queued) {
            return;
        }
        match self.next_step(ctx, name) {
            Step::Nothing => {
                // What is not durable yet may be undone, and then what is known here is needed again.
                let committed = self.requests.committed(name.request).and_then(|request| request.machine(name));
                let decided = committed.is_none_or(|machine| machine.is_over() || machine.uid.is_some());
                if decided && self.doing.get(&name).is_some_and(Doing::is_idle) {
                    self.doing.remove(&name);
                }
            }
            Step::At(at) => self.wake_machine_at(name, at),
            Step::Now(class, _) => {
                let request = self.requests.committed(name.request);
                let turn = self.machine(name).and_then(|machine| machine.returned_by).unwrap_or(name.request);
                let template = request.filter(|_| class == Class::Creates).map(|request| request.template.clone());
                self.doing.entry(name).or_default().queued = true;
                self.queues.push(class, turn, Ticket { target: Target::Machine(name), template });
            }
        }
    }

    pub(super) fn wake_machine_at(&mut self, name: MachineName, at: Duration) {
        let doing = self.doing.entry(name).or_default();
        if doing.wake_at.is_none_or(|wake_at| at < wake_at) {
            doing.wake_at = Some(at);
            self.queues.sleep_until(at, Target::Machine(name));
        }
    }

    /// What is wrong with the last call for a machine, or why it is not gone; for answers and people.
    pub(super) fn what_holds(&self, ctx: Ctx<'_>, name: MachineName) -> String {
        let doing = self.doing.get(&name);
        if let Some(error) = doing.and_then(|doing| doing.last_error.as_ref()) {
            return error.to_string();
        }
        match ctx.pods.pod(name) {
            Some(pod) if pod.deletion.is_some() => {
                let node = pod.node.as_deref().unwrap_or("no node");
                format!("the pod is still terminating on {node}; check the node and the pod's finalizers")
            }
            Some(_) => "the pod is still there; its deletion is pending".into(),
            None if !self.sight.is_sighted() => "the cluster cannot be seen now".into(),
            None => "a create of it is not settled yet".into(),
        }
    }

    fn start_machine_call(&mut self, ctx: Ctx<'_>, class: Class, name: MachineName) -> Option<Action> {
        if let Some(doing) = self.doing.get_mut(&name) {
            doing.queued = false;
        }
        let kind = match self.next_step(ctx, name) {
            Step::Now(now_class, kind) if now_class == class => kind,
            _ => {
                self.plan(ctx, name);
                return None;
            }
        };
        let request = self.requests.committed(name.request).cloned();
        let doing = self.doing.entry(name).or_default();
        match kind {
            Kind::Create => {
                doing.create = Create::InFlight;
                Some(Action::Create(request?))
            }
            Kind::Delete(uid) => {
                doing.delete = Delete::InFlight(uid);
                Some(Action::Delete { uid, force: self.forced.contains(&name) })
            }
            Kind::Look => {
                doing.looking = Some(ctx.now.mono);
                Some(Action::Look)
            }
        }
    }

    fn next_step(&self, ctx: Ctx<'_>, name: MachineName) -> Step {
        let idle = Doing::default();
        let doing = self.doing.get(&name).unwrap_or(&idle);
        if doing.looking.is_some() || doing.create == Create::InFlight || matches!(doing.delete, Delete::InFlight(_)) {
            return Step::Nothing;
        }
        let Some(request) = self.requests.committed(name.request) else { return Step::Nothing };
        let Some(committed) = request.machine(name) else { return Step::Nothing };
        let look_class = if committed.is_over() { Class::Returns } else { Class::Creates };
        let forced = committed.is_returned() && self.forced.contains(&name);
        let step = match ctx.pods.pod(name) {
            Some(pod) if forced => Step::Now(Class::Returns, Kind::Delete(pod.uid)),
            Some(pod) => self.step_with_pod(ctx, doing, request, committed, &pod),
            None => self.step_without_pod(ctx, doing, request, committed, name),
        };
        let step = match step {
            Step::Now(_, Kind::Look) => Step::Now(look_class, Kind::Look),
            step => step,
        };
        let not_before = match step {
            Step::Now(_, Kind::Look) => doing.look_not_before,
            _ => doing.not_before,
        };
        match (step, not_before) {
            (Step::Now(..), Some(not_before)) if not_before > ctx.now.mono => Step::At(not_before),
            _ => step,
        }
    }

    fn step_with_pod(
        &self,
        ctx: Ctx<'_>,
        doing: &Doing,
        request: &MachineRequest,
        machine: &Machine,
        pod: &PodRecord,
    ) -> Step {
        let now = ctx.now.mono;
        let removal = match self.removal(ctx, request, machine, pod) {
            Removal::No => Step::Nothing,
            Removal::At(at) => Step::At(now + Duration::from_secs((at - ctx.now.wall).max(1).unsigned_abs())),
            Removal::Now => match doing.delete {
                Delete::Accepted { uid, again_at } if uid == pod.uid && now < again_at => Step::At(again_at),
                _ => return Step::Now(Class::Returns, Kind::Delete(pod.uid)),
            },
        };
        match doing.create {
            // The pod that was announced is another one: settle whether it came and went.
            Create::Exists { uid, since, .. } if uid != pod.uid && self.sight.is_sighted() => {
                due(now, since + self.policy.unseen_look_after)
            }
            Create::Conflict => Step::Now(Class::Creates, Kind::Look),
            // Whether the pod that is shown is the one that came of it, only a look can tell: the watch may lag.
            Create::Ambiguous { dead_at } if self.sight.is_sighted() => due(now, dead_at),
            _ => removal,
        }
    }

    fn step_without_pod(
        &self,
        ctx: Ctx<'_>,
        doing: &Doing,
        request: &MachineRequest,
        machine: &Machine,
        name: MachineName,
    ) -> Step {
        let now = ctx.now.mono;
        match doing.create {
            Create::Conflict => Step::Now(Class::Creates, Kind::Look),
            Create::Ambiguous { dead_at } => due(now, dead_at),
            Create::Exists { since, .. } if self.sight.is_sighted() => due(now, since + self.policy.unseen_look_after),
            Create::Exists { .. } | Create::InFlight => Step::Nothing,
            Create::Idle | Create::Absent => {
                let over = machine.is_over() && machine.gone_at.is_none();
                if over && let Some(&dead_at) = self.unsettled.get(&name) {
                    return if self.sight.is_sighted() { due(now, dead_at) } else { Step::Nothing };
                }
                let wanted = machine.is_wanted() && self.machine(name).is_some_and(Machine::is_wanted);
                let may = request.origin == Origin::Accepted && self.mode == Mode::Serving && self.may_create_here();
                if doing.create == Create::Idle && wanted && may {
                    Step::Now(Class::Creates, Kind::Create)
                } else {
                    Step::Nothing
                }
            }
        }
    }

    /// Whether a pod shall be deleted by us (`lifecycle.md` 2, 3, 8).
    fn removal(&self, ctx: Ctx<'_>, request: &MachineRequest, machine: &Machine, pod: &PodRecord) -> Removal {
        if pod.deletion.is_some() {
            return Removal::No;
        }
        let foreign_hands = !self.foreign_writers.is_empty() || self.namespace.binding.is_foreign();
        if let Some(returned_by) = machine.returned_by {
            let by_hostfactory = returned_by != request.id;
            return if by_hostfactory || !foreign_hands { Removal::Now } else { Removal::No };
        }
        if foreign_hands {
            return Removal::No;
        }
        match machine.verdict.as_ref().map(|verdict| (verdict.kind, verdict.at)) {
            Some((VerdictKind::Failed, _)) => Removal::Now,
            _ if !machine.owns(pod) => Removal::Now,
            Some((VerdictKind::Lost, at)) => {
                let until = at + wall_seconds(self.policy.keep_lost_for);
                if until <= ctx.now.wall { Removal::Now } else { Removal::At(until) }
            }
            Some((VerdictKind::Overdue, _)) | None => Removal::No,
        }
    }
}

fn due(now: Duration, at: Duration) -> Step {
    if now >= at { Step::Now(Class::Creates, Kind::Look) } else { Step::At(at) }
}
