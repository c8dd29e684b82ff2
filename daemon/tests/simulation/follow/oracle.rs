//! The states of the model that agree with everything seen of one machine so far.
//!
//! What the world does (pods, the LIST, calls landing) is put into every state as it is; what hfd does has to be a step
//! of the model from one of them. When none is left, hfd has done what the model does not allow.

use std::collections::HashSet;

use super::model::{
    check::shown,
    rules::{Cfg, Rule},
    state::{B_AMBIG, B_CRASH, B_OUT, B_RDL, B_RELIST, M, Pod, S, Step},
    steps::next,
};

/// Faults are not counted: the world decides how many there are.
const UNBOUNDED: u8 = 200;
/// What hfd may do in any step without being seen; it shows in what is durable.
const UNSEEN: [&str; 5] = [
    "hfd: commits what the cache shows",
    "hfd: commits gone",
    "hfd: machine deadline passes",
    "hfd: return deadline passes",
    "hfd: request never polled for 60 min is cancelled",
];
const SETTLED: &str = "time: server's request time-out since the start passes";
const LOOKS: [&str; 2] = [
    "hfd: looks (GET) after 409 or an ambiguous POST",
    "hfd: looks (GET) for a pod known by 201/409 that the watch does not show",
];

pub(super) struct Oracle {
    cfg: Cfg,
    states: HashSet<S>,
    trace: Vec<String>,
    /// What was compared last.
    shown: String,
    title: String,
}

impl Oracle {
    /// A machine whose request has just become durable; the stream as the model numbers it.
    pub(super) fn new(title: String, stream: u8, synced: bool, settled: bool) -> Self {
        let mut cfg = Cfg::with_all_rules("one").expect("a scenario").without(Rule::F409);
        (cfg.as_hfd, cfg.interchange, cfg.eager, cfg.rets) = (true, false, false, 2);
        cfg.b = [0; 10];
        for fault in [B_AMBIG, B_OUT, B_RDL, B_RELIST, B_CRASH] {
            cfg.b[fault] = UNBOUNDED;
        }
        let mut first = S::new(&cfg);
        (first.w, first.synced, first.settled, first.life) = (stream, u8::from(synced), u8::from(settled), 1);
        // HostFactory's part is the naive model's: here its script may have been killed, and it knows the machine.
        (first.jreq, first.hreq, first.hknow) = (1, 3, 1);
        Self { cfg, states: HashSet::from([first]), trace: Vec::new(), shown: String::new(), title }
    }

    /// Something happened that the model has the same step for.
    pub(super) fn step(&mut self, step: Step) {
        self.trace.push(shown(step));
        self.states = self.image(|taken| taken == step);
        self.some_left("no such step");
    }

    /// hfd did that, and the world has made nothing of it.
    pub(super) fn in_vain(&mut self, step: Step) {
        self.trace.push(format!("{} (in vain)", shown(step)));
        let mut states = std::mem::take(&mut self.states);
        states.retain(|s| !self.successors(s, |taken| taken == step).is_empty());
        self.states = states;
        self.some_left("no such step");
    }

    /// A look was sent and answered at once; one that the model has no use for tells nothing new.
    pub(super) fn look(&mut self, sighted: bool) {
        self.trace.push("hfd: looks (GET)".into());
        let mut after = HashSet::new();
        for s in &self.states {
            let found = self.successors(s, |(name, _)| LOOKS.contains(&name));
            // What is found while hfd can't see is no verdict; where the model sees more, it may be one there.
            if found.is_empty() || !sighted {
                after.insert(*s);
            }
            for mut t in found {
                after.insert(t);
                // The verdict is not durable yet, and a crash may take it.
                t.m[0].verdict = s.m[0].verdict;
                after.insert(t);
            }
        }
        self.states = after;
    }

    /// The server's time-out since the start has passed.
    pub(super) fn settled(&mut self) {
        let mut after = self.image(|(name, _)| name == SETTLED);
        after.extend(self.states.iter().filter(|s| s.settled == 1));
        self.states = after;
        self.some_left("calls of earlier lives are under way");
    }

    /// The pod of that name is that one now, and the watch will tell; `false` = more than the model's stream holds.
    pub(super) fn pod_is(&mut self, pod: Pod, next_uid: u8) -> bool {
        self.trace.push(format!("pod: {pod:?}"));
        let mut room = true;
        self.edit(|s| {
            s.m[0].pod = pod;
            s.m[0].nuid = next_uid;
            s.m[0].was |= u8::from(pod.ph == 1 && pod.stranger == 0 && pod.uid != 0);
            if s.w >= 2 && pod.stranger == 0 {
                let at = usize::from(s.ql);
                room &= at < s.q.len();
                if room {
                    s.q[at] = (0, pod);
                    s.ql += 1;
                }
            }
        });
        room
    }

    /// Whether an event more fits into the model's stream.
    pub(super) fn has_room(&self) -> bool {
        self.states.iter().all(|s| s.w < 2 || usize::from(s.ql) < s.q.len())
    }

    /// What is durable and true now; after whatever hfd has done beside the last step.
    pub(super) fn keep(&mut self, polled: bool, sighted: bool, what: &str, agrees: impl Fn(&S) -> bool) {
        self.edit(|s| s.jpol = u8::from(polled));
        let mut new: Vec<S> = self.states.iter().copied().collect();
        while let Some(s) = new.pop() {
            for t in self.successors(&s, |(name, _)| UNSEEN.contains(&name)) {
                // Facts without a verdict: hfd can be blind where the model sees (a silent stream, the namespace).
                let facts = S { m: [M { verdict: s.m[0].verdict, ..t.m[0] }, t.m[1]], ..t };
                for t in [Some(t), Some(facts).filter(|_| !sighted)].into_iter().flatten() {
                    if self.states.insert(t) {
                        new.push(t);
                    }
                }
            }
        }
        if self.shown != what {
            self.trace.push(format!("  -> {what}"));
            what.clone_into(&mut self.shown);
        }
        self.states.retain(|s| agrees(s));
        self.some_left(&format!("no state of the model agrees with {what}"));
    }

    fn edit(&mut self, change: impl FnMut(&mut S)) {
        let mut states: Vec<S> = self.states.drain().collect();
        states.iter_mut().for_each(change);
        self.states.extend(states);
    }

    fn image(&self, taken: impl Fn(Step) -> bool + Copy) -> HashSet<S> {
        self.states.iter().flat_map(|s| self.successors(s, taken)).collect()
    }

    fn successors(&self, s: &S, taken: impl Fn(Step) -> bool) -> Vec<S> {
        let mut s = *s;
        s.b = self.cfg.b; // a fault costs nothing
        let mut out = Vec::new();
        next(&s, &self.cfg, &mut out);
        let allowed = out.into_iter().filter(|(step, t, _)| taken(*step) && t.bad == 0);
        allowed.map(|(_, t, _)| S { b: self.cfg.b, ..t }).collect()
    }

    fn some_left(&self, why: &str) {
        assert!(!self.states.is_empty(), "{}: {why} after\n{}", self.title, self.trace.join("\n"));
    }
}
