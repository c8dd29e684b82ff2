//! hfd: the IBM Spectrum Symphony HostFactory provider for Kubernetes, as one daemon.
//!
//! ```text
//! requestMachines.sh ──> hfctl ──(HTTP/1.1 JSON-RPC 2.0 over a Unix socket)──> rpc
//!                                                                              │ Command + reply
//!                                    ┌────── engine (one task, owns the ledger) <── Seen ── kube::PodWatch
//!                                    │ decide → journal (durable) → publish → reply               ▲
//!                                    │ wanted − observed = calls                                  │
//!                                    └──> actuator ──> API server ────────────────────────────────┘
//! getRequestStatus ──> rpc ──> published state (committed state only; never waits for the API server)
//! ```
//!
//! The rules are in `hfd_core` (pure), this crate is the edges. [`run`] takes its world as parameters: configuration,
//! listener, the way to the cluster, and the order to stop.

pub mod cache;
mod clock;
pub mod config;
pub mod crash_point;
pub mod engine;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod journal;
pub mod kube;
pub mod logging;
pub mod published;
pub mod rpc;
mod run;
pub mod sandbox;
pub mod state_dir;
pub mod systemd;
pub mod templates;
mod watchdog;
#[cfg(any(test, feature = "workloads"))]
pub mod workloads;

pub use run::{RunError, RunOptions, run};
