//! Nodes lost, silent and back. The testbed's own controllers do what follows from it, but for one: the pod garbage
//! collector takes a minute, so the gate does its work a little later, in its way.

use std::{thread, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use super::administrator::{Administrator, set_condition};
use crate::gate::control::{Problem, failed};

/// From the loss of a node until its pods are collected.
const COLLECTED_AFTER: Duration = Duration::from_millis(500);

/// Changes a node: `lose`, `notready`, `ready`.
pub(super) fn change(admin: &Administrator, name: &str, what: &str) -> Result<Value, Problem> {
    let path = format!("/api/v1/nodes/{name}");
    let there = admin.api().call("GET", &path, None).map_err(failed)?;
    if there.code == 404 {
        return Err((404, format!("no node {name:?}")));
    }
    match what {
        "lose" => {
            admin.api().json("DELETE", &path, None).map_err(failed)?;
            let collector = Collector { admin: admin.clone(), node: name.to_owned() };
            thread::spawn(move || {
                // Not synchronisation: a node that is gone is noticed later.
                thread::sleep(COLLECTED_AFTER);
                // A test that has ended meanwhile took its pods along.
                drop(collector.run());
            });
        }
        "notready" => set_ready(admin, &path, "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")?,
        _ => {
            set_ready(admin, &path, "True", "KubeletReady", "kubelet is posting ready status")?;
            report_pods(admin, name).map_err(failed)?;
        }
    }
    Ok(json!({}))
}

fn set_ready(admin: &Administrator, path: &str, status: &str, reason: &str, message: &str) -> Result<(), Problem> {
    let set = admin.update_status(path, |node| set_condition(node, "Ready", status, reason, message));
    set.map(drop).map_err(failed)
}

/// A kubelet that is back reports its pods as they are: the node controller had called them unready.
fn report_pods(admin: &Administrator, node: &str) -> Result<()> {
    for pod in admin.pods_on(node)? {
        let conditions = pod["status"]["conditions"].as_array();
        let runs = |one: &Value| one["type"] == "ContainersReady" && one["status"] == "True";
        if conditions.is_some_and(|all| all.iter().any(runs)) {
            let path = admin.pod_path(pod["metadata"]["name"].as_str().unwrap_or_default());
            admin.update_status(&path, |pod| set_condition(pod, "Ready", "True", "", ""))?;
        }
    }
    Ok(())
}

/// The pod garbage collector (kubernetes, `pkg/controller/podgc`), for one node that is gone.
struct Collector {
    admin: Administrator,
    node: String,
}

impl Collector {
    fn run(&self) -> Result<()> {
        for pod in self.admin.pods_on(&self.node)? {
            let path = self.admin.pod_path(pod["metadata"]["name"].as_str().unwrap_or_default());
            let has_ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            if !has_ended {
                self.admin.update_status(&path, |pod| {
                    pod["status"]["phase"] = json!("Failed");
                    let message = "PodGC: node no longer exists";
                    set_condition(pod, "DisruptionTarget", "True", "DeletionByPodGC", message);
                })?;
            }
            self.admin.api().call("DELETE", &path, Some(&json!({"gracePeriodSeconds": 0})))?;
        }
        Ok(())
    }
}
