//! The harness that drives the real binaries: `hfd`, `hfctl` and the five provider scripts, on a cluster of their own for
//! each test.
//!
//! ```text
//!   World ── Scripts ──> requestMachines.sh … ──> hfctl ──> hfd (Daemon) ──> Cluster: simulated, or a testbed's
//!     │                                                                          ▲ faults, counters, history
//!     └── Checker: every reply of every call is held against the interface       │
//!     └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! It knows the products only by their command lines, their socket and the files they read: nothing of `daemon/` or
//! `client/` is linked in. Test-facing methods panic with the whole reply in the message, so that a failing test needs
//! no second run; logs of the daemon and the cluster are printed by [`World`] when its test fails.

pub mod answer;
pub mod bins;
pub mod cluster;
pub mod daemon;
pub mod figures;
pub mod gate;
pub mod hostfactory;
pub mod http;
pub mod journal_log;
pub mod process;
pub mod proof;
pub mod script;
pub mod template;
pub mod testbed;
pub mod wait;
pub mod world;

pub use crate::{
    answer::Checker,
    cluster::{Cluster, ClusterOptions},
    daemon::{Daemon, DaemonSpec},
    script::{Input, Reply, Scripts, Verb},
    template::Template,
    wait::{eventually, holds_for},
    world::{Machine, RequestStatus, World, WorldBuilder, names},
};
