//! What the log says of requests, returns and machines: one line per change of state, when it is durable, never one
//! per poll or per machine of a crowd.

use std::{collections::HashMap, sync::Arc};

use hfd_core::{
    answer::{Committed, machine_request_state, return_state},
    change::Batch,
    id::MachineName,
    ledger::AtRisk,
    machine::MachineOutcome,
    request::MachineRequest,
    returns::{ReturnEnd, ReturnRequest},
};
use tracing::{info, warn};

use crate::published::Published;

/// Machines that one line names.
const NAMED: usize = 5;

/// Logs the ends that `batch` brings; `published` still shows what was before.
pub(super) fn ends(batch: &Batch, published: &Published) {
    for (id, request) in &batch.requests {
        let Some(request) = request else { continue };
        let before = published.request(*id);
        if request.cancelled.is_some() && before.as_ref().is_none_or(|before| before.cancelled.is_none()) {
            let reason = request.cancelled.as_deref().unwrap_or_default();
            warn!(request = %id, reason, "machine request cancelled");
        }
        if request.terminal.is_some() && before.is_none_or(|before| before.terminal.is_none()) {
            request_ended(request);
        }
    }
    for (id, request) in &batch.returns {
        let Some(request) = request else { continue };
        if request.ended_at.is_some() && published.return_request(*id).is_none_or(|before| before.ended_at.is_none()) {
            return_ended(request);
        }
    }
}

/// Logs machines that were lost or are about to be.
pub(super) fn at_risk(changes: &[(MachineName, Option<AtRisk>)], published: &Published) {
    let lost: Vec<_> = changes.iter().filter(|(_, risk)| *risk == Some(AtRisk::Lost)).map(|(name, _)| *name).collect();
    let going: Vec<_> =
        changes.iter().filter(|(_, risk)| matches!(risk, Some(AtRisk::EndsAt(_)))).map(|(name, _)| *name).collect();
    if let Some(first) = lost.first() {
        let request = published.request(first.request);
        let verdict = request.as_ref().and_then(|request| request.machine(*first)?.verdict.clone());
        let reason = verdict.as_ref().map_or("", |verdict| &*verdict.message);
        warn!(count = lost.len(), machines = some(&lost), reason, "machines lost");
    }
    if !going.is_empty() {
        warn!(count = going.len(), machines = some(&going), "machines about to be lost");
    }
}

fn request_ended(request: &MachineRequest) {
    let state = format!("{:?}", machine_request_state(request));
    let mut reasons: HashMap<Arc<str>, usize> = HashMap::new();
    for (name, machine) in request.named_machines() {
        if request.outcome(name.ordinal) == MachineOutcome::Fail {
            *reasons.entry(request.failure_message(machine)).or_default() += 1;
        }
    }
    let failed: usize = reasons.values().sum();
    let count = request.machines.len();
    match reasons.into_iter().max_by_key(|(_, machines)| *machines) {
        None => info!(request = %request.id, template = %request.template, count, state, "machine request ended"),
        Some((reason, _)) => {
            warn!(request = %request.id, template = %request.template, count, failed, reason = &*reason, state, "machine request ended");
        }
    }
}

fn return_ended(request: &ReturnRequest) {
    let state = format!("{:?}", return_state(request));
    let count = request.entries.len();
    let failed = |entry: &&hfd_core::returns::ReturnEntry| matches!(entry.end, Some(ReturnEnd::Failed(_)));
    let failed = request.entries.iter().filter(failed).count();
    if failed == 0 {
        info!(request = %request.id, count, state, "return ended");
    } else {
        warn!(request = %request.id, count, failed, state, "return ended");
    }
}

fn some(names: &[MachineName]) -> String {
    let mut text = names.iter().take(NAMED).map(MachineName::to_string).collect::<Vec<_>>().join(" ");
    if names.len() > NAMED {
        text.push_str(" ...");
    }
    text
}
