//! The pure core of hfd. It decides; the edges act.
//!
//! No clock, no I/O, no task and no channel lives here: time comes in as [`clock::Now`], what the cluster shows comes
//! in as [`pod::PodRecord`]s, and what has to be done goes out as effects. The crate boundary makes the compiler check
//! that: this crate depends on `proto-schema` and `thiserror` alone.

pub mod answer;
pub mod change;
pub mod clock;
pub mod commits;
mod doing;
mod guard;
pub mod id;
pub mod ledger;
mod limit;
pub mod machine;
mod ordered;
pub mod outcome;
pub mod pod;
pub mod policy;
pub mod queue;
pub mod request;
pub mod returns;
mod versioned;
pub mod view;
