//! The simulated cluster as a process of its own (`hfd sandbox cluster`), its control endpoints and its Kubernetes API.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    bins,
    http::{Endpoint, Response},
    process::Process,
    wait::eventually,
};

/// How a cluster is started.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Nodes.
    pub nodes: u32,
    /// Pods that fit on one node.
    pub pods_per_node: u32,
    /// Seed of all its randomness.
    pub seed: u64,
    /// Time from scheduled to ready, as its flag wants it.
    pub start_delay: String,
    /// Time from deleted to gone, as its flag wants it.
    pub stop_delay: String,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { nodes: 4, pods_per_node: 110, seed: 1, start_delay: "30ms".to_owned(), stop_delay: "30ms".to_owned() }
    }
}

/// A running simulated cluster. Every method that changes it panics when it is refused: a test that can't set its scene
/// proves nothing.
#[derive(Debug)]
pub struct SimCluster {
    process: Process,
    api: Endpoint,
    kubeconfig: PathBuf,
    namespace: String,
}

impl SimCluster {
    /// Starts a cluster whose files lie in `dir` and waits until it serves.
    ///
    /// # Panics
    /// When it does not serve within 30 s.
    #[track_caller]
    pub fn start(dir: &Path, options: &ClusterOptions) -> Self {
        let kubeconfig = dir.join("kubeconfig");
        let mut command = Command::new(bins::hfd());
        command.args(["sandbox", "cluster", "--kubeconfig-out"]).arg(&kubeconfig);
        command.args(["--nodes", &options.nodes.to_string(), "--pods-per-node", &options.pods_per_node.to_string()]);
        command.args(["--seed", &options.seed.to_string()]);
        command.args(["--start-delay", &options.start_delay, "--stop-delay", &options.stop_delay]);
        command.env_clear().env("HOME", dir);
        let mut process = Process::start("hfd sandbox cluster", command, &dir.join("cluster.log"));
        let text = eventually("the cluster serves", Duration::from_secs(30), || {
            let ended = process.try_ended();
            assert!(ended.is_none(), "the cluster ended with {ended:?}: {}", process.log());
            fs::read_to_string(&kubeconfig).ok()
        });
        let field = |key: &str| kubeconfig_field(&text, key);
        let address = field("server:").trim_start_matches("http://").trim_end_matches('/').to_owned();
        let api = Endpoint { address, token: field("token:") };
        Self { process, api, kubeconfig, namespace: "default".to_owned() }
    }

    /// Its kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Its address and token.
    pub fn endpoint(&self) -> &Endpoint {
        &self.api
    }

    /// The process, for signals and logs.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The end of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    // ---- Kubernetes API ----

    /// All pods of the namespace.
    pub fn pods(&self) -> Vec<Value> {
        let list = self.must("GET", &format!("/api/v1/namespaces/{}/pods", self.namespace), None);
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Names of all pods of the namespace, sorted.
    pub fn pod_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.pods().iter().map(pod_name).collect();
        names.sort();
        names
    }

    /// Names of the pods that `hfd` manages, sorted.
    pub fn managed(&self) -> Vec<String> {
        let ours = |pod: &&Value| pod["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "hfd";
        let mut names: Vec<String> = self.pods().iter().filter(ours).map(pod_name).collect();
        names.sort();
        names
    }

    /// One pod.
    pub fn pod(&self, name: &str) -> Option<Value> {
        let response = self.call("GET", &self.pod_path(name), None);
        (response.code == 200).then(|| response.json().expect("the API answers JSON"))
    }

    /// Creates a pod as somebody else would.
    pub fn create_pod(&self, name: &str, labels: &Value, annotations: &Value) -> Value {
        let body = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": labels, "annotations": annotations},
            "spec": {"containers": [{"name": "main", "image": "registry.example/other:1"}]},
        });
        self.must("POST", &format!("/api/v1/namespaces/{}/pods", self.namespace), Some(&body))
    }

    /// Deletes a pod as `kubectl delete pod` would: with its grace.
    pub fn delete_pod(&self, name: &str) {
        self.must("DELETE", &self.pod_path(name), None);
    }

    /// Names of the nodes.
    pub fn nodes(&self) -> Vec<String> {
        let list = self.must("GET", "/api/v1/nodes", None);
        list["items"].as_array().map(|items| items.iter().map(pod_name).collect()).unwrap_or_default()
    }

    /// The node a pod runs on.
    pub fn node_of(&self, pod: &str) -> String {
        let pod = self.pod(pod).unwrap_or_else(|| panic!("pod {pod} is not there"));
        pod["spec"]["nodeName"].as_str().expect("the pod is scheduled").to_owned()
    }

    // ---- control ----

    /// API calls since the start or the last reset, by `verb resource`.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let counters = self.must("GET", "/sandbox/counters", None);
        let counters = counters.as_object().expect("counters are an object");
        counters.iter().map(|(key, count)| (key.clone(), count.as_u64().expect("a counter is a number"))).collect()
    }

    /// One counter.
    pub fn count(&self, key: &str) -> u64 {
        self.counters().get(key).copied().unwrap_or(0)
    }

    /// Sets all counters to nothing.
    pub fn reset_counters(&self) {
        self.must("POST", "/sandbox/counters/reset", None);
    }

    /// Adds a fault and gives its id.
    pub fn fault(&self, fault: &Value) -> u64 {
        let reply = self.must("POST", "/sandbox/faults", Some(fault));
        reply["id"].as_u64().expect("a fault has an id")
    }

    /// Adds a fault of pods for one verb.
    pub fn pod_fault(&self, verb: &str, action: &Value) -> u64 {
        self.fault(&json!({"verb": verb, "resource": "pods", "action": action}))
    }

    /// Removes one fault.
    pub fn end_fault(&self, id: u64) {
        self.must("DELETE", &format!("/sandbox/faults/{id}"), None);
    }

    /// Removes all faults.
    pub fn end_faults(&self) {
        self.must("DELETE", "/sandbox/faults", None);
    }

    /// Withdraws a permission (RBAC).
    pub fn deny(&self, verb: &str, resource: &str) {
        self.must("POST", "/sandbox/deny", Some(&json!({"verb": verb, "resource": resource})));
    }

    /// Gives all permissions back.
    pub fn allow_all(&self) {
        self.must("DELETE", "/sandbox/deny", None);
    }

    /// Changes a node: `lose`, `notready`, `ready`.
    pub fn node(&self, name: &str, what: &str) {
        self.must("POST", &format!("/sandbox/nodes/{name}/{what}"), None);
    }

    /// Changes a pod: `{"phase"?, "ready"?, "fate"?, "delete": "now"}`.
    pub fn set_pod(&self, name: &str, change: &Value) {
        self.must("POST", &format!("/sandbox/pods/{}/{name}", self.namespace), Some(change));
    }

    /// Removes a pod at once, as a force deletion does.
    pub fn remove_pod(&self, name: &str) {
        self.set_pod(name, &json!({"delete": "now"}));
    }

    /// Watch: `compact` (the next resume is answered 410) or `cut` (all streams end).
    pub fn watch(&self, what: &str) {
        self.must("POST", &format!("/sandbox/watch/{what}"), None);
    }

    /// Watch streams stay open and say nothing, not even bookmarks.
    pub fn silence(&self, on: bool) {
        self.must("POST", "/sandbox/watch/silence", Some(&json!({ "on": on })));
    }

    /// The API server answers nobody.
    pub fn outage(&self, on: bool) {
        self.must("POST", "/sandbox/outage", Some(&json!({ "on": on })));
    }

    /// The API server answers 401 to everybody.
    pub fn unauthorized(&self, on: bool) {
        self.must("POST", "/sandbox/unauthorized", Some(&json!({ "on": on })));
    }

    /// The namespace is deleted with all in it and made anew: another UID.
    pub fn recreate_namespace(&self) {
        self.must("POST", &format!("/sandbox/namespaces/{}/recreate", self.namespace), None);
    }

    /// What the cluster remembers of every pod it ever had, by name.
    pub fn history(&self) -> BTreeMap<String, PodHistory> {
        let history = self.must("GET", "/sandbox/history?resource=pods", None);
        let history = history.as_object().expect("the history is an object by pod name");
        history.iter().map(|(name, entry)| (short(name), PodHistory::read(entry))).collect()
    }

    fn pod_path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/pods/{name}", self.namespace)
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        self.api.call(method, path, body).unwrap_or_else(|error| panic!("{error:#}"))
    }

    #[track_caller]
    fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        match self.api.json(method, path, body) {
            Ok(value) => value,
            Err(error) => panic!("{error:#}"),
        }
    }
}

/// What became of a pod name.
#[derive(Debug, Clone)]
pub struct PodHistory {
    /// How often a pod of that name was created.
    pub created: u64,
    /// Whether one of them was ever ready.
    pub ever_ready: bool,
    /// Whether one exists now.
    pub exists: bool,
}

impl PodHistory {
    fn read(entry: &Value) -> Self {
        Self {
            created: entry["created"].as_u64().unwrap_or_else(|| panic!("no count of creations in {entry}")),
            ever_ready: entry["everReady"].as_bool().unwrap_or_else(|| panic!("no everReady in {entry}")),
            exists: entry["exists"].as_bool().unwrap_or_else(|| panic!("no exists in {entry}")),
        }
    }
}

/// A pod's name, or a node's.
pub fn pod_name(object: &Value) -> String {
    object["metadata"]["name"].as_str().expect("every object has a name").to_owned()
}

fn short(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

fn kubeconfig_field(text: &str, key: &str) -> String {
    let found = text.lines().find_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix(key));
    let found = found.unwrap_or_else(|| panic!("the kubeconfig has no {key} line:\n{text}"));
    found.trim().trim_matches('"').trim_matches('\'').to_owned()
}
