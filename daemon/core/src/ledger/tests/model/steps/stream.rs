//! LIST and watch: what hfd gets to see, and when.

use super::{
    super::{
        rules::{Cfg, Rule},
        state::{B_RELIST, M, NOBODY, Pod, S, commit},
    },
    Steps,
};

impl Steps<'_> {
    pub(super) fn list(&mut self) {
        let (s, c) = (self.s, self.c);
        self.step("stream: LIST begins", NOBODY, s.w == 0 && s.up == 1, |t| {
            t.w = 1;
            for m in &mut t.m {
                m.kpre = u8::from(m.act == 2 || m.act == 4 && c.on(Rule::F409));
            }
            true
        });
        self.step("stream: LIST snapshot taken", NOBODY, s.w == 1 && s.up == 1, |t| {
            t.w = 2;
            for m in &mut t.m {
                m.snap = if m.pod.stranger == 1 { Pod::default() } else { m.pod };
            }
            true
        });
        self.step("stream: LIST delivered (sync)", NOBODY, s.w == 2 && s.up == 1, |t| {
            t.w = 3;
            t.synced = 1;
            if s.mode == 1 {
                t.mode = if s.m.iter().any(|m| m.snap.uid != 0) { 2 } else { 0 };
            }
            for i in 0..c.n {
                take_snapshot(&mut t.m[i], c);
                if c.eager {
                    commit(t, c, i);
                }
            }
            true
        });
    }

    pub(super) fn events(&mut self) {
        let (s, c) = (self.s, self.c);
        let can = s.w == 3 && s.up == 1 && s.ql > 0;
        self.step("stream: event delivered", usize::from(s.q[0].0), can, |t| {
            deliver(t, c);
            true
        });
        self.step("stream: watch broken or expired", NOBODY, s.w == 3 && s.b[B_RELIST] > 0, |t| {
            t.b[B_RELIST] -= 1;
            t.drop_stream();
            true
        });
    }
}

fn take_snapshot(x: &mut M, c: &Cfg) {
    x.c = x.snap;
    if matches!(x.act, 2 | 4) {
        if x.c.uid == x.au || !c.on(Rule::FUid) && x.c.uid != 0 {
            (x.act, x.au) = (0, 0);
        } else if x.kpre == 1 || !c.on(Rule::Abs) {
            x.act = if x.c.uid == 0 { 6 } else { 0 };
            if x.act == 0 {
                x.au = 0;
            }
        }
    }
    x.snap = Pod::default();
    x.kpre = 0;
}

fn deliver(t: &mut S, c: &Cfg) {
    let (i, pod) = t.q[0];
    let i = usize::from(i);
    t.q.rotate_left(1);
    t.ql -= 1;
    let x = &mut t.m[i];
    x.c = pod;
    if matches!(x.act, 2 | 4) && x.c.uid != 0 && (x.c.uid == x.au || !c.on(Rule::FUid)) {
        (x.act, x.au) = (0, 0);
    }
    if c.eager {
        commit(t, c, i);
    }
}
