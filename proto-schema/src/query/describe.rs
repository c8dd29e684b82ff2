//! All that is known of one request or one machine.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lists::{MachineSummary, RequestSummary};
use crate::{ApiVersion, Call};

/// Most machines that [`RequestDetail::machines`] lists.
pub const DETAIL_MACHINES: usize = 100;

/// `query.describeRequest`: all that is known of one machine request or return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DescribeRequest {
    /// Its id.
    pub id: String,
}

impl Call for DescribeRequest {
    const METHOD: &'static str = "query.describeRequest";
    type Reply = RequestDetail;
}

/// All that is known of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestDetail {
    /// Version of this shape.
    pub api_version: ApiVersion,
    /// The request in a line.
    pub request: RequestSummary,
    /// Machines within maxNumber at acceptance; the rest failed at once. Equal to the count for a return.
    pub granted: u64,
    /// The deadline that was in force at acceptance, in seconds.
    pub deadline_seconds: u64,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// The idempotency key it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its answer is final.
    pub terminal: bool,
    /// Hash of the manifest it was accepted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_hash: Option<String>,
    /// Why machines are not ready (or not gone), the most frequent first.
    pub reasons: Vec<ReasonCount>,
    /// The first machines, at most [`DETAIL_MACHINES`].
    pub machines: Vec<MachineSummary>,
    /// How many machines there are.
    pub machines_total: u64,
}

/// Peer credentials of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Process id at the time of the call.
    pub pid: i32,
}

/// A reason and how many machines have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonCount {
    /// One word.
    pub reason: Arc<str>,
    /// The sentence of one of them.
    pub message: Arc<str>,
    /// How many machines.
    pub machines: u64,
    /// Name of one of them.
    pub example: Arc<str>,
}

/// `query.describeMachine`: all that is known of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DescribeMachine {
    /// Its name.
    pub name: String,
}

impl Call for DescribeMachine {
    const METHOD: &'static str = "query.describeMachine";
    type Reply = MachineDetail;
}

/// All that is known of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineDetail {
    /// Version of this shape.
    pub api_version: ApiVersion,
    /// The machine in a line.
    pub machine: MachineSummary,
    /// What the journal holds.
    pub durable: DurableFacts,
    /// What the watch shows; absent when there is no such pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodFacts>,
    /// What is to be done at the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueuedWork>,
    /// The API server's last refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Returns that cover it, the oldest first.
    pub returns: Vec<Arc<str>>,
    /// What happens next, in a sentence.
    pub next: String,
}

/// What the journal holds about a machine. Times are epoch seconds UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DurableFacts {
    /// Its pod's UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Arc<str>>,
    /// When the pod was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    /// When it was first ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<i64>,
    /// The final word: failed, lost, gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict_reason: Option<Arc<str>>,
    /// It was given back: a pod that appears under its name is deleted.
    pub tombstone: bool,
}

/// What the watch shows of a machine's pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodFacts {
    /// Its UID.
    pub uid: Arc<str>,
    /// Kubernetes' phase.
    pub phase: String,
    /// Kubernetes' Ready condition.
    pub ready: bool,
    /// Node it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Arc<str>>,
    /// Its IP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Arc<str>>,
    /// Why it is not ready, one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// Why it is not ready, a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Arc<str>>,
    /// When Kubernetes was asked to delete it, epoch seconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_at: Option<i64>,
}

/// A create or delete that is waiting or under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueuedWork {
    /// Which.
    pub action: QueuedAction,
    /// Sent, and not answered.
    pub in_flight: bool,
    /// Tries so far.
    pub attempts: u32,
    /// Seconds until the next try, when it sleeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_seconds: Option<u64>,
}

/// What is to be done at the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueuedAction {
    /// Make the pod.
    Create,
    /// Remove the pod.
    Delete,
    /// Look whether the pod exists.
    Look,
}
