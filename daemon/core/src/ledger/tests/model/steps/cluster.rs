//! What happens in the cluster and to the way to it: pods, strangers, operators, outages, crashes.

use super::{
    super::{
        rules::Cfg,
        state::{B_CRASH, B_FLAP, B_FORBID, B_KILL, B_LOSS, B_OUT, B_WIPE, NOBODY, Pod, S},
    },
    Steps,
};

impl Steps<'_> {
    pub(super) fn life_of_pod(&mut self, i: usize) {
        let p = self.s.m[i].pod;
        if p.uid == 0 {
            return;
        }
        let ours = p.stranger == 0;
        let alive = ours && p.term == 0;
        self.pod("pod: Ready", i, alive && p.ph == 0, None, |p| p.ph = 1);
        self.pod("pod: readiness lost", i, alive && p.ph == 1, Some(B_FLAP), |p| p.ph = 2);
        self.pod("pod: Ready again", i, alive && p.ph == 2, None, |p| p.ph = 1);
        self.pod("pod: Failed", i, alive && p.ph != 3, Some(B_LOSS), |p| p.ph = 3);
        let graceful = alive && p.ph != 0 && p.ph != 3;
        self.pod("pod: evicted with grace", i, graceful, Some(B_LOSS), |p| p.term = 2);
        self.pod("pod: deleted by somebody at once", i, alive, Some(B_LOSS), |p| *p = Pod::default());
        self.pod("pod: removed after grace", i, ours && p.term != 0, None, |p| *p = Pod::default());
        self.pod("stranger's pod removed by its owner", i, !ours, Some(B_KILL), |p| *p = Pod::default());
    }

    fn pod(&mut self, name: &'static str, i: usize, can: bool, budget: Option<usize>, change: impl FnOnce(&mut Pod)) {
        let before = self.s.m[i].pod;
        let can = can && budget.is_none_or(|b| self.s.b[b] > 0);
        self.step(name, i, can, |t| {
            if let Some(b) = budget {
                t.b[b] -= 1;
            }
            change(&mut t.m[i].pod);
            if t.m[i].pod.ph == 1 && before.stranger == 0 && t.m[i].pod.uid != 0 {
                t.m[i].was = 1;
            }
            before.stranger == 1 || t.emit(i)
        });
    }

    pub(super) fn strangers_and_operator(&mut self, i: usize) {
        let (s, c) = (self.s, self.c);
        let m = s.m[i];
        let free = c.stranger && m.pod.uid == 0 && m.nuid < 4 && s.b[B_FLAP] > 0;
        self.step("a stranger creates a pod of that name", i, free, |t| {
            t.b[B_FLAP] -= 1;
            t.m[i].pod = Pod { uid: m.nuid, ph: 1, term: 0, stranger: 1 };
            t.m[i].nuid += 1;
            true
        });
        let unknown = s.jreq == 0 && s.synced == 1 && m.c.uid != 0 && m.pod.uid != 0 && m.pod.stranger == 0;
        self.step("operator: removes unknown pod", i, unknown, |t| {
            t.m[i].pod = Pod::default();
            t.emit(i)
        });
    }

    pub(super) fn outages(&mut self) {
        let s = self.s;
        self.step("api: unreachable", NOBODY, s.up == 1 && s.b[B_OUT] > 0, |t| {
            t.b[B_OUT] -= 1;
            t.up = 0;
            if t.w < 3 {
                t.drop_stream();
            }
            true
        });
        self.step("hfd: silent stream noticed (90 s)", NOBODY, s.up == 0 && s.w == 3, |t| {
            t.drop_stream();
            true
        });
        self.step("api: reachable again", NOBODY, s.up == 0, |t| {
            t.up = 1;
            true
        });
        let refuses = s.forbid == 0 && s.b[B_FORBID] > 0;
        self.step("api: DELETE refused (403) from now on", NOBODY, refuses, |t| {
            t.b[B_FORBID] -= 1;
            t.forbid = 1;
            true
        });
        self.step("api: DELETE allowed again", NOBODY, s.forbid == 1, |t| {
            t.forbid = 0;
            true
        });
        let passed = s.settled == 0 && s.m.iter().all(|m| m.old == 0);
        self.step("time: server's request time-out since the start passes", NOBODY, passed, |t| {
            t.settled = 1;
            true
        });
    }

    pub(super) fn crashes(&mut self) {
        let (s, c) = (self.s, self.c);
        self.step("crash or power cut, restart", NOBODY, s.b[B_CRASH] > 0, |t| {
            t.b[B_CRASH] -= 1;
            restart(t, false, c);
            true
        });
        self.step("crash, journal deleted, restart", NOBODY, s.b[B_WIPE] > 0 && s.live(), |t| {
            t.b[B_WIPE] -= 1;
            restart(t, true, c);
            true
        });
    }
}

fn restart(t: &mut S, wipe: bool, c: &Cfg) {
    t.drop_stream();
    (t.synced, t.settled, t.life, t.polledv) = (0, 0, 1, 0);
    for m in &mut t.m {
        m.old = (m.old + m.late + u8::from(m.act == 1)).min(2);
        (m.c, m.act, m.au, m.late) = (Pod::default(), 0, 0, 0);
        // A POST can be under way only so long.
        let unsettled = m.uid == 0 && !(c.as_hfd && t.jreq == 0) || m.old > 0 || wipe;
        if unsettled || c.as_hfd {
            m.us = u8::from(unsettled);
        }
        if wipe {
            (m.uid, m.ready, m.verdict, m.tomb, m.gone) = (0, 0, 0, 0, 0);
        }
    }
    if wipe {
        (t.jreq, t.jpol, t.jterm, t.mode) = (0, 0, 0, 1);
        t.ret = Default::default();
    } else if c.as_hfd && t.jreq == 0 {
        t.mode = 1;
    }
}
