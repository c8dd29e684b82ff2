//! The rules of `lifecycle.md`, each on a small world: a cluster, a watch, a journal that commits when told.

mod accept;
mod counterexamples;
mod hand;
mod clock;
mod lifecycle;
mod model;
mod random;
mod restart;
mod review;
mod trace;
mod world;
