//! `query.status`: the daemon's health.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApiVersion, Call};

/// `query.status`: is the daemon well, what is wrong, what to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetStatus {}

impl Call for GetStatus {
    const METHOD: &'static str = "query.status";
    type Reply = Status;
}

/// The daemon's health on one screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of this shape.
    pub api_version: ApiVersion,
    /// Version of the daemon.
    pub version: String,
    /// HostFactory's name of this provider instance.
    pub instance: String,
    /// The daemon's process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// It accepts requests and trusts what it sees.
    pub ready: bool,
    /// What it is doing.
    pub state: ServingState,
    /// The cluster as seen from here.
    pub kube: KubeStatus,
    /// The journal.
    pub journal: JournalStatus,
    /// The template file.
    pub templates: TemplateCounts,
    /// Machine requests.
    pub requests: RequestCounts,
    /// Return requests.
    pub returns: ReturnCounts,
    /// Machines, by what they are doing.
    pub machines: MachineCounts,
    /// Pods as the watch shows them.
    pub pods: PodCounts,
    /// Work toward the API server.
    pub queues: QueueCounts,
    /// API calls since the start by "verb resource", for example "create pods".
    pub api_calls: BTreeMap<String, u64>,
    /// What a person should know, the gravest first.
    pub warnings: Vec<Warning>,
}

/// What the daemon is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ServingState {
    /// Accepts requests and trusts what it sees.
    Serving,
    /// Has not yet seen the cluster.
    Starting,
    /// Answers what it knows, but sees the cluster late or not at all.
    Degraded,
    /// Waits for an operator (rebuild, foreign namespace, second writer) or for disk space.
    Blocked,
}

/// The cluster as seen from here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeStatus {
    /// Namespace of the pods.
    pub namespace: String,
    /// Context of the kubeconfig.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// URL of the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The pods were listed completely.
    pub synced: bool,
    /// The watch was heard within its limit.
    pub fresh: bool,
    /// Seconds since the watch was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heard_seconds: Option<u64>,
    /// Why the cluster can't be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JournalStatus {
    /// Where it is.
    pub path: String,
    /// Its size with all its files, in bytes.
    pub bytes: u64,
    /// Its random id, which the pods carry.
    pub id: String,
    /// Commits succeed.
    pub writable: bool,
    /// Why they don't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Templates by usability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TemplateCounts {
    /// Machines can be asked for.
    pub usable: u64,
    /// In the file, but not usable.
    pub broken: u64,
}

/// Machine requests by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequestCounts {
    /// Without a final answer.
    pub open: u64,
    /// With one.
    pub terminal: u64,
}

/// Return requests by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReturnCounts {
    /// At least one machine is not gone.
    pub open: u64,
    /// With a final answer.
    pub ended: u64,
}

/// Machines by what they are doing; those known gone are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MachineCounts {
    /// Accepted, create not yet sent.
    pub wanted: u64,
    /// Create sent, pod not yet known.
    pub creating: u64,
    /// Pod exists and is not ready.
    pub pending: u64,
    /// Was ready, and is in use.
    pub ready: u64,
    /// Failed, pod not known gone.
    pub failed: u64,
    /// Lost after it was ready.
    pub lost: u64,
    /// Given back, pod not known gone.
    pub returning: u64,
}

/// Pods as the watch shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PodCounts {
    /// Pods of our provider.
    pub cached: u64,
    /// Those of them whose request is not known.
    pub orphans: u64,
}

/// Work toward the API server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueCounts {
    /// Creates that wait.
    pub create: u64,
    /// Deletes that wait.
    pub delete: u64,
    /// Calls under way.
    pub in_flight: u64,
    /// Calls that hfd aims to have under way at once: as many as the API server took well when it was busy last. For a
    /// moment after it fell, more are under way.
    pub limit: u64,
    /// What `limit` never passes, as configured (`kube.concurrency`).
    pub most: u64,
}

/// Something a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// Stable word, also a metric label.
    pub code: String,
    /// How grave.
    pub severity: Severity,
    /// What is wrong, with the values.
    pub message: String,
    /// What to do about it.
    pub action: String,
}

/// How grave a warning is; the graver sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Work stands still, or will be lost.
    Error,
    /// Work goes on.
    Warning,
}
