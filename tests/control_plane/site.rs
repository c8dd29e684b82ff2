//! A site of a test's own on a testbed: a namespace with the shipped permissions and nodes, a daemon that reaches the
//! API server directly, and HostFactory.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    Daemon, DaemonSpec, Template, eventually,
    http::Endpoint,
    template,
    testbed::{Facts, Ground},
};

use crate::{audit::Audit, hostfactory::HostFactory};

/// Longest wait for something in the cluster.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Room for pods on a node.
const PODS_PER_NODE: u32 = 110;
/// Lines of the daemon's log that a failed test prints.
const LOG_LINES: usize = 60;
/// Path of the permissions' API group.
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A site before its daemon is started: all of it may still be changed.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The testbed.
    pub(crate) facts: Facts,
    /// Namespace, permissions, token and nodes.
    pub(crate) ground: Ground,
    /// How the daemon is started.
    pub(crate) spec: DaemonSpec,
    dir: TempDir,
}

impl Plan {
    /// A namespace with that many nodes, a kubeconfig with the service account's token, and the template `small`, whose
    /// pods start at once.
    #[track_caller]
    pub(crate) fn new(facts: &Facts, nodes: u32) -> Self {
        let ground = Ground::prepare(facts, nodes, PODS_PER_NODE).expect("the testbed prepares a namespace");
        let dir = tempfile::Builder::new().prefix("hfd-cp-").tempdir().expect("a temporary directory can be made");
        let kubeconfig = dir.path().join("kubeconfig");
        let templates = dir.path().join("templates.json");
        let mut spec = DaemonSpec::new(dir.path(), &kubeconfig, &templates);
        spec.namespace = ground.namespace().to_owned();
        let plan = Self { facts: facts.clone(), ground, spec, dir };
        plan.kubeconfig(&plan.facts.kubeconfig(plan.ground.namespace(), plan.ground.token()));
        plan.templates(&[enduring("small")]);
        plan
    }

    /// Its directory, for further files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file into its directory and gives its path.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).expect("the test's directory can be written");
        path
    }

    /// Replaces the kubeconfig.
    pub(crate) fn kubeconfig(&self, text: &str) {
        template::replace(&self.spec.kubeconfig, text.as_bytes());
    }

    /// Replaces the templates.
    pub(crate) fn templates(&self, templates: &[Template]) {
        template::write_file(&self.dir.path().join("templates.json"), templates);
    }

    /// Starts the daemon, which need not see the cluster yet.
    #[track_caller]
    pub(crate) fn start(self) -> Site {
        let audit = Audit::of(&self.facts, self.ground.namespace());
        let hf = HostFactory::new(self.dir.path(), &self.spec.socket);
        let daemon = Daemon::start(self.spec);
        Site { daemon, hf, audit, ground: self.ground, facts: self.facts, dir: self.dir }
    }

    /// Starts the daemon and waits until it has seen the cluster.
    #[track_caller]
    pub(crate) fn start_serving(self) -> Site {
        let site = self.start();
        site.hf.wait_serving();
        site
    }
}

/// A running site. The fields end in the order written: first the daemon, last the directory.
#[derive(Debug)]
pub(crate) struct Site {
    /// The daemon under test.
    pub(crate) daemon: Daemon,
    /// HostFactory's side.
    pub(crate) hf: HostFactory,
    /// The daemon's calls.
    pub(crate) audit: Audit,
    /// Namespace, permissions, token and nodes.
    pub(crate) ground: Ground,
    /// The testbed.
    pub(crate) facts: Facts,
    dir: TempDir,
}

impl Site {
    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces the kubeconfig while the daemon runs.
    pub(crate) fn kubeconfig(&self, text: &str) {
        template::replace(&self.dir.path().join("kubeconfig"), text.as_bytes());
    }

    /// Kills the daemon and starts it again; it then has seen the cluster.
    #[track_caller]
    pub(crate) fn crash(&mut self) {
        self.daemon.crash_and_restart();
        self.hf.wait_serving();
    }

    /// An administrator's eyes and hands in the namespace.
    pub(crate) fn pods(&self) -> Pods<'_> {
        Pods { admin: self.ground.admin(), namespace: self.ground.namespace() }
    }
}

/// A template whose pods endure a silent node. While the API server is away, and on a machine that is busy with other
/// things, the testbed's nodes are late to say that they are well, and the cluster then takes the pods from them: its
/// right, and not what these tests are about.
pub(crate) fn enduring(id: &str) -> Template {
    let endured = |key: &str| json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists"});
    Template::new(id).pod("/spec/tolerations", json!([endured("unreachable"), endured("not-ready")]))
}

impl Drop for Site {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- pods: {}", summary(&self.ground));
            eprintln!("--- hfctl status: {}", self.hf.daemon_status().unwrap_or_default());
            eprintln!("--- hfd in {}:\n{}", self.ground.namespace(), self.daemon.log_tail(LOG_LINES));
        }
    }
}

/// Pods by phase, and one that does not run.
fn summary(ground: &Ground) -> String {
    let list = match ground.admin().json("GET", &format!("/api/v1/namespaces/{}/pods", ground.namespace()), None) {
        Ok(list) => list,
        Err(error) => return format!("{error:#}"),
    };
    let phase = |pod: &Value| pod["status"]["phase"].as_str().unwrap_or_default().to_owned();
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    let pods = list["items"].as_array().cloned().unwrap_or_default();
    pods.iter().for_each(|pod| *phases.entry(phase(pod)).or_default() += 1);
    let idle = pods.iter().find(|pod| phase(pod) != "Running").map(|pod| &pod["status"]);
    format!("{phases:?}, {}", idle.unwrap_or(&Value::Null))
}

/// The pods of a namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pods<'a> {
    admin: &'a Endpoint,
    namespace: &'a str,
}

impl<'a> Pods<'a> {
    /// Those that an administrator sees in this namespace.
    pub(crate) fn of(ground: &'a Ground) -> Self {
        Self { admin: ground.admin(), namespace: ground.namespace() }
    }

    /// All of them.
    #[track_caller]
    pub(crate) fn all(&self) -> Vec<Value> {
        let list = must(self.admin, "GET", &self.path(""), None);
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Names of those that `hfd` manages, sorted.
    #[track_caller]
    pub(crate) fn managed(&self) -> Vec<String> {
        let list = must(self.admin, "GET", &self.path("?labelSelector=app.kubernetes.io/managed-by%3Dhfd"), None);
        list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|pod| pod["metadata"]["name"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// One.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        let answer = self.admin.call("GET", &self.path(&format!("/{name}")), None);
        let answer = answer.unwrap_or_else(|error| panic!("{error:#}"));
        (answer.code == 200).then(|| answer.json().expect("the API answers JSON"))
    }

    /// Makes one, as somebody else would.
    #[track_caller]
    pub(crate) fn create(&self, name: &str, labels: &Value, annotations: &Value) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": labels, "annotations": annotations},
            "spec": {"terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "registry.example/other:1"}]},
        });
        must(self.admin, "POST", &self.path(""), Some(&pod));
    }

    /// Deletes one, as `kubectl delete pod` does.
    #[track_caller]
    pub(crate) fn delete(&self, name: &str) {
        must(self.admin, "DELETE", &self.path(&format!("/{name}")), None);
    }

    /// Does what a kubelet does after a pause: says again that its pods are ready. The cluster takes a node that was silent
    /// for long (the API server was away, or this machine is busy) for lost and its pods for not ready, and KWOK says
    /// only once that they are.
    pub(crate) fn say_ready(&self) {
        let Ok(list) = self.admin.json("GET", &self.path(""), None) else { return };
        for pod in list["items"].as_array().into_iter().flatten() {
            let mut conditions = pod["status"]["conditions"].clone();
            let mut silent = false;
            for condition in conditions.as_array_mut().into_iter().flatten() {
                let unready = condition["type"] == "Ready" && condition["status"] == "False";
                if unready && pod["status"]["phase"] == "Running" {
                    condition["status"] = json!("True");
                    silent = true;
                }
            }
            if let Some(name) = pod["metadata"]["name"].as_str().filter(|_| silent) {
                // Who is away for a moment is told again.
                drop(self.admin.call(
                    "PATCH",
                    &self.path(&format!("/{name}/status")),
                    Some(&json!({"status": {"conditions": conditions}})),
                ));
            }
        }
    }

    /// Waits until `hfd` manages none.
    #[track_caller]
    pub(crate) fn wait_none(&self) {
        eventually("no pod of hfd is left", PATIENCE, || self.managed().is_empty().then_some(()));
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/pods{rest}", self.namespace)
    }
}

/// A call that must succeed.
///
/// # Panics
/// With the API server's words when it does not.
#[track_caller]
pub(crate) fn must(admin: &Endpoint, method: &str, path: &str, body: Option<&Value>) -> Value {
    match admin.json(method, path, body) {
        Ok(value) => value,
        Err(error) => panic!("{error:#}"),
    }
}

/// Which of the shipped permissions are taken away or given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// The Role: everything about pods.
    Pods,
    /// The ClusterRole: the namespace's own object.
    Namespace,
}

impl Permission {
    /// Takes it away from the namespace's service account.
    #[track_caller]
    pub(crate) fn take(self, ground: &Ground) {
        must(ground.admin(), "DELETE", &self.binding(ground), None);
    }

    /// Gives it back.
    #[track_caller]
    pub(crate) fn give(self, ground: &Ground) {
        let namespace = ground.namespace();
        let (collection, kind, role_kind, role) = match self {
            Self::Pods => {
                (format!("{RBAC}/namespaces/{namespace}/rolebindings"), "RoleBinding", "Role", "hfd".to_owned())
            }
            Self::Namespace => (
                format!("{RBAC}/clusterrolebindings"),
                "ClusterRoleBinding",
                "ClusterRole",
                format!("hfd-namespace-{namespace}"),
            ),
        };
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "hfd", "namespace": namespace}],
        });
        must(ground.admin(), "POST", &collection, Some(&binding));
    }

    fn binding(self, ground: &Ground) -> String {
        let namespace = ground.namespace();
        match self {
            Self::Pods => format!("{RBAC}/namespaces/{namespace}/rolebindings/hfd"),
            Self::Namespace => format!("{RBAC}/clusterrolebindings/hfd-namespace-{namespace}"),
        }
    }
}
