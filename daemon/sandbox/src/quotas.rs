//! Resource quotas: what pods use of them, and in whose words a pod too many is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::object::{Object, Resource, text};
use crate::quantity;
use crate::validate::{items, quantity_text};
use crate::world::World;

/// Resources of which each container must say how much it wants where a quota limits them.
const COMPUTE: [(&str, &str, &str); 6] = [
    ("cpu", "requests", "cpu"),
    ("memory", "requests", "memory"),
    ("requests.cpu", "requests", "cpu"),
    ("requests.memory", "requests", "memory"),
    ("limits.cpu", "limits", "cpu"),
    ("limits.memory", "limits", "memory"),
];

impl World {
    /// Why the quotas of the namespace leave no room for a new pod, if so.
    pub(crate) fn refused_by_quota(&self, namespace: &str, pod: &Value) -> Option<String> {
        self.store.all(Resource::Quotas, namespace).find_map(|quota| {
            let hard = quota.value()["spec"]["hard"].as_object().cloned().unwrap_or_default();
            let name = &quota.key.name;
            missing(pod, &hard)
                .map(|missing| format!("failed quota: {name}: must specify {missing}"))
                .or_else(|| self.exceeded(namespace, pod, &hard).map(|what| format!("exceeded quota: {name}, {what}")))
        })
    }

    /// Brings the status of the namespace's quotas up to date.
    pub(crate) fn count_quotas(&mut self, namespace: &str) {
        let quotas: Vec<_> = self.store.all(Resource::Quotas, namespace).map(|quota| quota.value()).collect();
        for mut quota in quotas {
            let hard = quota["spec"]["hard"].as_object().cloned().unwrap_or_default();
            let used: Map<String, Value> = hard
                .iter()
                .map(|(name, limit)| (name.clone(), quantity::like(self.used(namespace, name), limit).into()))
                .collect();
            let status = json!({"hard": hard, "used": used});
            if quota["status"] != status {
                quota["status"] = status;
                self.store.put(Resource::Quotas, &mut quota);
            }
        }
    }

    fn exceeded(&self, namespace: &str, pod: &Value, hard: &Map<String, Value>) -> Option<String> {
        let sorted: BTreeMap<_, _> = hard.iter().collect();
        let mut shown = [Vec::new(), Vec::new(), Vec::new()];
        for (name, limit) in sorted {
            let (wanted, used) = (usage(pod, name), self.used(namespace, name));
            let allowed = quantity::thousandths(&quantity_text(limit)).unwrap_or(i128::MAX);
            if wanted > 0 && used + wanted > allowed {
                let amounts = [quantity::like(wanted, limit), quantity::like(used, limit), quantity_text(limit)];
                for (list, amount) in shown.iter_mut().zip(amounts) {
                    list.push(format!("{name}={amount}"));
                }
            }
        }
        let [requested, used, limited] = shown.map(|list| list.join(","));
        (!requested.is_empty()).then(|| format!("requested: {requested}, used: {used}, limited: {limited}"))
    }

    /// What the pods of a namespace use of a resource, in thousandths.
    fn used(&self, namespace: &str, name: &str) -> i128 {
        let pods = self.store.all(Resource::Pods, namespace);
        match name {
            "count/pods" => pods.map(|_| 1000).sum(),
            // the usual quota, counted without a look into the pods
            "pods" => pods.filter(|pod| !pod.has_ended()).map(|_| 1000).sum(),
            _ => {
                pods.filter(|pod| !pod.has_ended()).map(|pod: &std::sync::Arc<Object>| usage(&pod.value(), name)).sum()
            }
        }
    }
}

/// Which amounts the pod's containers leave out that a quota limits.
fn missing(pod: &Value, hard: &Map<String, Value>) -> Option<String> {
    let mut missing = BTreeMap::new();
    for (name, list, resource) in COMPUTE.iter().filter(|(name, ..)| hard.contains_key(*name)) {
        let silent = items(pod, "/spec/initContainers")
            .chain(items(pod, "/spec/containers"))
            .filter(|container| container["resources"][list][resource].is_null());
        let names: Vec<_> = silent.map(|container| text(container, "/name")).collect();
        if !names.is_empty() {
            missing.insert(name, names.join(","));
        }
    }
    let shown: Vec<_> = missing.iter().map(|(name, containers)| format!("{name} for: {containers}")).collect();
    (!shown.is_empty()).then(|| shown.join("; "))
}

/// What one pod uses of a resource, in thousandths.
fn usage(pod: &Value, name: &str) -> i128 {
    if ["pods", "count/pods"].contains(&name) {
        return 1000;
    }
    let (list, resource) = match name.split_once('.') {
        Some((list @ ("requests" | "limits"), resource)) => (list, resource),
        _ => ("requests", name),
    };
    let amount = |container: &Value| {
        let amount = &container["resources"][list][resource];
        if amount.is_null() { 0 } else { quantity::thousandths(&quantity_text(amount)).unwrap_or(0) }
    };
    let together: i128 = items(pod, "/spec/containers").map(amount).sum();
    items(pod, "/spec/initContainers").map(amount).max().unwrap_or(0).max(together)
}
