//! The rules of `lifecycle.md`, each on a small world: a cluster, a watch, a journal that commits when told.

mod accept;
mod clock;
mod counterexamples;
mod hand;
mod lifecycle;
mod load;
mod model;
mod random;
mod restart;
mod review;
mod search;
mod trace;
mod world;
