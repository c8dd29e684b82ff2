//! Deletion of pods and namespaces: grace, preconditions' aftermath, and what is left for the kubelet.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::object::{Key, Object, Resource, text};
use crate::world::World;

/// The grace period a deletion asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grace {
    /// What `spec.terminationGracePeriodSeconds` says.
    OfThePod,
    /// Seconds; negative ones count as 1.
    Seconds(i64),
}

/// What a deletion would do to a pod.
enum Deletion {
    /// Nothing: it is under way, and not being shortened.
    UnderWay,
    /// The pod is gone at once.
    AtOnce,
    /// It has this many seconds, until this time.
    Graceful { seconds: u64, until: String },
}

impl World {
    /// Begins the deletion of a pod, or shortens one under way. The pod as the answer shows it, or `None` if there is
    /// no such pod.
    pub(crate) fn delete_pod(&mut self, key: &Key, grace: Grace) -> Option<Arc<Object>> {
        let (mut pod, deletion) = self.planned_deletion(key, grace)?;
        match deletion {
            Deletion::UnderWay => self.store.get(Resource::Pods, key).cloned(),
            Deletion::AtOnce => self.erase_pod(key),
            Deletion::Graceful { .. } => {
                let stored = self.store.put(Resource::Pods, &mut pod);
                self.enter_stop(&pod);
                Some(stored)
            }
        }
    }

    /// The pod as a deletion would leave it, nothing being done.
    pub(crate) fn preview_deletion(&self, key: &Key, grace: Grace) -> Option<Value> {
        self.planned_deletion(key, grace).map(|(pod, _)| pod)
    }

    fn planned_deletion(&self, key: &Key, grace: Grace) -> Option<(Value, Deletion)> {
        let object = self.store.get(Resource::Pods, key)?;
        let mut pod = object.value();
        let needs_no_grace = object.field("spec.nodeName").is_empty() || object.has_ended();
        let wanted = match grace {
            _ if needs_no_grace => 0,
            Grace::Seconds(seconds) => u64::try_from(seconds).unwrap_or(1),
            Grace::OfThePod => pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30),
        };
        let deletion = match pod["metadata"]["deletionGracePeriodSeconds"].as_u64() {
            _ if wanted == 0 => Deletion::AtOnce,
            Some(running) if grace == Grace::OfThePod || wanted >= running => Deletion::UnderWay,
            Some(running) => {
                let end = clock::parse(text(&pod, "/metadata/deletionTimestamp")).unwrap_or_default();
                let left = (end + Duration::from_secs(wanted)).saturating_sub(Duration::from_secs(running));
                let until = self.clock.stamp_in(left.saturating_sub(self.clock.now()));
                Deletion::Graceful { seconds: wanted, until }
            }
            None => Deletion::Graceful { seconds: wanted, until: self.clock.stamp_in(Duration::from_secs(wanted)) },
        };
        match &deletion {
            Deletion::UnderWay => {}
            Deletion::AtOnce => pod = self.without_grace(key)?,
            Deletion::Graceful { seconds, until } => mark(&mut pod, *seconds, until.clone()),
        }
        Some((pod, deletion))
    }

    /// A pod as it is when its grace is over: marked as deleted when its deletion began.
    pub(crate) fn without_grace(&self, key: &Key) -> Option<Value> {
        let mut pod = self.store.get(Resource::Pods, key)?.value();
        let running = pod["metadata"]["deletionGracePeriodSeconds"].as_u64();
        let end = clock::parse(text(&pod, "/metadata/deletionTimestamp"));
        let begun = match (end, running) {
            (Some(end), Some(running)) => end.saturating_sub(Duration::from_secs(running)),
            _ => self.clock.now(),
        };
        mark(&mut pod, 0, clock::rfc3339(begun));
        Some(pod)
    }

    /// Begins the deletion of a namespace and of all its pods. Its state afterwards, or `None` if there is none.
    pub(crate) fn delete_namespace(&mut self, name: &str) -> Option<Value> {
        let key = Key::new("", name);
        let object = self.store.get(Resource::Namespaces, &key)?;
        let mut namespace = object.value();
        if !object.terminating {
            namespace["metadata"]["deletionTimestamp"] = self.clock.stamp().into();
            namespace["status"]["phase"] = "Terminating".into();
            self.store.put(Resource::Namespaces, &mut namespace);
            let pods: Vec<_> = self.store.all(Resource::Pods, name).map(|pod| pod.key.clone()).collect();
            for pod in pods {
                self.delete_pod(&pod, Grace::OfThePod);
            }
            self.finish_namespace(name);
        }
        Some(namespace)
    }
}

/// Writes the deletion into the metadata. The generation counts it, once.
fn mark(pod: &mut Value, seconds: u64, until: String) {
    let metadata = &mut pod["metadata"];
    if metadata["deletionTimestamp"].is_null() {
        metadata["generation"] = (metadata["generation"].as_u64().unwrap_or(1) + 1).into();
    }
    metadata["deletionTimestamp"] = until.into();
    metadata["deletionGracePeriodSeconds"] = seconds.into();
}
