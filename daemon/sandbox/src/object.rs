//! What the store holds: a Kubernetes object as the bytes that go out, beside the few fields the server itself needs.
//!
//! An [`Object`] never changes; an update makes a new one. So lists, watches and old versions share them freely.

use std::collections::BTreeMap;

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use serde_json::Value;

/// The body of every answer.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, crate::server::Dropped>;

/// The resources that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resource {
    Pods,
    Nodes,
    Namespaces,
    Quotas,
    Events,
}

impl Resource {
    /// All of them, in the order of their discriminants.
    pub(crate) const ALL: [Self; 5] = [Self::Pods, Self::Nodes, Self::Namespaces, Self::Quotas, Self::Events];

    /// The name in paths and in messages.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::Namespaces => "namespaces",
            Self::Quotas => "resourcequotas",
            Self::Events => "events",
        }
    }

    /// The value of `kind`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Pods => "Pod",
            Self::Nodes => "Node",
            Self::Namespaces => "Namespace",
            Self::Quotas => "ResourceQuota",
            Self::Events => "Event",
        }
    }

    /// Whether objects of it live in a namespace.
    pub(crate) fn is_namespaced(self) -> bool {
        !matches!(self, Self::Nodes | Self::Namespaces)
    }

    /// The resource of this name in a path.
    pub(crate) fn from_plural(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.plural() == name)
    }
}

/// Where an object is stored. The namespace is empty for cluster-wide resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    /// The key of an object in a namespace, or of a cluster-wide one with an empty namespace.
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// One version of one object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) version: u64,
    pub(crate) labels: BTreeMap<String, String>,
    /// The values that field selectors may ask for, by their path.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub(crate) terminating: bool,
    /// Pods and nodes: whether the condition Ready is True.
    pub(crate) ready: bool,
    /// The whole object as it goes over the wire.
    pub(crate) json: Bytes,
}

impl Object {
    /// Takes over a complete object: the fields the server needs are read from it, the rest stays bytes.
    pub(crate) fn new(resource: Resource, version: u64, value: &Value) -> Self {
        let key = Key::new(text(value, "/metadata/namespace"), text(value, "/metadata/name"));
        let labels = value.pointer("/metadata/labels").and_then(Value::as_object);
        let mut fields: Vec<_> = selectable_fields(resource)
            .iter()
            .map(|(path, pointer)| (*path, value.pointer(pointer).map(plain).unwrap_or_default()))
            .collect();
        for (path, text) in &mut fields {
            // the real server selects on the zero value of a boolean too
            if [UNSCHEDULABLE, HOST_NETWORK].contains(path) && text.is_empty() {
                "false".clone_into(text);
            }
        }
        Self {
            uid: text(value, "/metadata/uid").to_owned(),
            version,
            labels: labels
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            fields,
            terminating: value.pointer("/metadata/deletionTimestamp").is_some_and(|stamp| !stamp.is_null()),
            ready: condition(value, "Ready") == Some("True"),
            json: Bytes::from(value.to_string()),
            key,
        }
    }

    /// The object as a tree, to be read closely or changed.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.json).expect("the bytes were serialised from a value")
    }

    /// The value behind a selectable field.
    pub(crate) fn field(&self, path: &str) -> &str {
        match path {
            "metadata.name" => &self.key.name,
            "metadata.namespace" => &self.key.namespace,
            _ => self.fields.iter().find(|(known, _)| *known == path).map_or("", |(_, value)| value),
        }
    }

    /// Pods only: whether the pod has ended for good.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.field("status.phase"), "Succeeded" | "Failed")
    }
}

const UNSCHEDULABLE: &str = "spec.unschedulable";
const HOST_NETWORK: &str = "spec.hostNetwork";

/// The fields that a field selector may name beside `metadata.name` and `metadata.namespace`, with their JSON pointers.
pub(crate) fn selectable_fields(resource: Resource) -> &'static [(&'static str, &'static str)] {
    match resource {
        Resource::Pods => &[
            ("spec.nodeName", "/spec/nodeName"),
            ("spec.restartPolicy", "/spec/restartPolicy"),
            ("spec.schedulerName", "/spec/schedulerName"),
            ("spec.serviceAccountName", "/spec/serviceAccountName"),
            (HOST_NETWORK, "/spec/hostNetwork"),
            ("status.phase", "/status/phase"),
            ("status.podIP", "/status/podIP"),
            ("status.podIPs", "/status/podIP"),
            ("status.nominatedNodeName", "/status/nominatedNodeName"),
        ],
        Resource::Nodes => &[(UNSCHEDULABLE, "/spec/unschedulable")],
        Resource::Namespaces => &[("status.phase", "/status/phase")],
        Resource::Quotas => &[],
        Resource::Events => &[
            ("involvedObject.kind", "/involvedObject/kind"),
            ("involvedObject.namespace", "/involvedObject/namespace"),
            ("involvedObject.name", "/involvedObject/name"),
            ("involvedObject.uid", "/involvedObject/uid"),
            ("involvedObject.apiVersion", "/involvedObject/apiVersion"),
            ("involvedObject.resourceVersion", "/involvedObject/resourceVersion"),
            ("involvedObject.fieldPath", "/involvedObject/fieldPath"),
            ("reason", "/reason"),
            ("reportingComponent", "/reportingComponent"),
            ("source", "/source/component"),
            ("type", "/type"),
        ],
    }
}

/// The string at a pointer, or "".
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The status of a condition by its type.
pub(crate) fn condition<'a>(value: &'a Value, kind: &str) -> Option<&'a str> {
    value
        .pointer("/status/conditions")?
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)?
        .get("status")?
        .as_str()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
