//! What an operator tells the daemon to do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApiVersion, Call};

/// `admin.rebuild`: adopt the pods of our provider that the journal doesn't know.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Rebuild {}

/// What a rebuild adopted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rebuilt {
    /// Version of this shape.
    pub api_version: ApiVersion,
    /// Machine requests that are known again.
    pub adopted_requests: u64,
    /// Machines of those requests that exist as pods.
    pub adopted_machines: u64,
    /// For people.
    pub message: String,
}

impl Call for Rebuild {
    const METHOD: &'static str = "admin.rebuild";
    type Reply = Rebuilt;
}

/// `admin.acceptNamespace`: bind the journal to the namespace as it is now, after it was deleted and made again.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct AcceptNamespace {
    /// UID of the namespace to accept; without it, the one the daemon sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// The namespace was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceAccepted {
    /// Version of this shape.
    pub api_version: ApiVersion,
    /// For people.
    pub message: String,
}

impl Call for AcceptNamespace {
    const METHOD: &'static str = "admin.acceptNamespace";
    type Reply = NamespaceAccepted;
}

/// `admin.returnMachines`: give machines back by hand, as HostFactory would (`hfctl return MACHINE...`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReturnMachines {
    /// Names of machines.
    pub machines: Vec<String>,
    /// Delete their pods without grace, those that hang in Terminating too: for a node that is known dead. A container
    /// that still runs there is not waited for.
    #[serde(default)]
    pub force: bool,
}

/// The machines are being returned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachinesReturned {
    /// Version of this shape.
    pub api_version: ApiVersion,
    /// The return, for `hfctl describe request`.
    pub request_id: String,
    /// For people.
    pub message: String,
}

impl Call for ReturnMachines {
    const METHOD: &'static str = "admin.returnMachines";
    type Reply = MachinesReturned;
}
