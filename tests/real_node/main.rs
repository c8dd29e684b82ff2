//! `hfd` on a real node: kubelet, containerd and runc start, probe, kill and remove real containers, and the messages
//! that HostFactory gets are in their words. What needs no real container is tested in `it/` and `control_plane/`.
//!
//! It needs a running testbed with a real node (root), and fails loudly without one:
//!
//! ```text
//! cargo run -p tests --bin testbed -- run --nodes 0 --real-node -- cargo test -p tests --test real_node
//! ```
//!
//! All tests share the one node, each in a namespace of its own. Those that stop kubelet or drain the node run alone
//! ([`world::Turn`]).

mod failures;
mod loss;
mod node_loss;
mod remains;
mod returns;
mod starts;
mod world;

use tests::testbed::{Facts, facts::VARIABLE};

/// The testbed that the tests share.
///
/// # Panics
/// When there is none, or it has no real node.
pub(crate) fn testbed() -> Facts {
    Facts::of_environment().filter(|facts| facts.real_node.is_some()).unwrap_or_else(|| {
        panic!(
            "{VARIABLE} names no testbed with a real node, and these tests need one: \
             cargo run -p tests --bin testbed -- run --nodes 0 --real-node -- cargo test -p tests --test real_node"
        )
    })
}
