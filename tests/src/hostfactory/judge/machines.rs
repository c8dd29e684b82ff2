//! One machine in one answer: its name and values, and whether they follow from what was told before.

use std::sync::Arc;

use serde_json::Value;

use super::{Judge, Kind, Known, Machine, Outcome, Told};
use crate::hostfactory::{
    call::Call,
    clock::Span,
    rule::{Lie, Rule},
};

/// Digits of a machine's ordinal.
const ORDINAL_DIGITS: usize = 5;

impl Judge {
    /// A machine of a machine request; true when this is the first answer in which it has succeeded.
    pub(super) fn machine(
        &mut self,
        call: &Call,
        (request, template): (&str, &str),
        (accepted, accepted_wall): (Span, i64),
        listed: &Value,
        claims: &mut Vec<Kind>,
    ) -> Result<bool, Lie> {
        let name = listed["name"].as_str().unwrap_or_default();
        self.name(request, name)?;
        let told = self.values(call, name, listed, accepted_wall)?;
        let machine = self.machines.entry(name.to_owned()).or_insert_with(|| Machine {
            request: request.to_owned(),
            template: template.to_owned(),
            told: Told::nothing(told.launch_time, accepted),
            succeeded: None,
            executing: None,
            return_begun: None,
            gone_told: None,
        });
        for rule in [Rule::ResultOrder, Rule::MachineIdConstant] {
            self.checks.count(rule);
        }
        if let Err(lie) = follows(&machine.told, &told) {
            if machine.told.span.before(&told.span) || follows(&told, &machine.told).is_err() {
                return Err(Lie::new(lie.rule, format!("machine {name}: {}", lie.what)));
            }
            // The two calls overlapped and this answer is the older one: what was told stays the furthest.
            return Ok(false);
        }
        let before = std::mem::replace(&mut machine.told, told.clone());
        if before.machine_id.is_empty() && !told.machine_id.is_empty() {
            claims.push(Kind::Existed { name: name.to_owned(), uid: told.machine_id.clone(), since: accepted.begun });
        }
        match told.result {
            Outcome::Executing => machine.executing = machine.executing.max(Some(call.begun())),
            Outcome::Fail => {
                self.held.remove(name);
                let returned = machine.return_begun.is_some_and(|begun| begun < call.ended());
                if before.result != Outcome::Fail && !returned {
                    let executing = (before.result == Outcome::Executing).then_some(machine.executing).flatten();
                    let known_ready = before.result == Outcome::Succeed;
                    claims.push(Kind::Failed { name: name.to_owned(), known_ready, executing });
                }
            }
            Outcome::Succeed if machine.succeeded.is_none() => {
                machine.succeeded = Some(call.span);
                if machine.return_begun.is_none() {
                    self.held.insert(name.to_owned());
                }
                claims.push(Kind::Ready {
                    name: name.to_owned(),
                    uid: told.machine_id,
                    address: told.address,
                    since: accepted.begun,
                });
                return Ok(true);
            }
            Outcome::Succeed => {}
        }
        Ok(false)
    }

    /// A machine of a return.
    pub(super) fn returned_machine(
        &mut self,
        call: &Arc<Call>,
        id: &str,
        listed: &Value,
        claims: &mut Vec<Kind>,
    ) -> Result<(), Lie> {
        let Some(Known::Return(returned)) = self.known.get_mut(id) else { return Ok(()) };
        let name = listed["name"].as_str().unwrap_or_default().to_owned();
        let result = Outcome::read(listed);
        let status = listed["status"].as_str().unwrap_or_default();
        let pair = match result {
            Outcome::Executing => status == "shutting-down",
            Outcome::Succeed => status == "terminated",
            Outcome::Fail => true,
        };
        self.checks
            .hold(Rule::ResultPair, pair, || format!("return {id}, machine {name}: {result:?} with {status}"))?;
        let before = returned.results.get(&name).copied();
        let backwards = before.is_some_and(|(before, _)| before != Outcome::Executing && before != result);
        let in_order = before.is_some_and(|(_, span)| span.before(&call.span));
        self.checks.hold(Rule::ResultOrder, !(backwards && in_order), || {
            format!("return {id}, machine {name}: was {before:?}, is {result:?}")
        })?;
        if result == Outcome::Executing
            && let Some(reclaim) = returned.reclaimed.get(&name).filter(|reclaim| reclaim.span.before(&call.span))
        {
            let what = format!("machine {name} was reclaimed while return {id} covered it");
            return Err(Lie::new(Rule::ReclaimNotReturning, what)
                .by(reclaim)
                .seen(format!("a later answer shows the return still at work: {call}")));
        }
        if !backwards {
            returned.results.insert(name.clone(), (result, call.span));
        }
        self.same_as_in_its_request(call, &name, listed)?;
        if result == Outcome::Succeed && before.is_none_or(|(before, _)| before == Outcome::Executing) {
            if let Some(machine) = self.machines.get_mut(&name) {
                machine.gone_told.get_or_insert_with(|| Arc::clone(call));
            }
            claims.push(Kind::Gone { name, rule: Rule::ReturnedIsGone });
        }
        Ok(())
    }

    /// Id and launchtime of a machine are the same in a return's answer.
    fn same_as_in_its_request(&mut self, call: &Call, name: &str, listed: &Value) -> Result<(), Lie> {
        let id = listed["machineId"].as_str().unwrap_or_default();
        let launch_time = listed["launchtime"].as_i64().unwrap_or_default();
        self.checks.hold(Rule::LaunchTime, launch_time > 0 && launch_time <= call.wall.1, || {
            format!("machine {name}: launchtime {} at {}", listed["launchtime"], call.wall.1)
        })?;
        let Some(machine) = self.machines.get(name) else { return Ok(()) };
        let told = &machine.told;
        let same = id.is_empty() || told.machine_id.is_empty() || id == told.machine_id;
        self.checks.hold(Rule::MachineIdConstant, same, || {
            format!("machine {name}: {id:?} in its return, {:?} in its request", told.machine_id)
        })?;
        let constant = told.result != Outcome::Succeed || told.launch_time == launch_time;
        self.checks.hold(Rule::LaunchTime, constant, || {
            format!("machine {name}: launchtime {launch_time} in its return, {} in its request", told.launch_time)
        })
    }

    fn name(&mut self, request: &str, name: &str) -> Result<(), Lie> {
        let owner = self.machines.get(name).map_or(request, |machine| machine.request.as_str());
        self.checks.hold(Rule::NamesUnique, owner == request, || {
            format!("machine {name} is listed by request {request} and belongs to {owner}")
        })?;
        let length = *self.name_length.get_or_insert(name.len());
        self.checks.hold(Rule::NamesOneLength, name.len() == length, || {
            format!("machine {name:?} has {} characters, the first one had {length}", name.len())
        })?;
        let ordinal = name.strip_prefix(request).and_then(|rest| rest.strip_prefix('-'));
        let form = ordinal
            .is_some_and(|digits| digits.len() == ORDINAL_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()));
        self.checks.hold(Rule::NameForm, form, || format!("machine {name:?} of request {request}"))
    }

    /// What this answer alone must be.
    fn values(&mut self, call: &Call, name: &str, listed: &Value, accepted_wall: i64) -> Result<Told, Lie> {
        let text = |key: &str| listed[key].as_str().unwrap_or_default().to_owned();
        let result = Outcome::read(listed);
        let pair = match result {
            Outcome::Executing | Outcome::Succeed => listed["status"] == "running",
            Outcome::Fail => listed["status"] == "terminated",
        };
        self.checks.hold(Rule::ResultPair, pair, || {
            format!("machine {name}: result {} with status {}", listed["result"], listed["status"])
        })?;
        let launch_time = listed["launchtime"].as_i64().unwrap_or_default();
        // A second of slack below: the provider's acceptance is some time in the call, and seconds are rounded down.
        let possible = launch_time > 0 && launch_time + 1 >= accepted_wall && launch_time <= call.wall.1;
        self.checks.hold(Rule::LaunchTime, possible, || {
            let told = &listed["launchtime"];
            format!("machine {name}: launchtime {told}, accepted at {accepted_wall}, told at {}", call.wall.1)
        })?;
        let told = Told {
            result,
            machine_id: text("machineId"),
            address: text("privateIpAddress"),
            launch_time,
            span: call.span,
        };
        let complete = result != Outcome::Succeed || !(told.machine_id.is_empty() || told.address.is_empty());
        self.checks
            .hold(Rule::AddressConstant, complete, || format!("machine {name} succeeded without id or address"))?;
        Ok(told)
    }
}

impl Told {
    /// What is true before any answer.
    fn nothing(launch_time: i64, span: Span) -> Self {
        Self { result: Outcome::Executing, machine_id: String::new(), address: String::new(), launch_time, span }
    }
}

/// Whether an answer can come after another.
fn follows(before: &Told, after: &Told) -> Result<(), Lie> {
    use Outcome::{Executing, Fail, Succeed};
    let lie = |rule: Rule, what: String| Err(Lie::new(rule, what));
    // Ready, then lost before its request was terminal: succeed, then fail. After the end `conclude` freezes both.
    match (before.result, after.result) {
        (Executing, _) | (Succeed, Succeed | Fail) | (Fail, Fail) => {}
        (then, now) => return lie(Rule::ResultOrder, format!("was {then:?}, is {now:?}")),
    }
    if !before.machine_id.is_empty() && before.machine_id != after.machine_id {
        return lie(Rule::MachineIdConstant, format!("machineId {:?}, then {:?}", before.machine_id, after.machine_id));
    }
    if (before.result, after.result) == (Succeed, Succeed) && before.address != after.address {
        return lie(Rule::AddressConstant, format!("address {:?}, then {:?}", before.address, after.address));
    }
    let (then, now) = (before.launch_time, after.launch_time);
    if now < then || (before.result == Succeed && now != then) {
        return lie(Rule::LaunchTime, format!("launchtime {then} while {:?}, then {now}", before.result));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::hostfactory::{
        judge::testing::{Court, R, WALL, entry, executing, failed, name, ready, returned, returning, unready},
        rule::Rule,
    };

    fn with(mut machine: Value, key: &str, value: Value) -> Value {
        machine[key] = value;
        machine
    }

    /// The rule that the last of the answers breaks; all before it are true.
    fn broken(answers: &[(&str, Value)]) -> Rule {
        let mut court = Court::with_request(1);
        let (last, first) = answers.split_last().expect("there is an answer");
        for (status, machine) in first {
            court.status(&entry(status, std::slice::from_ref(machine))).expect("true");
        }
        court.status(&entry(last.0, std::slice::from_ref(&last.1))).expect_err("a lie").rule
    }

    #[test]
    fn a_name_of_another_form_or_length_is_a_lie() {
        let named = |name: &str| with(executing(0), "name", json!(name));
        assert_eq!(broken(&[("running", named("bbbbbbbbbbbbbbbb-00000"))]), Rule::NameForm);
        assert_eq!(broken(&[("running", named(&format!("{R}-0000x")))]), Rule::NameForm);
        let mut court = Court::with_request(1);
        court.status(&entry("running", &[executing(0)])).expect("true");
        court.request("bbbbbbbbbbbbbbbb", "small", 1).expect("true");
        let longer = json!({"requestId": "bbbbbbbbbbbbbbbb", "status": "running", "message": "",
            "machines": [named("bbbbbbbbbbbbbbbb-000000")]});
        assert_eq!(court.answers(&["bbbbbbbbbbbbbbbb"], &[longer]).expect_err("a lie").rule, Rule::NamesOneLength);
    }

    #[test]
    fn a_name_of_another_request_is_a_lie() {
        let mut court = Court::with_request(1);
        court.status(&entry("running", &[executing(0)])).expect("true");
        court.request("bbbbbbbbbbbbbbbb", "small", 1).expect("true");
        let stolen = json!({"requestId": "bbbbbbbbbbbbbbbb", "status": "running", "message": "",
            "machines": [executing(0)]});
        assert_eq!(court.answers(&["bbbbbbbbbbbbbbbb"], &[stolen]).expect_err("a lie").rule, Rule::NamesUnique);
    }

    #[test]
    fn a_result_with_the_wrong_status_is_a_lie() {
        assert_eq!(broken(&[("running", with(executing(0), "status", json!("stopped")))]), Rule::ResultPair);
        assert_eq!(broken(&[("complete", with(ready(0), "status", json!("terminated")))]), Rule::ResultPair);
    }

    #[test]
    fn a_result_that_goes_backwards_is_a_lie_unless_the_calls_overlapped() {
        let mut court = Court::with_request(2);
        court.status_in((10, 20), &entry("running", &[ready(0), executing(1)])).expect("true");
        court.status_in((15, 25), &entry("running", &[executing(0), executing(1)])).expect("it may be the older");
        let lie = court.status_in((30, 31), &entry("running", &[executing(0), executing(1)])).expect_err("a lie");
        assert_eq!(lie.rule, Rule::ResultOrder);
        let mut court = Court::with_request(2);
        court.status(&entry("running", &[failed(0), executing(1)])).expect("true");
        let lie = court.status(&entry("running", &[ready(0), executing(1)])).expect_err("a lie");
        assert_eq!(lie.rule, Rule::ResultOrder);
    }

    #[test]
    fn a_machine_id_that_changes_is_a_lie_in_its_request_and_in_its_return() {
        let other = with(unready(0), "machineId", json!("other"));
        assert_eq!(broken(&[("running", unready(0)), ("running", other)]), Rule::MachineIdConstant);
        assert_eq!(broken(&[("running", unready(0)), ("running", executing(0))]), Rule::MachineIdConstant);
        let mut court = Court::with_held(1);
        court.give_back("cccccccccccccccc", &[&name(0)]).expect("true");
        let wrong = with(returning(0), "machineId", json!("other"));
        let lie = court.return_status("cccccccccccccccc", "running", &[wrong]).expect_err("a lie");
        assert_eq!(lie.rule, Rule::MachineIdConstant);
    }

    #[test]
    fn success_without_an_address_or_with_a_changing_one_is_a_lie() {
        let lacking = with(ready(0), "privateIpAddress", json!(""));
        assert_eq!(broken(&[("complete", lacking)]), Rule::AddressConstant);
        let moved = with(ready(0), "privateIpAddress", json!("10.9.9.9"));
        assert_eq!(broken(&[("complete", ready(0)), ("complete", moved)]), Rule::AddressConstant);
    }

    #[test]
    fn a_launchtime_that_is_nothing_future_old_or_changing_is_a_lie() {
        for wrong in [json!(0), json!(WALL + 100_000), json!(WALL - 1000), json!(1.0)] {
            assert_eq!(broken(&[("running", with(executing(0), "launchtime", wrong))]), Rule::LaunchTime);
        }
        let later = with(ready(0), "launchtime", json!(WALL + 3));
        assert_eq!(broken(&[("complete", ready(0)), ("complete", later)]), Rule::LaunchTime);
        let earlier = with(unready(0), "launchtime", json!(WALL));
        let first = with(unready(0), "launchtime", json!(WALL + 1));
        assert_eq!(broken(&[("running", first), ("running", earlier)]), Rule::LaunchTime);
    }

    #[test]
    fn a_return_that_lists_others_or_takes_back_its_word_is_a_lie() {
        let id = "cccccccccccccccc";
        let mut court = Court::with_held(2);
        court.give_back(id, &[&name(0)]).expect("true");
        court.return_status(id, "running", &[returning(0)]).expect("true");
        let lie = court.return_status(id, "running", &[returning(0), returning(1)]).expect_err("a lie");
        assert_eq!(lie.rule, Rule::ReturnMachines);
        let mut court = Court::with_held(2);
        court.give_back(id, &[&name(0), &name(1)]).expect("true");
        court.return_status(id, "running", &[returned(0), returning(1)]).expect("true");
        let lie = court.return_status(id, "running", &[returning(0), returning(1)]).expect_err("a lie");
        assert_eq!(lie.rule, Rule::ResultOrder);
        let wrong = with(returning(0), "status", json!("running"));
        let mut court = Court::with_held(1);
        court.give_back(id, &[&name(0)]).expect("true");
        assert_eq!(court.return_status(id, "running", &[wrong]).expect_err("a lie").rule, Rule::ResultPair);
    }
}
