//! A model of `lifecycle.md` 2, 3 and 5 to 9 in small bounds, and an exhaustive search of all that can happen in it.
//!
//! | file | what it owns |
//! |---|---|
//! | `state.rs` | what is known at one instant; what must never be, and what must stay reachable |
//! | `rules.rs` | the rules that can be removed one by one; scenarios (budgets of faults) |
//! | `steps.rs`, `steps/` | the step relation |
//! | `check.rs` | the search; each finding comes with its shortest trace |
//! | `examples/lifecycle_model/` | its command line |
//! | `../search.rs` | what `cargo test` searches: the small scenarios and every control |
//!
//! ```text
//! cargo run --release -p hfd-core --example lifecycle_model -- SCENARIO|all [+all | +Repair | -Rule ...]
//!                                                              [as-hfd] [quiet] [limit=N] [bounded]
//! cargo run --release -p hfd-core --example lifecycle_model -- controls
//! ```
//! * No flags: the rules as first written. `+all`: with the repairs; finds nothing but notes (a POST landing late,
//!   which is allowed and then deleted). `+all -Rule`: a control; it must find. The exit status says which it was.
//! * A number in brackets is the machine's index, the mask of a return, or the told answer (0 running, else 1 + mask
//!   of succeed). Machines are interchangeable, so an index may swap between steps.
//! * `two` exceeds the default limit (about 180 bytes a state): not exhaustive there; the others are. A search that is
//!   cut off says so and exits with 2, unless `bounded` says that it is expected.
//! * Not modelled: maxNumber, guard, node signals, second writer, restored backup, retention, disk, clocks.
//!
//! Change a rule here first, then in `lifecycle.md` and in the ledger.

pub(crate) mod check;
pub(crate) mod rules;
pub(crate) mod state;
pub(crate) mod steps;
