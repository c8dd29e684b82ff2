//! The set of model states that agree with everything seen of hfd so far. When it is empty, hfd has done what the model
//! does not allow.

use std::collections::HashSet;

use super::super::model::{
    check::shown,
    rules::Cfg,
    state::{S, Step},
    steps::{may_list, next},
};

/// What hfd may do within any step without being seen; it shows in what is durable.
const UNSEEN: [&str; 3] =
    ["hfd: commits gone", "hfd: freezes the answer", "hfd: return ends (and is told, if HF has its id)"];
/// What may also happen when time passes.
const IN_TIME: [&str; 4] = [
    "hfd: machine deadline passes",
    "hfd: request never polled for 60 min is cancelled",
    "hfd: return deadline passes",
    SETTLED,
];
const SETTLED: &str = "time: server's request time-out since the start passes";
pub(super) const LOOK_409: &str = "hfd: looks (GET) after 409 or an ambiguous POST";
const LOOK_UNSEEN: &str = "hfd: looks (GET) for a pod known by 201/409 that the watch does not show";

/// What may happen unseen together with a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    /// Time passes.
    Time,
    /// hfd sees a pod of the name: that settles a 409 or an ambiguous POST as a look would.
    Shown,
}

pub(super) struct Oracle {
    cfg: Cfg,
    states: HashSet<S>,
    trace: Vec<String>,
    /// What was seen last.
    shown: String,
    /// What to say when it fails.
    title: String,
}

impl Oracle {
    pub(super) fn new(cfg: Cfg, title: String) -> Self {
        let states = HashSet::from([S::new(&cfg)]);
        Self { cfg, states, trace: Vec::new(), shown: String::new(), title }
    }

    /// Something happened that the model has the same step for.
    pub(super) fn step(&mut self, step: Step) {
        self.trace.push(shown(step));
        self.states = self.image(|taken| taken == step);
        self.some_left("no such step");
    }

    /// A look was sent and answered. It is the model's, where the model has one to make; else it tells nothing new.
    pub(super) fn look(&mut self) {
        self.trace.push("hfd: looks (GET)".into());
        let mut after = HashSet::new();
        for s in &self.states {
            let found = self.successors(s, |(name, _)| name == LOOK_409 || name == LOOK_UNSEEN);
            if found.is_empty() {
                after.insert(*s);
            }
            after.extend(found);
        }
        self.states = after;
        self.some_left("no look");
    }

    /// The server's time-out since the start has passed; hfd may have known earlier that it does not matter.
    pub(super) fn settled(&mut self) {
        self.trace.push(SETTLED.into());
        let mut after = self.image(|(name, _)| name == SETTLED);
        after.extend(self.states.iter().filter(|s| s.settled == 1));
        self.states = after;
        self.some_left("calls of earlier lives are under way");
    }

    /// What is durable now, and how the truth stands; after whatever hfd has done beside the last step.
    pub(super) fn keep(&mut self, beside: Beside, what: &str, agrees: impl Fn(&S) -> bool) {
        let may = |(name, _): Step| {
            UNSEEN.contains(&name)
                || beside == Beside::Time && IN_TIME.contains(&name)
                || beside != Beside::Nothing && name == LOOK_409
        };
        let mut new: Vec<S> = self.states.iter().copied().collect();
        while let Some(s) = new.pop() {
            for t in self.successors(&s, may) {
                if self.states.insert(t) {
                    new.push(t);
                }
            }
        }
        if !what.is_empty() && self.shown != what {
            self.trace.push(format!("  -> {what}"));
            what.clone_into(&mut self.shown);
        }
        self.states.retain(|s| agrees(s));
        self.some_left("no state of the model agrees");
    }

    /// getReturnRequests named the machine; one that is known gone may always be named.
    pub(super) fn listed(&mut self) {
        self.trace.push("hfd: getReturnRequests names the machine".into());
        let cfg = &self.cfg;
        self.states.retain(|s| may_list(s, cfg, 0) || s.m[0].gone == 1);
        self.some_left("it may not be named");
    }

    fn image(&self, taken: impl Fn(Step) -> bool + Copy) -> HashSet<S> {
        self.states.iter().flat_map(|s| self.successors(s, taken)).collect()
    }

    fn successors(&self, s: &S, taken: impl Fn(Step) -> bool) -> Vec<S> {
        let mut out = Vec::new();
        next(s, &self.cfg, &mut out);
        out.into_iter().filter(|(step, t, _)| taken(*step) && t.bad == 0).map(|(_, t, _)| t).collect()
    }

    fn some_left(&self, why: &str) {
        assert!(!self.states.is_empty(), "{}: {why} after\n{}", self.title, self.trace.join("\n"));
    }
}
