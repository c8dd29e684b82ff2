//! Nodes: made at the start, lost, not ready, ready again; and what the controllers do with the pods of lost ones.

use serde_json::{Value, json};

use crate::agenda::Task;
use crate::deletion::Grace;
use crate::object::{Key, Resource, condition, text};
use crate::podstatus::{Condition, set_condition, set_ready};
use crate::validate::items;
use crate::world::World;

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const VERSION: &str = "v1.36.3";

/// How large each node is.
#[derive(Clone, Debug)]
pub(crate) struct NodeSize {
    pub(crate) pods: u32,
    pub(crate) cpu: u32,
    pub(crate) memory_gib: u32,
}

impl World {
    /// Makes a node that is ready.
    pub(crate) fn add_node(&mut self, index: u32, size: &NodeSize) {
        let name = format!("sandbox-node-{index:04}");
        let now = self.clock.stamp();
        let capacity = json!({
            "cpu": size.cpu.to_string(), "memory": format!("{}Gi", size.memory_gib), "pods": size.pods.to_string()
        });
        let mut node = json!({
            "kind": "Node", "apiVersion": "v1",
            "metadata": {
                "name": name, "uid": self.new_uid(&format!("node {name}")), "resourceVersion": "",
                "creationTimestamp": now,
                "labels": {
                    "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
                    "topology.kubernetes.io/zone": format!("zone-{}", index % 3)
                }
            },
            "spec": {"podCIDR": format!("10.244.{}.0/24", index % 256)},
            "status": {
                "capacity": capacity, "allocatable": capacity, "conditions": [],
                "addresses": [
                    {"type": "InternalIP", "address": format!("10.0.{}.{}", index / 250 % 256, index % 250 + 1)},
                    {"type": "Hostname", "address": name}
                ],
                "nodeInfo": {
                    "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "simulated",
                    "osImage": "Sandbox", "containerRuntimeVersion": "sandbox://1", "kubeletVersion": VERSION,
                    "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64"
                }
            }
        });
        for (kind, reason, message) in [
            ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ] {
            set_condition(&mut node, &Condition::new(kind, "False").because(reason, message), &now);
        }
        set_condition(&mut node, &ready_condition(), &now);
        self.put_node(&mut node);
    }

    /// Stores a changed node.
    pub(crate) fn put_node(&mut self, node: &mut Value) {
        self.store.put(Resource::Nodes, node);
        self.observe_node(node);
    }

    /// The node object is gone, its kubelet with it; pod garbage collection removes its pods a little later. The last
    /// state of the node, or `None` if there was none.
    pub(crate) fn lose_node(&mut self, name: &str) -> Option<Value> {
        let gone = self.store.remove(Resource::Nodes, &Key::new("", name), None)?;
        self.drop_node(name);
        self.agenda.enter(self.settings.pod_gc_delay, Task::CollectPods { node: name.to_owned() });
        Some(gone.value())
    }

    /// The kubelet of the node stops reporting. `false` if there is no such node.
    pub(crate) fn node_not_ready(&mut self, name: &str) -> bool {
        let now = self.clock.stamp();
        let condition =
            Condition::new("Ready", "Unknown").because("NodeStatusUnknown", "Kubelet stopped posting node status.");
        let Some(mut node) = self.node(name) else { return false };
        set_condition(&mut node, &condition, &now);
        let mut taints: Vec<Value> = other_taints(&node);
        for effect in ["NoSchedule", "NoExecute"] {
            taints.push(json!({"key": UNREACHABLE, "effect": effect, "timeAdded": now}));
        }
        node["spec"]["taints"] = taints.into();
        self.put_node(&mut node);
        for pod in self.pods_on(name) {
            let key = Key::new(text(&pod, "/metadata/namespace"), text(&pod, "/metadata/name"));
            if condition_is_true(&pod) {
                self.update_pod(&key, text(&pod, "/metadata/uid"), |pod| {
                    set_condition(pod, &Condition::new("Ready", "False"), &now);
                });
            }
        }
        self.agenda.enter(self.settings.eviction_delay, Task::EvictPods { node: name.to_owned() });
        true
    }

    /// The kubelet of the node reports again. `false` if there is no such node.
    pub(crate) fn node_ready(&mut self, name: &str) -> bool {
        let now = self.clock.stamp();
        let Some(mut node) = self.node(name) else { return false };
        set_condition(&mut node, &ready_condition(), &now);
        let taints = other_taints(&node);
        if let Some(spec) = node["spec"].as_object_mut() {
            spec.remove("taints");
            if !taints.is_empty() {
                spec.insert("taints".to_owned(), taints.into());
            }
        }
        self.put_node(&mut node);
        for pod in self.pods_on(name) {
            let key = Key::new(text(&pod, "/metadata/namespace"), text(&pod, "/metadata/name"));
            if condition(&pod, "ContainersReady") == Some("True") {
                self.update_pod(&key, text(&pod, "/metadata/uid"), |pod| set_ready(pod, true, "", &now));
            }
        }
        self.thaw_pods_of(name);
        true
    }

    /// The taint manager deletes the pods of a node that is still unreachable, unless they tolerate that for ever.
    pub(crate) fn evict_pods_of(&mut self, name: &str) {
        if self.node_is_ready(name) {
            return;
        }
        for pod in self.pods_on(name) {
            let stays = items(&pod, "/spec/tolerations").any(|toleration| {
                let names_it = toleration["key"] == UNREACHABLE || toleration["key"].is_null();
                names_it && toleration["operator"] == "Exists" && toleration["tolerationSeconds"].is_null()
            });
            if !stays {
                let key = Key::new(text(&pod, "/metadata/namespace"), text(&pod, "/metadata/name"));
                let message = "Taint manager: deleting due to NoExecute taint";
                self.disrupt(&key, text(&pod, "/metadata/uid"), "DeletionByTaintManager", message, false);
                self.delete_pod(&key, Grace::OfThePod);
            }
        }
    }

    /// Pod garbage collection: pods of a node that no longer exists are removed without grace.
    pub(crate) fn collect_pods_of(&mut self, name: &str) {
        if self.node_exists(name) {
            return;
        }
        for pod in self.pods_on(name) {
            let key = Key::new(text(&pod, "/metadata/namespace"), text(&pod, "/metadata/name"));
            let uid = text(&pod, "/metadata/uid");
            self.disrupt(&key, uid, "DeletionByPodGC", "PodGC: node no longer exists", true);
            self.erase_pod(&key);
        }
    }

    /// Announces on a pod that it will be lost, and why.
    pub(crate) fn disrupt(&mut self, key: &Key, uid: &str, reason: &str, message: &str, fails: bool) {
        let now = self.clock.stamp();
        self.update_pod(key, uid, |pod| {
            set_condition(pod, &Condition::new("DisruptionTarget", "True").because(reason, message), &now);
            if fails && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
                // the collector leaves the other conditions as the kubelet left them
                pod["status"]["phase"] = "Failed".into();
            }
        });
    }

    /// Whether a node exists and is ready.
    pub(crate) fn node_is_ready(&self, name: &str) -> bool {
        self.store.get(Resource::Nodes, &Key::new("", name)).is_some_and(|node| node.ready)
    }

    /// The internal address of a node.
    pub(crate) fn node_address(&self, name: &str) -> String {
        let node = self.node(name).unwrap_or_default();
        let address = items(&node, "/status/addresses").find(|address| address["type"] == "InternalIP");
        address.map_or_else(String::new, |address| text(address, "/address").to_owned())
    }

    fn node(&self, name: &str) -> Option<Value> {
        self.store.get(Resource::Nodes, &Key::new("", name)).map(|node| node.value())
    }
}

fn ready_condition() -> Condition<'static> {
    Condition::new("Ready", "True").because("KubeletReady", "kubelet is posting ready status")
}

fn condition_is_true(pod: &Value) -> bool {
    condition(pod, "Ready") == Some("True")
}

fn other_taints(node: &Value) -> Vec<Value> {
    items(node, "/spec/taints").filter(|taint| taint["key"] != UNREACHABLE).cloned().collect()
}
