//! The one reason that tells most about why a pod is not ready, in the words of whoever knows.
//!
//! The order: what was done to the whole pod (evicted, preempted, its node lost), then what a container waits for or
//! ended with, then what the scheduler says, then the deletion, then what readiness lacks. A ready pod that nobody
//! removes has none.

use std::{fmt::Write as _, sync::Arc};

use hfd_core::pod::{Reason, ReasonCode};

use super::{
    intern::Interner,
    wire::{Condition, ContainerStatus, Terminated, Wire},
};

/// Longest message that is kept, bytes: the bound that `hfd_core::pod::Reason` promises.
const MESSAGE_MAX: usize = 500;

/// What a container waits for in the ordinary course of starting.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// A reason before its message is clipped and shared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    code: ReasonCode,
    message: String,
}

impl Found {
    pub(super) fn shared(&self, interner: &mut Interner) -> Arc<Reason> {
        Arc::new(Reason { code: self.code, message: interner.share(clipped(&self.message)) })
    }
}

/// Why the pod is not ready, or how it ended.
pub(super) fn of(pod: &Wire) -> Option<Found> {
    let goes = pod.is_deleting() || pod.has_ended();
    if !goes && pod.condition_is("Ready", "True").is_some() {
        return None;
    }
    of_pod(pod)
        .or_else(|| disruption(pod).filter(|_| goes))
        .or_else(|| of_containers(pod))
        .or_else(|| of_scheduling(pod))
        .or_else(|| of_deletion(pod))
        .or_else(|| Some(of_readiness(pod)))
}

/// The condition DisruptionTarget, if it is True.
pub(super) fn disruption(pod: &Wire) -> Option<Found> {
    let condition = pod.condition_is("DisruptionTarget", "True")?;
    let code = match condition.reason.get() {
        Some("PreemptionByScheduler") => ReasonCode::Preempted,
        Some("EvictionByEvictionAPI" | "TerminationByKubelet") => ReasonCode::Evicted,
        Some("DeletionByTaintManager" | "DeletionByPodGC") => ReasonCode::NodeLost,
        _ => ReasonCode::Other,
    };
    Some(Found { code, message: words(condition) })
}

/// `status.reason`: set by the kubelet and the controllers for what befell the pod as a whole.
fn of_pod(pod: &Wire) -> Option<Found> {
    let status = &pod.status.0;
    let reason = status.reason.get()?;
    let code = match reason {
        "Evicted" => ReasonCode::Evicted,
        "DeadlineExceeded" => ReasonCode::DeadlineExceeded,
        // "Terminated" and "Shutdown" are the kubelet's words for its node's shutdown.
        "NodeLost" | "Terminated" | "Shutdown" | "NodeShutdown" => ReasonCode::NodeLost,
        "Preempting" | "Preempted" => ReasonCode::Preempted,
        _ => ReasonCode::Other,
    };
    Some(Found { code, message: joined(reason, status.message.get()) })
}

fn of_containers(pod: &Wire) -> Option<Found> {
    let status = &pod.status.0;
    let all = || status.init_container_statuses.0.iter().chain(&status.container_statuses.0);
    let over = pod.has_ended();
    let crashed = |container: &ContainerStatus| {
        let mut found = of_ended(container, false)?;
        // Between two runs: a kubelet shows a container that crash loops as ended for most of the time.
        if let Some(times) = container.restart_count.0.filter(|&times| times > 0 && !over) {
            let _ = write!(found.message, ", restarted {times} times");
        }
        Some(found)
    };
    all()
        .find_map(of_waiting)
        .or_else(|| all().find_map(crashed))
        .or_else(|| status.container_statuses.0.iter().filter(|_| over).find_map(|container| of_ended(container, true)))
}

fn of_waiting(container: &ContainerStatus) -> Option<Found> {
    let waiting = &container.state.0.waiting.as_ref()?.0;
    let reason = waiting.reason.get()?;
    let code = match reason {
        _ if STARTING.contains(&reason) => return None,
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => ReasonCode::ImagePull,
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "PreStartHookError"
        | "PostStartHookError" => ReasonCode::ContainerConfig,
        "CrashLoopBackOff" => ReasonCode::CrashLoop,
        _ => ReasonCode::Other,
    };
    let mut message = format!("{}: {}", named(container), joined(reason, waiting.message.get()));
    if let Some(last) = &container.last_state.0.terminated {
        let _ = write!(message, "; the last run ended with {}", ending(&last.0));
    }
    Some(Found { code, message })
}

/// How a container ended; a clean exit is a reason only of a pod that ended (`clean`).
fn of_ended(container: &ContainerStatus, clean: bool) -> Option<Found> {
    let ended = &container.state.0.terminated.as_ref()?.0;
    if !clean && ended.exit_code.0 == Some(0) {
        return None;
    }
    let code = if ended.reason.get() == Some("OOMKilled") { ReasonCode::OomKilled } else { ReasonCode::Exited };
    Some(Found { code, message: format!("{} ended with {}", named(container), ending(ended)) })
}

fn of_scheduling(pod: &Wire) -> Option<Found> {
    let condition = pod.condition_is("PodScheduled", "False")?;
    Some(Found { code: ReasonCode::Unschedulable, message: words(condition) })
}

fn of_deletion(pod: &Wire) -> Option<Found> {
    let ends_at = pod.metadata.0.deletion_timestamp.get()?;
    Some(Found {
        code: ReasonCode::Terminating,
        message: format!("the pod is being deleted, its grace ends at {ends_at}"),
    })
}

fn of_readiness(pod: &Wire) -> Found {
    let message = ["Initialized", "Ready", "ContainersReady"]
        .iter()
        .filter_map(|kind| pod.condition_is(kind, "False"))
        .find(|condition| condition.message.get().is_some() || condition.reason.get().is_some())
        .map(words);
    let mut message = message.unwrap_or_else(|| match pod.status.0.phase.get() {
        Some(phase) => format!("the pod is {phase} and not ready"),
        None => "the pod has no status yet".to_owned(),
    });
    let restarted = |container: &&ContainerStatus| container.restart_count.0 > Some(0) && !container.ready.0;
    if let Some(container) = pod.status.0.container_statuses.0.iter().find(restarted) {
        let times = container.restart_count.0.unwrap_or_default();
        let _ = write!(message, "; {} restarted {times} times", named(container));
        if let Some(last) = &container.last_state.0.terminated {
            let _ = write!(message, ", the last run ended with {}", ending(&last.0));
        }
    }
    Found { code: ReasonCode::NotReady, message }
}

fn named(container: &ContainerStatus) -> String {
    format!("container {:?}", container.name.get().unwrap_or("?"))
}

/// "OOMKilled (exit code 137)", "Error (exit code 2, signal 9): words".
fn ending(ended: &Terminated) -> String {
    let mut text = ended.reason.get().unwrap_or("an unknown reason").to_owned();
    if let Some(code) = ended.exit_code.0 {
        let _ = write!(text, " (exit code {code}");
        if let Some(signal) = ended.signal.0.filter(|&signal| signal != 0) {
            let _ = write!(text, ", signal {signal}");
        }
        text.push(')');
    }
    joined(&text, ended.message.get())
}

fn words(condition: &Condition) -> String {
    match (condition.reason.get(), condition.message.get()) {
        (Some(reason), message) => joined(reason, message),
        (None, Some(message)) => message.to_owned(),
        (None, None) => condition.kind.get().unwrap_or_default().to_owned(),
    }
}

fn joined(reason: &str, message: Option<&str>) -> String {
    match message.map(str::trim) {
        Some(message) if !message.is_empty() => format!("{reason}: {message}"),
        _ => reason.to_owned(),
    }
}

/// The message's first [`MESSAGE_MAX`] bytes, cut between characters.
pub(super) fn clipped(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE_MAX)]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(pod: &Value) -> Option<(ReasonCode, String)> {
        let pod: Wire = serde_json::from_str(&pod.to_string()).expect("a pod always decodes");
        of(&pod).map(|found| (found.code, found.message))
    }

    fn with_status(status: &Value) -> Option<(ReasonCode, String)> {
        found(&json!({ "status": status }))
    }

    #[test]
    fn each_state_of_a_pod_has_its_reason_in_the_clusters_words() {
        use ReasonCode as Code;
        let waiting = |reason: &str, message: &str| {
            json!({"phase": "Pending", "containerStatuses": [
                {"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}]})
        };
        let cases = [
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
                    "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu."}]}),
                Code::Unschedulable,
                "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.",
            ),
            (
                waiting("ErrImagePull", "failed to pull"),
                Code::ImagePull,
                r#"container "main": ErrImagePull: failed to pull"#,
            ),
            (
                waiting("ImagePullBackOff", "Back-off pulling image \"x\""),
                Code::ImagePull,
                r#"container "main": ImagePullBackOff: Back-off pulling image "x""#,
            ),
            (
                waiting("InvalidImageName", "couldn't parse"),
                Code::ImagePull,
                r#"container "main": InvalidImageName: couldn't parse"#,
            ),
            (
                waiting("CreateContainerConfigError", "secret \"s\" not found"),
                Code::ContainerConfig,
                r#"container "main": CreateContainerConfigError: secret "s" not found"#,
            ),
            (
                json!({"phase": "Running", "containerStatuses": [{"name": "main", "restartCount": 4,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}),
                Code::CrashLoop,
                r#"container "main": CrashLoopBackOff: back-off 40s; the last run ended with OOMKilled (exit code 137)"#,
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "setup",
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"reason": "Error", "exitCode": 2, "signal": 9, "message": "no disk"}}}],
                    "containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
                Code::CrashLoop,
                r#"container "setup": CrashLoopBackOff; the last run ended with Error (exit code 2, signal 9): no disk"#,
            ),
            (
                json!({"phase": "Failed", "containerStatuses": [{"name": "main",
                    "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}),
                Code::OomKilled,
                r#"container "main" ended with OOMKilled (exit code 137)"#,
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "setup", "restartCount": 2,
                    "state": {"terminated": {"reason": "Error", "exitCode": 7}}}]}),
                Code::Exited,
                r#"container "setup" ended with Error (exit code 7), restarted 2 times"#,
            ),
            (
                json!({"phase": "Failed", "containerStatuses": [
                    {"name": "side", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}},
                    {"name": "main", "state": {"terminated": {"reason": "Error", "exitCode": 3}}}]}),
                Code::Exited,
                r#"container "main" ended with Error (exit code 3)"#,
            ),
            (
                json!({"phase": "Succeeded", "containerStatuses": [{"name": "main",
                    "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}]}),
                Code::Exited,
                r#"container "main" ended with Completed (exit code 0)"#,
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
                Code::Evicted,
                "Evicted: The node was low on resource: memory.",
            ),
            (
                json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active too long"}),
                Code::DeadlineExceeded,
                "DeadlineExceeded: Pod was active too long",
            ),
            (
                json!({"phase": "Unknown", "reason": "NodeLost", "message": "Node n which was running pod"}),
                Code::NodeLost,
                "NodeLost: Node n which was running pod",
            ),
            (
                json!({"phase": "Failed", "reason": "Preempting", "message": "Preempted in order to admit critical pod"}),
                Code::Preempted,
                "Preempting: Preempted in order to admit critical pod",
            ),
            (
                json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True",
                    "reason": "DeletionByPodGC", "message": "PodGC: node no longer exists"}]}),
                Code::NodeLost,
                "DeletionByPodGC: PodGC: node no longer exists",
            ),
            (
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False",
                    "reason": "ContainersNotReady", "message": "containers with unready status: [main]"}]}),
                Code::NotReady,
                "ContainersNotReady: containers with unready status: [main]",
            ),
            (
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False",
                    "message": "containers with unready status: [main]"}], "containerStatuses": [{"name": "main",
                    "restartCount": 2, "state": {"running": {}},
                    "lastState": {"terminated": {"reason": "Error", "exitCode": 1}}}]}),
                Code::NotReady,
                "containers with unready status: [main]; container \"main\" restarted 2 times, the last run ended with \
                 Error (exit code 1)",
            ),
            (json!({"phase": "Pending"}), Code::NotReady, "the pod is Pending and not ready"),
            (json!({}), Code::NotReady, "the pod has no status yet"),
        ];
        for (status, code, message) in cases {
            assert_eq!(with_status(&status), Some((code, message.to_owned())), "{status}");
        }
    }

    #[test]
    fn a_ready_pod_has_no_reason_unless_it_is_being_deleted() {
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(with_status(&status), None);
        let going = found(&json!({"metadata": {"deletionTimestamp": "2026-03-01T10:00:30Z"}, "status": status}));
        assert_eq!(going.map(|(code, _)| code), Some(ReasonCode::Terminating));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = "é".repeat(400);
        let kept = &Found { code: ReasonCode::Other, message: format!("x{text}") }.shared(&mut Interner::new()).message;
        assert_eq!(kept.len(), 499);
        assert!(kept.ends_with('é'));
    }
}
