//! The simulated cluster behind its one lock: store, scheduler, kubelets, faults and counters.
//!
//! Every operation is short and synchronous; nothing here waits. What happens later is entered into the agenda, which
//! the driver task works off. The parts (`scheduler`, `kubelet`, `nodes`) add their own operations to [`World`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::agenda::{Agenda, Task};
use crate::api;
use crate::clock::Clock;
use crate::fate::Delays;
use crate::faults::{Denial, Faults, Switches};
use crate::kubelet::Kubelet;
use crate::object::{Key, Object, Resource};
use crate::random::Random;
use crate::scheduler::Scheduler;
use crate::store::Store;

/// Warnings kept as Event objects; the oldest go first.
const EVENTS_KEPT: usize = 1_000;

/// Tasks done under one hold of the lock, so that requests come in between.
const TASKS_AT_ONCE: usize = 64;

/// What the options leave fixed for the life of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) token: String,
    /// The user that RBAC messages name.
    pub(crate) user: String,
    pub(crate) delays: Delays,
    /// From a node's loss until its pods are collected.
    pub(crate) pod_gc_delay: Duration,
    /// The longest a pod stays on a node that is not ready.
    pub(crate) eviction_delay: Duration,
}

/// The state.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) store: Store,
    pub(crate) agenda: Agenda,
    pub(crate) scheduler: Scheduler,
    pub(crate) kubelet: Kubelet,
    pub(crate) faults: Faults,
    pub(crate) denials: Vec<Denial>,
    /// Requests received, by verb and resource.
    pub(crate) counters: BTreeMap<String, u64>,
}

/// The state as tasks and connections share it.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    /// Tells the driver that the next task may be due earlier than it thought.
    agenda_changed: Notify,
    pub(crate) switches: watch::Sender<Switches>,
}

impl Shared {
    /// Takes over a world.
    pub(crate) fn new(world: World) -> Self {
        Self { world: Mutex::new(world), agenda_changed: Notify::new(), switches: watch::Sender::default() }
    }

    /// Does something with the world. Must not be called from within itself.
    pub(crate) fn with<R>(&self, operation: impl FnOnce(&mut World) -> R) -> R {
        // a panic in an operation has been reported by its task; the state it left is still better than none
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let before = world.agenda.next_due();
        let result = operation(&mut world);
        let after = world.agenda.next_due();
        drop(world);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.agenda_changed.notify_one();
        }
        result
    }

    /// Works off the agenda for ever.
    pub(crate) async fn drive(self: Arc<Self>) {
        loop {
            let next_due = self.with(|world| {
                let now = Instant::now();
                for _ in 0..TASKS_AT_ONCE {
                    match world.agenda.take_due(now) {
                        Some(task) => world.perform(task),
                        None => break,
                    }
                }
                let token = world.settings.token.clone();
                world.store.tidy_log(&token);
                world.agenda.next_due()
            });
            match next_due {
                Some(due) if due <= Instant::now() => tokio::task::yield_now().await,
                Some(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.agenda_changed.notified() => {}
                },
                None => self.agenda_changed.notified().await,
            }
        }
    }
}

impl World {
    fn perform(&mut self, task: Task) {
        match task {
            Task::Schedule => self.schedule_waiting_pods(),
            Task::Kubelet(turn) => self.take_turn(&turn),
            Task::EvictPods { node } => self.evict_pods_of(&node),
            Task::CollectPods { node } => self.collect_pods_of(&node),
            Task::Late(request) => {
                // its client is long gone: nobody is there to read the answer
                let _ = api::perform(self, &request);
            }
        }
    }

    /// A new UUID; `purpose` must be unique in the life of the cluster, so it contains the version.
    pub(crate) fn new_uid(&self, purpose: &str) -> String {
        self.random.uuid(&format!("{purpose} {}", self.store.version()))
    }

    /// Changes a stored pod, if it is still the same one. Nothing is written if nothing changes.
    pub(crate) fn update_pod(&mut self, key: &Key, uid: &str, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let object = self.store.get(Resource::Pods, key).filter(|object| object.uid == uid)?;
        let mut pod = object.value();
        change(&mut pod);
        if pod.to_string().as_bytes() == object.json {
            return Some(pod);
        }
        let had_ended = object.has_ended();
        let stored = self.store.put(Resource::Pods, &mut pod);
        if stored.has_ended() && !had_ended {
            // a pod that is over gives its node and its place in the quota back
            self.release_node(uid);
            self.count_quotas(&key.namespace);
        }
        Some(pod)
    }

    /// Stores a new pod and gets it scheduled.
    pub(crate) fn add_pod(&mut self, pod: &mut Value) -> Arc<Object> {
        let stored = self.store.put(Resource::Pods, pod);
        self.admit_pod(&stored, pod);
        self.count_quotas(&stored.key.namespace);
        stored
    }

    /// Removes a pod for good. As at the real server that is two changes: the pod has no grace left, and is gone.
    pub(crate) fn erase_pod(&mut self, key: &Key) -> Option<Arc<Object>> {
        let mut last = self.without_grace(key)?;
        self.store.put(Resource::Pods, &mut last);
        let gone = self.store.remove(Resource::Pods, key, None)?;
        self.kubelet.forget(&gone.uid);
        if gone.field("spec.nodeName").is_empty() {
            self.scheduler.forget(&gone.uid);
        }
        self.release_node(&gone.uid);
        self.count_quotas(&key.namespace);
        self.finish_namespace(&key.namespace);
        Some(gone)
    }

    /// Removes a terminating namespace once it is empty.
    pub(crate) fn finish_namespace(&mut self, namespace: &str) {
        let key = Key::new("", namespace);
        let terminating = self.store.get(Resource::Namespaces, &key).is_some_and(|object| object.terminating);
        if terminating && self.store.all(Resource::Pods, namespace).next().is_none() {
            self.empty_namespace(namespace);
            self.store.remove(Resource::Namespaces, &key, None);
        }
    }

    /// Removes everything but pods from a namespace.
    fn empty_namespace(&mut self, namespace: &str) {
        for resource in [Resource::Quotas, Resource::Events] {
            let keys: Vec<_> = self.store.all(resource, namespace).map(|object| object.key.clone()).collect();
            for key in keys {
                self.store.remove(resource, &key, None);
            }
        }
    }

    /// Stores a new namespace.
    pub(crate) fn add_namespace(&mut self, name: &str, labels: Option<&Value>) -> Arc<Object> {
        let mut labels = labels.cloned().unwrap_or_else(|| json!({}));
        labels["kubernetes.io/metadata.name"] = name.into();
        let uid = self.new_uid(&format!("namespace {name}"));
        self.store.put(
            Resource::Namespaces,
            &mut json!({
                "kind": "Namespace", "apiVersion": "v1",
                "metadata": {
                    "name": name, "uid": uid, "resourceVersion": "", "creationTimestamp": self.clock.stamp(),
                    "labels": labels
                },
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}
            }),
        )
    }

    /// Replaces a namespace by a new one of the same name: its pods are gone at once. `false` if there is none.
    pub(crate) fn recreate_namespace(&mut self, name: &str) -> bool {
        let key = Key::new("", name);
        if self.store.get(Resource::Namespaces, &key).is_none() {
            return false;
        }
        let pods: Vec<_> = self.store.all(Resource::Pods, name).map(|object| object.key.clone()).collect();
        for pod in pods {
            self.erase_pod(&pod);
        }
        self.empty_namespace(name);
        self.store.remove(Resource::Namespaces, &key, None);
        self.add_namespace(name, None);
        true
    }

    /// Records a warning about a pod as an Event object.
    pub(crate) fn warn(&mut self, pod: &Value, component: &str, reason: &str, message: &str) {
        let (namespace, name) = (&pod["metadata"]["namespace"], &pod["metadata"]["name"]);
        let space = namespace.as_str().unwrap_or_default().to_owned();
        if self.store.all(Resource::Events, &space).count() >= EVENTS_KEPT {
            let oldest = self.store.all(Resource::Events, &space).min_by_key(|event| event.version);
            if let Some(key) = oldest.map(|event| event.key.clone()) {
                self.store.remove(Resource::Events, &key, None);
            }
        }
        let event_name = format!("{}.{:016x}", name.as_str().unwrap_or_default(), self.store.version() + 1);
        let stamp = self.clock.stamp();
        let mut event = json!({
            "kind": "Event", "apiVersion": "v1",
            "metadata": {
                "name": event_name, "namespace": space, "uid": self.new_uid("event"), "resourceVersion": "",
                "creationTimestamp": stamp
            },
            "involvedObject": {
                "kind": "Pod", "namespace": namespace, "name": name, "uid": pod["metadata"]["uid"],
                "apiVersion": "v1", "resourceVersion": pod["metadata"]["resourceVersion"]
            },
            "reason": reason, "message": message, "source": {"component": component},
            "firstTimestamp": stamp, "lastTimestamp": stamp, "count": 1, "type": "Warning",
            "eventTime": self.clock.stamp_micros(), "action": reason,
            "reportingComponent": component, "reportingInstance": component
        });
        self.store.put(Resource::Events, &mut event);
    }
}
