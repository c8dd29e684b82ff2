//! The contract of every call, whatever the verb: exit code, one document on standard output, its schema. The schemas
//! are this program's own, written from the interface alone.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Result, anyhow};
use jsonschema::Validator;
use serde_json::{Deserializer, Value};

use super::{
    call::{Call, Outcome, Verb},
    rule::{Checks, Lie, Rule},
};

/// Validators of the five replies and of the failure document.
#[derive(Debug)]
pub struct Contract {
    replies: BTreeMap<Verb, Validator>,
    failure: Validator,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Exit 0 and a reply of the right shape.
    Reply(Value),
    /// Exit 1 and its message.
    Refused(String),
    /// Killed by us: nobody knows what it did.
    Lost,
}

impl Contract {
    /// Compiles the schemas.
    ///
    /// # Errors
    /// When one of them is no schema.
    pub fn new() -> Result<Self> {
        let replies = Verb::ALL.into_iter().map(|verb| Ok((verb, compile(text(verb))?))).collect::<Result<_>>()?;
        Ok(Self { replies, failure: compile(include_str!("schemas/failure.json"))? })
    }

    /// Reads what a call came to.
    ///
    /// # Errors
    /// The lie.
    pub fn read(&self, call: &Arc<Call>, checks: &mut Checks) -> Result<Answer, Lie> {
        self.judge(call, checks).map_err(|lie| lie.by(call))
    }

    fn judge(&self, call: &Call, checks: &mut Checks) -> Result<Answer, Lie> {
        let code = match call.outcome {
            Outcome::Killed => return Ok(Answer::Lost),
            Outcome::TimedOut => {
                return Err(Lie::new(Rule::TimeLimit, "the script had not ended at its time limit, and was killed"));
            }
            Outcome::Ended(code) => code,
        };
        checks.count(Rule::TimeLimit);
        checks.hold(Rule::ExitCode, matches!(code, Some(0 | 1)), || match code {
            Some(code) => format!("exit {code}"),
            None => "ended by a signal that HostFactory did not send".to_owned(),
        })?;
        let document = one_document(&call.stdout);
        checks.hold(Rule::OneDocument, document.is_ok(), || document.clone().err().unwrap_or_default())?;
        let document = document.unwrap_or_default();
        let schema = if code == Some(0) { &self.replies[&call.verb] } else { &self.failure };
        let faults: Vec<String> = schema
            .iter_errors(&document)
            .map(|error| format!("{error} at {:?}", error.instance_path().to_string()))
            .take(5)
            .collect();
        checks.hold(Rule::Schema, faults.is_empty(), || faults.join("; "))?;
        Ok(match code {
            Some(0) => Answer::Reply(document),
            _ => Answer::Refused(document["message"].as_str().unwrap_or_default().to_owned()),
        })
    }
}

fn text(verb: Verb) -> &'static str {
    match verb {
        Verb::GetAvailableTemplates => include_str!("schemas/get-available-templates.json"),
        Verb::GetRequestStatus => include_str!("schemas/get-request-status.json"),
        Verb::GetReturnRequests => include_str!("schemas/get-return-requests.json"),
        Verb::RequestMachines => include_str!("schemas/request-machines.json"),
        Verb::RequestReturnMachines => include_str!("schemas/request-return-machines.json"),
    }
}

fn compile(text: &str) -> Result<Validator> {
    let schema: Value = serde_json::from_str(text)?;
    jsonschema::validator_for(&schema).map_err(|error| anyhow!("schema {}: {error}", schema["title"]))
}

fn one_document(stdout: &[u8]) -> Result<Value, String> {
    let mut documents = Deserializer::from_slice(stdout).into_iter::<Value>();
    let first = match documents.next() {
        None => return Err("standard output is empty".to_owned()),
        Some(document) => document.map_err(|error| format!("standard output is not JSON: {error}"))?,
    };
    match documents.next() {
        None => Ok(first),
        Some(_) => Err("standard output has more than one document".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hostfactory::judge::testing::{call, payload};

    fn read(verb: Verb, outcome: Outcome, stdout: &[u8]) -> Result<Answer, Lie> {
        let mut call = call(verb, json!({}), (0, 1));
        call.outcome = outcome;
        call.stdout = stdout.to_vec();
        Contract::new().expect("the schemas are schemas").read(&Arc::new(call), &mut Checks::default())
    }

    fn broken(verb: Verb, code: i32, stdout: &[u8]) -> Rule {
        read(verb, Outcome::Ended(Some(code)), stdout).expect_err("it is a lie").rule
    }

    #[test]
    fn a_reply_and_a_failure_of_the_right_shape_are_taken() {
        let reply = br#"{"message":"","requestId":"abc"}"#;
        assert!(matches!(read(Verb::RequestMachines, Outcome::Ended(Some(0)), reply), Ok(Answer::Reply(_))));
        let refused = read(Verb::RequestMachines, Outcome::Ended(Some(1)), b"{\"message\":\"no\"}\n").expect("true");
        assert_eq!(refused, Answer::Refused("no".to_owned()));
    }

    #[test]
    fn more_or_less_than_one_document_is_a_lie() {
        for stdout in [&b""[..], b"{", b"hello", br#"{"message":"a"}{"message":"b"}"#, br#"{"message":"a"} trailing"#] {
            assert_eq!(broken(Verb::RequestMachines, 1, stdout), Rule::OneDocument);
        }
    }

    #[test]
    fn another_exit_code_or_a_signal_is_a_lie() {
        assert_eq!(broken(Verb::RequestMachines, 3, b"{\"message\":\"a\"}"), Rule::ExitCode);
        let signalled = read(Verb::RequestMachines, Outcome::Ended(None), b"{}").expect_err("it is a lie");
        assert_eq!(signalled.rule, Rule::ExitCode);
    }

    #[test]
    fn a_script_that_does_not_end_is_a_lie_and_one_that_we_killed_is_not() {
        assert_eq!(read(Verb::RequestMachines, Outcome::TimedOut, b"").expect_err("it is a lie").rule, Rule::TimeLimit);
        assert_eq!(read(Verb::RequestMachines, Outcome::Killed, b"{\"requ").expect("no lie"), Answer::Lost);
    }

    #[test]
    fn a_reply_of_another_shape_is_a_lie() {
        let cases = [
            (Verb::RequestMachines, json!({"message": "ok"})),
            (Verb::RequestMachines, json!({"message": "ok", "requestId": 7})),
            (Verb::GetAvailableTemplates, json!({"templates": []})),
            (Verb::GetReturnRequests, json!({"status": "complete", "message": "", "requests": [{"machine": "a"}]})),
            (Verb::GetReturnRequests, json!({"status": "running", "message": "", "requests": []})),
            (Verb::GetRequestStatus, json!({"requests": {"requestId": "a"}})),
        ];
        for (verb, reply) in cases {
            assert_eq!(broken(verb, 0, reply.to_string().as_bytes()), Rule::Schema, "{reply}");
        }
        assert_eq!(broken(Verb::RequestMachines, 1, b"{\"message\":\"\"}"), Rule::Schema);
    }

    #[test]
    fn a_machine_of_another_shape_is_a_lie() {
        let machine = json!({
            "machineId": "", "name": "a", "result": "executing", "status": "running", "privateIpAddress": "",
            "publicIpAddress": "", "launchtime": 1, "message": "",
        });
        let reply = |machine: &Value| json!({"requests": [{"requestId": "a", "status": "running", "message": "", "machines": [machine]}]});
        let stdout = reply(&machine).to_string();
        assert!(read(Verb::GetRequestStatus, Outcome::Ended(Some(0)), stdout.as_bytes()).is_ok());
        for (key, value) in [
            ("launchtime", json!("1")),
            ("launchtime", json!(1.5)),
            ("result", json!("success")),
            ("status", json!("pending")),
            ("result", json!("fail")),
            ("name", json!("")),
            ("surprise", json!(1)),
        ] {
            let mut changed = machine.clone();
            changed[key] = value;
            assert_eq!(broken(Verb::GetRequestStatus, 0, reply(&changed).to_string().as_bytes()), Rule::Schema);
        }
    }

    #[test]
    fn a_template_of_another_shape_is_a_lie() {
        let template = payload("get-available-templates.output.json")["templates"][0].clone();
        let reply = |template: &Value| json!({"templates": [template]}).to_string();
        let good = read(Verb::GetAvailableTemplates, Outcome::Ended(Some(0)), reply(&template).as_bytes());
        assert!(good.is_ok(), "HostFactory's own sample: {good:?}");
        for (pointer, value) in [
            ("/maxNumber", json!(0)),
            ("/maxNumber", json!("5")),
            ("/templateId", json!("a b")),
            ("/attributes/nram", json!(["Numeric", 4096])),
            ("/attributes/ncpus", json!("1")),
            ("/podSpec", json!("pod.yaml")),
        ] {
            let mut changed = template.clone();
            match changed.pointer_mut(pointer) {
                Some(place) => *place = value,
                None => changed[&pointer[1..]] = value,
            }
            assert_eq!(broken(Verb::GetAvailableTemplates, 0, reply(&changed).as_bytes()), Rule::Schema);
        }
    }
}
