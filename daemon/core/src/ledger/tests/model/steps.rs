//! The step relation: everything that can happen next, by whose doing.
//!
//! With [`Cfg::as_hfd`] a few steps are added or narrowed in which hfd is finer than the model, each of them within
//! `lifecycle.md`; the search has to find nothing with them either:
//! * hfd freezes an answer when it is decided, not when it is asked for first ("hfd: freezes the answer").
//! * What HostFactory is told `succeed` for is the durable UID, whatever the cache shows.
//! * A machine with a verdict is known gone without a return, so a later return of it ends at once.
//! * A surplus pod is deleted before the machine has a verdict, and an adopted pod that ended is deleted.
//! * A rebuild judges what it adopts at once.
//! * A stranger's pod behind a 409 fails only a machine that has no pod and no end, and only while the view is fresh.
//! * A deletion asked for by a life whose journal is lost counts like anybody's.
//! * A machine that was not asked for yet has no creates of earlier lives.
//! * What was unsettled in a life before the last counts only while a POST of it can land.
//! * A journal without requests is empty at every start.
//! * A rebuild that finds nothing to adopt is over.

mod calls;
mod cluster;
mod daemon;
mod hostfactory;
mod stream;

use super::{
    rules::{Cfg, Rule},
    state::{S, Step, small},
};

/// Steps with the state that each leads to, and a note.
pub(crate) type Out = Vec<(Step, S, &'static str)>;

/// Collects the successors of one state.
struct Steps<'a> {
    s: S,
    c: &'a Cfg,
    out: &'a mut Out,
}

/// All successors of a state.
pub(crate) fn next(s: &S, c: &Cfg, out: &mut Out) {
    let mut steps = Steps { s: *s, c, out };
    steps.request();
    steps.poll();
    steps.returns();
    steps.ends_of_returns();
    for i in 0..c.n {
        steps.judge(i);
        steps.create(i);
        steps.late_posts(i);
        steps.looks(i);
        steps.delete(i);
        steps.gone(i);
        steps.life_of_pod(i);
        steps.strangers_and_operator(i);
    }
    steps.list();
    steps.events();
    steps.outages();
    steps.crashes();
    steps.rebuild();
    if c.as_hfd {
        steps.freeze();
    }
}

impl Steps<'_> {
    fn go(&mut self, name: &'static str, i: usize, mut t: S, note: &'static str) {
        if t.bad == 0 {
            listed(&mut t, self.c);
        }
        self.out.push(((name, small(i)), t.canonical(self.c), note));
    }

    /// A step that is possible when `enabled` and when `change` says so.
    fn step(&mut self, name: &'static str, i: usize, enabled: bool, change: impl FnOnce(&mut S) -> bool) {
        if enabled {
            let mut t = self.s;
            if change(&mut t) {
                self.go(name, i, t, "");
            }
        }
    }
}

/// A pod comes into being: allowed late, but worth a note when the machine was decided before.
fn landed(s: &S, i: usize) -> &'static str {
    let m = &s.m[i];
    let told = s.ret.iter().any(|r| r.term != 0 && r.mask & (1 << i) != 0);
    if told {
        "note: a late POST lands after the return was told finished"
    } else if m.uid != 0 {
        "note: a late POST lands after a durable UID"
    } else if m.tomb == 1 || m.verdict != 0 {
        "note: a late POST lands under a verdict or tombstone"
    } else {
        ""
    }
}

/// I5 as a state predicate: what getReturnRequests would name now, against the truth.
fn listed(s: &mut S, c: &Cfg) {
    for i in 0..c.n {
        let m = &s.m[i];
        let alive = m.pod.uid != 0
            && m.pod.stranger == 0
            && m.pod.term == 0
            && m.pod.ph < 3
            && (m.uid == 0 || m.pod.uid == m.uid);
        if may_list(s, c, i) && alive {
            s.bad = if has_ended(s, c, i) { 12 } else { 5 };
        }
    }
}

/// A return of the machine has ended; `F403` = not with its failure.
fn has_ended(s: &S, c: &Cfg, i: usize) -> bool {
    let bit = 1 << i;
    s.ret.iter().any(|r| r.mask & bit != 0 && r.term != 0 && (!c.on(Rule::F403) || (r.term - 1) & bit == 0))
}

/// getReturnRequests may name the machine.
pub(crate) fn may_list(s: &S, c: &Cfg, i: usize) -> bool {
    let unseen = (s.synced == 0 || s.w != 3) && c.on(Rule::Sync);
    let covered = s.ret.iter().any(|r| r.mask & (1 << i) != 0 && r.term == 0);
    if s.jreq == 0 || s.hknow == 0 || unseen || covered {
        return false;
    }
    let m = &s.m[i];
    let deleted = m.c.term == 2 || c.as_hfd && m.c.term == 1;
    m.verdict == 2 || m.tomb == 0 && m.ready == 1 && deleted || has_ended(s, c, i) && m.late == 0 && m.old == 0
}
