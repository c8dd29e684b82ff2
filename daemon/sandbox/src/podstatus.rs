//! The status a kubelet writes: conditions and container states. Functions over the JSON of one pod; no state here.

use serde_json::{Value, json};

use crate::object::text;
use crate::validate::items;

/// One condition of a pod or node, without its times.
#[derive(Clone, Debug)]
pub(crate) struct Condition<'a> {
    kind: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
    observed: Option<u64>,
}

impl<'a> Condition<'a> {
    /// A condition without a reason.
    pub(crate) fn new(kind: &'a str, status: &'a str) -> Self {
        Self { kind, status, reason: "", message: "", observed: None }
    }

    /// Why.
    pub(crate) fn because(mut self, reason: &'a str, message: &'a str) -> Self {
        (self.reason, self.message) = (reason, message);
        self
    }

    /// At which generation of the object it was found.
    pub(crate) fn observed(mut self, generation: u64) -> Self {
        self.observed = Some(generation);
        self
    }
}

/// Sets a condition; its transition time changes only with its status.
pub(crate) fn set_condition(object: &mut Value, condition: &Condition<'_>, now: &str) {
    let mut written = json!({"type": condition.kind});
    if let Some(generation) = condition.observed {
        written["observedGeneration"] = generation.into();
    }
    written["status"] = condition.status.into();
    let is_pod = object["kind"] == "Pod";
    written[if is_pod { "lastProbeTime" } else { "lastHeartbeatTime" }] = if is_pod { Value::Null } else { now.into() };
    written["lastTransitionTime"] = now.into();
    for (field, value) in [("reason", condition.reason), ("message", condition.message)] {
        if !value.is_empty() {
            written[field] = value.into();
        }
    }
    if !object["status"]["conditions"].is_array() {
        object["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = object["status"]["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|existing| existing["type"] == condition.kind) {
        Some(existing) => {
            if existing["status"] == condition.status {
                written["lastTransitionTime"] = existing["lastTransitionTime"].take();
            }
            *existing = written;
        }
        None => conditions.push(written),
    }
}

/// Sets Ready and `ContainersReady` together.
pub(crate) fn set_ready(pod: &mut Value, ready: bool, reason: &str, now: &str) {
    let status = if ready { "True" } else { "False" };
    let names: Vec<_> = items(pod, "/spec/containers").map(|container| text(container, "/name")).collect();
    let message = match reason {
        "ContainersNotReady" => format!("containers with unready status: [{}]", names.join(" ")),
        _ => String::new(),
    };
    for kind in ["Ready", "ContainersReady"] {
        set_condition(pod, &Condition::new(kind, status).because(reason, &message), now);
    }
}

/// The state of all containers of a pod.
#[derive(Clone, Debug)]
pub(crate) enum Containers {
    Waiting { reason: &'static str, message: String },
    Running { ready: bool },
    Terminated { exit_code: u8, reason: &'static str },
}

/// Puts every container of the pod into one state. Restart counts and last states stay as they are.
pub(crate) fn set_containers(pod: &mut Value, state: &Containers, now: &str) {
    let uid = text(pod, "/metadata/uid").to_owned();
    let before = pod["status"]["containerStatuses"].clone();
    let statuses: Vec<_> = items(pod, "/spec/containers")
        .enumerate()
        .map(|(index, container)| container_status(container, &before[index], state, &uid, now))
        .collect();
    pod["status"]["containerStatuses"] = statuses.into();
}

fn container_status(container: &Value, before: &Value, state: &Containers, uid: &str, now: &str) -> Value {
    let name = text(container, "/name");
    let image = text(container, "/image");
    let started_at = before.pointer("/state/running/startedAt").cloned().unwrap_or_else(|| now.into());
    let id = format!("containerd://{uid}-{name}");
    let (running, written) = match state {
        Containers::Waiting { reason, message } => {
            let mut waiting = json!({"reason": reason});
            if !message.is_empty() {
                waiting["message"] = message.clone().into();
            }
            (false, json!({"waiting": waiting}))
        }
        Containers::Running { .. } => (true, json!({"running": {"startedAt": started_at}})),
        Containers::Terminated { exit_code, reason } => {
            let end = json!({
                "exitCode": exit_code, "reason": reason, "startedAt": started_at, "finishedAt": now,
                "containerID": id
            });
            (false, json!({"terminated": end}))
        }
    };
    let was_pulled = running || matches!(state, Containers::Terminated { .. });
    json!({
        "name": name, "state": written,
        "lastState": before.get("lastState").cloned().unwrap_or_else(|| json!({})),
        "ready": matches!(state, Containers::Running { ready: true }),
        "restartCount": before["restartCount"].as_u64().unwrap_or(0),
        "image": image,
        "imageID": if was_pulled { format!("sandbox/{image}") } else { String::new() },
        "containerID": if was_pulled { id } else { String::new() },
        "started": running
    })
}

/// Counts a restart of every container and remembers how it ended.
pub(crate) fn count_restart(pod: &mut Value, exit_code: u8, now: &str) {
    for status in pod["status"]["containerStatuses"].as_array_mut().into_iter().flatten() {
        let started_at = status.pointer("/state/running/startedAt").cloned().unwrap_or_else(|| now.into());
        status["lastState"] = json!({
            "terminated": {"exitCode": exit_code, "reason": "Error", "startedAt": started_at, "finishedAt": now}
        });
        status["restartCount"] = (status["restartCount"].as_u64().unwrap_or(0) + 1).into();
    }
}

/// Puts the init containers before (`false`) or behind (`true`) their work.
pub(crate) fn set_init_containers(pod: &mut Value, done: bool, now: &str) {
    let names: Vec<_> =
        items(pod, "/spec/initContainers").map(|container| text(container, "/name").to_owned()).collect();
    let initialized = Condition::new("Initialized", if done || names.is_empty() { "True" } else { "False" });
    let message = format!("containers with incomplete status: [{}]", names.join(" "));
    let initialized =
        if done || names.is_empty() { initialized } else { initialized.because("ContainersNotInitialized", &message) };
    set_condition(pod, &initialized, now);
    if names.is_empty() {
        return;
    }
    let state = if done {
        json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}})
    } else {
        json!({"waiting": {"reason": "PodInitializing"}})
    };
    let statuses: Vec<_> = items(pod, "/spec/initContainers")
        .map(|container| {
            json!({
                "name": container["name"], "state": state, "lastState": {}, "ready": done, "restartCount": 0,
                "image": container["image"], "imageID": "", "started": false
            })
        })
        .collect();
    pod["status"]["initContainerStatuses"] = statuses.into();
}

/// Why the containers wait, if they do.
pub(crate) fn waiting_reason(pod: &Value) -> &str {
    text(pod, "/status/containerStatuses/0/state/waiting/reason")
}
