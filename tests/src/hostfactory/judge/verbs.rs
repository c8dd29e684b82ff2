//! Templates, and the ids that requests and returns are answered with.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::{Judge, Known, Request, Return};
use crate::hostfactory::{
    call::{Call, Verb},
    contract::Answer,
    rule::{Lie, Rule},
};

/// Characters of a request id.
const ID_LENGTH: usize = 16;

impl Judge {
    pub(super) fn templates(&mut self, reply: &Value) -> Result<(), Lie> {
        let templates = reply["templates"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut place = 0;
        for template in templates {
            let id = template["templateId"].as_str().unwrap_or_default();
            self.checks.hold(Rule::TemplatesOnce, seen.insert(id), || format!("template {id} is offered twice"))?;
            if let Some(found) = self.file_order.iter().position(|listed| listed == id) {
                self.checks.hold(Rule::TemplatesOrder, found >= place, || {
                    format!("template {id} comes too late: the file has {:?}", self.file_order)
                })?;
                place = found;
            }
            let limit = template["maxNumber"].as_i64().unwrap_or(-1);
            let known = self.limits.entry(id.to_owned()).or_insert(limit);
            // The file may change: the highest limit ever offered is what no moment may exceed.
            *known = if limit == -1 || *known == -1 { -1 } else { limit.max(*known) };
        }
        Ok(())
    }

    pub(super) fn accepted(&mut self, call: &Call, reply: &Value) -> Result<(), Lie> {
        let id = self.new_id(reply)?;
        let template = &call.input["template"];
        let request = Request {
            template: template["templateId"].as_str().unwrap_or_default().to_owned(),
            count: count(call),
            accepted: call.span,
            accepted_wall: call.wall.0,
            names: None,
            terminal: None,
        };
        self.known.insert(id, Known::Machines(request));
        Ok(())
    }

    pub(super) fn returned(&mut self, call: &Call, reply: &Value) -> Result<(), Lie> {
        let id = self.new_id(reply)?;
        let names: BTreeSet<String> = call.machines().into_iter().map(str::to_owned).collect();
        let names = names.into_iter().collect();
        let returned =
            Return { names, accepted: call.span, results: HashMap::new(), reclaimed: HashMap::new(), terminal: None };
        self.known.insert(id, Known::Return(returned));
        Ok(())
    }

    /// A call whose reply is a refusal, or was never read.
    pub(super) fn unheard(&mut self, call: &Call, answer: &Answer) {
        if call.verb == Verb::RequestMachines {
            // A refusal stores nothing, but hfctl also fails when the connection broke and the outcome is unknown.
            self.unheard.push(count(call));
        }
        if matches!(answer, Answer::Refused(_)) {
            self.last_failure = self.last_failure.max(call.ended());
        }
    }

    fn new_id(&mut self, reply: &Value) -> Result<String, Lie> {
        let id = reply["requestId"].as_str().unwrap_or_default().to_owned();
        let form = id.len() == ID_LENGTH && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
        self.checks.hold(Rule::IdForm, form, || format!("requestId {id:?}"))?;
        let new = !self.known.contains_key(&id);
        self.checks.hold(Rule::IdNew, new, || format!("requestId {id} was given before, to another request"))?;
        Ok(id)
    }
}

fn count(call: &Call) -> usize {
    let count = call.input["template"]["machineCount"].as_u64().unwrap_or_default();
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::hostfactory::{judge::testing::Court, rule::Rule};

    #[test]
    fn templates_in_the_files_order_are_true_and_one_offered_twice_is_a_lie() {
        let mut court = Court::new();
        let offer = |ids: &[&str]| {
            let list: Vec<_> = ids.iter().map(|id| json!({"templateId": id, "maxNumber": 5})).collect();
            json!({ "templates": list })
        };
        court.templates(&offer(&["small", "large"])).expect("true");
        court.templates(&offer(&["large"])).expect("an unusable one may be left out");
        assert_eq!(court.templates(&offer(&["small", "small"])).expect_err("a lie").rule, Rule::TemplatesOnce);
        assert_eq!(court.templates(&offer(&["large", "small"])).expect_err("a lie").rule, Rule::TemplatesOrder);
    }

    #[test]
    fn an_id_of_another_form_is_a_lie() {
        let mut court = Court::new();
        for id in ["short", "ABCDEFGHIJKLMNOP", "aaaaaaaaaaaaaaa1", "aaaaaaaaaaaaaaaaa"] {
            assert_eq!(court.request(id, "small", 1).expect_err("a lie").rule, Rule::IdForm);
        }
    }

    #[test]
    fn an_id_given_twice_is_a_lie_for_requests_and_returns_alike() {
        let mut court = Court::new();
        court.request("aaaaaaaaaaaaaaaa", "small", 1).expect("true");
        assert_eq!(court.request("aaaaaaaaaaaaaaaa", "small", 1).expect_err("a lie").rule, Rule::IdNew);
        let returned = court.give_back("aaaaaaaaaaaaaaaa", &["aaaaaaaaaaaaaaaa-00000"]);
        assert_eq!(returned.expect_err("a lie").rule, Rule::IdNew);
    }
}
