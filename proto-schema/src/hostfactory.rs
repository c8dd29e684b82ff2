//! HostFactory's five verbs: our parameters around its documents, and the documents themselves.
//!
//! Field names and their order in replies are HostFactory's; nothing here may be renamed. What comes in is read
//! tolerantly (object or array, missing and unknown keys), what goes out is always the full shape with arrays.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;

pub use crate::key::{IdempotencyKey, KeyError, MAX_KEY_CHARS};
use crate::{
    Call,
    input::{InputDocument, clip, list, object, optional_list},
};

/// One of the five verbs: how to build its parameters without knowing which one it is.
pub trait Verb: Call {
    /// What the daemon reads `input` as.
    type Input: InputDocument;

    /// The call that carries `input`. Verbs that change nothing have no use for `key` and drop it.
    fn new(input: Box<RawValue>, key: Option<IdempotencyKey>, deadline: Option<u64>) -> Self;

    /// HostFactory's document, as the caller wrote it.
    fn input(&self) -> &RawValue;

    /// Epoch milliseconds after which the caller no longer waits: a call not decided by then is dropped.
    fn deadline(&self) -> Option<u64>;
}

// --- getAvailableTemplates ---

/// `hf.getAvailableTemplates`: which machines can be asked for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetAvailableTemplates {
    /// HostFactory's document; its content is ignored.
    #[schemars(with = "TemplatesInput")]
    pub input: Box<RawValue>,
    /// Epoch milliseconds after which the caller no longer waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
}

/// Input of getAvailableTemplates: any object (HostFactory may send the templates it knows; they are ignored).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplatesInput {}

impl InputDocument for TemplatesInput {
    const EXAMPLE: &'static str = "{}";
}

/// Reply of getAvailableTemplates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AvailableTemplates {
    /// The usable templates in the template file's order, each as the file has it without the pod specification.
    pub templates: Vec<serde_json::Map<String, serde_json::Value>>,
    /// For people.
    #[serde(default)]
    pub message: String,
}

impl Call for GetAvailableTemplates {
    const METHOD: &'static str = "hf.getAvailableTemplates";
    type Reply = AvailableTemplates;
}

// --- requestMachines ---

/// `hf.requestMachines`: asks for machines of one template.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RequestMachines {
    /// HostFactory's document.
    #[schemars(with = "RequestMachinesInput")]
    pub input: Box<RawValue>,
    /// Makes a repeated call harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<IdempotencyKey>,
    /// Epoch milliseconds after which the caller no longer waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
}

/// Input of requestMachines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestMachinesInput {
    /// What is asked for.
    #[serde(deserialize_with = "object")]
    pub template: TemplateDemand,
}

impl InputDocument for RequestMachinesInput {
    const EXAMPLE: &'static str = r#"{"template":{"templateId":"ID","machineCount":1}}"#;
}

/// A template and how many machines of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateDemand {
    /// A `templateId` of getAvailableTemplates.
    pub template_id: String,
    /// How many machines, at least 1. The daemon's configured limit is not checked here.
    #[serde(deserialize_with = "machine_count")]
    #[schemars(range(min = 1))]
    pub machine_count: u64,
}

/// Reply of requestMachines and of requestReturnMachines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// For people.
    pub message: String,
    /// What to ask getRequestStatus about.
    pub request_id: String,
}

impl Call for RequestMachines {
    const METHOD: &'static str = "hf.requestMachines";
    type Reply = Accepted;
}

// --- getRequestStatus ---

/// `hf.getRequestStatus`: how machine requests and returns stand.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetRequestStatus {
    /// HostFactory's document.
    #[schemars(with = "StatusInput")]
    pub input: Box<RawValue>,
    /// Epoch milliseconds after which the caller no longer waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
}

/// Input of getRequestStatus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatusInput {
    /// The requests asked about, in the order of the answer; none when the key is missing. One object is read as a
    /// list of one.
    #[serde(deserialize_with = "list")]
    pub requests: Vec<RequestRef>,
}

impl InputDocument for StatusInput {
    const EXAMPLE: &'static str = r#"{"requests":[{"requestId":"ID"}]}"#;
}

/// A request by its id. Any text: one that names nothing is answered as unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestRef {
    /// As answered by requestMachines or requestReturnMachines.
    pub request_id: String,
}

/// Reply of getRequestStatus: one entry for each id asked about, in that order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestStatuses {
    /// How each request stands.
    pub requests: Vec<RequestStatus>,
}

/// How one request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestStatus {
    /// Running until every machine asked for has a result.
    pub status: RequestState,
    /// Every machine of the request.
    pub machines: Vec<MachineStatus>,
    /// The id asked about.
    pub request_id: Arc<str>,
    /// For people; empty when there is nothing to say.
    pub message: Arc<str>,
}

/// State of a request as HostFactory knows it; it understands no other word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// At least one machine has no result yet, or we can't tell.
    Running,
    /// All machines succeeded.
    Complete,
    /// All machines have a result and at least one failed.
    CompleteWithError,
}

/// How one machine of a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineStatus {
    /// The pod's UID, empty until it is known.
    pub machine_id: Arc<str>,
    /// The pod's name, which is its host name.
    pub name: Arc<str>,
    /// What came of it.
    pub result: MachineResult,
    /// What it is doing.
    pub status: MachineState,
    /// The pod's IP, empty until it is known.
    pub private_ip_address: Arc<str>,
    /// Always empty.
    pub public_ip_address: Arc<str>,
    /// Epoch seconds UTC, never 0 and never in the future: HostFactory's requestor calculates with it.
    pub launchtime: i64,
    /// Why, when it failed; else for people or empty.
    pub message: Arc<str>,
}

/// What came of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MachineResult {
    /// Not decided yet.
    Executing,
    /// Ready; or, in a return, gone.
    Succeed,
    /// Will not become ready; or, in a return, could not be removed in time.
    Fail,
}

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MachineState {
    /// Coming up or up.
    Running,
    /// Stopped, and able to start again.
    Stopped,
    /// Gone, or of no use any more.
    Terminated,
    /// On its way out of the cluster.
    ShuttingDown,
    /// On its way to stopped.
    Stopping,
}

impl Call for GetRequestStatus {
    const METHOD: &'static str = "hf.getRequestStatus";
    type Reply = RequestStatuses;
}

// --- requestReturnMachines ---

/// `hf.requestReturnMachines`: gives machines back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RequestReturnMachines {
    /// HostFactory's document.
    #[schemars(with = "ReturnInput")]
    pub input: Box<RawValue>,
    /// Makes a repeated call harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<IdempotencyKey>,
    /// Epoch milliseconds after which the caller no longer waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
}

/// Input of requestReturnMachines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReturnInput {
    /// The machines given back; one object is read as a list of one. An empty list is for the daemon to refuse.
    #[serde(deserialize_with = "list")]
    pub machines: Vec<MachineRef>,
}

impl InputDocument for ReturnInput {
    const EXAMPLE: &'static str = r#"{"machines":[{"name":"NAME"}]}"#;
}

/// A machine by its name. Names are data: any text is legal and harmless.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineRef {
    /// The machine's name.
    pub name: String,
    /// Its id, when the caller has it; `null` counts as absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
}

impl Call for RequestReturnMachines {
    const METHOD: &'static str = "hf.requestReturnMachines";
    type Reply = Accepted;
}

// --- getReturnRequests ---

/// `hf.getReturnRequests`: which machines HostFactory should give back because they are lost or about to be.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetReturnRequests {
    /// HostFactory's document.
    #[schemars(with = "ReturnRequestsInput")]
    pub input: Box<RawValue>,
    /// Epoch milliseconds after which the caller no longer waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
}

/// Input of getReturnRequests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReturnRequestsInput {
    /// All machines HostFactory believes to have from us; `None` when it doesn't say, which is not the same as an
    /// empty list.
    #[serde(deserialize_with = "optional_list", skip_serializing_if = "Option::is_none")]
    pub machines: Option<Vec<MachineRef>>,
}

impl InputDocument for ReturnRequestsInput {
    const EXAMPLE: &'static str = r#"{"machines":[{"name":"NAME","machineId":"ID"}]} or {}"#;
}

/// Reply of getReturnRequests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReturnRequests {
    /// Always `complete`: the question itself has no running state.
    pub status: RequestState,
    /// For people.
    pub message: String,
    /// The machines to give back; often none.
    pub requests: Vec<ReturnRequest>,
}

/// One machine to give back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReturnRequest {
    /// Seconds until it is lost; 0 when it is lost already.
    pub grace_period: u64,
    /// The machine's name.
    pub machine: Arc<str>,
}

impl Call for GetReturnRequests {
    const METHOD: &'static str = "hf.getReturnRequests";
    type Reply = ReturnRequests;
}

/// Writes [`Verb`] for a verb; the second form is for those that take an idempotency key.
macro_rules! verb {
    ($call:ident, $input:ty) => {
        verb!(@impl $call, $input, |input, _key, deadline| $call { input, deadline });
    };
    ($call:ident, $input:ty, keyed) => {
        verb!(@impl $call, $input, |input, key, deadline| $call { input, key, deadline });
    };
    (@impl $call:ident, $input:ty, |$in:ident, $key:ident, $deadline:ident| $new:expr) => {
        impl Verb for $call {
            type Input = $input;

            fn new($in: Box<RawValue>, $key: Option<IdempotencyKey>, $deadline: Option<u64>) -> Self {
                $new
            }

            fn input(&self) -> &RawValue {
                &self.input
            }

            fn deadline(&self) -> Option<u64> {
                self.deadline
            }
        }
    };
}

verb!(GetAvailableTemplates, TemplatesInput);
verb!(RequestMachines, RequestMachinesInput, keyed);
verb!(GetRequestStatus, StatusInput);
verb!(RequestReturnMachines, ReturnInput, keyed);
verb!(GetReturnRequests, ReturnRequestsInput);

/// Reads a machine count from the value's own text: serde would turn `1e1` or a number beyond 64 bits into a float
/// and lose what the caller wrote.
fn machine_count<'de, D: Deserializer<'de>>(source: D) -> Result<u64, D::Error> {
    let written = Box::<RawValue>::deserialize(source)?;
    let text = written.get();
    match text.parse::<u64>() {
        Ok(count) if count >= 1 => Ok(count),
        _ => Err(de::Error::custom(format_args!(
            "{} is not a number of machines: write a whole number of at least 1, without quotes, fraction or exponent",
            clip(text)
        ))),
    }
}
