//! `status` and `describe`: one page about one thing.

use std::fmt::Write;

use proto_schema::query::{
    DurableFacts, MachineDetail, PodFacts, QueuedAction, QueuedWork, RequestDetail, RequestKind, ServingState,
    Severity, Status,
};

use super::{
    lists::{kind, machine_table, phase, result, state},
    table::Table,
    text::{duration, field, safe, size, utc},
};
use crate::args::Output;

/// The daemon's health on one screen: what is wrong comes first.
pub(super) fn status(status: &Status) -> String {
    let mut page = String::new();
    let serving = match status.state {
        ServingState::Serving if status.ready => "serving",
        ServingState::Serving => "serving, not ready",
        ServingState::Starting => "starting: the cluster was not seen yet",
        ServingState::Degraded => "degraded: answers what it knows",
        ServingState::Blocked => "blocked: waits for an operator",
    };
    let up = duration(status.uptime_seconds);
    field(&mut page, "hfd", &format!("{} {serving} (pid {}, up {up})", status.version, status.pid));
    field(&mut page, "instance", &status.instance);
    for warning in &status.warnings {
        let severity = match warning.severity {
            Severity::Error => "ERROR",
            Severity::Warning => "warning",
        };
        field(&mut page, severity, &format!("{} ({})", warning.message, warning.code));
        field(&mut page, "  do", &warning.action);
    }
    field(&mut page, "cluster", &cluster(status));
    if let Some(error) = &status.kube.error {
        field(&mut page, "", error);
    }
    let journal = &status.journal;
    let writable = if journal.writable { "writable" } else { "NOT WRITABLE" };
    field(&mut page, "journal", &format!("{} ({}, {writable}, id {})", journal.path, size(journal.bytes), journal.id));
    if let Some(error) = &journal.error {
        field(&mut page, "", error);
    }
    field(&mut page, "templates", &format!("{} usable, {} broken", status.templates.usable, status.templates.broken));
    field(&mut page, "requests", &format!("{} open, {} answered", status.requests.open, status.requests.terminal));
    field(&mut page, "returns", &format!("{} open, {} ended", status.returns.open, status.returns.ended));
    let m = &status.machines;
    let machines = format!(
        "{} ready, {} pending, {} creating, {} wanted, {} returning, {} failed, {} lost",
        m.ready, m.pending, m.creating, m.wanted, m.returning, m.failed, m.lost
    );
    field(&mut page, "machines", &machines);
    field(&mut page, "pods", &format!("{} seen, {} of unknown requests", status.pods.cached, status.pods.orphans));
    let q = &status.queues;
    let is_busy = q.create + q.delete + q.in_flight > 0;
    let under_way = match q.most {
        0 => format!("{} under way", q.in_flight), // an older hfd does not tell it
        most if q.limit < most && is_busy => format!(
            "{} under way, {} aimed at (the API server did not take more well; kube.concurrency is {most})",
            q.in_flight, q.limit
        ),
        most => format!("{} of at most {most} under way", q.in_flight),
    };
    let queues = format!("{} creates, {} deletes, {under_way}", q.create, q.delete);
    field(&mut page, "queues", &queues);
    let calls: Vec<String> = status.api_calls.iter().map(|(call, count)| format!("{call} {count}")).collect();
    field(&mut page, "API calls", if calls.is_empty() { "none".to_owned() } else { calls.join(", ") }.as_str());
    page
}

/// A machine request or a return.
pub(super) fn request(detail: &RequestDetail, output: Output) -> String {
    let request = &detail.request;
    let mut page = String::new();
    field(&mut page, "request", &format!("{} ({})", request.request_id, kind(request.kind)));
    let last = if detail.terminal { "final" } else { "not final" };
    let polled = if request.polled { "asked about" } else { "never asked about" };
    field(&mut page, "status", &format!("{} ({last}, {polled})", state(request.status)));
    optional(&mut page, "message", Some(&*request.message).filter(|message| !message.is_empty()));
    optional(&mut page, "template", request.template.as_deref());
    let counts = format!(
        "{} asked for: {} succeeded, {} failed, {} executing",
        request.count, request.succeeded, request.failed, request.executing
    );
    field(&mut page, "machines", &counts);
    if request.kind == RequestKind::Machine && detail.granted != request.count {
        field(&mut page, "granted", &format!("{} within maxNumber", detail.granted));
    }
    field(&mut page, "accepted", &format!("{} ({} ago)", utc(request.accepted_at), duration(request.age_seconds)));
    field(&mut page, "deadline", &duration(detail.deadline_seconds));
    if let Some(caller) = detail.caller {
        field(&mut page, "caller", &format!("uid {}, pid {}", caller.uid, caller.pid));
    }
    optional(&mut page, "key", detail.key.as_deref());
    optional(&mut page, "manifest", detail.manifest_hash.as_deref());
    let wide = output == Output::Wide;
    if !detail.reasons.is_empty() {
        let mut table = Table::new(["MACHINES", "REASON", "EXAMPLE", "MESSAGE"], true);
        for reason in &detail.reasons {
            table.row([&reason.machines.to_string(), &reason.reason, &reason.example, &reason.message]);
        }
        page.push_str("\nwhy not (or no longer) ready:\n");
        page.push_str(&table.render("  "));
    }
    if !detail.machines.is_empty() {
        page.push_str("\nmachines:\n");
        page.push_str(&machine_table(&detail.machines, wide, "  "));
    }
    let shown = detail.machines.len();
    if detail.machines_total > shown as u64 {
        let id = safe(&request.request_id);
        let rest = detail.machines_total;
        // Writing to a String can't fail.
        let _ = writeln!(page, "  {shown} of {rest}; all: hfctl get machines --request {id} --limit {rest}");
    }
    page
}

/// A machine.
pub(super) fn machine(detail: &MachineDetail) -> String {
    let machine = &detail.machine;
    let mut page = String::new();
    field(&mut page, "machine", &machine.name);
    field(&mut page, "state", &format!("{} (result {})", phase(machine.state), result(machine.result)));
    let reason: Vec<&str> = machine.reason.as_deref().into_iter().chain(machine.message.as_deref()).collect();
    optional(&mut page, "reason", Some(reason.join(": ").as_str()).filter(|reason| !reason.is_empty()));
    field(&mut page, "next", &detail.next);
    field(&mut page, "request", &format!("{} ({} ago)", machine.request_id, duration(machine.age_seconds)));
    field(&mut page, "template", &machine.template);
    let returns = detail.returns.join(", ");
    field(&mut page, "returns", if returns.is_empty() { "none" } else { &returns });
    field(&mut page, "journal", &durable(&detail.durable));
    field(&mut page, "pod", &detail.pod.as_ref().map_or_else(|| "not seen".to_owned(), pod));
    field(&mut page, "queue", &detail.queue.as_ref().map_or_else(|| "nothing to do".to_owned(), queued));
    optional(&mut page, "last error", detail.last_error.as_deref());
    page
}

fn cluster(status: &Status) -> String {
    let kube = &status.kube;
    let heard = match kube.last_heard_seconds {
        Some(seconds) => format!("heard {} ago", duration(seconds)),
        None => "never heard".to_owned(),
    };
    let view = match (kube.synced, kube.fresh) {
        (true, true) => "synced",
        (true, false) => "synced, NOT FRESH",
        (false, _) => "NOT SYNCED",
    };
    let server = kube.server.as_deref().unwrap_or("no server");
    let context = kube.context.as_deref().map(|context| format!(" (context {context})")).unwrap_or_default();
    format!("{server}{context}, namespace {}: {view}, {heard}", kube.namespace)
}

fn durable(facts: &DurableFacts) -> String {
    let mut parts = vec![facts.uid.as_deref().map_or_else(|| "no UID".to_owned(), |uid| format!("UID {uid}"))];
    parts.extend(facts.created_at.map(|at| format!("created {}", utc(at))));
    parts.extend(facts.ready_at.map(|at| format!("first ready {}", utc(at))));
    if let Some(verdict) = &facts.verdict {
        let reason = facts.verdict_reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        parts.push(format!("{verdict}{reason}"));
    }
    if facts.tombstone {
        parts.push("given back".to_owned());
    }
    parts.join(", ")
}

fn pod(facts: &PodFacts) -> String {
    let ready = if facts.ready { "ready" } else { "not ready" };
    let mut parts = vec![format!("{} {ready}", facts.phase), format!("UID {}", facts.uid)];
    parts.extend(facts.node.as_deref().map(|node| format!("node {node}")));
    parts.extend(facts.ip.as_deref().map(|ip| format!("IP {ip}")));
    parts.extend(facts.deletion_at.map(|at| format!("deletion asked {}", utc(at))));
    parts.extend(facts.reason.as_deref().map(str::to_owned));
    parts.extend(facts.message.as_deref().map(str::to_owned));
    parts.join(", ")
}

fn queued(work: &QueuedWork) -> String {
    let action = match work.action {
        QueuedAction::Create => "create",
        QueuedAction::Delete => "delete",
        QueuedAction::Look => "look",
    };
    let when = match (work.in_flight, work.next_try_seconds) {
        (true, _) => "under way".to_owned(),
        (false, Some(seconds)) => format!("next try in {}", duration(seconds)),
        (false, None) => "waits".to_owned(),
    };
    format!("{action} {when}, tried {} times", work.attempts)
}

fn optional(page: &mut String, label: &str, value: Option<&str>) {
    if let Some(value) = value {
        field(page, label, value);
    }
}
