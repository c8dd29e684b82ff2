//! Behaviour of the simulated cluster as its clients see it: over HTTP, sentence by sentence.
//!
//! Time is paused in every test but those with kube-rs and the one about speed: the runtime moves the clock whenever
//! all tasks wait, so minutes of grace and back-off cost nothing and come out the same each time.

#![allow(clippy::expect_used, clippy::missing_docs_in_private_items, reason = "a test that cannot set its scene fails")]

mod client;

mod access;
mod creation;
mod deletion;
mod fates;
mod faults;
mod kube_rs;
mod lists;
mod nodes;
mod persistence;
mod scheduling;
mod speed;
mod watches;
