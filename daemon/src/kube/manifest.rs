//! From a resolved manifest and a request to the pods of its machines. Pure.
//!
//! What is the same for all machines of a request is serialised once; a machine adds its name and ordinal between the
//! pieces. Name, namespace, host name, our labels and annotations are always ours; of the manifest's metadata only
//! labels and annotations are carried over, so no `generateName`, finalizer or owner can come in (`lifecycle.md` 12).

use hfd_core::id::{JournalId, MachineName, RequestId, TemplateId};
use serde_json::{Map, Value, json};

use super::names;

/// What every pod of one request says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestIdentity {
    /// The machine request.
    pub request: RequestId,
    /// The namespace of the pods.
    pub namespace: String,
    /// The provider instance; a legal label value.
    pub instance: String,
    /// The template that was asked for.
    pub template: TemplateId,
    /// Machines accepted.
    pub count: u32,
    /// When, epoch seconds.
    pub accepted_at: i64,
    /// Our journal.
    pub journal: JournalId,
}

/// The pods of one request, ready to be written out.
///
/// ```json
/// {"apiVersion":"v1","kind":"Pod","metadata":{"name":"NAME","namespace":..,"labels":{..},
///  "annotations":{..,"hfd/ordinal":"ORDINAL"}},"spec":{"hostname":"NAME",..}}
/// ```
#[derive(Debug, Clone)]
pub struct PodManifests {
    request: RequestId,
    to_name: String,
    to_ordinal: String,
    to_hostname: String,
    to_end: String,
}

impl PodManifests {
    /// Prepares the pods of `identity` from the manifest that was resolved when the request was accepted.
    #[must_use]
    pub fn new(manifest: &Value, identity: &RequestIdentity) -> Self {
        let metadata = manifest.get("metadata");
        let labels = overlaid(metadata.and_then(|metadata| metadata.get("labels")), labels(identity));
        let mut annotations = overlaid(metadata.and_then(|metadata| metadata.get("annotations")), notes(identity));
        annotations.shift_remove(names::NOTE_ORDINAL);
        let mut spec = manifest.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        spec.shift_remove("hostname");

        let namespace = Value::from(identity.namespace.as_str());
        let labels = Value::from(labels);
        let annotations = open_ended(annotations);
        let ordinal = Value::from(names::NOTE_ORDINAL);
        let spec_rest = Value::from(spec).to_string();
        let comma = if spec_rest == "{}" { "" } else { "," };
        Self {
            request: identity.request,
            to_name: r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":""#.to_owned(),
            to_ordinal: format!(
                r#"","namespace":{namespace},"labels":{labels},"annotations":{annotations},{ordinal}:""#
            ),
            to_hostname: r#""}},"spec":{"hostname":""#.to_owned(),
            to_end: format!(r#""{comma}{}}}"#, &spec_rest[1..]),
        }
    }

    /// The pod of one machine, as the body of its create.
    #[must_use]
    pub fn pod(&self, ordinal: u32) -> Vec<u8> {
        let name = MachineName { request: self.request, ordinal }.to_string();
        let ordinal = ordinal.to_string();
        let pieces = [&self.to_name, &name, &self.to_ordinal, &ordinal, &self.to_hostname, &name, &self.to_end];
        let mut body = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            body.extend_from_slice(piece.as_bytes());
        }
        body
    }
}

fn labels(identity: &RequestIdentity) -> Value {
    json!({
        names::MANAGED_BY: names::MANAGER,
        names::REQUEST: identity.request.to_string(),
        names::PROVIDER: identity.instance,
        names::TEMPLATE: names::template_label(&identity.template),
    })
}

fn notes(identity: &RequestIdentity) -> Value {
    json!({
        names::NOTE_TEMPLATE: identity.template.as_str(),
        names::NOTE_COUNT: identity.count.to_string(),
        names::NOTE_ACCEPTED_AT: identity.accepted_at.to_string(),
        names::NOTE_JOURNAL: identity.journal.to_string(),
    })
}

/// The template's own entries, then ours: ours win.
fn overlaid(theirs: Option<&Value>, ours: Value) -> Map<String, Value> {
    let mut entries = theirs.and_then(Value::as_object).cloned().unwrap_or_default();
    if let Value::Object(ours) = ours {
        entries.extend(ours);
    }
    entries
}

/// A non-empty object without its closing brace.
fn open_ended(entries: Map<String, Value>) -> String {
    let mut text = Value::from(entries).to_string();
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> RequestIdentity {
        RequestIdentity {
            request: RequestId::from_random([9; 10]),
            namespace: "symphony".to_owned(),
            instance: "k8s-hf".to_owned(),
            template: "Template-K8s-A".parse().expect("a legal template id"),
            count: 10,
            accepted_at: 1_763_000_000,
            journal: JournalId([0xab; 8]),
        }
    }

    fn pod(manifest: &Value, ordinal: u32) -> Value {
        let body = PodManifests::new(manifest, &identity()).pod(ordinal);
        serde_json::from_slice(&body).expect("the pieces make one JSON document")
    }

    #[test]
    fn a_pod_carries_its_name_our_labels_and_what_rebuilds_its_request() {
        let pod = pod(&json!({"spec": {"containers": [{"name": "main", "image": "x\"y"}]}}), 7);
        let request = identity().request.to_string();
        let name = format!("{request}-00007");
        assert_eq!(
            pod,
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": "symphony",
                    "labels": {
                        "app.kubernetes.io/managed-by": "hfd",
                        "symphony/hostfactory-reqid": request,
                        "symphony/hostfactory-provider": "k8s-hf",
                        "symphony/hostfactory-template": "Template-K8s-A",
                    },
                    "annotations": {
                        "hfd/template": "Template-K8s-A",
                        "hfd/count": "10",
                        "hfd/accepted-at": "1763000000",
                        "hfd/journal": "abababababababab",
                        "hfd/ordinal": "7",
                    },
                },
                "spec": {"hostname": name, "containers": [{"name": "main", "image": "x\"y"}]},
            })
        );
    }

    #[test]
    fn what_a_template_sets_of_ours_is_overruled_and_the_rest_is_kept() {
        let manifest = json!({
            "apiVersion": "v2", "kind": "Job", "status": {"phase": "Running"},
            "metadata": {
                "name": "theirs", "namespace": "theirs", "generateName": "x-", "finalizers": ["a/b"],
                "ownerReferences": [{}], "uid": "1",
                "labels": {"team": "risk", "symphony/hostfactory-reqid": "theirs", "app.kubernetes.io/managed-by": "helm"},
                "annotations": {"note": "kept", "hfd/ordinal": "99", "hfd/journal": "theirs"},
            },
            "spec": {"hostname": "theirs", "terminationGracePeriodSeconds": 7, "subdomain": "s"},
        });
        let pod = pod(&manifest, 0);
        let metadata = pod["metadata"].as_object().expect("metadata is an object");
        assert_eq!(metadata.keys().collect::<Vec<_>>(), ["name", "namespace", "labels", "annotations"]);
        assert_eq!(metadata["labels"]["team"], "risk");
        assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "hfd");
        assert_eq!(metadata["annotations"]["note"], "kept");
        assert_eq!(metadata["annotations"]["hfd/ordinal"], "0");
        assert_eq!(metadata["annotations"]["hfd/journal"], "abababababababab");
        assert_eq!(pod["spec"]["hostname"], metadata["name"]);
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 7);
        assert_eq!(pod["kind"], "Pod");
        assert!(pod.get("status").is_none());
    }

    #[test]
    fn a_manifest_without_spec_or_of_the_wrong_kind_still_makes_a_document() {
        for manifest in [json!({}), json!({"metadata": 3, "spec": []}), json!([]), json!(null)] {
            assert_eq!(pod(&manifest, 99_999)["spec"].as_object().map(Map::len), Some(1));
        }
    }
}
