//! Calls to the API server: creates, looks, deletes, and what becomes of them.

use super::{
    super::{
        rules::Rule,
        state::{B_AMBIG, Pod, commit},
    },
    Steps, landed,
};

impl Steps<'_> {
    pub(super) fn create(&mut self, i: usize) {
        let (s, c) = (self.s, self.c);
        let m = s.m[i];
        let wanted = s.jreq == 1
            && (m.uid == 0 || !c.on(Rule::Uid))
            && (m.verdict == 0 || !c.on(Rule::Verdict))
            && (m.tomb == 0 || !c.on(Rule::Tomb));
        let can = m.act == 0 && m.c.uid == 0 && s.up == 1 && m.nuid < 4;
        self.step("hfd: sends POST", i, wanted && can, |t| {
            t.m[i].act = 1;
            if m.uid != 0 || m.verdict != 0 || m.tomb != 0 {
                t.bad = 1;
            }
            true
        });
        for (name, answered) in [("api: POST lands, answer arrives", true), ("api: POST lands, answer lost", false)] {
            if m.act != 1 || s.up != 1 || !answered && s.b[B_AMBIG] == 0 {
                continue;
            }
            let mut t = s;
            if let Some(new) = t.create(i) {
                t.b[B_AMBIG] -= u8::from(!answered);
                t.m[i].act = match (answered, new) {
                    (false, _) => 3,
                    (true, true) => 2,
                    (true, false) => 5,
                };
                t.m[i].au = if answered && new { t.m[i].pod.uid } else { 0 };
                self.go(name, i, t, if new { landed(&s, i) } else { "" });
            }
        }
        let gives_up = m.act == 1 && (s.b[B_AMBIG] > 0 || s.up == 0);
        self.step("hfd: gives up on POST, which may land late", i, gives_up, |t| {
            t.b[B_AMBIG] -= u8::from(s.up == 1);
            t.m[i].act = 3;
            t.m[i].late += 1;
            true
        });
    }

    pub(super) fn late_posts(&mut self, i: usize) {
        let s = self.s;
        let m = s.m[i];
        for (name, old) in [("api: late POST lands", false), ("api: late POST of an earlier life lands", true)] {
            let have = if old { m.old } else { m.late };
            let mut t = s;
            if old {
                t.m[i].old = have.saturating_sub(1);
            } else {
                t.m[i].late = have.saturating_sub(1);
            }
            self.step("api: late POST never lands", i, have > 0, |now| {
                *now = t;
                true
            });
            if have > 0 && m.pod.uid == 0 && m.nuid < 4 && t.create(i).is_some() {
                self.go(name, i, t, landed(&s, i));
            }
        }
    }

    pub(super) fn looks(&mut self, i: usize) {
        let (s, c) = (self.s, self.c);
        let m = s.m[i];
        let absent = m.pod.uid == 0;
        let stranger = m.pod.stranger == 1 && c.on(Rule::Flag409);
        let due = m.act == 5 || m.act == 3 && (m.late == 0 || !c.on(Rule::Ambig));
        self.step("hfd: looks (GET) after 409 or an ambiguous POST", i, s.up == 1 && due, |t| {
            if c.as_hfd && stranger && !s.fresh() {
                return true; // hfd can't see whether it has a pod: it looks again later
            }
            let x = &mut t.m[i];
            let decided = x.uid != 0 || x.c.uid != 0 || x.tomb != 0;
            if stranger && !absent && !(c.as_hfd && decided) {
                x.verdict = x.verdict.max(1);
            }
            x.act = if absent || stranger { 0 } else { 4 };
            x.au = if x.act == 4 { m.pod.uid } else { 0 };
            if x.act == 4 && m.c.uid == m.pod.uid {
                (x.act, x.au) = (0, 0);
            }
            true
        });
        let unseen = c.on(Rule::FLook) && s.up == 1 && s.fresh() && matches!(m.act, 2 | 4) && m.pod.uid != m.au;
        self.step("hfd: looks (GET) for a pod known by 201/409 that the watch does not show", i, unseen, |t| {
            let gone = m.c.uid == 0;
            t.m[i].act = if gone { 6 } else { 0 };
            if c.eager {
                commit(t, c, i);
            }
            if !gone {
                t.m[i].au = 0;
            }
            true
        });
    }

    pub(super) fn delete(&mut self, i: usize) {
        let (s, c) = (self.s, self.c);
        let m = s.m[i];
        let told_fail = m.verdict == 1 && !(m.adopted == 1 && c.on(Rule::FAdoptDl));
        let lost = m.verdict == 2 && (m.c.uid == m.uid || c.on(Rule::FLostUid));
        let ended = m.verdict == 1 && m.c.ph == 3;
        let surplus = c.as_hfd && (ended || m.uid != 0 && m.c.uid != m.uid);
        let can = s.live() && m.c.uid != 0 && m.c.term == 0 && m.del == 0 && s.up == 1;
        self.step("hfd: sends DELETE", i, can && (m.tomb == 1 || told_fail || lost || surplus), |t| {
            t.m[i].del = m.c.uid;
            true
        });
        self.step("api: DELETE lost", i, m.del != 0, |t| {
            t.m[i].del = 0;
            true
        });
        let hit = m.pod.uid != 0 && (m.pod.uid == m.del || !c.on(Rule::Precond));
        self.step("api: DELETE lands", i, m.del != 0 && s.forbid == 0 && hit, |t| {
            t.m[i].del = 0;
            if m.pod.term != 0 {
                return true;
            }
            if m.pod.stranger == 1 {
                t.bad = 7;
            }
            if m.told == m.pod.uid && m.hfret == 0 && m.pod.ph < 3 {
                t.bad = if m.adopted == 1 { 10 } else { 4 };
            }
            if m.pod.ph == 0 {
                t.m[i].pod = Pod::default();
            } else {
                t.m[i].pod.term = 1;
            }
            t.emit(i)
        });
    }
}
