//! The scheduler's words about pods that find no node. hfd shows them to people.

use serde_json::{Value, json};
use tests::eventually;

use crate::{
    case::{Case, case, case_with_room},
    normal::{Numbers, text},
    pair::{PATIENCE, Side, idle_pod},
};

/// A pod that the scheduler looks at and that may go to the case's own nodes only.
fn pod(case: &Case, name: &str) -> Value {
    let mut pod = idle_pod(name);
    pod["spec"]["schedulerName"] = json!("default-scheduler");
    pod["spec"]["nodeSelector"] = json!({"hfd.test/ground": case.pair.namespace()});
    pod
}

/// What is told of nodes that other cases have closed meanwhile.
const CLOSED: [&str; 2] = ["node(s) had untolerated taint(s)", "node(s) were unschedulable"];

/// The condition PodScheduled once the scheduler has set it, its reasons in one order and without numbers: the real
/// cluster has other nodes beside the case's own, and sorts by the numbers. Reasons in `others` are left out.
fn verdict(side: &Side, name: &str, others: &[&str]) -> Value {
    eventually("the scheduler has looked at the pod", PATIENCE, || {
        let pod = side.pod(name)?;
        let conditions = pod["status"]["conditions"].as_array()?.clone();
        let condition = conditions.into_iter().find(|condition| condition["type"] == "PodScheduled")?;
        let message = condition["message"].as_str().unwrap_or_default();
        let mut keys: Vec<_> = condition.as_object()?.keys().collect();
        keys.sort();
        // A pod that has a node may run already.
        let phase = if condition["status"] == "False" { &pod["status"]["phase"] } else { &Value::Null };
        Some(json!({
            "phase": phase, "status": condition["status"], "reason": condition["reason"],
            "keys": keys, "message": message.split(". ").map(|sentence| reasons(sentence, others)).collect::<Vec<_>>(),
        }))
    })
}

/// A sentence of the scheduler: what stands before its colon, and the reasons after it but those in `others`.
fn reasons(sentence: &str, others: &[&str]) -> Value {
    let (head, reasons) = sentence.rsplit_once(": ").unwrap_or(("", sentence));
    let reasons = reasons.trim_end_matches('.').split(", ").map(|reason| text(reason, Numbers::Masked));
    let mut reasons: Vec<_> = reasons.filter(|reason| !others.iter().any(|other| reason.ends_with(other))).collect();
    reasons.sort();
    json!([text(head, Numbers::Masked), reasons])
}

#[test]
fn a_pod_that_no_node_suits_is_told_why_in_the_same_words() {
    case("no suitable node", 2, |case| {
        let mut variants = Vec::new();
        let mut selected = pod(case, "selector");
        selected["spec"]["nodeSelector"]["pool"] = json!("none");
        variants.push(selected);
        for (name, resource, amount) in
            [("cpu", "cpu", "5000"), ("memory", "memory", "500Ti"), ("gpu", "example.com/gpu", "1")]
        {
            let mut large = pod(case, name);
            large["spec"]["containers"][0]["resources"] =
                json!({"requests": {resource: amount}, "limits": {resource: amount}});
            variants.push(large);
        }
        let mut both = pod(case, "both");
        both["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "5000", "memory": "500Ti"}});
        variants.push(both);
        for pod in &variants {
            let name = pod["metadata"]["name"].as_str().expect("a pod has a name").to_owned();
            case.pair.each(|side| drop(side.create(pod)));
            case.same_value(&name, |side| verdict(side, &name, &CLOSED));
        }
    });
}

#[test]
fn a_node_that_is_full_or_closed_is_told_in_the_same_words() {
    case_with_room("full nodes", 2, 1, |case| {
        for name in ["a", "b"] {
            case.pair.each(|side| {
                side.create(&pod(case, name));
                eventually("the pod has a node", PATIENCE, || {
                    side.pod(name)?["spec"]["nodeName"].is_string().then_some(())
                });
            });
        }
        case.pair.each(|side| drop(side.create(&pod(case, "full"))));
        case.same_value("full", |side| verdict(side, "full", &CLOSED));
        case.same_value("bound", |side| verdict(side, "a", &[]));
        case.pair.each(|side| {
            for node in side.own_nodes() {
                side.must_as_admin(
                    "PATCH",
                    &format!("/api/v1/nodes/{node}"),
                    Some(&json!({"spec": {"unschedulable": true}})),
                );
            }
        });
        case.pair.real.wait_tainted();
        case.pair.each(|side| drop(side.create(&pod(case, "cordoned"))));
        case.same_value("cordoned", |side| verdict(side, "cordoned", &CLOSED[..1]));
        case.pair.each(|side| {
            for node in side.own_nodes() {
                let taint = json!({"key": "a", "value": "b", "effect": "NoSchedule"});
                let change = json!({"spec": {"unschedulable": null, "taints": [taint]}});
                side.must_as_admin("PATCH", &format!("/api/v1/nodes/{node}"), Some(&change));
            }
        });
        case.pair.each(|side| drop(side.create(&pod(case, "tainted"))));
        case.same_value("tainted", |side| verdict(side, "tainted", &CLOSED[1..]));
    });
}

#[test]
fn a_pod_of_another_scheduler_is_left_alone() {
    case("another scheduler", 2, |case| {
        let mut theirs = pod(case, "theirs");
        theirs["spec"]["schedulerName"] = json!("nobody");
        case.pair.each(|side| {
            side.create(&theirs);
            side.create(&pod(case, "ours"));
        });
        case.same_value("ours", |side| verdict(side, "ours", &[]));
        case.same("theirs", |side| side.hfd.call("GET", &side.pod_path("theirs"), None));
    });
}
