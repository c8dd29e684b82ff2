//! What a cluster is asked to be, and why it could not be that.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What a cluster is like. The defaults are a cluster of ten large nodes that starts a pod in about a second.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes, named `sandbox-node-0000` and so on. A state file with nodes in it wins.
    pub nodes: u32,
    /// Pods that fit on a node.
    pub pods_per_node: u32,
    /// Cores of a node.
    pub node_cpu: u32,
    /// Memory of a node in GiB.
    pub node_memory_gib: u32,
    /// Everything random follows from it: delays, UIDs, generated names. Two clusters that must not be taken for the
    /// same one need different seeds, since even the UIDs of their namespaces follow from it.
    pub seed: u64,
    /// Mean time from a pod's binding to Ready; each pod has between half and one and a half times of it.
    pub start_delay: Duration,
    /// Mean time from a pod's deletion to its end, spread likewise and cut off by its grace period.
    pub stop_delay: Duration,
    /// A namespace that exists from the beginning, beside `default`, and the one of the kubeconfig.
    pub namespace: String,
    /// The user that RBAC messages name.
    pub user: String,
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The bearer token, of characters that need no escape in a URL; an unguessable one if none is given. A token in
    /// the state file wins.
    pub token: Option<String>,
    /// Where the cluster lives on when its process dies. Without it everything is forgotten.
    pub state_file: Option<PathBuf>,
    /// From the loss of a node until its pods are collected.
    pub pod_gc_delay: Duration,
    /// From a node's turning not ready until its pods are evicted.
    pub eviction_delay: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 10,
            pods_per_node: 110,
            node_cpu: 256,
            node_memory_gib: 1024,
            seed: 0,
            start_delay: Duration::from_secs(1),
            stop_delay: Duration::from_secs(1),
            namespace: "default".to_owned(),
            user: "sandbox".to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: None,
            state_file: None,
            pod_gc_delay: Duration::from_millis(500),
            eviction_delay: Duration::from_secs(2),
        }
    }
}

/// Why a cluster could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The state file cannot be read or written, or another process uses it.
    #[error("cannot use the sandbox's state file {}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// Nothing of that name exists in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox has no {what} {name:?}")]
pub struct NotFound {
    /// `node` or `namespace`.
    pub what: &'static str,
    /// The name.
    pub name: String,
}
