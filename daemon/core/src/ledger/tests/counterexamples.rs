//! One test for each rule that can be removed from the model: the shortest trace that the search prints without the
//! rule (`lifecycle_model -- SCENARIO +all -RULE`), driven through the real ledger by hand. It ends where the model
//! breaks a promise, and here the promise has to hold. `tests/breaks/model-RULE.patch` removes the same rule from hfd,
//! and then the test of that name fails.
//!
//! Where hfd waits for a time that the model has not, the time passes in the test; other departures from a trace are
//! said at the test.

mod adoption;
mod creating;
mod judging;
mod returning;
