//! A real Kubernetes on loopback for tests: etcd, kube-apiserver, kube-scheduler, kube-controller-manager, and KWOK for
//! the nodes; with `real_node` also a real kubelet with containerd. Nothing in it is simulated but what KWOK plays.
//!
//! ```text
//!   programs ──> Testbed ── etcd, kube-apiserver, scheduler, controller manager, kwok, (containerd, kubelet)
//!                   │  facts.json ──> Facts (found by HFD_TESTBED) ──> Ground: a namespace of a test's own, with the
//!                   │                                                  shipped Role, a token and nodes
//!                   └── dropped, or its process killed: all ends, and the directory is removed (by the next start)
//! ```
//!
//! `cargo run -p tests --bin testbed -- up` gives a person such a cluster; `testbed run -- COMMAND` runs a command on
//! one, which is how the real-cluster tier runs.

pub mod certificates;
mod child;
mod control_plane;
mod directory;
pub mod facts;
pub mod ground;
mod nodes;
pub mod programs;
pub mod provider;
mod real_node;

pub use self::{
    control_plane::{Options, Testbed},
    facts::Facts,
    ground::Ground,
    provider::Provider,
    real_node::{IMAGE, Node, RealNode},
};
