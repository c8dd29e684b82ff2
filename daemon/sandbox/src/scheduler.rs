//! The scheduler: which node a pod goes to, or in whose words it is told that there is none.
//!
//! A node is good enough if it is schedulable, tolerated, selected, and has room for one more pod and its requests.
//! Of those the one with the fewest pods is taken. Pods that found no node wait and are looked at again when capacity
//! comes free or a node changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use crate::agenda::Task;
use crate::containers::is_extended;
use crate::fate::{FATE, Fate};
use crate::object::{Key, Object, Resource, text};
use crate::podstatus::{Condition, set_condition};
use crate::quantity::thousandths;
use crate::validate::{items, quantity_text};
use crate::world::World;

/// The only scheduler there is.
const SCHEDULER: &str = "default-scheduler";
/// From a pod's creation to the scheduler's look at it.
const NOTICE: Duration = Duration::from_millis(2);
/// From freed capacity to the next look at pods that wait.
const RETRY: Duration = Duration::from_millis(50);
/// Pods bound in one go, so that requests are served in between.
const BINDINGS_AT_ONCE: usize = 64;

/// What the scheduler knows.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    nodes: BTreeMap<String, NodeView>,
    /// Pods without a node, in the order they came.
    waiting: BTreeMap<u64, Waiting>,
    arrivals: u64,
    /// What each bound pod holds of its node, by UID.
    holdings: HashMap<String, (String, Room)>,
    /// Whether a look at the waiting pods is on the agenda.
    look_entered: bool,
    /// Whether pods that found no node may find one now.
    hope: bool,
}

/// Pods, millicores and thousandths of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Room {
    pods: i128,
    cpu: i128,
    memory: i128,
}

#[derive(Debug)]
struct NodeView {
    labels: BTreeMap<String, String>,
    unschedulable: bool,
    /// Key, value and effect of the taints that keep pods away.
    taints: Vec<(String, String, String)>,
    capacity: Room,
    used: Room,
}

#[derive(Debug)]
struct Waiting {
    key: Key,
    uid: String,
    demand: Demand,
    tried: bool,
}

/// What a pod asks of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Demand {
    room: Room,
    selector: Vec<(String, String)>,
    tolerations: Vec<Toleration>,
    /// Resources that no node here has, in the scheduler's words.
    missing: Vec<String>,
    impossible: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Toleration {
    key: String,
    value: String,
    effect: String,
    any_value: bool,
}

/// Why a node will not do.
struct Unfit {
    reasons: Vec<String>,
    /// Whether removing other pods could change it.
    preemption_helps: bool,
}

impl Scheduler {
    /// A pod is gone: it waits no longer.
    pub(crate) fn forget(&mut self, uid: &str) {
        self.waiting.retain(|_, waiting| waiting.uid != uid);
    }
}

impl World {
    /// Takes up a pod that is in the store: a waiting one is queued, a bound one holds its node and has its kubelet.
    pub(crate) fn admit_pod(&mut self, pod: &Object, value: &Value) {
        let demand = Demand::of(value);
        let node = pod.field("spec.nodeName");
        if node.is_empty() && pod.field("spec.schedulerName") != SCHEDULER {
            // another scheduler's business, and there is none
        } else if node.is_empty() {
            self.scheduler.arrivals += 1;
            let waiting = Waiting { key: pod.key.clone(), uid: pod.uid.clone(), demand, tried: false };
            self.scheduler.waiting.insert(self.scheduler.arrivals, waiting);
            self.look_soon(NOTICE);
        } else {
            if !pod.has_ended() {
                self.hold(node, &pod.uid, demand.room);
            }
            self.adopt_pod(value);
        }
    }

    /// Takes up a node that is new or has changed.
    pub(crate) fn observe_node(&mut self, node: &Value) {
        let name = text(node, "/metadata/name").to_owned();
        let used = self.scheduler.nodes.get(&name).map(|node| node.used).unwrap_or_default();
        self.scheduler.nodes.insert(name, NodeView::of(node, used));
        self.hope();
    }

    /// Drops a node that no longer exists.
    pub(crate) fn drop_node(&mut self, name: &str) {
        self.scheduler.nodes.remove(name);
        self.scheduler.holdings.retain(|_, (node, _)| node != name);
        self.hope();
    }

    /// Gives back what a pod held of its node.
    pub(crate) fn release_node(&mut self, uid: &str) {
        if let Some((name, room)) = self.scheduler.holdings.remove(uid) {
            if let Some(node) = self.scheduler.nodes.get_mut(&name) {
                node.used = node.used.minus(room);
            }
            self.hope();
        }
    }

    /// Looks at every waiting pod that is new, or at all if there is hope.
    pub(crate) fn schedule_waiting_pods(&mut self) {
        self.scheduler.look_entered = false;
        let hope = std::mem::take(&mut self.scheduler.hope);
        let candidates: Vec<u64> = self
            .scheduler
            .waiting
            .iter()
            .filter(|(_, waiting)| hope || !waiting.tried)
            .map(|(arrival, _)| *arrival)
            .collect();
        let mut hopeless: HashMap<Demand, String> = HashMap::new();
        let mut bound = 0;
        for arrival in candidates {
            if bound == BINDINGS_AT_ONCE {
                self.scheduler.hope |= hope;
                self.look_soon(Duration::ZERO);
                return;
            }
            let Some(waiting) = self.scheduler.waiting.get_mut(&arrival) else { continue };
            waiting.tried = true;
            let (key, uid, demand) = (waiting.key.clone(), waiting.uid.clone(), waiting.demand.clone());
            if let Some(message) = hopeless.get(&demand) {
                let message = message.clone();
                self.report_unschedulable(&key, &uid, &message);
                continue;
            }
            match choose_node(&self.scheduler.nodes, &demand) {
                Ok(node) => {
                    self.scheduler.waiting.remove(&arrival);
                    self.hold(&node, &uid, demand.room);
                    self.bind(&key, &uid, &node);
                    bound += 1;
                }
                Err(message) => {
                    self.report_unschedulable(&key, &uid, &message);
                    hopeless.insert(demand, message);
                }
            }
        }
    }

    fn bind(&mut self, key: &Key, uid: &str, node: &str) {
        let now = self.clock.stamp();
        let bound = self.update_pod(key, uid, |pod| {
            pod["spec"]["nodeName"] = node.into();
            set_condition(pod, &Condition::new("PodScheduled", "True"), &now);
        });
        if let Some(pod) = bound {
            self.adopt_pod(&pod);
        }
    }

    fn report_unschedulable(&mut self, key: &Key, uid: &str, message: &str) {
        let now = self.clock.stamp();
        let before = self.store.version();
        let pod = self.update_pod(key, uid, |pod| {
            let condition = Condition::new("PodScheduled", "False").because("Unschedulable", message);
            set_condition(pod, &condition.observed(pod["metadata"]["generation"].as_u64().unwrap_or(1)), &now);
        });
        if let Some(pod) = pod
            && self.store.version() != before
        {
            self.warn(&pod, "default-scheduler", "FailedScheduling", message);
        }
    }

    fn hold(&mut self, node: &str, uid: &str, room: Room) {
        if let Some(view) = self.scheduler.nodes.get_mut(node) {
            view.used = view.used.plus(room);
        }
        self.scheduler.holdings.insert(uid.to_owned(), (node.to_owned(), room));
    }

    fn hope(&mut self) {
        self.scheduler.hope = true;
        if !self.scheduler.waiting.is_empty() {
            self.look_soon(RETRY);
        }
    }

    fn look_soon(&mut self, delay: Duration) {
        if !std::mem::replace(&mut self.scheduler.look_entered, true) {
            self.agenda.enter(delay, Task::Schedule);
        }
    }

    /// The names of all nodes that exist.
    pub(crate) fn node_exists(&self, name: &str) -> bool {
        self.store.get(Resource::Nodes, &Key::new("", name)).is_some()
    }
}

/// The fitting node with the fewest pods, or the scheduler's message.
fn choose_node(nodes: &BTreeMap<String, NodeView>, demand: &Demand) -> Result<String, String> {
    let mut best: Option<(i128, &str)> = None;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut preemptible = 0;
    for (name, node) in nodes {
        match node.suits(demand) {
            Ok(()) => {
                if best.is_none_or(|(pods, _)| node.used.pods < pods) {
                    best = Some((node.used.pods, name));
                }
            }
            Err(unfit) => {
                preemptible += usize::from(unfit.preemption_helps);
                for reason in unfit.reasons {
                    *counts.entry(reason).or_default() += 1;
                }
            }
        }
    }
    if let Some((_, name)) = best {
        return Ok(name.to_owned());
    }
    let total = nodes.len();
    if total == 0 {
        return Err("no nodes available to schedule pods".to_owned());
    }
    let mut reasons: Vec<_> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    reasons.sort();
    let mut preemption = Vec::new();
    if preemptible > 0 {
        preemption.push(format!("{preemptible} No preemption victims found for incoming pod"));
    }
    if preemptible < total {
        preemption.push(format!("{} Preemption is not helpful for scheduling", total - preemptible));
    }
    preemption.sort();
    Err(format!(
        "0/{total} nodes are available: {}. no new claims to deallocate, preemption: 0/{total} nodes are available: {}.",
        reasons.join(", "),
        preemption.join(", ")
    ))
}

impl NodeView {
    fn of(node: &Value, used: Room) -> Self {
        let strings = |pointer: &str| {
            let map = node.pointer(pointer).and_then(Value::as_object);
            map.into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), quantity_text(value)))
                .collect::<BTreeMap<_, _>>()
        };
        let allocatable = strings("/status/allocatable");
        let amount = |name: &str| allocatable.get(name).and_then(|text| thousandths(text)).unwrap_or(0);
        let taints = items(node, "/spec/taints").filter(|taint| taint["effect"] != "PreferNoSchedule");
        Self {
            labels: strings("/metadata/labels"),
            unschedulable: node["spec"]["unschedulable"] == true,
            taints: taints
                .map(|taint| {
                    let field = |name: &str| text(taint, name).to_owned();
                    (field("/key"), field("/value"), field("/effect"))
                })
                .collect(),
            capacity: Room { pods: amount("pods") / 1000, cpu: amount("cpu"), memory: amount("memory") },
            used,
        }
    }

    fn suits(&self, demand: &Demand) -> Result<(), Unfit> {
        let unfit = |reason: &str| Err(Unfit { reasons: vec![reason.to_owned()], preemption_helps: false });
        if self.unschedulable && !demand.tolerates("node.kubernetes.io/unschedulable", "", "NoSchedule") {
            return unfit("node(s) were unschedulable");
        }
        if self.taints.iter().any(|(key, value, effect)| !demand.tolerates(key, value, effect)) {
            return unfit("node(s) had untolerated taint(s)");
        }
        if demand.impossible || demand.selector.iter().any(|(key, value)| self.labels.get(key) != Some(value)) {
            return unfit("node(s) didn't match Pod's node affinity/selector");
        }
        let wanted = self.used.plus(demand.room);
        let mut reasons = Vec::new();
        if wanted.pods > self.capacity.pods {
            reasons.push("Too many pods".to_owned());
        }
        if demand.room.cpu > 0 && wanted.cpu > self.capacity.cpu {
            reasons.push("Insufficient cpu".to_owned());
        }
        if demand.room.memory > 0 && wanted.memory > self.capacity.memory {
            reasons.push("Insufficient memory".to_owned());
        }
        reasons.extend(demand.missing.iter().cloned());
        if reasons.is_empty() {
            return Ok(());
        }
        let room = demand.room;
        let preemption_helps = demand.missing.is_empty()
            && room.pods <= self.capacity.pods
            && room.cpu <= self.capacity.cpu
            && room.memory <= self.capacity.memory;
        Err(Unfit { reasons, preemption_helps })
    }
}

impl Demand {
    fn of(pod: &Value) -> Self {
        let selector = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
        Self {
            room: Room { pods: 1, cpu: requested(pod, "cpu"), memory: requested(pod, "memory") },
            selector: selector
                .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            tolerations: items(pod, "/spec/tolerations").map(Toleration::of).collect(),
            missing: missing(pod),
            impossible: pod["metadata"]["annotations"][FATE].as_str().and_then(Fate::parse)
                == Some(Fate::NeverScheduled),
        }
    }

    fn tolerates(&self, key: &str, value: &str, effect: &str) -> bool {
        self.tolerations.iter().any(|toleration| {
            (toleration.effect.is_empty() || toleration.effect == effect)
                && (toleration.key == key || toleration.key.is_empty() && toleration.any_value)
                && (toleration.any_value || toleration.value == value)
        })
    }
}

impl Toleration {
    fn of(toleration: &Value) -> Self {
        let field = |name: &str| text(toleration, name).to_owned();
        Self {
            key: field("/key"),
            value: field("/value"),
            effect: field("/effect"),
            any_value: toleration["operator"] == "Exists",
        }
    }
}

impl Room {
    fn plus(self, other: Self) -> Self {
        Self { pods: self.pods + other.pods, cpu: self.cpu + other.cpu, memory: self.memory + other.memory }
    }

    fn minus(self, other: Self) -> Self {
        Self { pods: self.pods - other.pods, cpu: self.cpu - other.cpu, memory: self.memory - other.memory }
    }
}

/// What is wanted of resources that the nodes here never have, such as GPUs.
fn missing(pod: &Value) -> Vec<String> {
    let containers = items(pod, "/spec/containers").chain(items(pod, "/spec/initContainers"));
    let requests = containers.filter_map(|container| container["resources"]["requests"].as_object()).flatten();
    let names: BTreeSet<_> = requests.map(|(name, _)| name).filter(|name| is_extended(name)).collect();
    names.into_iter().filter(|name| requested(pod, name) > 0).map(|name| format!("Insufficient {name}")).collect()
}

/// What a pod requests in all: its containers together, or its hungriest init container if that is more.
fn requested(pod: &Value, name: &str) -> i128 {
    let request = |container: &Value| {
        let value = container.pointer("/resources/requests").unwrap_or(&json!(null))[name].clone();
        if value.is_null() { 0 } else { thousandths(&quantity_text(&value)).unwrap_or(0) }
    };
    let together: i128 = items(pod, "/spec/containers").map(request).sum();
    items(pod, "/spec/initContainers").map(request).max().unwrap_or(0).max(together)
}
