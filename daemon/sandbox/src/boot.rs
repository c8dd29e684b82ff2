//! The beginning of a cluster: built from options, or taken up from its state file where it was left.

use std::collections::BTreeMap;

use crate::agenda::{Agenda, Task};
use crate::clock::Clock;
use crate::fate::Delays;
use crate::faults::Faults;
use crate::kubelet::Kubelet;
use crate::nodes::NodeSize;
use crate::object::{Key, Resource};
use crate::options::{Error, Options};
use crate::random::{self, Random};
use crate::scheduler::Scheduler;
use crate::store::Store;
use crate::world::{Settings, World};

/// Builds the world, or restores it from the state file.
pub(crate) fn world(options: Options) -> Result<World, Error> {
    let token = options.token.unwrap_or_else(random::unguessable_token);
    let (store, token) = match options.state_file {
        None => (Store::in_memory(), token),
        Some(path) => Store::open(&path, token).map_err(|source| Error::State { path, source })?,
    };
    let settings = Settings {
        token,
        user: options.user,
        delays: Delays { start: options.start_delay, stop: options.stop_delay },
        pod_gc_delay: options.pod_gc_delay,
        eviction_delay: options.eviction_delay,
    };
    let mut world = World {
        settings,
        clock: Clock::start(),
        random: Random::new(options.seed),
        store,
        agenda: Agenda::default(),
        scheduler: Scheduler::default(),
        kubelet: Kubelet::default(),
        faults: Faults::default(),
        denials: Vec::new(),
        counters: BTreeMap::new(),
    };
    for namespace in ["default", &options.namespace] {
        if world.store.get(Resource::Namespaces, &Key::new("", namespace)).is_none() {
            world.add_namespace(namespace, None);
        }
    }
    resume(&mut world);
    if world.store.all(Resource::Nodes, "").next().is_none() {
        let size = NodeSize { pods: options.pods_per_node, cpu: options.node_cpu, memory_gib: options.node_memory_gib };
        for index in 0..options.nodes {
            world.add_node(index, &size);
        }
    }
    Ok(world)
}

/// Takes up everything that was in the state file where it was left.
fn resume(world: &mut World) {
    let nodes: Vec<_> = world.store.all(Resource::Nodes, "").map(|node| node.value()).collect();
    for node in &nodes {
        world.observe_node(node);
    }
    let pods: Vec<_> = world.store.all(Resource::Pods, "").cloned().collect();
    for pod in &pods {
        world.admit_pod(pod, &pod.value());
        let node = pod.field("spec.nodeName");
        if !node.is_empty() && !world.node_exists(node) {
            world.agenda.enter(world.settings.pod_gc_delay, Task::CollectPods { node: node.to_owned() });
        }
    }
    for node in nodes.iter().filter_map(|node| node["metadata"]["name"].as_str()) {
        if !world.node_is_ready(node) {
            world.agenda.enter(world.settings.eviction_delay, Task::EvictPods { node: node.to_owned() });
        }
    }
    let namespaces: Vec<_> =
        world.store.all(Resource::Namespaces, "").map(|namespace| namespace.key.name.clone()).collect();
    for namespace in namespaces {
        world.finish_namespace(&namespace);
    }
}
