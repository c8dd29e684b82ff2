//! A Pod manifest: YAML or JSON to a checked, cleaned JSON value.
//!
//! Checked means: Kubernetes' own types accept it, and a pod made from it can start. Whether a cluster admits it is
//! the API server's to say. Cleaned means: nothing is left in it that is ours to set (`lifecycle.md` 12).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::{Map, Value, json};

use crate::kube::names;

/// Whether a file holds a whole Pod or only its `spec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A Pod; a bare `spec` is taken as well when the document has neither `kind` nor `spec`.
    Pod,
    /// A bare `spec`; a whole Pod is taken as well.
    Spec,
}

/// A manifest that pods can be made of.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) value: Value,
    pub(super) warnings: Vec<String>,
}

/// Metadata that the API server fills in; it stays behind when a manifest was exported from a cluster.
const SERVER_METADATA: [&str; 8] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];
const OUR_LABELS: [&str; 4] = [names::MANAGED_BY, names::REQUEST, names::PROVIDER, names::TEMPLATE];
const OUR_NOTES: [&str; 5] =
    [names::NOTE_TEMPLATE, names::NOTE_COUNT, names::NOTE_ORDINAL, names::NOTE_ACCEPTED_AT, names::NOTE_JOURNAL];

/// Reads a manifest.
pub(super) fn read(text: &str, shape: Shape, allow_host_network: bool) -> Result<Manifest, String> {
    let mut warnings = Vec::new();
    let pod = pod_of(documents(text)?, shape, &mut warnings)?;
    let typed: Pod =
        serde_path_to_error::deserialize(&pod).map_err(|error| match error.path().to_string().as_str() {
            "." => error.inner().to_string(),
            path => format!("{path}: {}", error.inner()),
        })?;
    check(&typed, allow_host_network)?;
    unknown_fields(&pod, &serde_json::to_value(&typed).unwrap_or_default(), "", &mut warnings);
    Ok(Manifest { value: cleaned(pod, &mut warnings), warnings })
}

/// The documents of a YAML stream, or the one of a JSON file.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(vec![value]);
    }
    // As the Go library that kubectl reads manifests with: 0644 is octal.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| format!("not YAML: {error}"))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Finds the Pod among the documents, or makes one around a bare spec.
fn pod_of(documents: Vec<Value>, shape: Shape, warnings: &mut Vec<String>) -> Result<Value, String> {
    let count = documents.len();
    let mut kinds = Vec::new();
    for document in documents {
        let Value::Object(mut object) = document else {
            return Err("the manifest is not an object".to_owned());
        };
        let is_bare = !object.contains_key("spec") && !object.contains_key("kind");
        if is_bare && (shape == Shape::Spec || object.contains_key("containers")) {
            object = Map::from_iter([("spec".to_owned(), Value::Object(object))]);
        } else if let Some(kind) = object.get("kind").filter(|kind| *kind != "Pod") {
            kinds.push(kind.to_string());
            continue;
        }
        if let Some(version) = object.get("apiVersion").filter(|version| *version != "v1") {
            return Err(format!("apiVersion must be \"v1\", not {version}"));
        }
        if count > 1 {
            warnings.push(format!("the manifest has {count} documents: its first Pod is used"));
        }
        // In Kubernetes' own order, for people who read the stored manifest.
        let mut pod = Map::from_iter([("apiVersion".to_owned(), json!("v1")), ("kind".to_owned(), json!("Pod"))]);
        pod.extend(object);
        return Ok(Value::Object(pod));
    }
    match kinds.as_slice() {
        [] => Err("the manifest is empty".to_owned()),
        _ => Err(format!("the manifest has no Pod, only {}", kinds.join(", "))),
    }
}

fn check(pod: &Pod, allow_host_network: bool) -> Result<(), String> {
    let Some(spec) = &pod.spec else { return Err("spec is missing".to_owned()) };
    if spec.containers.is_empty() {
        return Err("spec.containers is empty".to_owned());
    }
    let mut seen = BTreeSet::new();
    check_containers("containers", &spec.containers, &mut seen)?;
    check_containers("initContainers", spec.init_containers.as_deref().unwrap_or_default(), &mut seen)?;
    if let Some(policy) =
        spec.restart_policy.as_deref().filter(|policy| !["Always", "OnFailure", "Never"].contains(policy))
    {
        return Err(format!("spec.restartPolicy {policy:?} is none of Always, OnFailure, Never"));
    }
    match breaks_host_name(spec) {
        Some(field) if !allow_host_network => Err(format!(
            "spec.{field}: the pod's host name would not be the machine's name, by which HostFactory looks for the \
             host; set templates.allow_host_network to accept that"
        )),
        _ => Ok(()),
    }
}

fn breaks_host_name(spec: &PodSpec) -> Option<&'static str> {
    if spec.host_network == Some(true) {
        return Some("hostNetwork");
    }
    spec.set_hostname_as_fqdn.filter(|set| *set).map(|_| "setHostnameAsFQDN")
}

fn check_containers<'a>(list: &str, containers: &'a [Container], seen: &mut BTreeSet<&'a str>) -> Result<(), String> {
    for (place, container) in containers.iter().enumerate() {
        let name = container.name.as_str();
        if name.is_empty() {
            return Err(format!("spec.{list}[{place}].name is missing"));
        }
        if !seen.insert(name) {
            return Err(format!("spec.{list}[{place}].name: {name:?} is there twice"));
        }
        if container.image.as_deref().unwrap_or_default().is_empty() {
            return Err(format!("spec.{list}[{place}].image is missing (container {name:?})"));
        }
    }
    Ok(())
}

/// Reports what Kubernetes' types did not take over: a slip of the pen, or a field younger than we are.
fn unknown_fields(written: &Value, understood: &Value, path: &str, warnings: &mut Vec<String>) {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            for (name, value) in written.iter().filter(|(_, value)| !value.is_null()) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match understood.get(name) {
                    Some(understood) => unknown_fields(value, understood, &path, warnings),
                    None => warnings.push(format!("{path} is no field that hfd knows: the API server may ignore it")),
                }
            }
        }
        (Value::Array(written), Value::Array(understood)) => {
            for (place, (written, understood)) in written.iter().zip(understood).enumerate() {
                unknown_fields(written, understood, &format!("{path}[{place}]"), warnings);
            }
        }
        _ => {}
    }
}

/// Takes away what is ours to set or must not be in a pod that HostFactory counts on.
fn cleaned(mut pod: Value, warnings: &mut Vec<String>) -> Value {
    let Some(object) = pod.as_object_mut() else { return pod };
    object.shift_remove("status");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in SERVER_METADATA {
            metadata.shift_remove(name);
        }
        for name in ["name", "namespace"] {
            remove(metadata, name, &format!("metadata.{name} is ignored: hfd sets it"), warnings);
        }
        for name in ["generateName", "finalizers", "ownerReferences"] {
            remove(metadata, name, &format!("metadata.{name} is removed: no pod of hfd may have it"), warnings);
        }
        for (map, ours) in [("labels", OUR_LABELS.as_slice()), ("annotations", OUR_NOTES.as_slice())] {
            if let Some(entries) = metadata.get_mut(map).and_then(Value::as_object_mut) {
                for name in ours {
                    remove(entries, name, &format!("metadata.{map} {name:?} is ignored: hfd sets it"), warnings);
                }
            }
        }
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        remove(spec, "hostname", "spec.hostname is ignored: hfd sets it to the machine's name", warnings);
    }
    pod
}

fn remove(object: &mut Map<String, Value>, name: &str, warning: &str, warnings: &mut Vec<String>) {
    if object.shift_remove(name).is_some_and(|value| !value.is_null()) {
        warnings.push(warning.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {app: x}\nspec:\n  containers:\n  - name: main\n    image: i\n";
    const SPEC: &str = "containers:\n- name: main\n  image: i\n  resources:\n    requests: {cpu: 1, memory: 0.5Gi}\n";

    fn pod(text: &str) -> Result<Manifest, String> {
        read(text, Shape::Pod, false)
    }

    fn with_spec(field: &str) -> Result<Manifest, String> {
        pod(&format!("{POD}  {field}\n"))
    }

    #[test]
    fn a_pod_in_yaml_or_json_and_a_bare_spec_are_read() {
        let yaml = pod(POD).expect("a pod");
        assert_eq!(yaml.warnings, Vec::<String>::new());
        assert_eq!(yaml.value["metadata"]["labels"], json!({"app": "x"}));
        assert_eq!(pod(&yaml.value.to_string()).expect("the same as JSON").value, yaml.value);
        for shape in [Shape::Pod, Shape::Spec] {
            let bare = read(SPEC, shape, false).expect("a spec").value;
            assert_eq!((&bare["kind"], &bare["apiVersion"]), (&json!("Pod"), &json!("v1")));
            assert_eq!(bare["spec"]["containers"][0]["name"], "main");
        }
        assert!(read(POD, Shape::Spec, false).is_ok(), "a whole Pod where a spec was announced");
    }

    #[test]
    fn a_wrong_type_is_told_with_its_path() {
        let error = with_spec("terminationGracePeriodSeconds: soon").expect_err("a text for a number");
        assert!(error.starts_with("spec.terminationGracePeriodSeconds: "), "{error}");
        let error = with_spec("priority: 5\n  containers: none").expect_err("a duplicate key");
        assert!(error.contains("not YAML"), "{error}");
    }

    #[test]
    fn a_pod_that_could_never_start_is_refused() {
        for (text, wrong) in [
            ("kind: Pod\nspec: {containers: []}", "spec.containers is empty"),
            ("kind: Pod", "spec is missing"),
            ("kind: Pod\nspec: {containers: [{image: i}]}", "spec.containers[0].name is missing"),
            ("kind: Pod\nspec: {containers: [{name: a}]}", "spec.containers[0].image is missing"),
            ("kind: Pod\nspec: {containers: [{name: a, image: i}, {name: a, image: i}]}", "\"a\" is there twice"),
            ("kind: Deployment\nspec: {}", "no Pod, only \"Deployment\""),
            ("kind: Pod\napiVersion: v2\nspec: {}", "apiVersion must be \"v1\""),
            ("", "the manifest is empty"),
            ("[]", "not an object"),
            ("a: [", "not YAML"),
        ] {
            let error = pod(text).expect_err(text);
            assert!(error.contains(wrong), "{text}: {error}");
        }
        assert!(with_spec("restartPolicy: Sometimes").is_err());
    }

    #[test]
    fn host_network_makes_a_manifest_unusable_unless_it_is_allowed() {
        for field in ["hostNetwork", "setHostnameAsFQDN"] {
            let error = with_spec(&format!("{field}: true")).expect_err(field);
            assert!(error.contains(field), "{error}");
            assert!(with_spec(&format!("{field}: false")).is_ok());
            assert!(read(&format!("{POD}  {field}: true\n"), Shape::Pod, true).is_ok());
        }
    }

    #[test]
    fn what_is_ours_to_set_is_taken_away_with_a_warning() {
        let text = r#"{"kind": "Pod", "metadata": {"name": "n", "namespace": "ns", "generateName": "g-", "uid": "u",
            "finalizers": ["f/f"], "ownerReferences": [], "annotations": {"hfd/count": "9", "mine": "1"},
            "labels": {"symphony/hostfactory-reqid": "x", "app": "y"}}, "status": {"phase": "Running"},
            "spec": {"hostname": "h", "subdomain": "s", "containers": [{"name": "a", "image": "i"}]}}"#;
        let manifest = pod(text).expect("a pod");
        assert_eq!(manifest.value["metadata"], json!({"annotations": {"mine": "1"}, "labels": {"app": "y"}}));
        assert!(manifest.value.get("status").is_none());
        assert_eq!(manifest.value["spec"].get("hostname"), None);
        assert_eq!(manifest.value["spec"]["subdomain"], "s");
        for part in ["name", "namespace", "generateName", "finalizers", "ownerReferences", "hostname", "reqid", "count"]
        {
            assert!(manifest.warnings.iter().any(|warning| warning.contains(part)), "{part}: {:?}", manifest.warnings);
        }
    }

    #[test]
    fn the_first_pod_of_several_documents_is_used_with_a_warning() {
        let text = format!("kind: ConfigMap\n---\n{POD}---\n{POD}");
        assert_eq!(pod(&text).expect("a pod").warnings, ["the manifest has 3 documents: its first Pod is used"]);
        assert!(pod(&format!("---\n{POD}")).expect("a leading separator").warnings.is_empty());
    }

    #[test]
    fn a_misspelt_field_is_warned_of() {
        let manifest = with_spec("nodeselector: {a: b}").expect("still a pod");
        assert!(manifest.warnings[0].starts_with("spec.nodeselector is no field"), "{:?}", manifest.warnings);
    }

    #[test]
    fn octal_modes_and_quantities_are_read_as_kubectl_reads_them() {
        let volume = "volumes:\n  - name: v\n    configMap: {name: c, defaultMode: 0644}\n  overhead: {cpu: 1}";
        let manifest = with_spec(volume).expect("a pod");
        assert_eq!(manifest.value["spec"]["volumes"][0]["configMap"]["defaultMode"], 420);
        assert_eq!(manifest.warnings, Vec::<String>::new());
    }
}
