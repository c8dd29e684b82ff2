//! `get`: one line for each thing.

use std::fmt::Write;

use proto_schema::{
    hostfactory::{MachineResult, RequestState},
    query::{MachineList, MachinePhase, MachineSummary, RequestKind, RequestList, TemplateList},
};

use super::{
    table::Table,
    text::{duration, safe},
};
use crate::args::Output;

/// Requests.
pub(super) fn requests(reply: &RequestList, output: Output) -> String {
    if output == Output::Name {
        return names(reply.items.iter().map(|request| &*request.request_id));
    }
    if reply.items.is_empty() {
        return "no requests\n".to_owned();
    }
    let heading =
        ["REQUEST", "KIND", "TEMPLATE", "STATUS", "COUNT", "OK", "FAILED", "WAITING", "AGE", "POLLED", "MESSAGE"];
    let mut table = Table::new(heading, output == Output::Wide);
    for request in &reply.items {
        table.row([
            &request.request_id,
            kind(request.kind),
            request.template.as_deref().unwrap_or("-"),
            state(request.status),
            &request.count.to_string(),
            &request.succeeded.to_string(),
            &request.failed.to_string(),
            &request.executing.to_string(),
            &duration(request.age_seconds),
            if request.polled { "yes" } else { "no" },
            &request.message,
        ]);
    }
    with_rest(table.render(""), reply.items.len(), reply.total)
}

/// Machines.
pub(super) fn machines(reply: &MachineList, output: Output) -> String {
    if output == Output::Name {
        return names(reply.items.iter().map(|machine| &*machine.name));
    }
    if reply.items.is_empty() {
        return "no machines\n".to_owned();
    }
    with_rest(machine_table(&reply.items, output == Output::Wide, ""), reply.items.len(), reply.total)
}

/// Templates.
pub(super) fn templates(reply: &TemplateList, output: Output) -> String {
    if output == Output::Name {
        return names(reply.items.iter().map(|template| template.template_id.as_str()));
    }
    if reply.items.is_empty() {
        return "no templates\n".to_owned();
    }
    let mut table = Table::new(["TEMPLATE", "USABLE", "MAX", "IN USE", "MANIFEST", "PROBLEM"], output == Output::Wide);
    for template in &reply.items {
        let max = if template.max_number < 0 { "no limit".to_owned() } else { template.max_number.to_string() };
        let problem =
            template.error.iter().chain(&template.warnings).map(String::as_str).collect::<Vec<_>>().join("; ");
        table.row([
            &template.template_id,
            if template.usable { "yes" } else { "no" },
            &max,
            &template.in_use.to_string(),
            &template.source,
            &problem,
        ]);
    }
    table.render("")
}

/// Machines as a table.
pub(super) fn machine_table(machines: &[MachineSummary], wide: bool, indent: &str) -> String {
    let heading = ["MACHINE", "TEMPLATE", "STATE", "RESULT", "NODE", "IP", "AGE", "REASON", "MESSAGE"];
    let mut table = Table::new(heading, wide);
    for machine in machines {
        table.row([
            &machine.name,
            &machine.template,
            phase(machine.state),
            result(machine.result),
            machine.node.as_deref().unwrap_or("-"),
            machine.ip.as_deref().unwrap_or("-"),
            &duration(machine.age_seconds),
            machine.reason.as_deref().unwrap_or("-"),
            machine.message.as_deref().unwrap_or(""),
        ]);
    }
    table.render(indent)
}

/// A request's kind in a word.
pub(super) const fn kind(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Machine => "machine",
        RequestKind::Return => "return",
    }
}

/// HostFactory's own word for a request's state.
pub(super) const fn state(state: RequestState) -> &'static str {
    match state {
        RequestState::Running => "running",
        RequestState::Complete => "complete",
        RequestState::CompleteWithError => "complete_with_error",
    }
}

/// HostFactory's own word for a machine's result.
pub(super) const fn result(result: MachineResult) -> &'static str {
    match result {
        MachineResult::Executing => "executing",
        MachineResult::Succeed => "succeed",
        MachineResult::Fail => "fail",
    }
}

/// Where a machine is in its life, in a word.
pub(super) const fn phase(phase: MachinePhase) -> &'static str {
    match phase {
        MachinePhase::Wanted => "wanted",
        MachinePhase::Creating => "creating",
        MachinePhase::Pending => "pending",
        MachinePhase::Ready => "ready",
        MachinePhase::Failed => "failed",
        MachinePhase::Lost => "lost",
        MachinePhase::Returning => "returning",
        MachinePhase::Gone => "gone",
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.fold(String::new(), |mut text, name| {
        text.push_str(&safe(name));
        text.push('\n');
        text
    })
}

fn with_rest(mut table: String, shown: usize, total: u64) -> String {
    if total > shown as u64 {
        // Writing to a String can't fail.
        let _ = writeln!(table, "{shown} of {total}; see more with --limit");
    }
    table
}
