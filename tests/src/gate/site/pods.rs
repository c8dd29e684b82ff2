//! Pods changed as their kubelet, the scheduler or somebody with kubectl would change them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::administrator::{Administrator, set_condition};
use crate::gate::control::{Problem, failed};

/// Annotation that chooses a pod's fate.
const FATE: &str = "sandbox.hfd/fate";

/// What can be done to one pod.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    phase: Option<String>,
    ready: Option<bool>,
    fate: Option<String>,
    annotations: Option<Map<String, Value>>,
    /// The reason of a DisruptionTarget condition.
    disruption: Option<String>,
    /// `now` or `graceful`.
    delete: Option<String>,
}

/// Changes a pod; gives it as it is afterwards.
pub(super) fn change(admin: &Administrator, name: &str, change: &Change) -> Result<Value, Problem> {
    let path = admin.pod_path(name);
    let there = admin.api().call("GET", &path, None).map_err(failed)?;
    if there.code == 404 {
        return Err((404, format!("no pod {name:?} in {:?}", admin.namespace())));
    }
    let mut pod = there.json().map_err(failed)?;
    let mut annotations = change.annotations.clone().unwrap_or_default();
    match change.fate.as_deref() {
        None => {}
        Some("") => drop(annotations.insert(FATE.to_owned(), Value::Null)),
        Some(fate) => drop(annotations.insert(FATE.to_owned(), json!(fate))),
    }
    if !annotations.is_empty() {
        let patch = json!({"metadata": {"annotations": annotations}});
        pod = admin.api().json("PATCH", &path, Some(&patch)).map_err(failed)?;
    }
    if change.phase.is_some() || change.ready.is_some() || change.disruption.is_some() {
        pod = admin.update_status(&path, |pod| change.write(pod)).map_err(failed)?.unwrap_or(pod);
    }
    let grace = match change.delete.as_deref() {
        None => return Ok(pod),
        Some("now") => Some(json!({"gracePeriodSeconds": 0})),
        Some("graceful") => None,
        Some(other) => return Err((400, format!("delete is \"now\" or \"graceful\", not {other:?}"))),
    };
    admin.api().json("DELETE", &path, grace.as_ref()).map_err(failed)
}

impl Change {
    fn write(&self, pod: &mut Value) {
        if let Some(phase) = &self.phase {
            pod["status"]["phase"] = json!(phase);
        }
        if let Some(ready) = self.ready {
            set_ready(pod, ready);
        }
        if let Some(reason) = &self.disruption {
            let message = "the gate was asked for this disruption";
            set_condition(pod, "DisruptionTarget", "True", reason, message);
        }
    }
}

/// Sets Ready and ContainersReady together with the containers, as a kubelet whose probes have a new opinion.
fn set_ready(pod: &mut Value, ready: bool) {
    let containers = pod["status"]["containerStatuses"].as_array_mut().into_iter().flatten();
    let mut names = Vec::new();
    for container in containers.filter(|container| container["state"]["running"].is_object()) {
        container["ready"] = json!(ready);
        names.push(container["name"].as_str().unwrap_or_default().to_owned());
    }
    let (status, reason, message) = if ready {
        ("True", "", String::new())
    } else {
        ("False", "ContainersNotReady", format!("containers with unready status: [{}]", names.join(" ")))
    };
    for kind in ["Ready", "ContainersReady"] {
        set_condition(pod, kind, status, reason, &message);
    }
}
