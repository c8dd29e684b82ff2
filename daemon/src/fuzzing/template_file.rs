//! The template file and the manifests that it names.

use std::fs;

use hfd_core::id::{JournalId, RequestId};
use serde_json::Value;

use super::{Taken, assert_tells};
use crate::{
    kube::{PodManifests, RequestIdentity, names},
    templates::{Source, Template, TemplateSet, load},
};

/// Between the template file and the manifest, on a line of its own. Without it the bytes are a manifest alone.
const PARTING: &str = "\n%%\n";

/// Two entries for one manifest, a whole Pod or a bare spec.
const ENTRIES: &str = r#"{"templates": [
    {"templateId": "pod", "maxNumber": 1, "attributes": {"type": "X86_64", "nram": 1}, "podSpec": "pod.yaml"},
    {"templateId": "spec", "maxNumber": 1, "attributes": {"type": "X86_64", "nram": 1}, "podSpecYaml": "pod.yaml"}]}"#;

/// Reads the bytes as a template file and its manifest, and makes a pod of each usable template.
#[must_use]
pub fn template_file(data: &[u8]) -> Taken {
    let text = String::from_utf8_lossy(data);
    let (file, manifest) = text.split_once(PARTING).unwrap_or((ENTRIES, &text));
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = place.path().join("k8sprov_templates.json");
    fs::write(&path, file).expect("a file");
    fs::write(place.path().join("pod.yaml"), manifest).expect("a file");
    let source = Source { candidates: vec![path.clone()], allow_host_network: false };

    let set = load(&source, None, 1);
    for warning in set.warnings() {
        assert_tells(&warning, 4 * data.len() + 2000);
    }
    for template in &set.usable {
        check(template);
    }
    if let Ok(wire) = set.available() {
        // An attribute may have such a name.
        let shown = wire.iter().flat_map(|template| template.keys()).find(|key| key.starts_with("podSpec"));
        assert!(shown.is_none(), "HostFactory is shown where the manifests are: {wire:?}");
    }
    keeps_what_worked(&source, &set);
    Taken::accepted_if(!set.usable.is_empty())
}

/// An edit that breaks the file takes nothing out of force.
fn keeps_what_worked(source: &Source, set: &TemplateSet) {
    fs::write(&source.candidates[0], "{").expect("a file");
    let broken = load(source, Some(set), 2);
    assert!(broken.error.is_some(), "half a file is told of");
    assert_eq!(broken.usable, set.usable);
}

fn check(template: &Template) {
    let identity = RequestIdentity {
        request: RequestId::from_random([1; 10]),
        namespace: "symphony".to_owned(),
        instance: "k8s-hf".to_owned(),
        template: template.id.clone(),
        count: 1,
        accepted_at: 1,
        journal: JournalId([1; 8]),
    };
    // The journal keeps the manifest as text.
    let stored: Value = serde_json::from_str(&template.manifest.to_string()).expect("a manifest can be stored");
    let body = PodManifests::new(&stored, &identity).pod(0);
    let pod: Value = serde_json::from_slice(&body).expect("a pod is JSON");
    let name = format!("{}-00000", identity.request);
    assert_eq!((&pod["apiVersion"], &pod["kind"]), (&Value::from("v1"), &Value::from("Pod")));
    let metadata = &pod["metadata"];
    assert_eq!(metadata["name"], name.as_str());
    assert_eq!(metadata["namespace"], "symphony");
    assert_eq!(metadata["labels"][names::MANAGED_BY], names::MANAGER);
    assert_eq!(metadata["labels"][names::REQUEST], identity.request.to_string());
    assert_eq!(metadata["labels"][names::PROVIDER], "k8s-hf");
    assert_eq!(metadata["labels"][names::TEMPLATE], names::template_label(&template.id));
    assert_eq!(metadata["annotations"][names::NOTE_ORDINAL], "0");
    assert_eq!(metadata["annotations"][names::NOTE_JOURNAL], identity.journal.to_string());
    let fields: Vec<_> = metadata.as_object().expect("metadata is an object").keys().collect();
    assert_eq!(fields, ["name", "namespace", "labels", "annotations"], "what else came in");
    assert_eq!(pod["spec"]["hostname"], name.as_str());
    assert_ne!(pod["spec"]["hostNetwork"], true, "a pod in the network of its node");
    assert_ne!(pod["spec"]["setHostnameAsFQDN"], true, "a pod whose host name is not its own");
    assert!(pod["spec"]["containers"].as_array().is_some_and(|list| !list.is_empty()), "a pod without containers");
    // What Kubernetes' types do not read back is no pod that an API server would take.
    serde_json::from_value::<k8s_openapi::api::core::v1::Pod>(pod).expect("a pod of Kubernetes' types");
}
