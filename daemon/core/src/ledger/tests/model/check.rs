//! Breadth-first search over all states, with the edges kept so that "can still reach" is decidable.

use std::hash::{Hash, Hasher};

use super::{
    rules::Cfg,
    state::{BAD, GOALS, NOBODY, S, Step},
    steps::next,
};

#[derive(Default)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// A state that must not be, with a shortest way to it.
pub(crate) struct Finding {
    pub(crate) what: &'static str,
    pub(crate) trace: Vec<String>,
}

impl Finding {
    /// A POST that lands late is allowed, and its pod is then deleted.
    pub(crate) fn is_note(&self) -> bool {
        self.what.starts_with("note:")
    }
}

pub(crate) struct Outcome {
    pub(crate) states: usize,
    /// Every reachable state was seen.
    pub(crate) complete: bool,
    pub(crate) found: Vec<Finding>,
}

const FREE: u32 = u32::MAX;

struct Store {
    all: Vec<S>,
    parent: Vec<(u32, Step)>,
    table: Vec<u32>,
}

impl Store {
    fn slot(&self, s: &S) -> usize {
        let mut hasher = Fnv::default();
        s.hash(&mut hasher);
        let mask = self.table.len() - 1;
        let mut at = usize::try_from(hasher.finish() & u64::from(u32::MAX)).expect("32 bits") & mask;
        while self.table[at] != FREE && self.all[self.table[at] as usize] != *s {
            at = (at + 1) & mask;
        }
        at
    }

    fn add(&mut self, s: S, from: u32, step: Step) -> u32 {
        if (self.all.len() + 1) * 2 > self.table.len() {
            self.table = vec![FREE; self.table.len() * 2];
            for i in 0..self.all.len() {
                let at = self.slot(&self.all[i]);
                self.table[at] = number(i);
            }
        }
        let at = self.slot(&s);
        if self.table[at] == FREE {
            self.table[at] = number(self.all.len());
            self.all.push(s);
            self.parent.push((from, step));
        }
        self.table[at]
    }

    fn trace(&self, mut id: u32) -> Vec<String> {
        let mut steps = vec![];
        while id != 0 {
            let (parent, step) = self.parent[id as usize];
            steps.push(shown(step));
            id = parent;
        }
        steps.reverse();
        steps
    }
}

/// A step as people read it.
pub(crate) fn shown((name, about): Step) -> String {
    if usize::from(about) == NOBODY { name.to_owned() } else { format!("{name} [{about}]") }
}

fn number(i: usize) -> u32 {
    u32::try_from(i).expect("fewer states than numbers")
}

/// Searches at most `limit` states. With `first_only` the search ends at the first finding that is no note.
pub(crate) fn explore(cfg: &Cfg, limit: usize, first_only: bool) -> Outcome {
    let mut store = Store { all: vec![], parent: vec![], table: vec![FREE; 1 << 16] };
    store.add(S::new(cfg), 0, ("start", 9));
    let (mut edges, mut first): (Vec<u32>, Vec<usize>) = (vec![], vec![0]);
    let mut found: Vec<Finding> = vec![];
    let mut out = vec![];
    let mut at = 0;
    while at < store.all.len() && at < limit && !(first_only && found.iter().any(|finding| !finding.is_note())) {
        let s = store.all[at];
        if s.bad == 0 {
            out.clear();
            next(&s, cfg, &mut out);
            for &(step, t, note) in &out {
                let id = store.add(t, number(at), step);
                edges.push(id);
                for what in [BAD[usize::from(t.bad)], note] {
                    if !what.is_empty() && !found.iter().any(|finding| finding.what == what) {
                        let mut trace = store.trace(number(at));
                        trace.push(shown(step));
                        found.push(Finding { what, trace });
                    }
                }
            }
        }
        first.push(edges.len());
        at += 1;
    }
    let complete = at == store.all.len();
    if complete {
        found.extend(unreachable_goals(cfg, &store, &edges, &first));
    }
    Outcome { states: at, complete, found }
}

/// The states from which something that must stay possible is not.
fn unreachable_goals(cfg: &Cfg, store: &Store, edges: &[u32], first: &[usize]) -> Vec<Finding> {
    let mut found = vec![];
    for (what, goal) in GOALS {
        let mut ok: Vec<bool> = store.all.iter().map(|s| s.bad != 0 || goal(s, cfg)).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for i in (0..ok.len()).rev() {
                if !ok[i] && edges[first[i]..first[i + 1]].iter().any(|edge| ok[*edge as usize]) {
                    ok[i] = true;
                    changed = true;
                }
            }
        }
        if let Some(i) = ok.iter().position(|ok| !ok) {
            found.push(Finding { what, trace: store.trace(number(i)) });
        }
    }
    found
}
