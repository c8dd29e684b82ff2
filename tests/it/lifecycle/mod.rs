//! `lifecycle.md`, section by section, as far as it can be seen from outside.

mod cluster_and_writer;
mod counting;
pub(crate) mod disk;
mod durable;
mod loss;
mod machine;
mod manifests;
mod names;
mod queues;
mod reclaim;
mod retention;
mod returns;
mod seeing;
mod unpolled;
