//! The two clusters that a case talks to: a sandbox of its own and a namespace of its own on the testbed, alike in all
//! that a client can choose.

use std::{process::Command, sync::OnceLock, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    bins, eventually,
    http::{Endpoint, Response},
    process::Process,
    testbed::{Facts, Ground},
};

/// Longest wait for something that takes well under a second on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The label of a ground's nodes and the node selector of its pods (`tests/src/testbed/ground.rs`).
const GROUND: &str = "hfd.test/ground";

/// One of the two.
#[derive(Debug)]
pub(crate) struct Side {
    /// `sandbox` or `real`, for messages.
    pub(crate) name: &'static str,
    /// The way of hfd's own service account. The sandbox has one user only.
    pub(crate) hfd: Endpoint,
    /// The way of an administrator.
    pub(crate) admin: Endpoint,
    namespace: String,
    nodes: Vec<String>,
}

/// Both.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) sandbox: Side,
    pub(crate) real: Side,
    ground: Ground,
    _process: Process,
    _dir: TempDir,
}

impl Pair {
    /// Both clusters with `nodes` nodes, each with room for `pods_per_node` pods, and a namespace of the same name. The
    /// nodes carry the label by which the testbed keeps the pods of a namespace on its nodes; if there are any, either
    /// cluster also has one without.
    ///
    /// # Panics
    /// Without a testbed: a differential test that compares nothing must not pass.
    pub(crate) fn start(nodes: u32, pods_per_node: u32) -> Self {
        let facts = facts();
        let ground = Ground::prepare(facts, nodes, pods_per_node).unwrap_or_else(|error| panic!("{error:#}"));
        let namespace = ground.namespace().to_owned();
        let dir = TempDir::new().expect("a temporary directory");
        let kubeconfig = dir.path().join("kubeconfig");
        let mut command = Command::new(bins::hfd());
        command.args(["sandbox", "cluster", "--kubeconfig-out"]).arg(&kubeconfig);
        let all_nodes = if nodes == 0 { 0 } else { nodes + 1 };
        command.args(["--namespace", &namespace, "--nodes", &all_nodes.to_string()]);
        command.args(["--pods-per-node", &pods_per_node.to_string(), "--start-delay", "30ms", "--stop-delay", "30ms"]);
        command.env_clear().env("HOME", dir.path());
        let mut process = Process::start("hfd sandbox cluster", command, &dir.path().join("cluster.log"));
        let sandbox = eventually("the sandbox serves", PATIENCE, || {
            let ended = process.try_ended();
            assert!(ended.is_none(), "the sandbox ended with {ended:?}: {}", process.log());
            Endpoint::from_kubeconfig(&kubeconfig).ok()
        });
        let real = Side {
            name: "real",
            hfd: facts.with_token(ground.token()),
            admin: ground.admin().clone(),
            namespace: namespace.clone(),
            nodes: ground.nodes().to_vec(),
        };
        let own = (0..nodes).map(|number| format!("sandbox-node-{number:04}")).collect();
        let sandbox = Side { name: "sandbox", hfd: sandbox.clone(), admin: sandbox, namespace, nodes: own };
        for node in sandbox.own_nodes() {
            let label = json!({"metadata": {"labels": {GROUND: sandbox.namespace}}});
            sandbox.must_as_admin("PATCH", &format!("/api/v1/nodes/{node}"), Some(&label));
        }
        wait_authorized(&real);
        Self { sandbox, real, ground, _process: process, _dir: dir }
    }

    /// The namespace, on either side.
    pub(crate) fn namespace(&self) -> &str {
        self.ground.namespace()
    }

    /// The path of the pods in it.
    pub(crate) fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace())
    }

    /// Waits until a read of any version shows what has been written: such a read comes out of the real server's cache,
    /// which a read of the newest version brings up to date.
    pub(crate) fn settle(&self) {
        self.each(Side::settle);
    }

    /// Does the same on both sides.
    pub(crate) fn each(&self, mut action: impl FnMut(&Side)) {
        action(&self.sandbox);
        action(&self.real);
    }
}

impl Side {
    /// The path of the pods in the namespace.
    pub(crate) fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace)
    }

    /// The names of the nodes that pods of the namespace may use.
    pub(crate) fn own_nodes(&self) -> &[String] {
        &self.nodes
    }

    /// Waits until the real cluster's controller has put the taint of a cordoned node on each of its own nodes.
    pub(crate) fn wait_tainted(&self) {
        for node in &self.nodes {
            eventually("a cordoned node is tainted", PATIENCE, || {
                let node = self.admin.json("GET", &format!("/api/v1/nodes/{node}"), None).ok()?;
                let taints = node["spec"]["taints"].as_array()?.clone();
                taints.iter().any(|taint| taint["key"] == "node.kubernetes.io/unschedulable").then_some(())
            });
        }
    }

    /// Lets the kubelets of its own nodes fall silent.
    pub(crate) fn silence_nodes(&self) {
        for node in &self.nodes {
            if self.name == "sandbox" {
                self.must_as_admin("POST", &format!("/sandbox/nodes/{node}/notready"), None);
                continue;
            }
            // KWOK plays the nodes with this label and renews their leases; without it the node falls silent.
            let label = json!({"metadata": {"labels": {"type": null}}});
            self.must_as_admin("PATCH", &format!("/api/v1/nodes/{node}"), Some(&label));
        }
    }

    /// The path of one pod in it.
    pub(crate) fn pod_path(&self, name: &str) -> String {
        format!("{}/{name}", self.pods())
    }

    /// Creates a pod, which must succeed, and gives the answer.
    #[track_caller]
    pub(crate) fn create(&self, pod: &Value) -> Value {
        self.must("POST", &self.pods(), Some(pod))
    }

    /// The pod of that name, if there is one.
    pub(crate) fn pod(&self, name: &str) -> Option<Value> {
        let answer = self.hfd.call("GET", &self.pod_path(name), None).unwrap_or_else(|error| panic!("{error:#}"));
        (answer.code == 200).then(|| answer.json().expect("a pod is JSON"))
    }

    /// A call as hfd that must succeed.
    #[track_caller]
    pub(crate) fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.hfd.json(method, path, body).unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }

    /// A call as administrator that must succeed.
    #[track_caller]
    pub(crate) fn must_as_admin(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.admin.json(method, path, body).unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }

    /// The version of the newest state: from here on a watch shows all that happens.
    #[track_caller]
    pub(crate) fn version(&self) -> String {
        let list = self.must("GET", &format!("{}?limit=1", self.pods()), None);
        list["metadata"]["resourceVersion"].as_str().expect("a list has a version").to_owned()
    }

    /// Waits until a read of any version, and a watch from the beginning on, shows what has been written.
    pub(crate) fn settle(&self) {
        drop(self.version());
    }

    /// Opens a watch as hfd and gives all its events up to its end; bookmarks only where `query` asks for them.
    #[track_caller]
    pub(crate) fn watched(&self, query: &str) -> Vec<Value> {
        let path = format!("{}?watch=true&{query}", self.pods());
        let events = self.hfd.watch(&path).unwrap_or_else(|error| panic!("{}: {error:#}", self.name));
        events.map(|event| event.unwrap_or_else(|error| panic!("{}: {error:#}", self.name))).collect()
    }

    /// A GET as hfd with this `Accept` header.
    pub(crate) fn get_accepting(&self, path: &str, accept: &str) -> anyhow::Result<Response> {
        self.hfd.get_accepting(path, accept)
    }
}

/// A pod that no scheduler looks at: all that happens to it is what the case does.
pub(crate) fn idle_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "worker"}},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{"name": "main", "image": "registry.example/worker:1"}],
        },
    })
}

/// A pod on a node that does not exist: bound, so that its deletion has a grace period, and played by nobody.
pub(crate) fn bound_pod(name: &str) -> Value {
    let mut pod = idle_pod(name);
    pod["spec"]["nodeName"] = json!("ghost");
    pod
}

fn facts() -> &'static Facts {
    static FACTS: OnceLock<Facts> = OnceLock::new();
    FACTS.get_or_init(|| {
        Facts::of_environment().expect(
            "the differential test needs a real API server, named by HFD_TESTBED; this starts one and runs it there:\n\
             cargo run -p tests --bin testbed -- run --nodes 4 -- cargo test -p tests --test differential",
        )
    })
}

/// The real server's authorizer learns of a new role a moment after it was made.
fn wait_authorized(real: &Side) {
    eventually("hfd's role works", PATIENCE, || {
        let answer = real.hfd.call("GET", &format!("{}?limit=1", real.pods()), None).ok()?;
        (answer.code == 200).then_some(())
    });
}
