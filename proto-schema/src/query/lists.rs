//! Lists: requests, machines and templates, one entry for each.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ApiVersion, Call,
    hostfactory::{MachineResult, RequestState},
};

/// `query.listRequests`: machine requests and returns, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListRequests {
    /// Only of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<RequestKind>,
    /// Only machine requests of this template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Only those without a final answer.
    pub open_only: bool,
    /// At most so many; without it, the daemon's own bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl Call for ListRequests {
    const METHOD: &'static str = "query.listRequests";
    type Reply = RequestList;
}

/// Machine request or return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// Asks for machines.
    Machine,
    /// Gives machines back.
    Return,
}

/// Requests, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestList {
    /// Version of this shape.
    pub api_version: ApiVersion,
    /// As many as the limit allows.
    pub items: Vec<RequestSummary>,
    /// How many fit the filters.
    pub total: u64,
}

/// One request in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestSummary {
    /// Its id.
    pub request_id: Arc<str>,
    /// Machine request or return.
    pub kind: RequestKind,
    /// Template of a machine request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Arc<str>>,
    /// As getRequestStatus would answer.
    pub status: RequestState,
    /// Machines asked for.
    pub count: u64,
    /// Machines that succeeded.
    pub succeeded: u64,
    /// Machines that failed.
    pub failed: u64,
    /// Machines without a result.
    pub executing: u64,
    /// Seconds since acceptance.
    pub age_seconds: u64,
    /// When it was accepted, epoch seconds UTC.
    pub accepted_at: i64,
    /// HostFactory asked about it at least once.
    pub polled: bool,
    /// As getRequestStatus would answer.
    pub message: Arc<str>,
}

/// `query.listMachines`: machines by request and ordinal, the newest request first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMachines {
    /// Only of this machine request, or covered by this return.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Only of this template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// At most so many; without it, the daemon's own bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl Call for ListMachines {
    const METHOD: &'static str = "query.listMachines";
    type Reply = MachineList;
}

/// Machines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineList {
    /// Version of this shape.
    pub api_version: ApiVersion,
    /// As many as the limit allows.
    pub items: Vec<MachineSummary>,
    /// How many fit the filters.
    pub total: u64,
}

/// One machine in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineSummary {
    /// Its name, which is its pod's name.
    pub name: Arc<str>,
    /// The machine request it belongs to.
    pub request_id: Arc<str>,
    /// Template of that request.
    pub template: Arc<str>,
    /// Where it is in its life.
    pub state: MachinePhase,
    /// Its result in its machine request.
    pub result: MachineResult,
    /// Node its pod is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Arc<str>>,
    /// Its pod's IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Arc<str>>,
    /// One word why it is where it is, the scheduler's or the kubelet's own when they gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// The sentence that goes with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Arc<str>>,
    /// Seconds since the request was accepted.
    pub age_seconds: u64,
}

/// Where a machine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MachinePhase {
    /// Accepted, create not yet sent.
    Wanted,
    /// Create sent, pod not yet known.
    Creating,
    /// Pod exists and is not ready.
    Pending,
    /// Was ready.
    Ready,
    /// Failed for good.
    Failed,
    /// Lost after it was ready.
    Lost,
    /// Given back, pod not known gone.
    Returning,
    /// Its pod is known gone.
    Gone,
}

/// `query.listTemplates`: the template file as it was read.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListTemplates {}

impl Call for ListTemplates {
    const METHOD: &'static str = "query.listTemplates";
    type Reply = TemplateList;
}

/// Templates in the file's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateList {
    /// Version of this shape.
    pub api_version: ApiVersion,
    /// Every template of the file.
    pub items: Vec<TemplateSummary>,
}

/// One template in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateSummary {
    /// Its id.
    pub template_id: String,
    /// Machines can be asked for.
    pub usable: bool,
    /// The file's maxNumber: -1 = no limit of ours, 0 = none.
    pub max_number: i64,
    /// Machines that count against it.
    pub in_use: u64,
    /// Why it is not usable, or why the last good version is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was changed or ignored in it.
    pub warnings: Vec<String>,
    /// The manifest file it names.
    pub source: String,
}
