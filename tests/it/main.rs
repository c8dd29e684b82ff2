//! The behaviour of the product at its boundary: real scripts, real `hfctl`, real `hfd`, a cluster that is simulated or a
//! testbed's. One executable; each module names the page whose rules it holds against the product. Every reply of every
//! script is read by the strict reader besides (`tests::answer`).

mod bad_input;
mod crash;
mod fairness;
mod faults;
mod gate;
mod interface;
mod layering;
mod lifecycle;
mod matrix;
mod payloads;
mod peers;
mod sandbox;
mod scale;
