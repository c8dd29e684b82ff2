//! The lives of pods: for each fate that the sandbox and the testbed's KWOK both play, the states from creation to the
//! end, in their order. How long each lasts differs, and is nobody's promise.

use serde_json::{Map, Value, json};
use tests::eventually;

use crate::{
    case::{Case, case},
    pair::{PATIENCE, Side, idle_pod},
};

/// Conditions that hfd reads.
const CONDITIONS: [&str; 5] = ["PodScheduled", "Initialized", "ContainersReady", "Ready", "DisruptionTarget"];

/// A pod with a fate, for the case's own nodes.
fn fated(case: &Case, name: &str, annotations: &Value) -> Value {
    let mut pod = idle_pod(name);
    pod["metadata"]["annotations"] = annotations.clone();
    pod["spec"]["schedulerName"] = json!("default-scheduler");
    pod["spec"]["nodeSelector"] = json!({"hfd.test/ground": case.pair.namespace()});
    pod["spec"]["terminationGracePeriodSeconds"] = json!(2);
    pod
}

/// What hfd reads of a pod, as far as it tells one state from another.
fn state(pod: &Value) -> Value {
    let conditions: Map<String, Value> = pod["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|condition| CONDITIONS.iter().any(|kind| condition["type"] == *kind))
        .map(|condition| {
            let kind = condition["type"].as_str().unwrap_or_default().to_owned();
            (kind, json!([condition["status"], condition["reason"], condition["message"]]))
        })
        .collect();
    let mut sorted: Vec<_> = conditions.into_iter().collect();
    sorted.sort_by(|left, right| left.0.cmp(&right.0));
    let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let containers: Vec<Value> = containers
        .map(|status| {
            json!({
                "state": of_container(&status["state"]), "last": of_container(&status["lastState"]),
                "ready": status["ready"], "restarts": status["restartCount"],
            })
        })
        .collect();
    json!({
        "phase": pod["status"]["phase"], "conditions": sorted, "containers": containers,
        "node": pod["spec"]["nodeName"].is_string(), "address": pod["status"]["podIP"].is_string(),
        "deleting": pod["metadata"]["deletionTimestamp"].is_string(),
        "grace": pod["metadata"]["deletionGracePeriodSeconds"],
    })
}

fn of_container(state: &Value) -> Value {
    let Some((kind, about)) = state.as_object().and_then(|state| state.iter().next()) else { return Value::Null };
    json!([kind, about["reason"], about["exitCode"]])
}

/// Whether KWOK leaves this state out: a real kubelet shows it, and so does the sandbox. The real node's tests see it.
fn is_a_kubelets_own(pod: &Value, state: &Value) -> bool {
    let creating = state["containers"][0]["state"][1] == "ContainerCreating";
    let fate = pod["metadata"]["annotations"]["sandbox.hfd/fate"].as_str().unwrap_or_default();
    let ends = fate.starts_with("exit-") || fate == "oom" || fate == "crash-loop";
    let first_run = ends && state["containers"][0]["state"][0] == "running" && state["containers"][0]["ready"] == false;
    creating || first_run
}

/// What is left of a state once the pod is being deleted: KWOK does not stop its containers, as a real kubelet and the
/// sandbox do.
fn going(state: Value) -> Value {
    if state["deleting"] == false {
        return state;
    }
    json!({"deleting": true, "grace": state["grace"], "node": state["node"]})
}

/// All states that the pod of that name has had since `version`, without repetitions; `whole` also while it goes.
fn states(side: &Side, version: &str, name: &str, whole: bool) -> Vec<Value> {
    let query = format!("timeoutSeconds=1&resourceVersion={version}&fieldSelector=metadata.name%3D{name}");
    let mut states: Vec<Value> = Vec::new();
    side.settle();
    for event in side.watched(&query) {
        let pod = &event["object"];
        let mut state = if whole { state(pod) } else { going(state(pod)) };
        if event["type"] == "DELETED" {
            state["gone"] = json!(true);
        }
        if states.last() != Some(&state) && !is_a_kubelets_own(pod, &state) {
            states.push(state);
        }
    }
    states
}

/// Creates the pod, waits for `reached`, deletes it (with `query`), waits for its end, and gives all its states.
fn life(side: &Side, pod: &Value, reached: impl Fn(&Value) -> bool, query: Option<&str>) -> Value {
    let name = pod["metadata"]["name"].as_str().expect("a pod has a name");
    let version = side.version();
    side.create(pod);
    let what = format!("{}: {name} comes as far as it should", side.name);
    eventually(&what, PATIENCE, || side.pod(name).filter(&reached).map(drop));
    if let Some(query) = query {
        side.must("DELETE", &format!("{}{query}", side.pod_path(name)), None);
    }
    eventually(&format!("{}: {name} is gone", side.name), PATIENCE, || side.pod(name).is_none().then_some(()));
    json!(states(side, &version, name, false))
}

fn waits_for(reason: &'static str) -> impl Fn(&Value) -> bool {
    move |pod| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason
}

fn has_ended(pod: &Value) -> bool {
    ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase)
}

fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready") == Some("True")
}

fn is_unready(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running" && condition(pod, "Ready") == Some("False")
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = pod["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)?["status"].as_str()
}

#[test]
fn each_fate_has_the_same_states_in_the_same_order() {
    case("fates", 1, |case| {
        let fate = |name: &str| json!({"sandbox.hfd/fate": name});
        let later = |name: &str| json!({"sandbox.hfd/fate": name, "sandbox.hfd/fate-after": "500ms"});
        let lived = |name: &str, annotations: &Value, reached: &dyn Fn(&Value) -> bool, query: &str| {
            let pod = fated(case, name, annotations);
            case.same_value(name, |side| life(side, &pod, reached, Some(query)));
        };
        lived("healthy", &json!({}), &is_ready, "");
        lived("at-once", &json!({}), &is_ready, "?gracePeriodSeconds=0");
        lived("image", &fate("image-pull-failure"), &waits_for("ImagePullBackOff"), "");
        lived("crash", &fate("crash-loop"), &waits_for("CrashLoopBackOff"), "");
        lived("crash-later", &later("crash-loop"), &waits_for("CrashLoopBackOff"), "");
        lived("exit-0", &fate("exit-0"), &has_ended, "");
        lived("exit-3", &fate("exit-3"), &has_ended, "");
        lived("exit-3-later", &later("exit-3"), &has_ended, "");
        lived("oom", &fate("oom"), &has_ended, "");
        lived("unready", &fate("never-ready"), &is_unready, "");
        lived("unready-later", &later("never-ready"), &is_unready, "");
        lived("slow-stop", &fate("slow-stop"), &is_ready, "");
        lived(
            "slow-start",
            &json!({"sandbox.hfd/fate": "slow-start", "sandbox.hfd/start-delay": "300ms"}),
            &is_ready,
            "",
        );
    });
}

#[test]
fn a_pod_that_does_not_stop_waits_for_a_forced_deletion() {
    case("stuck", 1, |case| {
        let pod = fated(case, "stuck", &json!({"sandbox.hfd/fate": "stuck-terminating"}));
        case.same_value("stuck", |side| {
            let version = side.version();
            side.create(&pod);
            eventually("it is ready", PATIENCE, || side.pod("stuck").filter(is_ready).map(drop));
            side.must("DELETE", &side.pod_path("stuck"), None);
            side.must("DELETE", &format!("{}?gracePeriodSeconds=0", side.pod_path("stuck")), None);
            json!([side.pod("stuck"), states(side, &version, "stuck", true)])
        });
    });
}

#[test]
fn a_pod_whose_node_falls_silent_is_marked_and_evicted_alike() {
    case("silent node", 1, |case| {
        let pod = fated(case, "p", &json!({"sandbox.hfd/fate": "stuck-terminating"}));
        case.same_value("p", |side| {
            let version = side.version();
            side.create(&pod);
            eventually("it is ready", PATIENCE, || side.pod("p").filter(is_ready).map(drop));
            side.silence_nodes();
            // The real controller gives a new node a minute, and the pods on it 5 s more.
            eventually(&format!("{}: it is being deleted", side.name), PATIENCE * 2, || {
                side.pod("p")?["metadata"]["deletionTimestamp"].is_string().then_some(())
            });
            side.must("DELETE", &format!("{}?gracePeriodSeconds=0", side.pod_path("p")), None);
            json!(states(side, &version, "p", true))
        });
    });
}

#[test]
fn a_pod_whose_node_is_gone_is_collected_alike() {
    case("lost node", 1, |case| {
        let pod = fated(case, "p", &json!({}));
        case.same_value("p", |side| {
            let version = side.version();
            side.create(&pod);
            eventually("it is ready", PATIENCE, || side.pod("p").filter(is_ready).map(drop));
            for node in side.own_nodes() {
                side.must_as_admin("DELETE", &format!("/api/v1/nodes/{node}"), None);
            }
            // The real collector looks every 20 s and gives a node 40 s to come back.
            eventually("it is collected", PATIENCE * 2, || side.pod("p").is_none().then_some(()));
            json!(states(side, &version, "p", true))
        });
    });
}
