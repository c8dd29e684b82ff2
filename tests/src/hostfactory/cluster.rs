//! The run's own way to the cluster: to look, and to disturb. It shares nothing with the provider but the server.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{judge::Look, options::Options, pods::PodView};
use crate::http::{Endpoint, Events, Response};

/// Length of one watch, after which the server ends it and it is resumed where it was: seconds. Short, so that a stream
/// that broke without a word is noticed soon.
const WATCH_SECONDS: u32 = 60;
/// From this many names on, one LIST is asked before single pods.
const MANY: usize = 8;
/// Taints by which a node says that its pods will be lost (lifecycle.md 6).
const LEAVING: [&str; 5] = [
    "node.kubernetes.io/out-of-service",
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "cloud.google.com/impending-node-termination",
    "aws-node-termination-handler/",
];

/// The namespace with the provider's pods.
#[derive(Debug)]
pub struct Cluster {
    api: Endpoint,
    namespace: String,
    selector: String,
}

impl Cluster {
    /// The cluster of the command line.
    ///
    /// # Errors
    /// When the kubeconfig can't be used.
    pub fn open(options: &Options, provider: &str) -> Result<Self> {
        let api = Endpoint::from_kubeconfig(&options.kubeconfig)?;
        let selector = format!("labelSelector=symphony%2Fhostfactory-provider%3D{provider}");
        Ok(Self { api, namespace: options.namespace.clone(), selector })
    }

    /// All pods of the provider, and the version to watch from.
    ///
    /// # Errors
    /// When the server does not answer with a list.
    pub fn list(&self) -> Result<(Vec<PodView>, String)> {
        let list = self.api.json("GET", &format!("{}?{}", self.pods(), self.selector), None)?;
        let items = list["items"].as_array().context("a list has items")?;
        let version = list["metadata"]["resourceVersion"].as_str().context("a list has a version")?;
        Ok((items.iter().filter_map(PodView::read).collect(), version.to_owned()))
    }

    /// The events after a version, for some time.
    ///
    /// # Errors
    /// When the watch is refused.
    pub fn watch(&self, version: &str, seconds: Option<u32>) -> Result<Events> {
        let seconds = seconds.unwrap_or(WATCH_SECONDS);
        self.api.watch(&format!(
            "{}?{}&watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={seconds}",
            self.pods(),
            self.selector
        ))
    }

    /// Looks at one machine's pod, and at its node where that decides something.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn look(&self, name: &str) -> Result<Look> {
        let Some(view) = self.pod(name)? else { return Ok(Look::Absent) };
        let bound = view.marked().is_none() && !view.node.is_empty();
        let node_leaving = bound && self.node_leaving(&view.node)?;
        Ok(Look::There { view, node_leaving })
    }

    /// Looks at several machines' pods.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn looks(&self, names: &[&str]) -> Result<Vec<Look>> {
        if names.len() < MANY {
            return names.iter().map(|name| self.look(name)).collect();
        }
        let (views, _) = self.list()?;
        let there = |name: &str| views.iter().any(|view| view.name == name);
        names.iter().map(|name| if there(name) { self.look(name) } else { Ok(Look::Absent) }).collect()
    }

    /// One pod as it is now.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn pod(&self, name: &str) -> Result<Option<PodView>> {
        let path = format!("{}/{name}", self.pods());
        let response = self.api.call("GET", &path, None)?;
        match response.code {
            200 => Ok(PodView::read(&response.json()?)),
            404 => Ok(None),
            code => bail!("GET {path}: {code}"),
        }
    }

    fn node_leaving(&self, name: &str) -> Result<bool> {
        let Some(node) = self.node(name)? else { return Ok(true) };
        let taints = node["spec"]["taints"].as_array().into_iter().flatten();
        let mut keys = taints.filter_map(|taint| taint["key"].as_str());
        Ok(keys.any(|key| LEAVING.iter().any(|leaving| key.starts_with(leaving))))
    }

    /// One node as it is now.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn node(&self, name: &str) -> Result<Option<Value>> {
        let path = format!("/api/v1/nodes/{name}");
        let response = self.api.call("GET", &path, None)?;
        match response.code {
            200 => Ok(Some(response.json()?)),
            404 => Ok(None),
            code => bail!("GET {path}: {code}"),
        }
    }

    /// Deletes a pod, with its own grace or with another.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn delete_pod(&self, name: &str, grace: Option<u64>) -> Result<Response> {
        let options =
            grace.map(|seconds| json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": seconds}));
        self.api.call("DELETE", &format!("{}/{name}", self.pods()), options.as_ref())
    }

    /// Evicts a pod.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn evict(&self, name: &str) -> Result<Response> {
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": self.namespace},
        });
        self.api.call("POST", &format!("{}/{name}/eviction", self.pods()), Some(&eviction))
    }

    /// Deletes a node.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn delete_node(&self, name: &str) -> Result<Response> {
        self.api.call("DELETE", &format!("/api/v1/nodes/{name}"), None)
    }

    /// Asks whether a node could be made, without making it.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn may_create_node(&self, node: &Value) -> Result<Response> {
        self.api.call("POST", "/api/v1/nodes?dryRun=All", Some(&anew(node)))
    }

    /// Makes a node again as it was: name, labels, annotations, specification, and what it has to give.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn create_node(&self, node: &Value) -> Result<()> {
        let made = anew(node);
        self.api.json("POST", "/api/v1/nodes", Some(&made))?;
        // A server may drop the status of a created node; what manages the node sets the rest.
        let path = format!("/api/v1/nodes/{}/status", made["metadata"]["name"].as_str().unwrap_or_default());
        self.api.json("PATCH", &path, Some(&json!({ "status": made["status"] })))?;
        Ok(())
    }

    fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace)
    }
}

/// A node object to be created, like one that was.
fn anew(node: &Value) -> Value {
    let metadata = &node["metadata"];
    let mut spec = node["spec"].clone();
    if let Some(taints) = spec["taints"].as_array() {
        // The node controller's own taints tell of the old node's end.
        let kept: Vec<Value> = taints.iter().filter(|taint| !lifecycle_taint(taint)).cloned().collect();
        spec["taints"] = json!(kept);
    }
    let mut status = json!({});
    for key in ["capacity", "allocatable", "nodeInfo"] {
        // A null would be refused where an absent value is not.
        if !node["status"][key].is_null() {
            status[key] = node["status"][key].clone();
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": metadata["name"], "labels": metadata["labels"], "annotations": metadata["annotations"],
        },
        "spec": spec,
        "status": status,
    })
}

fn lifecycle_taint(taint: &Value) -> bool {
    taint["key"].as_str().is_some_and(|key| key.starts_with("node.kubernetes.io/"))
}
