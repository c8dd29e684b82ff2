//! Faults on request: which requests go wrong, and how. The same words as the sandbox's control endpoints, so that one
//! test drives either. Matching and bookkeeping only; the connection carries them out.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::http::{HeaderMap, HeaderValue, header};

use super::request::Request;

/// A rule that makes matching requests go wrong. The first rule that matches a request and is not used up is applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Fault {
    /// A verb of RBAC, or `*`.
    verb: String,
    /// The plural name, or `*`.
    resource: String,
    /// Only objects whose name begins like this; requests without a name never match then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_prefix: Option<String>,
    /// Only objects with a label that contains this when written `key=value`; lists and watches by their selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label_contains: Option<String>,
    /// How many requests it applies to; without it, to all until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    action: Action,
}

/// What happens to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Action {
    /// This answer is given, and nothing is done.
    Status(MadeUp),
    /// The operation is done, and then this answer is given.
    StatusAfter(MadeUp),
    /// The connection is closed without an answer.
    Drop(When),
    /// The operation is done this many milliseconds later.
    DelayMs(u64),
    /// With `true`, there is never an answer.
    Hang(bool),
    /// The connection is closed now, and the operation takes effect this many milliseconds later.
    Late(u64),
}

/// When a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum When {
    /// Nothing was done.
    Before,
    /// The operation was done.
    After,
}

/// An answer that no server gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MadeUp {
    pub(super) code: u16,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    /// Seconds of the Retry-After field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// The bare message instead of a Status, as an overloaded server answers.
    #[serde(default)]
    plain_text: bool,
}

impl MadeUp {
    /// Header fields and body.
    pub(super) fn answer(&self) -> (HeaderMap, Vec<u8>) {
        let mut fields = HeaderMap::new();
        let (kind, body) = if self.plain_text {
            ("text/plain; charset=utf-8", format!("{}\n", self.message))
        } else {
            let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": self.message, "code": self.code});
            if !self.reason.is_empty() {
                status["reason"] = json!(self.reason);
            }
            ("application/json", status.to_string())
        };
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(seconds) = self.retry_after {
            fields.insert(header::RETRY_AFTER, seconds.into());
        }
        (fields, body.into_bytes())
    }
}

#[derive(Debug, Serialize)]
struct Injected {
    id: u64,
    #[serde(flatten)]
    fault: Fault,
    hits: u64,
}

/// All faults in force, in the order in which they were injected.
#[derive(Debug, Default)]
pub(super) struct Faults {
    injected: Vec<Injected>,
    last: u64,
}

impl Faults {
    /// Puts a fault in force and gives its number.
    pub(super) fn inject(&mut self, fault: Fault) -> Result<u64, String> {
        if let Action::Status(status) | Action::StatusAfter(status) = &fault.action
            && !(200..600).contains(&status.code)
        {
            return Err(format!("{} is no final HTTP status", status.code));
        }
        self.last += 1;
        self.injected.push(Injected { id: self.last, fault, hits: 0 });
        Ok(self.last)
    }

    /// Removes one fault; whether it was there.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let before = self.injected.len();
        self.injected.retain(|fault| fault.id != id);
        self.injected.len() < before
    }

    /// Removes all.
    pub(super) fn clear(&mut self) {
        self.injected.clear();
    }

    /// All with their hits.
    pub(super) fn list(&self) -> Value {
        json!(self.injected)
    }

    /// What happens to this request; `stored_labels` are asked for only when a fault looks at those of a stored object.
    pub(super) fn strike(
        &mut self,
        request: &Request,
        stored_labels: impl FnOnce() -> Vec<String>,
    ) -> Option<(u64, Action)> {
        let looks_at_labels = self.injected.iter().any(|injected| injected.fault.label_contains.is_some());
        let labels = match &request.labels {
            Some(labels) => labels.clone(),
            None if looks_at_labels => stored_labels(),
            None => Vec::new(),
        };
        let injected = self.injected.iter_mut().find(|injected| injected.applies(request, &labels))?;
        injected.hits += 1;
        Some((injected.id, injected.fault.action.clone()))
    }
}

impl Injected {
    fn applies(&self, request: &Request, labels: &[String]) -> bool {
        let fault = &self.fault;
        let is = |wanted: &str, found: &str| wanted == "*" || wanted == found;
        fault.count.is_none_or(|count| self.hits < count)
            && is(&fault.verb, request.verb)
            && is(&fault.resource, &request.resource)
            && fault
                .name_prefix
                .as_ref()
                .is_none_or(|prefix| !request.name.is_empty() && request.name.starts_with(prefix.as_str()))
            && fault.label_contains.as_ref().is_none_or(|part| labels.iter().any(|label| label.contains(part.as_str())))
    }
}
