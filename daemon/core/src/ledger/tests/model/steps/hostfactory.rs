//! What HostFactory does: requests, polls, returns; and how hfd answers.

use super::{
    super::{
        rules::Rule,
        state::{B_KILL, B_RDL, B_WIPE, NOBODY, R, results},
    },
    Steps,
};

impl Steps<'_> {
    pub(super) fn request(&mut self) {
        let (s, c) = (self.s, self.c);
        self.step("HF: requestMachines", NOBODY, s.hreq == 0, |t| {
            t.hreq = 1;
            true
        });
        let accepts = s.jreq == 0 && s.mode == 0 && s.b[B_WIPE] == c.b[B_WIPE];
        self.step("hfd: commits the request", NOBODY, s.hreq == 1 && accepts, |t| {
            t.jreq = 1;
            true
        });
        self.step("hfd: reply with requestId arrives", NOBODY, s.hreq == 1 && s.live(), |t| {
            t.hreq = 2;
            true
        });
        self.step("HF: script killed, reply lost for good", NOBODY, s.hreq == 1 && s.b[B_KILL] > 0, |t| {
            t.b[B_KILL] -= 1;
            t.hreq = 3;
            true
        });
    }

    pub(super) fn poll(&mut self) {
        let (s, c) = (self.s, self.c);
        if s.hreq != 2 {
            return;
        }
        let mut t = s;
        let mut told = 0;
        if s.live() {
            let (decided, succeeded) = results(&s, c);
            told = if c.on(Rule::Freeze) && s.jterm != 0 { s.jterm } else { decided.unwrap_or(0) };
            if told != 0 && c.on(Rule::Freeze) {
                t.jterm = told;
            }
            let shown = if told != 0 { told - 1 } else { succeeded };
            for i in 0..c.n {
                if shown & (1 << i) != 0 && t.m[i].told == 0 {
                    t.m[i].told = if c.as_hfd { s.m[i].uid } else { s.m[i].uid.max(s.m[i].c.uid) };
                }
            }
            if c.on(Rule::FPolled) {
                t.jpol = 1;
            }
            t.polledv = 1;
            t.hknow = 1;
        } else if s.mode == 0 {
            told = 9;
        }
        if told != 0 {
            let all = (1u8 << c.n) - 1;
            if s.hterm != 0 && s.hterm != told {
                t.bad = if s.b[B_WIPE] < c.b[B_WIPE] { 9 } else { 3 };
                if t.bad == 9 && c.on(Rule::FWipeTerm) {
                    t.bad = 0;
                }
            } else if told == 1 + all && s.m[..c.n].iter().any(|m| m.was == 0) {
                t.bad = 2;
            }
            if s.hterm == 0 {
                t.hterm = told;
            }
        }
        self.go("HF: getRequestStatus is answered", usize::from(told), t, "");
    }

    pub(super) fn returns(&mut self) {
        let (s, c) = (self.s, self.c);
        let Some(k) = (0..c.rets).find(|k| s.ret[*k].mask == 0).filter(|_| s.hknow == 1) else { return };
        for mask in 1..1u8 << c.n {
            for acked in [1, 0] {
                let name = if acked == 1 {
                    "HF: requestReturnMachines, committed, answered (mask)"
                } else {
                    "HF: requestReturnMachines, committed, reply lost (mask)"
                };
                let can = s.live() && (acked == 1 || k == 0 && s.b[B_KILL] > 0);
                self.step(name, usize::from(mask), can, |t| {
                    t.ret[k] = R { mask, acked, ..R::default() };
                    for i in (0..c.n).filter(|i| mask & (1 << i) != 0) {
                        t.m[i].tomb = 1;
                        t.m[i].hfret = 1;
                    }
                    t.b[B_KILL] -= 1 - acked;
                    true
                });
            }
        }
    }

    pub(super) fn ends_of_returns(&mut self) {
        let (s, c) = (self.s, self.c);
        for k in 0..c.rets {
            let r = s.ret[k];
            if r.mask == 0 || r.term != 0 || !s.live() {
                continue;
            }
            let gone: u8 = (0..c.n).map(|i| s.m[i].gone << i).sum();
            let decided = (gone | r.fail) & r.mask == r.mask;
            let told = decided && (r.acked == 1 || c.on(Rule::FUntold));
            self.step("hfd: return ends (and is told, if HF has its id)", k, told, |t| {
                t.ret[k].term = 1 + (r.fail & !gone);
                true
            });
            self.step("hfd: return deadline passes", k, s.b[B_RDL] > 0 && !decided, |t| {
                t.b[B_RDL] -= 1;
                t.ret[k].fail = r.mask & !gone;
                true
            });
        }
        let may_be_unknown = s.jpol == 0 && s.polledv == 0 && !(s.hreq == 2 && s.hterm == 0) && s.hreq != 1;
        let adopted = s.jreq == 2 && c.on(Rule::FAdoptPoll);
        let some = s.m[..c.n].iter().any(|m| m.tomb == 0);
        let due = s.live() && may_be_unknown && !adopted && some;
        self.step("hfd: request never polled for 60 min is cancelled", NOBODY, due, |t| {
            for m in &mut t.m[..c.n] {
                m.tomb = 1;
            }
            true
        });
    }
}
