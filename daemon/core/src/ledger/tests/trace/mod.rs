//! hfd held against the model: every trace of the real ledger in a small world must be one that the model allows.
//!
//! A random walk (`walk.rs`, `calls.rs`, `cluster.rs`) drives the ledger through one machine's life in a scenario's
//! faults. Each step of it has the name of a step of the model. The oracle (`oracle.rs`) keeps the *set* of model
//! states that agree with all that was seen: after each step the successors by that name, then what hfd may have done
//! unseen, then only those that agree with what is durable (UID, ready, verdict, tombstone, gone, frozen answer, ends
//! of returns, polled) and under way (late POSTs, the DELETE). An empty set is a failure, with seed and trace.
//!
//! ```text
//! HFD_TRACES=100000 cargo test --release -p hfd-core trace::      more traces a scenario
//! HFD_TRACE_SEED=17 cargo test -p hfd-core trace::wipe            one seed again
//! ```
//!
//! Where the two differ in grain, this is how they are brought together:
//! * hfd decides, then commits; the walk commits after each step, as the model's `eager` does.
//! * Where hfd decides earlier than the model must, the model has the step as an option (`steps.rs`, `as_hfd`).
//! * A look is sent, read and answered in one step. A deadline, the cancellation of an unpolled request, the deadline
//!   of a return may happen whenever time passes; in hfd they do when due. A return's end may happen unseen.
//! * A pod that the watch shows settles a 409, and an ambiguous POST after its time; in the model a look does that.
//! * The model has one DELETE on its way: one of an earlier life is lost when hfd sends another.
//! * What a look found never counts against a LIST, so `F409` is off (with `FLook` it is never needed).
//! * No calls start while the API server is unreachable (they fail without effect). A rebuild's relist is one step, and
//!   until it nothing happens to the watch.
//! * Under a tombstone hfd records no UID, the model does: it is not compared there. Nor is a verdict.
//! * The budgets of faults are not spent: a scenario's budget says only which faults there are. A walk ends at the
//!   model's other bounds (three pods of a name).
//!
//! Not walked: refused creates and calls that were not done (the model has none), two machines, deferred commits
//! (`random.rs` has all three).

mod calls;
mod cluster;
mod oracle;
mod walk;

use super::model::rules::{Cfg, Rule};
use walk::Walk;

const TRACES: u64 = 1000;
const STEPS: usize = 70;

/// Walks of one scenario.
fn walks(scenario: &str) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = match number("HFD_TRACE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HFD_TRACES").unwrap_or(TRACES),
    };
    for seed in seeds {
        let mut cfg = Cfg::with_all_rules(scenario).expect("a scenario").without(Rule::F409);
        (cfg.as_hfd, cfg.interchange, cfg.eager) = (true, false, true);
        let mut walk = Walk::new(cfg, seed, scenario);
        for _ in 0..STEPS {
            if !walk.step() {
                break;
            }
        }
    }
}

#[test]
fn one_every_trace_is_one_of_the_models() {
    walks("one");
}

#[test]
fn lost_reply_every_trace_is_one_of_the_models() {
    walks("lost-reply");
}

#[test]
fn two_crashes_every_trace_is_one_of_the_models() {
    walks("two-crashes");
}

#[test]
fn outage_every_trace_is_one_of_the_models() {
    walks("outage");
}

#[test]
fn forbid_every_trace_is_one_of_the_models() {
    walks("forbid");
}

#[test]
fn stranger_every_trace_is_one_of_the_models() {
    walks("stranger");
}

#[test]
fn wipe_every_trace_is_one_of_the_models() {
    walks("wipe");
}
