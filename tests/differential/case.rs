//! One case: a pair of clusters, the comparisons made on it, and the verdict at its end.

use std::cell::RefCell;

use serde_json::Value;
use tests::http::Response;

use crate::{
    allowed::{self, Allowed},
    compare::{Difference, differences},
    normal::{self, Numbers},
    pair::{Pair, Side},
};

/// A running case.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) pair: Pair,
    rules: Vec<&'static Allowed>,
    used: RefCell<Vec<bool>>,
    found: RefCell<Vec<String>>,
    compared: RefCell<usize>,
}

/// Runs a case: `name` is what the entries of `allowed` know it by.
///
/// # Panics
/// When anything differs that no entry allows, or an entry allows what no longer differs.
#[track_caller]
pub(crate) fn case(name: &str, nodes: u32, body: impl FnOnce(&Case)) {
    case_with_room(name, nodes, 110, body);
}

/// A case whose nodes have room for `pods_per_node` pods.
#[track_caller]
pub(crate) fn case_with_room(name: &str, nodes: u32, pods_per_node: u32, body: impl FnOnce(&Case)) {
    let rules: Vec<_> = allowed::of(name).collect();
    let case = Case {
        pair: Pair::start(nodes, pods_per_node),
        used: RefCell::new(vec![false; rules.len()]),
        rules,
        found: RefCell::default(),
        compared: RefCell::default(),
    };
    body(&case);
    case.judge();
}

/// Code and message of an answer.
fn gist(answer: &Value) -> Option<Value> {
    let message = if answer["body"].is_object() { &answer["body"]["message"] } else { &answer["body"] };
    Some(serde_json::json!([answer["code"], message]))
}

impl Case {
    /// Makes the same call on both sides and compares the answers.
    pub(crate) fn same(&self, what: &str, call: impl Fn(&Side) -> anyhow::Result<Response>) {
        self.same_answer(what, Numbers::Kept, call);
    }

    /// The same, but numbers in texts may differ.
    pub(crate) fn same_but_numbers(&self, what: &str, call: impl Fn(&Side) -> anyhow::Result<Response>) {
        self.same_answer(what, Numbers::Masked, call);
    }

    /// Makes the same call as hfd on both sides and compares the answers.
    pub(crate) fn same_call(&self, what: &str, method: &str, path: &str, body: Option<&Value>) {
        self.same(what, |side| side.hfd.call(method, path, body));
    }

    /// Compares what `look` makes of each side.
    pub(crate) fn same_value(&self, what: &str, look: impl Fn(&Side) -> Value) {
        let [sandbox, real] =
            [&self.pair.sandbox, &self.pair.real].map(|side| normal::normal("", &look(side), Numbers::Kept));
        self.compare(what, &sandbox, &real);
    }

    /// Compares two values that are normalised already.
    pub(crate) fn compare(&self, what: &str, sandbox: &Value, real: &Value) {
        *self.compared.borrow_mut() += 1;
        let mut all = differences(sandbox, real);
        if all.iter().any(|difference| difference.path == "code") {
            // Another code is another answer: the rest of the two has nothing in common.
            all = vec![Difference { path: "code".to_owned(), sandbox: gist(sandbox), real: gist(real) }];
        }
        for difference in all {
            if !self.is_allowed(what, &difference) {
                self.found.borrow_mut().push(format!("{what}: {difference}"));
            }
        }
    }

    fn same_answer(&self, what: &str, numbers: Numbers, call: impl Fn(&Side) -> anyhow::Result<Response>) {
        let [sandbox, real] = [&self.pair.sandbox, &self.pair.real].map(|side| match call(side) {
            Ok(response) => normal::answer(&response, numbers),
            Err(error) => {
                // Two calls without an answer would be equal, and nothing compared.
                self.found.borrow_mut().push(format!("{what}: no answer: {error:#}"));
                Value::Null
            }
        });
        self.compare(what, &sandbox, &real);
    }

    fn is_allowed(&self, what: &str, difference: &Difference) -> bool {
        let mut allowed = false;
        for (rule, used) in self.rules.iter().zip(self.used.borrow_mut().iter_mut()) {
            if rule.covers(what, &difference.path) {
                (allowed, *used) = (true, true);
            }
        }
        allowed
    }

    #[track_caller]
    fn judge(&self) {
        let used = self.used.borrow();
        let idle = self.rules.iter().zip(used.iter()).filter(|(rule, used)| !**used && !rule.is_general());
        let idle: Vec<_> = idle.map(|(rule, _)| format!("  no longer differs: {rule:?}")).collect();
        let found = self.found.borrow();
        assert!(*self.compared.borrow() > 0, "the case compared nothing");
        assert!(
            found.is_empty() && idle.is_empty(),
            "{} differences that no entry allows, {} entries too many:\n  {}\n{}",
            found.len(),
            idle.len(),
            found.join("\n  "),
            idle.join("\n")
        );
    }
}
