//! The rules that can be removed one by one, and the scenarios: bounds and budgets of faults.

use std::fmt;

/// A rule of `lifecycle.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    // as first written
    Uid,
    Verdict,
    Tomb,
    Latch,
    Abs,
    Sync,
    Fresh,
    Freeze,
    Publish,
    Ambig,
    Precond,
    First,
    Name,
    Flag409,
    // readings and repairs
    FPolled,
    FSettle,
    F409,
    FUid,
    FAdoptPoll,
    FAdoptDl,
    FWipeTerm,
    F403,
    FLostUid,
    FLook,
    FRebuildWait,
    FUntold,
}
use Rule::{
    Abs, Ambig, F403, F409, FAdoptDl, FAdoptPoll, FLook, FLostUid, FPolled, FRebuildWait, FSettle, FUid, FUntold,
    FWipeTerm, First, Flag409, Freeze, Fresh, Latch, Name, Precond, Publish, Sync, Tomb, Uid, Verdict,
};

pub(crate) const BASE: [Rule; 14] =
    [Uid, Verdict, Tomb, Latch, Abs, Sync, Fresh, Freeze, Publish, Ambig, Precond, First, Name, Flag409];
pub(crate) const FIXES: [Rule; 12] =
    [FPolled, FSettle, F409, FUid, FAdoptPoll, FAdoptDl, FWipeTerm, F403, FLostUid, FLook, FRebuildWait, FUntold];

/// Every rule whose removal must bring a finding, with the scenario that finds it. Not in it: `F409` and `FLostUid`,
/// which are never needed once `FLook` is in.
pub(crate) const CONTROLS: [(&str, &[Rule]); 6] = [
    (
        "two-crashes",
        &[Uid, Verdict, Tomb, Latch, Abs, Sync, Freeze, Publish, Ambig, First, Name, FPolled, FSettle, FUid, FLook],
    ),
    ("outage", &[Fresh]),
    ("stranger", &[Precond, Flag409]),
    ("forbid", &[F403]),
    ("lost-reply", &[FUntold]),
    ("wipe", &[FAdoptPoll, FAdoptDl, FWipeTerm, FRebuildWait]),
];

/// Bounds of one search.
#[derive(Clone)]
pub(crate) struct Cfg {
    /// Machines.
    pub(crate) n: usize,
    /// Budgets of faults.
    pub(crate) b: [u8; 10],
    /// A stranger may use a machine's name.
    pub(crate) stranger: bool,
    /// Commit in the step that delivers an event.
    pub(crate) eager: bool,
    /// Returns.
    pub(crate) rets: usize,
    pub(crate) rules: Vec<Rule>,
    /// Machines may swap their places (smaller search).
    pub(crate) interchange: bool,
    /// With the steps in which hfd is finer than the model (see `steps.rs`).
    pub(crate) as_hfd: bool,
}

impl Cfg {
    pub(super) fn on(&self, rule: Rule) -> bool {
        self.rules.contains(&rule)
    }

    /// The scenario with the rules as first written.
    pub(crate) fn scenario(name: &str) -> Option<Self> {
        // crash relist outage loss flap kill wipe forbid return-deadline ambiguous
        let (n, b, stranger, eager, rets) = match name {
            "one" => (1, [1, 1, 0, 1, 1, 0, 0, 0, 0, 1], false, false, 1),
            "two-crashes" => (1, [2, 0, 0, 1, 0, 0, 0, 0, 0, 1], false, true, 1),
            "lost-reply" => (1, [1, 0, 0, 1, 0, 1, 0, 0, 0, 0], false, true, 1),
            "outage" => (1, [1, 1, 1, 1, 0, 0, 0, 0, 0, 1], false, true, 1),
            "forbid" => (1, [1, 0, 0, 1, 1, 0, 0, 1, 1, 0], false, true, 2),
            "stranger" => (1, [1, 0, 0, 1, 1, 1, 0, 0, 0, 1], true, true, 1),
            "wipe" => (1, [1, 0, 0, 1, 1, 0, 1, 0, 0, 1], false, true, 1),
            "wipe-two" => (2, [0, 0, 0, 1, 0, 0, 1, 0, 0, 0], false, true, 1),
            "two" => (2, [1, 0, 0, 1, 0, 0, 0, 0, 0, 0], false, true, 1),
            "two-relist" => (2, [0, 1, 0, 1, 1, 0, 0, 0, 0, 0], false, true, 1),
            "two-again" => (2, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0], false, true, 2),
            _ => return None,
        };
        Some(Self { n, b, stranger, eager, rets, rules: BASE.to_vec(), interchange: true, as_hfd: false })
    }

    /// The scenario with all rules.
    pub(crate) fn with_all_rules(name: &str) -> Option<Self> {
        let mut cfg = Self::scenario(name)?;
        cfg.rules.extend(FIXES);
        Some(cfg)
    }

    pub(crate) fn without(mut self, rule: Rule) -> Self {
        self.rules.retain(|other| *other != rule);
        self
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
