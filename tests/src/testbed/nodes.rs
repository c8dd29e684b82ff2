//! Node objects for KWOK to play.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::http::Endpoint;

/// The label that KWOK's nodes carry, and a real one never does.
pub(super) const PLAYED: &str = "type";
/// Its value.
pub(super) const BY_KWOK: &str = "kwok";

/// A node of that name with room for `pods` pods; `labels` besides the usual ones.
pub(super) fn object(name: &str, pods: u32, labels: &[(&str, &str)]) -> Value {
    let room = json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "100Gi", "pods": pods.to_string()});
    let mut node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            PLAYED: BY_KWOK, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        }},
        "status": {"capacity": room, "allocatable": room},
    });
    for (key, value) in labels {
        node["metadata"]["labels"][*key] = json!(value);
    }
    node
}

/// Makes nodes of these names.
pub(super) fn create(admin: &Endpoint, names: &[String], pods: u32, labels: &[(&str, &str)]) -> Result<()> {
    for name in names {
        admin.json("POST", "/api/v1/nodes", Some(&object(name, pods, labels))).context("create a node")?;
    }
    Ok(())
}

/// Whether a node says that it is ready.
pub(super) fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}
