//! The share of the long proofs that runs with every check of the tree. `proof` runs each for as long as one likes.
//!
//! A failure says with which seed it is repeated and where its journal and logs are kept.

mod kill;
mod points;
mod power_cut;
mod soak;
