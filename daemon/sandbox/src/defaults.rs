//! What the server adds to a submitted pod before it is validated and stored.

use serde_json::{Map, Value, json};

use crate::validate::{items, quantity_text};

/// What the server gives every new object.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) uid: String,
    pub(crate) created: String,
    /// Added to a `generateName`.
    pub(crate) suffix: String,
}

/// The metadata of a new object: what the client may choose, in the server's field order.
pub(crate) fn metadata(submitted: &Value, namespace: &str, identity: &Identity) -> Value {
    let chosen = |field: &str| submitted.get(field).filter(|value| !value.is_null() && *value != &json!(""));
    let mut metadata = Map::new();
    let generated = chosen("generateName").and_then(Value::as_str);
    let name = chosen("name").cloned().or_else(|| generated.map(|base| format!("{base}{}", identity.suffix).into()));
    metadata.insert("name".to_owned(), name.unwrap_or_else(|| json!("")));
    if let Some(base) = generated {
        metadata.insert("generateName".to_owned(), base.into());
    }
    if !namespace.is_empty() {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    metadata.insert("uid".to_owned(), identity.uid.clone().into());
    metadata.insert("resourceVersion".to_owned(), "".into());
    metadata.insert("creationTimestamp".to_owned(), identity.created.clone().into());
    for field in ["labels", "annotations", "ownerReferences"] {
        if let Some(value) = chosen(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    Value::Object(metadata)
}

/// The priority that a class gives; `None` if there is no such class.
pub(crate) fn priority(class: &str) -> Option<i64> {
    match class {
        "" => Some(0),
        "system-cluster-critical" => Some(2_000_000_000),
        "system-node-critical" => Some(2_000_001_000),
        _ => None,
    }
}

/// A complete new pod from a submitted one.
pub(crate) fn pod(submitted: &Value, namespace: &str, identity: &Identity) -> Value {
    let mut metadata = metadata(submitted.get("metadata").unwrap_or(&Value::Null), namespace, identity);
    metadata["generation"] = 1.into();
    let mut pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {}, "status": {}});
    let mut spec = submitted.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    spec.retain(|_, value| !value.is_null());
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            default_container(container);
        }
    }
    let class = spec.get("priorityClassName").and_then(Value::as_str).unwrap_or_default();
    let defaults = json!({
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": true,
        "priority": priority(class).unwrap_or(0),
        "preemptionPolicy": "PreemptLowerPriority"
    });
    for (field, value) in defaults.as_object().into_iter().flatten() {
        spec.entry(field).or_insert_with(|| value.clone());
    }
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        spec.insert("terminationGracePeriodSeconds".to_owned(), 1.into());
    }
    tolerate_lost_nodes(&mut spec);
    pod["spec"] = Value::Object(spec);
    pod["status"] = json!({"phase": "Pending", "qosClass": quality_of_service(&pod)});
    pod
}

fn default_container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let is_latest = !name.contains(['@', ':']) || name.ends_with(":latest");
    let pull = if is_latest { "Always" } else { "IfNotPresent" };
    let Some(container) = container.as_object_mut() else { return };
    container.retain(|_, value| !value.is_null());
    let resources = container.entry("resources").or_insert_with(|| json!({}));
    let limits = resources.get("limits").and_then(Value::as_object).cloned().unwrap_or_default();
    if !limits.is_empty() {
        // a limit without a request is the request
        let Some(resources) = resources.as_object_mut() else { return };
        let requests = resources.entry("requests").or_insert_with(|| json!({}));
        for (name, limit) in limits {
            if let Some(requests) = requests.as_object_mut() {
                requests.entry(name).or_insert(limit);
            }
        }
    }
    for (field, value) in [
        ("terminationMessagePath", "/dev/termination-log"),
        ("terminationMessagePolicy", "File"),
        ("imagePullPolicy", pull),
    ] {
        container.entry(field).or_insert_with(|| value.into());
    }
}

/// Admission lets every pod survive five minutes on a node that is not ready, unless it says otherwise itself.
fn tolerate_lost_nodes(spec: &mut Map<String, Value>) {
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Some(tolerations) = tolerations.as_array_mut() else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covered = tolerations.iter().any(|toleration| {
            (toleration["key"] == key || toleration["key"].as_str().is_none_or(str::is_empty))
                && (toleration["effect"] == "NoExecute" || toleration["effect"].as_str().is_none_or(str::is_empty))
        });
        if !covered {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300
            }));
        }
    }
}

fn quality_of_service(pod: &Value) -> &'static str {
    let mut all_guaranteed = true;
    let mut any = false;
    for container in items(pod, "/spec/containers").chain(items(pod, "/spec/initContainers")) {
        for name in ["cpu", "memory"] {
            let amount = |list: &str| {
                let value = &container["resources"][list][name];
                (!value.is_null()).then(|| quantity_text(value))
            };
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            all_guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, all_guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
