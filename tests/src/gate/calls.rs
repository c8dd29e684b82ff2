//! The requests that a gate handed on, in the order in which they came, each with its answer: what the daemon did, seen
//! from between it and a server that may be killed meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use super::request::Request;

/// A request that was handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `create`, `delete`, `get`, `list`, `watch`, …
    pub verb: &'static str,
    /// `pods`, or `pods/log` where there is a subresource.
    pub resource: String,
    /// The object's name; empty for a LIST or a watch.
    pub name: String,
    /// When it came, since the gate was opened.
    pub begun: Duration,
    /// When its answer was whole, and the code; `None` while there is none, and for ever when the connection broke.
    pub answer: Option<(Duration, u16)>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Vec<Call>>);

impl Calls {
    /// One begins; gives its place.
    pub(super) fn begin(&self, request: &Request, now: Duration) -> usize {
        let mut calls = self.lock();
        calls.push(Call {
            verb: request.verb,
            resource: request.resource.clone(),
            name: request.name.clone(),
            begun: now,
            answer: None,
        });
        calls.len() - 1
    }

    /// It has its answer.
    pub(super) fn answered(&self, place: usize, now: Duration, code: u16) {
        self.lock()[place].answer = Some((now, code));
    }

    pub(super) fn all(&self) -> Vec<Call> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().expect("nothing panics while it holds the calls")
    }
}

/// Names of the pods whose create had come before `at` and never had an answer.
pub fn in_flight_at(calls: &[Call], at: Duration) -> BTreeSet<String> {
    let creates = calls.iter().filter(|call| call.verb == "create" && call.resource == "pods");
    creates.filter(|call| call.begun < at && call.answer.is_none()).map(|call| call.name.clone()).collect()
}

/// The pods that were posted again although a create before may have made them: after it no look had found that they
/// are not there. A 409 says that some pod has the name.
pub fn repeated_blindly(calls: &[Call]) -> Vec<String> {
    let mut blind = Vec::new();
    let mut open: BTreeMap<&str, &Call> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.resource == "pods") {
        let code = call.answer.map(|(_, code)| code);
        match (call.verb, code) {
            ("create", code) => {
                if let Some(before) = open.get(call.name.as_str()) {
                    blind.push(format!("{} was posted again without a look: {before:?}, then {call:?}", call.name));
                }
                // Refused or sent away: nothing was made.
                if !matches!(code, Some(400 | 401 | 403 | 404 | 422 | 429 | 503)) {
                    open.insert(&call.name, call);
                }
            }
            ("get", Some(404)) => drop(open.remove(call.name.as_str())),
            _ => {}
        }
    }
    blind
}

/// The first call for this pod after its last create that came before `at`.
pub fn next_after<'a>(calls: &'a [Call], name: &str, at: Duration) -> Option<&'a Call> {
    let mine: Vec<&Call> = calls.iter().filter(|call| call.resource == "pods" && call.name == name).collect();
    let create = mine.iter().rposition(|call| call.verb == "create" && call.begun < at)?;
    mine.get(create + 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The calls for one pod, a millisecond apart; without a code there is no answer.
    fn calls(all: &[(&'static str, Option<u16>)]) -> Vec<Call> {
        let call = |(place, (verb, code)): (usize, &(&'static str, Option<u16>))| {
            let begun = Duration::from_millis(place as u64);
            let answer = code.map(|code| (begun, code));
            Call { verb, resource: "pods".to_owned(), name: "p".to_owned(), begun, answer }
        };
        all.iter().enumerate().map(call).collect()
    }

    #[test]
    fn a_create_after_one_without_an_answer_is_blind_unless_a_look_has_found_nothing() {
        let lost = ("create", None);
        for (between, is_blind) in [
            (vec![], true),
            (vec![("get", None)], true),
            (vec![("get", Some(503))], true),
            (vec![("get", Some(200))], true),
            (vec![("list", Some(200))], true),
            (vec![("get", None), ("get", Some(404))], false),
        ] {
            let all: Vec<_> = [lost].into_iter().chain(between.clone()).chain([("create", Some(201))]).collect();
            assert_eq!(!repeated_blindly(&calls(&all)).is_empty(), is_blind, "{between:?}");
        }
    }

    #[test]
    fn what_was_made_or_is_there_is_not_posted_again_and_what_was_refused_is() {
        for (code, is_blind) in [(201, true), (409, true), (500, true), (504, true), (429, false), (503, false)] {
            let all = calls(&[("create", Some(code)), ("create", Some(201))]);
            assert_eq!(!repeated_blindly(&all).is_empty(), is_blind, "{code}");
        }
    }

    #[test]
    fn in_flight_is_what_came_before_and_never_had_an_answer_and_what_follows_it_is_found() {
        let all = calls(&[("create", Some(429)), ("create", None), ("get", None), ("create", None)]);
        let at = Duration::from_millis(2);
        assert_eq!(in_flight_at(&all, at), BTreeSet::from(["p".to_owned()]));
        assert_eq!(next_after(&all, "p", at), Some(&all[2]));
        assert_eq!(in_flight_at(&all[..1], at), BTreeSet::new());
    }
}
