//! A test's cluster: simulated (`hfd sandbox cluster`, a process of its own), or a namespace of a running testbed behind
//! a gate that has the same control endpoints. `HFD_TESTBED` decides; a test does not see which it is.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    bins,
    gate::{Gate, Site},
    http::{Endpoint, Response},
    process::Process,
    testbed::{Facts, Ground},
    wait::eventually,
};

/// Puts a gate in front of simulated clusters as well, when set: a test that passes on one and not behind a gate has
/// found a fault of the gate.
const GATED: &str = "HFD_TEST_GATED";

/// Longest wait for a request to end on a simulated cluster; far above what any of the shortened deadlines needs.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same on a testbed, where each pod passes through all of Kubernetes, beside everything else on the machine.
const PATIENCE_ON_TESTBED: Duration = Duration::from_secs(180);

/// How a cluster is started. A testbed heeds the number of nodes and their room alone: its pods start and stop after
/// 30 ms unless their annotations say otherwise.
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

/// A running cluster. Every method that changes it panics when it is refused: a test that can't set its scene proves
/// nothing.
#[derive(Debug)]
pub struct Cluster {
    /// Before the process that it leads to.
    gate: Option<Gate>,
    process: Option<Process>,
    /// An administrator's way to the Kubernetes API: never counted behind a gate, never struck by a fault there.
    api: Endpoint,
    /// The way to the control endpoints, which is the daemon's way to the Kubernetes API too.
    control: Endpoint,
    kubeconfig: PathBuf,
    namespace: String,
}

impl Cluster {
    /// Starts a cluster whose files lie in `dir` and waits until it serves.
    ///
    /// # Panics
    /// When it does not serve within 30 s, or the testbed refuses something.
    #[track_caller]
    pub fn start(dir: &Path, options: &ClusterOptions) -> Self {
        match Facts::of_environment() {
            Some(facts) => Self::on_testbed(&facts, dir, options).unwrap_or_else(|error| panic!("{error:#}")),
            None if env::var_os(GATED).is_some() => Self::start_gated(dir, options),
            None => Self::start_simulated(dir, options),
        }
    }

    /// Starts a simulated cluster behind a gate, on whatever cluster the other tests run.
    ///
    /// # Panics
    /// When it does not serve within 30 s.
    #[track_caller]
    pub fn start_gated(dir: &Path, options: &ClusterOptions) -> Self {
        let cluster = Self::start_simulated(dir, options);
        cluster.gated(&dir.join("kubeconfig-of-the-gate")).unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn start_simulated(dir: &Path, options: &ClusterOptions) -> Self {
        let kubeconfig = dir.join("kubeconfig");
        let mut command = Command::new(bins::hfd());
        command.args(["sandbox", "cluster", "--kubeconfig-out"]).arg(&kubeconfig);
        command.args(["--nodes", &options.nodes.to_string(), "--pods-per-node", &options.pods_per_node.to_string()]);
        command.args(["--seed", &options.seed.to_string()]);
        command.args(["--start-delay", &options.start_delay, "--stop-delay", &options.stop_delay]);
        command.env_clear().env("HOME", dir);
        let mut process = Process::start("hfd sandbox cluster", command, &dir.join("cluster.log"));
        let api = eventually("the cluster serves", Duration::from_secs(30), || {
            let ended = process.try_ended();
            assert!(ended.is_none(), "the cluster ended with {ended:?}: {}", process.log());
            Endpoint::from_kubeconfig(&kubeconfig).ok()
        });
        let control = api.clone();
        Self { gate: None, process: Some(process), api, control, kubeconfig, namespace: "default".to_owned() }
    }

    fn gated(self, kubeconfig: &Path) -> Result<Self> {
        let gate = Gate::open(Site::sandbox(&self.api, &self.namespace)?, kubeconfig)?;
        Ok(Self { control: gate.endpoint(), gate: Some(gate), kubeconfig: kubeconfig.to_owned(), ..self })
    }

    fn on_testbed(facts: &Facts, dir: &Path, options: &ClusterOptions) -> Result<Self> {
        let ground = Ground::prepare(facts, options.nodes, options.pods_per_node).context("a ground on the testbed")?;
        let kubeconfig = dir.join("kubeconfig");
        let (api, namespace) = (ground.admin().clone(), ground.namespace().to_owned());
        let gate = Gate::open(Site::testbed(facts, ground), &kubeconfig)?;
        Ok(Self { control: gate.endpoint(), gate: Some(gate), process: None, api, kubeconfig, namespace })
    }

    /// Whether it is simulated.
    pub fn is_simulated(&self) -> bool {
        self.process.is_some()
    }

    /// Longest wait for a request to end.
    pub fn patience(&self) -> Duration {
        if self.is_simulated() { PATIENCE } else { PATIENCE_ON_TESTBED }
    }

    /// The daemon's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// `host:port` where the daemon finds the Kubernetes API.
    pub fn address(&self) -> &str {
        self.control.address()
    }

    /// The namespace of the daemon's pods.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// An administrator's way to the Kubernetes API.
    pub fn endpoint(&self) -> &Endpoint {
        &self.api
    }

    /// The end of its log; behind a gate, of the requests that passed it.
    pub fn log_tail(&self, lines: usize) -> String {
        match (&self.gate, &self.process) {
            (Some(gate), _) => gate.log_tail(lines),
            (None, Some(process)) => process.log_tail(lines),
            (None, None) => String::new(),
        }
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

    /// Names of the nodes that its pods may use.
    pub fn nodes(&self) -> Vec<String> {
        let list = self.must("GET", "/api/v1/nodes", None);
        let mut names: Vec<String> = list["items"].as_array().into_iter().flatten().map(pod_name).collect();
        if let Some(own) = self.gate.as_ref().and_then(|gate| gate.site().nodes()) {
            names.retain(|name| own.contains(name));
        }
        names
    }

    /// The node a pod runs on.
    pub fn node_of(&self, pod: &str) -> String {
        let pod = self.pod(pod).unwrap_or_else(|| panic!("pod {pod} is not there"));
        pod["spec"]["nodeName"].as_str().expect("the pod is scheduled").to_owned()
    }

    // ---- control ----

    /// API calls since the start or the last reset, by `verb resource`. The simulated cluster also counts the tests' own.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let counters = self.set("GET", "/sandbox/counters", None);
        let counters = counters.as_object().expect("counters are an object");
        counters.iter().map(|(key, count)| (key.clone(), count.as_u64().expect("a counter is a number"))).collect()
    }

    /// One counter.
    pub fn count(&self, key: &str) -> u64 {
        self.counters().get(key).copied().unwrap_or(0)
    }

    /// Sets all counters to nothing.
    pub fn reset_counters(&self) {
        self.set("POST", "/sandbox/counters/reset", None);
    }

    /// Adds a fault and gives its id.
    pub fn fault(&self, fault: &Value) -> u64 {
        let reply = self.set("POST", "/sandbox/faults", Some(fault));
        reply["id"].as_u64().expect("a fault has an id")
    }

    /// Adds a fault of pods for one verb.
    pub fn pod_fault(&self, verb: &str, action: &Value) -> u64 {
        self.fault(&json!({"verb": verb, "resource": "pods", "action": action}))
    }

    /// All faults with their `id` and `hits`.
    pub fn faults(&self) -> Value {
        self.set("GET", "/sandbox/faults", None)
    }

    /// Removes one fault.
    pub fn end_fault(&self, id: u64) {
        self.set("DELETE", &format!("/sandbox/faults/{id}"), None);
    }

    /// Removes all faults.
    pub fn end_faults(&self) {
        self.set("DELETE", "/sandbox/faults", None);
    }

    /// Withdraws a permission (RBAC).
    pub fn deny(&self, verb: &str, resource: &str) {
        self.set("POST", "/sandbox/deny", Some(&json!({"verb": verb, "resource": resource})));
    }

    /// Gives all permissions back.
    pub fn allow_all(&self) {
        self.set("DELETE", "/sandbox/deny", None);
    }

    /// Changes a node: `lose`, `notready`, `ready`.
    pub fn node(&self, name: &str, what: &str) {
        self.set("POST", &format!("/sandbox/nodes/{name}/{what}"), None);
    }

    /// Changes a pod: `{"phase"?, "ready"?, "fate"?, "delete": "now"}`.
    pub fn set_pod(&self, name: &str, change: &Value) {
        self.set("POST", &format!("/sandbox/pods/{}/{name}", self.namespace), Some(change));
    }

    /// Removes a pod at once, as a force deletion does.
    pub fn remove_pod(&self, name: &str) {
        self.set_pod(name, &json!({"delete": "now"}));
    }

    /// Watch: `compact` (the next resume is answered 410) or `cut` (all streams end).
    pub fn watch(&self, what: &str) {
        self.set("POST", &format!("/sandbox/watch/{what}"), None);
    }

    /// Watch streams stay open and say nothing, not even bookmarks.
    pub fn silence(&self, on: bool) {
        self.set("POST", "/sandbox/watch/silence", Some(&json!({ "on": on })));
    }

    /// The API server answers nobody.
    pub fn outage(&self, on: bool) {
        self.set("POST", "/sandbox/outage", Some(&json!({ "on": on })));
    }

    /// The API server answers 401 to everybody.
    pub fn unauthorized(&self, on: bool) {
        self.set("POST", "/sandbox/unauthorized", Some(&json!({ "on": on })));
    }

    /// The namespace is deleted with all in it and made anew: another UID.
    pub fn recreate_namespace(&self) {
        self.set("POST", &format!("/sandbox/namespaces/{}/recreate", self.namespace), None);
    }

    /// What the cluster remembers of every pod it ever had, by name.
    pub fn history(&self) -> BTreeMap<String, PodHistory> {
        let history = self.set("GET", "/sandbox/history?resource=pods", None);
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
        self.api.json(method, path, body).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A call of a control endpoint.
    #[track_caller]
    fn set(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.control.json(method, path, body).unwrap_or_else(|error| panic!("{error:#}"))
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
