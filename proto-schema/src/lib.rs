//! The contract between `hfctl` and `hfd`: method names, parameters, replies, error codes, and HostFactory's own
//! documents with their exact field names.
//!
//! Everything here is a value that travels. A request type carries its method name ([`Call::METHOD`]) and its reply
//! type, so that neither side ever spells a method name or pairs a method with the wrong reply. JSON Schemas and an
//! OpenRPC document are generated from the same types ([`schema`]) and committed beside them.
//!
//! This crate never does I/O, reads no clock and knows nothing of Kubernetes. Feature `server` adds one helper that
//! puts a [`Call`] on a jsonrpsee module.

pub mod admin;
pub mod error;
pub mod hostfactory;
pub mod input;
mod key;
pub mod query;
pub mod schema;
#[cfg(feature = "server")]
pub mod server;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A request that can be sent to `hfd`: the parameters themselves, sent by name.
pub trait Call: Serialize + DeserializeOwned + JsonSchema {
    /// The JSON-RPC method name.
    const METHOD: &'static str;
    /// What a successful call answers.
    type Reply: Serialize + DeserializeOwned + JsonSchema;
}

/// Version of every shape that is ours (HostFactory's documents have none). A reply of another version is refused
/// when it is read, so that a newer daemon is noticed instead of misread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first version.
    #[default]
    #[serde(rename = "hfd/v1")]
    V1,
}

/// `rpc.discover`: the OpenRPC document of this daemon.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
pub struct Discover {}

impl Call for Discover {
    const METHOD: &'static str = "rpc.discover";
    type Reply = serde_json::Value;
}

/// Something that wants to see every call once, with its type.
pub trait CallVisitor {
    /// Called once for each method.
    fn visit<C: Call>(&mut self);
}

/// Shows `visitor` every method of the interface. The one list of them: documents and tests are made from it.
pub fn visit_calls(visitor: &mut impl CallVisitor) {
    visitor.visit::<hostfactory::GetAvailableTemplates>();
    visitor.visit::<hostfactory::RequestMachines>();
    visitor.visit::<hostfactory::GetRequestStatus>();
    visitor.visit::<hostfactory::RequestReturnMachines>();
    visitor.visit::<hostfactory::GetReturnRequests>();
    visitor.visit::<query::GetStatus>();
    visitor.visit::<query::ListRequests>();
    visitor.visit::<query::ListMachines>();
    visitor.visit::<query::ListTemplates>();
    visitor.visit::<query::DescribeRequest>();
    visitor.visit::<query::DescribeMachine>();
    visitor.visit::<admin::Rebuild>();
    visitor.visit::<admin::AcceptNamespace>();
    visitor.visit::<admin::ReturnMachines>();
    visitor.visit::<Discover>();
}
