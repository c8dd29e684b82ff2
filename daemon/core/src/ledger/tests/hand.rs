//! A world moved by hand: one call, one answer, one event at a time, each committed before the next.

use std::sync::Arc;

use super::world::{NAMESPACE, World};
use crate::{
    answer::{self, Committed, Ignorance},
    id::{MachineName, PodUid, RequestId},
    ledger::{Action, AtRisk, Call, CallEnd},
    outcome::{CreateOutcome, NamespaceOutcome},
    pod::PodRecord,
    queue::Target,
    request::MachineRequest,
    returns::ReturnRequest,
    view::PodView,
};

impl World {
    /// requestMachines, decided and committed, no call made yet.
    pub(super) fn accept(&mut self, count: u32) -> RequestId {
        let id = self.try_request(count, None, None).expect("accepted");
        self.commit();
        id
    }

    /// requestReturnMachines, decided and committed, no call made yet.
    pub(super) fn accept_return(&mut self, name: MachineName) -> RequestId {
        let id = self.try_return(&[name.to_string()]);
        self.commit();
        id
    }

    /// The next call of the ledger; nobody answers it yet.
    pub(super) fn call(&mut self) -> Option<Call> {
        let call = self.step(|ledger, ctx| ledger.next_call(ctx))?;
        let verb = match &call.action {
            Action::Create(_) => "POST",
            Action::Delete { .. } => "DELETE",
            Action::Look => "GET",
        };
        let name = match &call.target {
            Target::Machine(name) => name.to_string(),
            Target::Name(name) => name.to_string(),
        };
        self.sent.push(format!("{verb} {name}"));
        Some(call)
    }

    /// The next call, which has to be a POST.
    pub(super) fn post(&mut self) -> Call {
        let call = self.call().expect("a call");
        assert!(matches!(call.action, Action::Create(_)), "{call:?}");
        call
    }

    /// The call is answered.
    pub(super) fn answer(&mut self, call: &Call, end: CallEnd) {
        let (target, slot) = (call.target.clone(), call.slot.clone());
        self.step(|ledger, ctx| ledger.call_ended(ctx, &target, &slot, end));
        self.commit();
    }

    /// The POST lands, its answer arrives.
    pub(super) fn created(&mut self, call: &Call) -> PodUid {
        let uid = self.land(name_of(call));
        self.answer(call, CallEnd::Create(CreateOutcome::Created(uid)));
        uid
    }

    /// The POST's answer is lost.
    pub(super) fn answer_lost(&mut self, call: &Call) {
        self.answer(call, CallEnd::Create(CreateOutcome::Ambiguous("connection reset".into())));
    }

    /// The watch delivers one event, which may be of the past.
    pub(super) fn event(&mut self, name: MachineName, pod: Option<PodRecord>) {
        match pod {
            Some(pod) => drop(self.cache.0.borrow_mut().insert(name, pod)),
            None => drop(self.cache.0.borrow_mut().remove(&name)),
        }
        self.step(|ledger, ctx| ledger.pods_seen(ctx, &[name]));
        self.namespace_is_ours();
        self.commit();
    }

    /// What may be asked about the namespace is answered.
    pub(super) fn namespace_is_ours(&mut self) {
        self.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(NAMESPACE)));
    }

    /// The pod as it is now.
    pub(super) fn pod(&self, name: MachineName) -> PodRecord {
        self.cluster[&name].clone()
    }

    /// kill -9 and a start; the namespace is answered, the cluster not listed.
    pub(super) fn restart_unsynced(&mut self, down: i64) {
        self.crash(down);
        self.namespace_is_ours();
        self.commit();
    }

    /// The LIST began; what is asked about the namespace is answered.
    pub(super) fn begin_list(&mut self) {
        self.list_begins();
        self.namespace_is_ours();
        self.ledger.take_needs();
    }

    /// The view is fresh, or no longer.
    pub(super) fn freshness(&mut self, fresh: bool) {
        self.step(|ledger, ctx| ledger.freshness(ctx, fresh));
        self.namespace_is_ours();
        self.commit();
    }

    /// What getReturnRequests answers to a caller that names this machine: the grace.
    pub(super) fn listed(&self, name: MachineName) -> Option<u64> {
        let named = name.to_string();
        let unasked = crate::policy::wall_seconds(self.policy.told_or_unasked);
        let (listed, _) = answer::return_requests(Some(&[&named]), self, unasked, self.now.wall);
        listed.first().map(|entry| entry.grace_period)
    }

    /// What is answered about an id that names nothing.
    pub(super) fn told_unknown(&self, id: RequestId) -> String {
        let has_pods = |id| PodView::names(&self.cache).iter().any(|name| name.request == id);
        let ignorance = Ignorance::about(Some(id), self.ledger.mode(), true, has_pods);
        let answer = answer::unknown_request(&id.to_string(), ignorance);
        format!("{:?}: {} machines", answer.status, answer.machines.len())
    }
}

/// The machine that a call is about.
pub(super) fn name_of(call: &Call) -> MachineName {
    match &call.target {
        Target::Machine(name) => *name,
        Target::Name(name) => panic!("{name} is no machine of ours"),
    }
}

impl Committed for World {
    fn request(&self, id: RequestId) -> Option<Arc<MachineRequest>> {
        self.knows(id).then(|| Arc::new(self.request_of(id).clone()))
    }

    fn return_request(&self, id: RequestId) -> Option<Arc<ReturnRequest>> {
        self.return_of(id).cloned().map(Arc::new)
    }

    fn at_risk(&self, name: MachineName) -> Option<AtRisk> {
        Self::at_risk(self, name)
    }

    fn all_at_risk(&self) -> Vec<(MachineName, AtRisk)> {
        Vec::new()
    }

    fn trouble(&self, _: &str) -> Option<Arc<str>> {
        None
    }
}
