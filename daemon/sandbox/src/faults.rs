//! Faults on request: which requests go wrong, and how. Matching and bookkeeping only; `server` carries them out.

use serde::{Deserialize, Serialize};

use crate::api::Request;

/// A rule that makes matching requests go wrong. The first rule that matches a request and is not used up is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// `create`, `delete`, `get`, `list`, `watch`, `patch`, or `*` for all.
    pub verb: String,
    /// The plural name as in paths (`pods`), or `*` for all.
    pub resource: String,
    /// Only objects whose name begins like this. Requests without a name never match then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_prefix: Option<String>,
    /// Only objects with a label that contains this when written as `key=value`; for lists and watches the label
    /// selector is looked at instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_contains: Option<String>,
    /// How many requests it applies to; without it, to all until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What happens.
    pub action: FaultAction,
}

/// What happens to a request that a [`Fault`] matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FaultAction {
    /// This answer is given, and nothing is done.
    Status(FaultStatus),
    /// The operation is done, and then this answer is given.
    StatusAfter(FaultStatus),
    /// The connection is closed without an answer.
    Drop(DropWhen),
    /// The operation is done this many milliseconds later; everything else is as usual.
    DelayMs(u64),
    /// With `true`, there is never an answer.
    Hang(bool),
    /// The connection is closed now, and the operation takes effect this many milliseconds later.
    Late(u64),
}

/// When a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DropWhen {
    /// Nothing was done.
    Before,
    /// The operation was done.
    After,
}

/// An answer a [`Fault`] gives instead of the true one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultStatus {
    /// The HTTP status.
    pub code: u16,
    /// `reason` of the Status body.
    #[serde(default)]
    pub reason: String,
    /// `message` of the Status body.
    #[serde(default)]
    pub message: String,
    /// Seconds in a `Retry-After` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Whether the body is the bare message instead of a Status, as an overloaded server answers.
    #[serde(default)]
    pub plain_text: bool,
}

/// A [`Fault`] in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InjectedFault {
    /// Its number, unique in the life of the cluster.
    pub id: u64,
    /// The rule.
    #[serde(flatten)]
    pub fault: Fault,
    /// How many requests it has hit.
    pub hits: u64,
}

/// All faults in force, in the order they were injected.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    injected: Vec<InjectedFault>,
    last_id: u64,
}

impl Faults {
    /// Puts a fault in force and returns its number.
    pub(crate) fn inject(&mut self, fault: Fault) -> u64 {
        self.last_id += 1;
        self.injected.push(InjectedFault { id: self.last_id, fault, hits: 0 });
        self.last_id
    }

    /// Removes one fault; whether it was there.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.injected.len();
        self.injected.retain(|fault| fault.id != id);
        self.injected.len() < before
    }

    /// Removes all.
    pub(crate) fn clear(&mut self) {
        self.injected.clear();
    }

    /// All faults with their hits.
    pub(crate) fn list(&self) -> &[InjectedFault] {
        &self.injected
    }

    /// The action for this request, whose object carries these labels (`key=value`), counting the hit.
    pub(crate) fn strike(&mut self, request: &Request, labels: &[String]) -> Option<FaultAction> {
        let fault = self.injected.iter_mut().find(|fault| fault.applies(request, labels))?;
        fault.hits += 1;
        Some(fault.fault.action.clone())
    }

    /// Whether any fault looks at labels.
    pub(crate) fn look_at_labels(&self) -> bool {
        self.injected.iter().any(|injected| injected.fault.label_contains.is_some())
    }
}

impl InjectedFault {
    fn applies(&self, request: &Request, labels: &[String]) -> bool {
        let fault = &self.fault;
        let is = |wanted: &str, found: &str| wanted == "*" || wanted == found;
        fault.count.is_none_or(|count| self.hits < count)
            && is(&fault.verb, request.verb.name())
            && is(&fault.resource, &request.resource_name)
            && fault.name_prefix.as_ref().is_none_or(|prefix| {
                !request.object_name().is_empty() && request.object_name().starts_with(prefix.as_str())
            })
            && fault.label_contains.as_ref().is_none_or(|part| labels.iter().any(|label| label.contains(part.as_str())))
    }
}

/// What RBAC does not allow: a verb on a resource, both may be `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denial {
    /// The denied verb.
    pub verb: String,
    /// The plural name of the resource.
    pub resource: String,
}

impl Denial {
    /// Whether it covers this verb on this resource.
    pub(crate) fn covers(&self, verb: &str, resource: &str) -> bool {
        (self.verb == "*" || self.verb == verb) && (self.resource == "*" || self.resource == resource)
    }
}

/// Switches that concern connections and streams, watched by every connection and every watch stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Switches {
    /// Every connection but those that use `/sandbox/` is closed.
    pub(crate) outage: bool,
    /// Every request outside `/sandbox/` is answered 401.
    pub(crate) unauthorized: bool,
    /// Watch streams stay open and carry nothing.
    pub(crate) silence: bool,
    /// How often all watch streams were cut; a stream that sees it grow breaks off.
    pub(crate) cuts: u64,
}
