//! Committed state in HostFactory's words (`interface.md`, getRequestStatus and getReturnRequests). Pure translation.

use std::{
    collections::HashSet,
    fmt::{Display, Write as _},
    sync::Arc,
};

use proto_schema::hostfactory::{
    MachineResult, MachineState, MachineStatus, RequestState, RequestStatus, ReturnRequest,
};

use crate::{
    id::{MachineName, RequestId},
    ledger::{AtRisk, Mode},
    machine::{Machine, MachineOutcome},
    request::MachineRequest,
    returns::{self, ReturnEnd},
};

/// Committed state as readers see it.
pub trait Committed {
    /// A machine request.
    fn request(&self, id: RequestId) -> Option<Arc<MachineRequest>>;
    /// A return.
    fn return_request(&self, id: RequestId) -> Option<Arc<returns::ReturnRequest>>;
    /// Whether HostFactory should give a machine back.
    fn at_risk(&self, name: MachineName) -> Option<AtRisk>;
    /// Every machine that HostFactory should give back.
    fn all_at_risk(&self) -> Vec<(MachineName, AtRisk)>;
    /// Why a returned machine does not go, when a call for it was refused.
    fn trouble(&self, name: &str) -> Option<Arc<str>>;
}

/// How a machine request stands at `now` (epoch seconds).
#[must_use]
pub fn machine_request(request: &MachineRequest, now: i64) -> RequestStatus {
    let empty: Arc<str> = "".into();
    let mut scratch = Scratch::default();
    let mut failed = 0usize;
    let mut machines = Vec::with_capacity(request.machines.len());
    for (name, machine) in request.named_machines() {
        let outcome = request.outcome(name.ordinal);
        failed += usize::from(outcome == MachineOutcome::Fail);
        machines.push(machine_status(request, name, machine, outcome, now, &mut scratch));
    }
    let status = machine_request_state(request);
    let message = match status {
        RequestState::CompleteWithError => format!("{failed} of {} machines failed", machines.len()).into(),
        RequestState::Running | RequestState::Complete => empty,
    };
    RequestStatus { status, machines, request_id: request.id.to_string().into(), message }
}

/// How a return stands.
#[must_use]
pub fn return_request(request: &returns::ReturnRequest, view: &dyn Committed, now: i64) -> RequestStatus {
    let empty: Arc<str> = "".into();
    let mut scratch = Scratch::default();
    let mut failed = 0usize;
    let machines = request.entries.iter().map(|entry| {
        let (result, status, message) = match &entry.end {
            None => {
                let trouble = view.trouble(&entry.name).unwrap_or_else(|| empty.clone());
                (MachineResult::Executing, MachineState::ShuttingDown, trouble)
            }
            Some(ReturnEnd::Gone) => (MachineResult::Succeed, MachineState::Terminated, empty.clone()),
            Some(ReturnEnd::Failed(why)) => (MachineResult::Fail, MachineState::Terminated, why.clone()),
        };
        failed += usize::from(result == MachineResult::Fail);
        MachineStatus {
            machine_id: entry.machine_id.clone().unwrap_or_else(|| empty.clone()),
            name: entry.name.clone(),
            result,
            status,
            private_ip_address: scratch.text_or_empty(entry.ip.as_ref()),
            public_ip_address: empty.clone(),
            launchtime: entry.launchtime.clamp(1, now.max(1)),
            message,
        }
    });
    let machines: Vec<_> = machines.collect();
    let status = return_state(request);
    let message = match status {
        RequestState::CompleteWithError => {
            format!("{failed} of {} machines could not be removed", machines.len()).into()
        }
        RequestState::Running | RequestState::Complete => empty,
    };
    RequestStatus { status, machines, request_id: request.id.to_string().into(), message }
}

/// The state of a machine request.
#[must_use]
pub fn machine_request_state(request: &MachineRequest) -> RequestState {
    let Some(terminal) = &request.terminal else { return RequestState::Running };
    let all = (0..request.count()).all(|ordinal| terminal.has_succeeded(ordinal));
    if all { RequestState::Complete } else { RequestState::CompleteWithError }
}

/// The state of a return.
#[must_use]
pub fn return_state(request: &returns::ReturnRequest) -> RequestState {
    let failed = request.entries.iter().any(|entry| matches!(entry.end, Some(ReturnEnd::Failed(_))));
    match (request.ended_at, failed) {
        (None, _) => RequestState::Running,
        (Some(_), false) => RequestState::Complete,
        (Some(_), true) => RequestState::CompleteWithError,
    }
}

/// Why nothing terminal may be said of an id that the journal does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignorance {
    /// The journal is empty, and the cluster was not seen yet or a rebuild is pending.
    NoJournal,
    /// The cluster was not seen in this life: whether pods of that request run is not known.
    NotSeen,
    /// Pods of that request run: the journal is an old backup, or another writer's.
    Orphans,
}

impl Ignorance {
    /// What keeps an unknown id from being called unknown. `id` is `None` for what can't be an id of ours; `listed`: the
    /// cluster was seen whole in this life; `has_pods`: the cache shows pods of that request.
    pub fn about(
        id: Option<RequestId>,
        mode: Mode,
        listed: bool,
        has_pods: impl FnOnce(RequestId) -> bool,
    ) -> Option<Self> {
        match id {
            _ if mode != Mode::Serving => Some(Self::NoJournal),
            // No machine of it can run.
            None => None,
            Some(_) if !listed => Some(Self::NotSeen),
            Some(id) => has_pods(id).then_some(Self::Orphans),
        }
    }
}

/// The answer for an id that names nothing here. Out of ignorance nothing terminal is said.
#[must_use]
pub fn unknown_request(id: &str, ignorance: Option<Ignorance>) -> RequestStatus {
    let (status, message) = match ignorance {
        Some(Ignorance::NoJournal) => {
            let why = "the journal is empty and the cluster was not seen yet or a rebuild is pending (hfctl status)";
            (RequestState::Running, why.to_owned())
        }
        Some(Ignorance::NotSeen) => {
            let why = "this journal does not know it, and whether machines of it run was not seen yet (hfctl status)";
            (RequestState::Running, why.to_owned())
        }
        Some(Ignorance::Orphans) => {
            let why = "machines of it run, and this journal does not know it: `hfd rebuild --from-cluster` adopts them";
            (RequestState::Running, why.to_owned())
        }
        None => {
            let shown: String = id.chars().take(80).collect();
            (RequestState::CompleteWithError, format!("no request {shown:?} is known here"))
        }
    };
    RequestStatus { status, machines: Vec::new(), request_id: id.into(), message: message.into() }
}

/// What HostFactory should give back, and how many of the names it sent we never issued.
///
/// `named` = the machines that it believes to have; `None` = it did not say. `unasked` = seconds after which a gone
/// machine is listed though nobody asked for the end of its return.
#[must_use]
pub fn return_requests(
    named: Option<&[&str]>,
    view: &dyn Committed,
    unasked: i64,
    now: i64,
) -> (Vec<ReturnRequest>, usize) {
    let entry = |name: Arc<str>, risk: AtRisk| {
        let grace = match risk {
            AtRisk::Lost => 0,
            AtRisk::EndsAt(at) => at.saturating_sub(now).max(0),
        };
        ReturnRequest { grace_period: grace.unsigned_abs(), machine: name }
    };
    let Some(named) = named else {
        let mut all = view.all_at_risk();
        all.sort_unstable_by_key(|(name, _)| *name);
        return (all.into_iter().map(|(name, risk)| entry(name.to_string().into(), risk)).collect(), 0);
    };
    let mut seen = HashSet::new();
    let mut unknown = 0;
    let mut listed = Vec::new();
    for text in named.iter().copied().filter(|text| seen.insert(*text)) {
        let name = text.parse::<MachineName>().ok();
        let request = name.and_then(|name| view.request(name.request));
        let Some((name, machine)) = name.and_then(|name| Some((name, request.as_ref()?.machine(name)?))) else {
            unknown += 1;
            continue;
        };
        let risk = view.at_risk(name).or_else(|| is_phantom(name, machine, view, unasked, now).then_some(AtRisk::Lost));
        listed.extend(risk.map(|risk| entry(text.into(), risk)));
    }
    (listed, unknown)
}

/// HostFactory still names a machine that is gone, though its return ended: it never learned of that.
fn is_phantom(name: MachineName, machine: &Machine, view: &dyn Committed, unasked: i64, now: i64) -> bool {
    let Some(gone_at) = machine.gone_at else { return false };
    match machine.returned_by {
        None => true,
        Some(by) if by == name.request => now >= gone_at.saturating_add(unasked),
        Some(by) => match view.return_request(by) {
            None => true,
            // HostFactory may be about to learn of the end: what it still names later, it never learned of.
            Some(request) => request
                .ended_at
                .is_some_and(|ended_at| now >= request.told_at.unwrap_or(ended_at).saturating_add(unasked)),
        },
    }
}

fn machine_status(
    request: &MachineRequest,
    name: MachineName,
    machine: &Machine,
    outcome: MachineOutcome,
    now: i64,
    scratch: &mut Scratch,
) -> MachineStatus {
    let (result, status) = match outcome {
        MachineOutcome::Executing => (MachineResult::Executing, MachineState::Running),
        MachineOutcome::Succeed => (MachineResult::Succeed, MachineState::Running),
        MachineOutcome::Fail => (MachineResult::Fail, MachineState::Terminated),
    };
    let message = match outcome {
        MachineOutcome::Fail => request.failure_message(machine),
        _ => scratch.empty.clone(),
    };
    let launchtime = machine.first_ready.unwrap_or(request.accepted_at);
    MachineStatus {
        machine_id: scratch.text_or_empty(machine.uid.as_ref()),
        name: scratch.text(&name),
        result,
        status,
        private_ip_address: scratch.text_or_empty(machine.ip.as_ref()),
        public_ip_address: scratch.empty.clone(),
        launchtime: launchtime.clamp(1, now.max(1)),
        message,
    }
}

/// Texts of many machines: each is written into the same place first, so that it costs one allocation.
#[derive(Default)]
struct Scratch {
    text: String,
    empty: Arc<str>,
}

impl Scratch {
    fn text(&mut self, value: &impl Display) -> Arc<str> {
        self.text.clear();
        // A string takes everything.
        let _always = write!(self.text, "{value}");
        (*self.text).into()
    }

    fn text_or_empty(&mut self, value: Option<&impl Display>) -> Arc<str> {
        match value {
            Some(value) => self.text(value),
            None => self.empty.clone(),
        }
    }
}
