//! What every `cargo test` searches. The larger scenarios have their own command (see `model/mod.rs`).

use super::model::{
    check::{Finding, explore},
    rules::{CONTROLS, Cfg, Rule},
};

/// A scenario with all rules, searched to its end.
fn finds_nothing(name: &str, as_hfd: bool) {
    let mut cfg = Cfg::with_all_rules(name).expect("a scenario");
    cfg.as_hfd = as_hfd;
    let outcome = explore(&cfg, usize::MAX, false);
    assert!(outcome.complete && outcome.states > 80_000, "{name}: {} states", outcome.states);
    let found: Vec<_> = outcome.found.iter().filter(|finding| !finding.is_note()).collect();
    assert!(found.is_empty(), "{name}: {} after {:#?}", found[0].what, found[0].trace);
}

#[test]
fn a_lost_reply_breaks_no_promise() {
    finds_nothing("lost-reply", false);
    finds_nothing("lost-reply", true);
}

/// Their violations lie deeper than 30,000 states: only the example's `controls` searches for them.
const DEEP: [Rule; 11] = [
    Rule::Latch,
    Rule::Publish,
    Rule::First,
    Rule::Name,
    Rule::FPolled,
    Rule::FLook,
    Rule::Flag409,
    Rule::FUntold,
    Rule::FAdoptPoll,
    Rule::FAdoptDl,
    Rule::FRebuildWait,
];

#[test]
fn the_removal_of_a_rule_breaks_a_promise() {
    for (name, rules) in CONTROLS {
        for rule in rules.iter().filter(|rule| !DEEP.contains(rule)) {
            let cfg = Cfg::with_all_rules(name).expect("a scenario").without(*rule);
            let outcome = explore(&cfg, 30_000, true);
            assert!(outcome.found.iter().any(|finding: &Finding| !finding.is_note()), "{name} without {rule}");
        }
    }
}
