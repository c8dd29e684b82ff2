//! Deterministic simulation: the real ledger, commits, pod cache, published state and journal in a world of virtual
//! time, with a cluster, a disk, a watch and callers that fail in every way of `reliability.md`.
//!
//! ```text
//! cargo test --workspace --test simulation                    2,000 seeds, and the named scenarios
//! HFD_SIM_SEEDS=0..100000 cargo test --workspace --test simulation -- seeds
//! HFD_SIM_SEED=17 cargo test --workspace --test simulation -- seeds        one seed, with the end of its trace
//!                                                             (all of it, with HFD_SIM_TRACE=1 and --nocapture)
//! HFD_SIM_SEEDS=0..2000 cargo test --workspace --test simulation -- followed    runs held against the model of the rules
//! ```

mod calls;
mod cluster;
mod creates;
mod daemon;
mod dice;
mod disk;
mod factory;
mod follow;
mod gremlins;
mod heal;
mod limits;
mod model;
mod polls;
mod profile;
mod scenarios;
mod seeds;
mod stats;
mod watch;
mod world;
