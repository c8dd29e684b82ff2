//! Replies of getRequestStatus: order, unknown ids, whole requests and returns. Single machines: `machines.rs`.

use std::sync::Arc;

use serde_json::Value;

use super::{Judge, Kind, Known, Outcome, Terminal};
use crate::hostfactory::{
    call::Call,
    clock::Span,
    rule::{Checks, Lie, Rule},
};

impl Judge {
    pub(super) fn status(&mut self, call: &Arc<Call>, reply: &Value) -> Result<Vec<Kind>, Lie> {
        let entries = reply["requests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let asked = call.requests();
        let answered: Vec<&str> = entries.iter().filter_map(|entry| entry["requestId"].as_str()).collect();
        self.checks.hold(Rule::AnswerOrder, asked == answered, || {
            let place = asked.iter().zip(&answered).position(|(asked, answered)| asked != answered);
            format!("{} ids asked, {} answered, they differ first at {place:?}", asked.len(), answered.len())
        })?;
        let mut claims = Vec::new();
        for (id, entry) in asked.into_iter().zip(entries) {
            match self.known.get(id) {
                None => unknown(&mut self.checks, id, entry)?,
                Some(Known::Machines(_)) => self.machine_request(call, id, entry, &mut claims)?,
                Some(Known::Return(_)) => self.return_request(call, id, entry, &mut claims)?,
            }
        }
        Ok(claims)
    }

    fn machine_request(&mut self, call: &Call, id: &str, entry: &Value, claims: &mut Vec<Kind>) -> Result<(), Lie> {
        let Some(Known::Machines(request)) = self.known.get_mut(id) else { return Ok(()) };
        let machines = entry["machines"].as_array().map(Vec::as_slice).unwrap_or_default();
        let count = request.count;
        self.checks.hold(Rule::MachineCount, machines.len() == count, || {
            format!("request {id}: {count} machines were asked for, {} are listed", machines.len())
        })?;
        let mut names: Vec<String> = machines.iter().map(name).collect();
        names.sort_unstable();
        let first = request.names.get_or_insert_with(|| names.clone());
        self.checks.hold(Rule::MachinesStay, *first == names, || {
            let gone: Vec<_> = first.iter().filter(|name| names.binary_search(name).is_err()).take(5).collect();
            format!("request {id}: its machines are others than in its first answer; missing: {gone:?}")
        })?;
        let template = request.template.clone();
        let accepted = (request.accepted, request.accepted_wall);
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
        self.checks.hold(Rule::NamesUnique, twice.is_none(), || format!("request {id} lists {twice:?}"))?;
        let mut newly_ready = false;
        for machine in machines {
            newly_ready |= self.machine(call, (id, &template), accepted, machine, claims)?;
        }
        if newly_ready {
            self.in_use(&template, claims);
        }
        let Some(Known::Machines(request)) = self.known.get_mut(id) else { return Ok(()) };
        conclude(&mut self.checks, call.span, id, entry, &mut request.terminal)
    }

    fn return_request(&mut self, call: &Arc<Call>, id: &str, entry: &Value, claims: &mut Vec<Kind>) -> Result<(), Lie> {
        let Some(Known::Return(returned)) = self.known.get_mut(id) else { return Ok(()) };
        let machines = entry["machines"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut names: Vec<String> = machines.iter().map(name).collect();
        names.sort_unstable();
        self.checks.hold(Rule::ReturnMachines, names == returned.names, || {
            format!("return {id}: given {:?}, listed {names:?}", returned.names)
        })?;
        for machine in machines {
            self.returned_machine(call, id, machine, claims)?;
        }
        let Some(Known::Return(returned)) = self.known.get_mut(id) else { return Ok(()) };
        conclude(&mut self.checks, call.span, id, entry, &mut returned.terminal)
    }
}

/// An id that was never given, as far as its caller knows.
fn unknown(checks: &mut Checks, id: &str, entry: &Value) -> Result<(), Lie> {
    let status = entry["status"].as_str().unwrap_or_default();
    let empty = entry["machines"].as_array().is_some_and(Vec::is_empty);
    let said = entry["message"].as_str().is_some_and(|message| !message.is_empty());
    let right = empty && (status == "running" || (status == "complete_with_error" && said));
    checks.hold(Rule::UnknownId, right, || format!("unknown id {id} is answered by {entry}"))
}

/// The status against the results, and the first terminal answer against every other one.
fn conclude(
    checks: &mut Checks,
    span: Span,
    id: &str,
    entry: &Value,
    terminal: &mut Option<Terminal>,
) -> Result<(), Lie> {
    let machines = entry["machines"].as_array().map(Vec::as_slice).unwrap_or_default();
    let results: Vec<(String, Outcome)> =
        machines.iter().map(|machine| (name(machine), Outcome::read(machine))).collect();
    let any = |wanted: Outcome| results.iter().any(|(_, result)| *result == wanted);
    let right = match (any(Outcome::Executing), any(Outcome::Fail)) {
        (true, _) => "running",
        (false, true) => "complete_with_error",
        (false, false) => "complete",
    };
    let status = entry["status"].as_str().unwrap_or_default();
    checks.hold(Rule::RequestStatus, status == right, || {
        format!("request {id} is {status:?}, but its machines' results make it {right:?}")
    })?;
    let running = status == "running";
    if let Some(first) = terminal {
        // An answer of a call that overlapped the first terminal one may be the older of the two.
        let same = status == first.status && results == first.results;
        let older = running && !first.told.before(&span);
        return checks.hold(Rule::TerminalFrozen, same || older, || {
            let changed = results.iter().zip(&first.results).find(|(now, then)| now != then);
            format!("request {id} was {:?}, is {status:?}; first machine that differs: {changed:?}", first.status)
        });
    }
    if !running {
        *terminal = Some(Terminal { status: status.to_owned(), results, told: span });
    }
    Ok(())
}

fn name(machine: &Value) -> String {
    machine["name"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::hostfactory::{
        judge::testing::{Court, R, entry, executing, failed, ready, unready},
        rule::Rule,
    };

    #[test]
    fn a_request_that_comes_up_is_true_from_its_first_answer_to_its_last() {
        let mut court = Court::with_request(2);
        court.status(&entry("running", &[executing(0), executing(1)])).expect("true");
        court.status(&entry("running", &[ready(0), unready(1)])).expect("true");
        court.status(&entry("complete", &[ready(0), ready(1)])).expect("true");
        court.status(&entry("complete", &[ready(0), ready(1)])).expect("true");
    }

    #[test]
    fn ids_in_another_order_or_missing_are_a_lie() {
        let mut court = Court::with_request(1);
        let other = "bbbbbbbbbbbbbbbb";
        let answer = entry("running", &[executing(0)]);
        let lie = court.answers(&[R, other], &[json!({"requestId": other}), answer.clone()]).expect_err("a lie");
        assert_eq!(lie.rule, Rule::AnswerOrder);
        assert_eq!(court.answers(&[R, other], &[answer]).expect_err("a lie").rule, Rule::AnswerOrder);
    }

    #[test]
    fn an_unknown_id_with_machines_or_called_complete_is_a_lie() {
        let mut court = Court::with_request(1);
        let id = "zzzzzzzzzzzzzzzz";
        let answer = |status: &str, machines: serde_json::Value| json!({"requestId": id, "status": status, "message": "no such request", "machines": machines});
        court.answers(&[id], &[answer("complete_with_error", json!([]))]).expect("true");
        court.answers(&[id], &[answer("running", json!([]))]).expect("undecided is true");
        for wrong in [answer("complete", json!([])), answer("complete_with_error", json!([executing(0)]))] {
            assert_eq!(court.answers(&[id], &[wrong]).expect_err("a lie").rule, Rule::UnknownId);
        }
    }

    #[test]
    fn fewer_or_other_machines_than_asked_for_are_a_lie() {
        let mut court = Court::with_request(2);
        let few = entry("running", &[executing(0)]);
        assert_eq!(court.status(&few).expect_err("a lie").rule, Rule::MachineCount);
        court.status(&entry("running", &[executing(0), executing(1)])).expect("true");
        let other = entry("running", &[executing(0), executing(2)]);
        assert_eq!(court.status(&other).expect_err("a lie").rule, Rule::MachinesStay);
    }

    #[test]
    fn a_machine_listed_twice_is_a_lie() {
        let mut court = Court::with_request(2);
        let twice = entry("running", &[executing(0), executing(0)]);
        assert_eq!(court.status(&twice).expect_err("a lie").rule, Rule::NamesUnique);
    }

    #[test]
    fn a_status_that_the_results_do_not_make_is_a_lie() {
        for wrong in [
            entry("complete", &[ready(0), executing(1)]),
            entry("complete_with_error", &[ready(0), executing(1)]),
            entry("running", &[ready(0), ready(1)]),
            entry("complete", &[ready(0), failed(1)]),
            entry("complete_with_error", &[ready(0), ready(1)]),
        ] {
            let mut court = Court::with_request(2);
            assert_eq!(court.status(&wrong).expect_err("a lie").rule, Rule::RequestStatus, "{wrong}");
        }
    }

    #[test]
    fn a_terminal_answer_that_changes_is_a_lie_unless_the_other_call_overlapped() {
        let mut court = Court::with_request(2);
        court.status(&entry("complete_with_error", &[ready(0), failed(1)])).expect("true");
        let swapped = entry("complete_with_error", &[failed(1), ready(0)]);
        assert_eq!(court.status(&swapped).expect_err("a lie").rule, Rule::TerminalFrozen);
        let mut court = Court::with_request(1);
        court.status_in((5, 9), &entry("complete", &[ready(0)])).expect("true");
        court.status_in((4, 10), &entry("running", &[executing(0)])).expect("the older of two overlapping answers");
        let later = court.status_in((11, 12), &entry("running", &[executing(0)]));
        assert!(later.is_err(), "nothing ended runs again");
    }
}
