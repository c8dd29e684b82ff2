//! What hfd decides on its own: facts from the cache, deadlines, gone, the rebuild.

use super::{
    super::{
        rules::Rule,
        state::{NOBODY, Pod, commit, results},
    },
    Steps,
};

impl Steps<'_> {
    pub(super) fn judge(&mut self, i: usize) {
        let (s, c) = (self.s, self.c);
        let m = s.m[i];
        self.step("hfd: commits what the cache shows", i, !c.eager, |t| {
            commit(t, c, i);
            *t != s
        });
        let running = if c.on(Rule::Latch) { m.ready == 1 } else { m.ready == 1 && m.c.ph == 1 };
        let seen = s.fresh() || !c.on(Rule::Fresh) && s.synced == 1 || !c.on(Rule::Sync);
        let due = s.live() && m.verdict == 0 && m.tomb == 0 && !running && seen;
        self.step("hfd: machine deadline passes", i, due, |t| {
            if c.on(Rule::First) {
                commit(t, c, i);
            }
            let still = if c.on(Rule::Latch) { t.m[i].ready == 0 } else { t.m[i].ready == 0 || m.c.ph != 1 };
            if still && t.m[i].verdict == 0 {
                t.m[i].verdict = 1;
                let healthy = m.pod.ph == 1 && m.pod.stranger == 0 && m.pod.uid != 0;
                if (s.w != 3 || !c.on(Rule::First)) && healthy && (m.c.ph == 1 || s.w != 3) {
                    t.bad = 8;
                }
            }
            true
        });
    }

    pub(super) fn gone(&mut self, i: usize) {
        let (s, c) = (self.s, self.c);
        let m = s.m[i];
        let absent = m.pod.uid == 0;
        let over = m.tomb == 1 || c.as_hfd && m.verdict != 0;
        let named = m.c.uid == 0 || !c.on(Rule::Name) && m.c.uid != m.uid;
        let quiet = matches!(m.act, 0 | 6) || !c.on(Rule::Ambig) && matches!(m.act, 1 | 3);
        let looked =
            !c.on(Rule::FSettle) || m.us == 0 || s.settled == 1 && s.up == 1 && (absent || m.pod.stranger == 1);
        let seen = s.fresh() || !c.on(Rule::Sync);
        self.step("hfd: commits gone", i, over && m.gone == 0 && seen && named && quiet && looked, |t| {
            t.m[i].gone = 1;
            if !absent && m.pod.stranger == 0 {
                t.bad = 6;
            }
            true
        });
    }

    pub(super) fn rebuild(&mut self) {
        let (s, c) = (self.s, self.c);
        let wait = c.on(Rule::FRebuildWait);
        let asked = s.synced == 1 && s.w == 3 && s.up == 1 && s.jreq == 0;
        let pods = s.m[..c.n].iter().any(|m| m.c.uid != 0) || c.as_hfd && s.mode == 2;
        let waited = !wait || s.settled == 1 && s.m.iter().all(|m| m.del == 0);
        self.step("operator: rebuild --from-cluster", NOBODY, asked && pods && waited, |t| {
            (t.jreq, t.mode) = (2, 0);
            if wait {
                // a relist of the watch begun after the time-out; adopt at its end (condensed into one step)
                t.drop_stream();
                t.w = 3;
                for m in &mut t.m {
                    m.c = if m.pod.stranger == 1 { Pod::default() } else { m.pod };
                }
            }
            if c.as_hfd && t.m[..c.n].iter().all(|m| m.c.uid == 0) {
                t.jreq = 0;
                return true;
            }
            for m in &mut t.m[..c.n] {
                if m.c.uid != 0 {
                    (m.uid, m.adopted) = (m.c.uid, 1);
                    if m.c.ph == 1 && m.c.term == 0 {
                        m.ready = 1;
                    }
                } else {
                    (m.verdict, m.gone) = (1, 1);
                }
            }
            for i in (0..c.n).filter(|_| c.as_hfd) {
                commit(t, c, i);
            }
            true
        });
    }

    pub(super) fn freeze(&mut self) {
        let (decided, _) = results(&self.s, self.c);
        let can = self.s.live() && self.s.jterm == 0 && decided.is_some();
        self.step("hfd: freezes the answer", NOBODY, can, |t| {
            t.jterm = decided.unwrap_or(0);
            true
        });
    }
}
