//! What a service account really asked of the API server, from the server's own audit log.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
};

use serde_json::Value;
use tests::testbed::Facts;

/// The calls of one service account from some time on.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    log: PathBuf,
    user: String,
    from: u64,
}

/// One call, as the API server saw it. A watch is one when it begins, whatever becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// `create`, `delete`, `get`, `list`, `watch`, …
    pub(crate) verb: String,
    /// `pods`, or `pods/log` where there is a subresource.
    pub(crate) resource: String,
    /// The object's name; empty for a LIST or a watch.
    pub(crate) name: String,
    /// HTTP status code of the answer.
    pub(crate) code: u64,
    /// Path and query.
    pub(crate) uri: String,
}

impl Audit {
    /// The calls of the service account `hfd` of a namespace from now on.
    pub(crate) fn of(facts: &Facts, namespace: &str) -> Self {
        let user = format!("system:serviceaccount:{namespace}:hfd");
        let mut audit = Self { log: facts.audit_log.clone(), user, from: 0 };
        audit.start_over();
        audit
    }

    /// Forgets all calls until now.
    pub(crate) fn start_over(&mut self) {
        self.from = self.log.metadata().map_or(0, |log| log.len());
    }

    /// The calls, in the order in which they were answered.
    pub(crate) fn calls(&self) -> Vec<Call> {
        // Before the first call of any service account there is no log.
        let Ok(mut log) = File::open(&self.log) else { return Vec::new() };
        log.seek(SeekFrom::Start(self.from)).expect("the audit log is a file");
        let mut calls = Vec::new();
        let mut lines = BufReader::new(log);
        let mut line = String::new();
        loop {
            line.clear();
            let read = lines.read_line(&mut line).expect("the audit log is text");
            if read == 0 || !line.ends_with('\n') {
                return calls;
            }
            if line.contains(&self.user) {
                calls.extend(self.call(&line));
            }
        }
    }

    /// How many of the calls have this verb.
    pub(crate) fn count(&self, verb: &str) -> usize {
        self.calls().iter().filter(|call| call.verb == verb).count()
    }

    fn call(&self, line: &str) -> Option<Call> {
        let event: Value = serde_json::from_str(line).expect("the audit log has a JSON object a line");
        if event["user"]["username"] != self.user.as_str() {
            return None;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let verb = text(&event["verb"]);
        // A watch is told twice, a refused one once; everything else once.
        let told_before =
            verb == "watch" && event["stage"] == "ResponseComplete" && event["responseStatus"]["code"] == 200;
        if told_before {
            return None;
        }
        let object = &event["objectRef"];
        let mut resource = text(&object["resource"]);
        if let Some(subresource) = object["subresource"].as_str() {
            resource = format!("{resource}/{subresource}");
        }
        let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
        Some(Call { verb, resource, name: text(&object["name"]), code, uri: text(&event["requestURI"]) })
    }
}

/// Verb and resource of every call.
pub(crate) fn used(calls: &[Call]) -> BTreeSet<(String, String)> {
    calls.iter().map(|call| (call.verb.clone(), call.resource.clone())).collect()
}

/// The calls that permissions refused.
pub(crate) fn refused(calls: &[Call]) -> Vec<&Call> {
    calls.iter().filter(|call| call.code == 403).collect()
}
