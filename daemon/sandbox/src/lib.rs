//! A small simulated Kubernetes cluster behind the real HTTP API: for a first try without any cluster, and as the
//! fault-injecting API server of tests. It answers as a kube-apiserver of version 1.36 does for pods, nodes,
//! namespaces, quotas, events and access reviews, in that server's own words, with a scheduler and kubelets behind it.
//!
//! ```text
//!  client ──HTTP──> server ──> faults ──> api ──────> world (one lock) ──> store ──> state file
//!                      │                                │  ▲                 │
//!                      └──> control (/sandbox/)         ▼  │                 └──> watch streams (cursors)
//!                                                     agenda: scheduler, kubelet, node controllers
//! ```
//!
//! It knows nothing of its clients. It must never do anything outside its own memory, its listener on loopback and
//! its state file, and never run a task that its owner cannot stop. All time is tokio's: with a paused clock the whole
//! cluster is deterministic, and with equal seeds two clusters give equal delays, names and UIDs.
//!
//! # Fates
//! Annotations on a pod choose what becomes of it:
//! `sandbox.hfd/fate` = `never-scheduled`, `image-pull-failure`, `crash-loop`, `exit-0`, `exit-N`, `oom`, `slow-start`,
//! `slow-stop`, `never-ready` or `stuck-terminating`; `sandbox.hfd/start-delay` and `sandbox.hfd/stop-delay` (`3s`,
//! `500ms`) replace the cluster's delays; with `sandbox.hfd/fate-after` the pod becomes Ready first and its fate strikes
//! that much later. `exit-*` and `oom` end the pod whatever its restart policy says.
//!
//! # Control endpoints
//! Under `/sandbox/` on the same listener, with the same token. Bodies and answers are JSON; an error is
//! `{"error": "..."}` with 400 or 404.
//!
//! | request | effect |
//! |---|---|
//! | `GET counters` | requests received, refused ones included: `{"create pods": 3, ...}` |
//! | `POST counters/reset` | all counters to nothing |
//! | `POST faults` | puts a [`Fault`] in force: `{"id": 1}` |
//! | `GET faults` | all faults with their `id` and `hits` |
//! | `DELETE faults`, `DELETE faults/ID` | removes all, or one |
//! | `POST deny` | `{"verb", "resource"}`: RBAC refuses it, access reviews say so |
//! | `DELETE deny` | everything is allowed again |
//! | `POST nodes/NAME/lose` | the node object is gone; its pods are collected a little later |
//! | `POST nodes/NAME/notready` | Ready=Unknown, unreachable taints; its pods are evicted a little later |
//! | `POST nodes/NAME/ready` | the node is back, and its pods go on |
//! | `POST pods/NS/NAME` | any of `phase`, `ready`, `fate`, `annotations`, `disruption` (a reason), `delete` (`now`, `graceful`) |
//! | `POST namespaces/NS/recreate` | all its pods are gone, its UID is another |
//! | `POST watch/compact` | every resourceVersion so far gives 410 from now on |
//! | `POST watch/cut` | all open watch streams break in the middle of a frame |
//! | `POST watch/silence` | `{"on"}`: streams stay open and carry nothing, not even bookmarks |
//! | `POST outage` | `{"on"}`: every connection outside `/sandbox/` is closed without an answer |
//! | `POST unauthorized` | `{"on"}`: 401 for everything outside `/sandbox/` |
//! | `GET history?resource=pods` | per pod name: `created` (how often), `firstUid`, `lastUid`, `everReady`, `exists` |
//!
//! # What it leaves out
//! Finalizers, server-side apply, protobuf and YAML, node affinity beyond node selectors, preemption, ports and volumes,
//! field ownership, and the rarer rules about values. Logs and exec need containers, and there are none. How it differs
//! from a real server is measured by `tests/differential`, and what may differ is listed there with the reasons.

mod agenda;
mod api;
mod boot;
mod clock;
mod containers;
mod control;
mod defaults;
mod deletion;
mod fate;
mod faults;
mod json;
mod kubelet;
mod names;
mod nodes;
mod object;
mod options;
mod persist;
mod podstatus;
mod quantity;
mod quotas;
mod random;
mod refusal;
mod render;
mod scheduler;
mod schema;
mod selector;
mod server;
mod store;
mod validate;
mod watch;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use faults::{Denial, DropWhen, Fault, FaultAction, FaultStatus, InjectedFault};
pub use options::{Error, NotFound, Options};

use crate::object::{Key, Resource};
use crate::server::LOGIN;
use crate::world::{Shared, World};

/// What is remembered of a pod name, beyond the life of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// How many pods of that name were ever created.
    pub created: u64,
    /// Whether one of them was ever Ready.
    pub ever_ready: bool,
    /// Whether one exists now.
    pub exists: bool,
}

/// A running cluster. Dropping it stops it.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    address: SocketAddr,
    token: String,
    namespace: String,
    tasks: JoinSet<()>,
}

impl Cluster {
    /// Starts a cluster, or takes up the one in the state file where it was left. It serves when this returns.
    ///
    /// # Errors
    /// If the address or the state file cannot be used.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let listener = TcpListener::bind(options.listen)
            .await
            .and_then(|listener| Ok((listener.local_addr()?, listener)))
            .map_err(|source| Error::Listen { address: options.listen, source });
        let (address, listener) = listener?;
        let namespace = options.namespace.clone();
        let world = boot::world(options)?;
        let token = world.settings.token.clone();
        let shared = Arc::new(Shared::new(world));
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&shared).drive());
        tasks.spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { shared, address, token, namespace, tasks })
    }

    /// The API's address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bearer token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The namespace the kubeconfig names.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A kubeconfig file (YAML) that leads here.
    ///
    /// kubectl sends no bearer token over plain HTTP, whatever its kubeconfig says; but it sends what is written into
    /// the address. So the current context has the token in its address, and a second one, `sandbox-bearer`, only
    /// beside it.
    pub fn kubeconfig(&self) -> String {
        let context = |name: &str| {
            let namespace = quoted(&self.namespace);
            format!("- name: {name}\n  context:\n    cluster: {name}\n    user: sandbox\n    namespace: {namespace}\n")
        };
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n\
             - name: sandbox-bearer\n  cluster:\n    server: http://{address}\n\
             - name: sandbox\n  cluster:\n    server: http://{LOGIN}:{token}@{address}\n\
             users:\n- name: sandbox\n  user:\n    token: {quoted_token}\n\
             contexts:\n{with_token}{bearer}current-context: sandbox\n",
            address = self.address,
            token = self.token,
            quoted_token = quoted(&self.token),
            with_token = context("sandbox"),
            bearer = context("sandbox-bearer"),
        )
    }

    /// Requests received since the start or the last reset, refused ones included, by verb and resource
    /// (`create pods`).
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.shared.with(|world| world.counters.clone())
    }

    /// Sets all counters to nothing.
    pub fn reset_counters(&self) {
        self.shared.with(|world| world.counters.clear());
    }

    /// Puts a fault in force and returns its number.
    pub fn inject(&self, fault: Fault) -> u64 {
        self.shared.with(|world| world.faults.inject(fault))
    }

    /// All faults in force.
    pub fn faults(&self) -> Vec<InjectedFault> {
        self.shared.with(|world| world.faults.list().to_vec())
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.with(|world| world.faults.clear());
    }

    /// Takes a permission away: 403, and access reviews say so.
    pub fn deny(&self, denial: Denial) {
        self.shared.with(|world| world.denials.push(denial));
    }

    /// Gives all permissions back.
    pub fn allow_all(&self) {
        self.shared.with(|world| world.denials.clear());
    }

    /// Names of the nodes that exist, sorted.
    pub fn nodes(&self) -> Vec<String> {
        self.shared.with(|world| world.store.all(Resource::Nodes, "").map(|node| node.key.name.clone()).collect())
    }

    /// The node of a pod; `None` if there is no such pod or it has no node.
    pub fn node_of(&self, namespace: &str, pod: &str) -> Option<String> {
        self.shared.with(|world| {
            let pod = world.store.get(Resource::Pods, &Key::new(namespace, pod))?;
            Some(pod.field("spec.nodeName").to_owned()).filter(|node| !node.is_empty())
        })
    }

    /// The node's object is gone, and a little later its pods are.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn lose_node(&self, name: &str) -> Result<(), NotFound> {
        self.found("node", name, |world| world.lose_node(name).is_some())
    }

    /// The node stops reporting; a little later its pods are being deleted, and stay Terminating.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn node_not_ready(&self, name: &str) -> Result<(), NotFound> {
        self.found("node", name, |world| world.node_not_ready(name))
    }

    /// The node reports again, and its pods go on.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn node_ready(&self, name: &str) -> Result<(), NotFound> {
        self.found("node", name, |world| world.node_ready(name))
    }

    /// Replaces a namespace by a new one of the same name; its pods are gone at once.
    ///
    /// # Errors
    /// If there is no such namespace.
    pub fn recreate_namespace(&self, name: &str) -> Result<(), NotFound> {
        self.found("namespace", name, |world| world.recreate_namespace(name))
    }

    /// Forgets the past: every resourceVersion so far gives 410 from now on.
    pub fn compact(&self) {
        self.shared.with(|world| world.store.compact());
    }

    /// Breaks all open watch streams off in the middle of a frame.
    pub fn cut_watches(&self) {
        self.shared.switches.send_modify(|switches| switches.cuts += 1);
    }

    /// Watch streams stay open and carry nothing, or go on with what they missed.
    pub fn silence_watches(&self, on: bool) {
        self.shared.switches.send_modify(|switches| switches.silence = on);
    }

    /// Every connection outside `/sandbox/` is closed without an answer.
    pub fn outage(&self, on: bool) {
        self.shared.switches.send_modify(|switches| switches.outage = on);
    }

    /// Every request outside `/sandbox/` is answered 401.
    pub fn unauthorized(&self, on: bool) {
        self.shared.switches.send_modify(|switches| switches.unauthorized = on);
    }

    /// What is remembered of every pod name, sorted by namespace and name.
    pub fn pod_names(&self) -> Vec<PodName> {
        self.shared.with(|world| {
            let names = world.store.pod_names();
            names
                .map(|(key, past, exists)| PodName {
                    namespace: key.namespace.clone(),
                    name: key.name.clone(),
                    created: past.created,
                    ever_ready: past.ever_ready,
                    exists,
                })
                .collect()
        })
    }

    /// Closes the listener and every connection, and returns when all tasks have ended.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    fn found(
        &self,
        what: &'static str,
        name: &str,
        operation: impl FnOnce(&mut World) -> bool,
    ) -> Result<(), NotFound> {
        if self.shared.with(operation) { Ok(()) } else { Err(NotFound { what, name: name.to_owned() }) }
    }
}

/// A YAML string that needs no thought: JSON strings are YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
