//! A namespace of a test's own on a shared testbed, furnished as a site would: the service account and exactly the
//! permissions that the project ships, a token, and nodes that only this namespace's pods may use.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Facts, nodes};
use crate::{bins, http::Endpoint, wait::eventually};

/// Node label and node selector that bind a ground's pods to its nodes.
const GROUND: &str = "hfd.test/ground";
/// Namespace that the shipped manifests are written for.
const SHIPPED_NAMESPACE: &str = "symphony";
/// Life of a token; a test is shorter, and the API server gives no less than 10 min.
const TOKEN_SECONDS: u32 = 6 * 3600;

/// A furnished namespace. Dropped, it is deleted with all in it and its nodes.
#[derive(Debug)]
pub struct Ground {
    admin: Endpoint,
    namespace: String,
    token: String,
    nodes: Vec<String>,
}

impl Ground {
    /// Makes a namespace with `nodes` ready nodes of its own, each with room for `pods_per_node` pods.
    ///
    /// # Errors
    /// When the API server refuses something.
    ///
    /// # Panics
    /// When the nodes do not become ready within a minute.
    pub fn prepare(facts: &Facts, nodes: u32, pods_per_node: u32) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let namespace = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = facts.admin();
        let names: Vec<String> = (0..nodes).map(|number| format!("{namespace}-node-{number}")).collect();
        let token = furnish(&admin, &namespace, &[(GROUND, &namespace)])?;
        let ground = Self { admin, namespace, token, nodes: names };
        nodes::create(&ground.admin, &ground.nodes, pods_per_node, &[(GROUND, &ground.namespace)])?;
        ground.wait_nodes();
        Ok(ground)
    }

    /// Makes a namespace whose pods run on the real node.
    ///
    /// # Errors
    /// When the testbed has none, or the API server refuses something.
    pub fn on_the_real_node(facts: &Facts) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let node = facts.real_node.clone().context("this testbed has no real node")?;
        let namespace = format!("r{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = facts.admin();
        let token = furnish(&admin, &namespace, &[("kubernetes.io/hostname", &node)])?;
        Ok(Self { admin, namespace, token, nodes: Vec::new() })
    }

    /// Makes a namespace whose pods run on the testbed's own nodes, which it shares with other such namespaces.
    ///
    /// # Errors
    /// When the API server refuses something.
    pub fn on_the_shared_nodes(facts: &Facts) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let namespace = format!("s{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = facts.admin();
        let token = furnish(&admin, &namespace, &[(nodes::PLAYED, nodes::BY_KWOK)])?;
        Ok(Self { admin, namespace, token, nodes: Vec::new() })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The token of the service account `hfd` there.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Names of its own nodes.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// A cluster administrator's way to the API server.
    pub fn admin(&self) -> &Endpoint {
        &self.admin
    }

    /// Furnishes the namespace again after it was deleted; its service account then has another token.
    ///
    /// # Errors
    /// When the API server refuses something.
    pub fn furnish(&mut self) -> Result<()> {
        let namespace = self.namespace.clone();
        self.token = furnish(&self.admin, &namespace, &[(GROUND, &namespace)])?;
        Ok(())
    }

    fn wait_nodes(&self) {
        for name in &self.nodes {
            eventually("a node is ready", Duration::from_secs(60), || {
                let node = self.admin.json("GET", &format!("/api/v1/nodes/{name}"), None).ok()?;
                nodes::is_ready(&node).then_some(())
            });
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // The testbed may be gone already; what is left in a living one is only in the way of people.
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        drop(self.admin.call("DELETE", &pods, Some(&json!({"gracePeriodSeconds": 0}))));
        drop(self.admin.call("DELETE", &format!("/api/v1/namespaces/{}", self.namespace), None));
        for name in &self.nodes {
            drop(self.admin.call("DELETE", &format!("/api/v1/nodes/{name}"), None));
        }
        for kind in ["clusterroles", "clusterrolebindings"] {
            let path = format!("/apis/rbac.authorization.k8s.io/v1/{kind}/hfd-namespace-{}", self.namespace);
            drop(self.admin.call("DELETE", &path, None));
        }
    }
}

/// Makes the namespace if it is not there, with the shipped service account, Role and bindings, and gives a token.
fn furnish(admin: &Endpoint, namespace: &str, selector: &[(&str, &str)]) -> Result<String> {
    let selector: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": namespace,
        "annotations": {"scheduler.alpha.kubernetes.io/node-selector": selector.join(",")},
    }});
    create(admin, "/api/v1/namespaces", &object)?;
    for object in shipped(namespace)? {
        create(admin, &collection(&object)?, &object)?;
    }
    let ask = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_SECONDS}});
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/hfd/token");
    let granted = admin.json("POST", &path, Some(&ask)).context("a token for the service account hfd")?;
    granted["status"]["token"].as_str().map(str::to_owned).context("the granted token has no text")
}

/// The manifests in `scripts/rbac`, for another namespace than the one that they are written for.
///
/// # Errors
/// When one can't be read.
pub fn shipped(namespace: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for file in ["hfd.yaml", "hfd-cluster.yaml"] {
        let file = bins::source_root().join("scripts/rbac").join(file);
        let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        for document in text.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document).with_context(|| format!("{}", file.display()))?;
            objects.push(rename(object, namespace));
        }
    }
    Ok(objects)
}

fn rename(mut object: Value, namespace: &str) -> Value {
    if !object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = json!(namespace);
    } else if object["metadata"]["name"].is_string() {
        // Cluster-wide objects of several namespaces must not meet.
        let named = |value: &Value| json!(format!("{}-{namespace}", value.as_str().unwrap_or_default()));
        object["metadata"]["name"] = named(&object["metadata"]["name"]);
        if object["roleRef"].is_object() {
            object["roleRef"]["name"] = named(&object["roleRef"]["name"]);
        }
    }
    for subject in object["subjects"].as_array_mut().into_iter().flatten() {
        subject["namespace"] = json!(namespace);
    }
    for rule in object["rules"].as_array_mut().into_iter().flatten() {
        for name in rule["resourceNames"].as_array_mut().into_iter().flatten() {
            if *name == SHIPPED_NAMESPACE {
                *name = json!(namespace);
            }
        }
    }
    object
}

fn collection(object: &Value) -> Result<String> {
    let kind = object["kind"].as_str().context("a manifest has no kind")?;
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    Ok(match kind {
        "ServiceAccount" => format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
        "Role" => format!("{rbac}/namespaces/{namespace}/roles"),
        "RoleBinding" => format!("{rbac}/namespaces/{namespace}/rolebindings"),
        "ClusterRole" => format!("{rbac}/clusterroles"),
        "ClusterRoleBinding" => format!("{rbac}/clusterrolebindings"),
        other => bail!("the shipped manifests have a {other}, which the testbed does not know"),
    })
}

/// Creates an object that may be there already.
fn create(admin: &Endpoint, collection: &str, object: &Value) -> Result<()> {
    let answer = admin.call("POST", collection, Some(object))?;
    match answer.code {
        200..300 | 409 => Ok(()),
        code => bail!("POST {collection}: {code} {}", String::from_utf8_lossy(&answer.body)),
    }
}
