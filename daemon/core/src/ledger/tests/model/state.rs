//! What the model knows at one instant: the cluster's truth, the stream, hfd (volatile and durable) and HostFactory.
//! A machine's fields are grouped by who owns them; a crash clears exactly the volatile group.

use super::rules::{Cfg, Rule};

/// Name of a step, and what it is about: a machine, the mask of a return, the told answer; [`NOBODY`] = none of these.
pub(crate) type Step = (&'static str, u8);

/// A step that is about no machine.
pub(crate) const NOBODY: usize = 9;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Pod {
    /// 0 = no pod
    pub(crate) uid: u8,
    /// 0 Pending, 1 Ready, 2 Running but not Ready, 3 Failed
    pub(crate) ph: u8,
    /// deletionTimestamp: 0 none, 1 by us, 2 by somebody else
    pub(crate) term: u8,
    /// 1 = same name, not ours, outside the watch selector
    pub(crate) stranger: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub(crate) struct M {
    // truth in the cluster
    pub(crate) pod: Pod,
    pub(crate) nuid: u8,
    /// a pod of ours was Ready at some instant
    pub(crate) was: u8,
    /// POSTs of this life, given up by the client, that may still land
    pub(crate) late: u8,
    /// the same from earlier lives
    pub(crate) old: u8,
    /// UID of a DELETE on its way
    pub(crate) del: u8,
    /// unsettled since a start: no durable UID then, or one committed less than the time-out before
    pub(crate) us: u8,
    // volatile
    /// pod cache
    pub(crate) c: Pod,
    pub(crate) snap: Pod,
    /// 0 idle, 1 POST in flight, 2 exists by 201, 3 ambiguous, 4 exists by 409+GET, 5 got 409, 6 absent after 201
    pub(crate) act: u8,
    /// UID that act 2/4 speaks of
    pub(crate) au: u8,
    /// known before the LIST began
    pub(crate) kpre: u8,
    // durable
    pub(crate) uid: u8,
    pub(crate) ready: u8,
    /// 0, 1 fail, 2 lost
    pub(crate) verdict: u8,
    pub(crate) tomb: u8,
    pub(crate) gone: u8,
    pub(crate) adopted: u8,
    // HostFactory's knowledge
    /// UID it was told `succeed` for
    pub(crate) told: u8,
    pub(crate) hfret: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub(crate) struct R {
    pub(crate) mask: u8,
    pub(crate) fail: u8,
    pub(crate) term: u8,
    pub(crate) acked: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct S {
    pub(crate) m: [M; 2],
    pub(crate) ret: [R; 2],
    pub(crate) q: [(u8, Pod); 4],
    pub(crate) ql: u8,
    pub(crate) up: u8,
    /// stream: 0 none, 1 LIST begun, 2 snapshot taken, 3 watching
    pub(crate) w: u8,
    pub(crate) synced: u8,
    /// the server's request time-out has passed since this life began
    pub(crate) settled: u8,
    pub(crate) life: u8,
    pub(crate) polledv: u8,
    /// 0 normal, 1 empty journal not synced, 2 blocked until rebuild
    pub(crate) mode: u8,
    pub(crate) jreq: u8,
    pub(crate) jpol: u8,
    /// 0, else 1 + mask of succeed
    pub(crate) jterm: u8,
    /// 0 unsent, 1 outstanding, 2 acked, 3 killed
    pub(crate) hreq: u8,
    pub(crate) hknow: u8,
    pub(crate) hterm: u8,
    pub(crate) forbid: u8,
    /// fault budgets, see `B_*`
    pub(crate) b: [u8; 10],
    pub(crate) bad: u8,
}

pub(crate) const B_CRASH: usize = 0;
pub(crate) const B_RELIST: usize = 1;
pub(crate) const B_OUT: usize = 2;
pub(crate) const B_LOSS: usize = 3;
pub(crate) const B_FLAP: usize = 4;
pub(crate) const B_KILL: usize = 5;
pub(crate) const B_WIPE: usize = 6;
pub(crate) const B_FORBID: usize = 7;
pub(crate) const B_RDL: usize = 8;
pub(crate) const B_AMBIG: usize = 9;

/// What must never be; a state's `bad` is an index.
pub(crate) const BAD: [&str; 13] = [
    "",
    "I2 POST for a machine with durable UID, verdict or tombstone",
    "I4 complete, but a machine never was Ready",
    "I4 a terminal answer changed",
    "I4 deleted although told succeed, not returned, not lost",
    "I5 getReturnRequests names a living machine",
    "I6 return finished while a pod of ours lives",
    "I7 a stranger's pod was deleted",
    "I7 deadline verdict while blind, pod is Ready",
    "I4 a terminal answer changed after the journal was deleted",
    "I4 adopted pod deleted although told succeed",
    "I7 lost/fail verdict for a healthy living pod",
    "I5 returned with fail, alive, not marked, named",
];

type Goal = (&'static str, fn(&S, &Cfg) -> bool);

/// What must stay reachable from every state.
pub(crate) const GOALS: [Goal; 4] = [
    ("I1 request without reachable terminal answer", |s, _| s.hterm != 0 || matches!(s.hreq, 0 | 3) || s.jreq == 0),
    ("I1 return without reachable terminal answer", |s, _| s.ret.iter().all(|r| r.acked == 0 || r.term != 0)),
    ("I8 HostFactory never learns that a returned machine is gone", |s, c| {
        (0..c.n).all(|i| {
            let m = &s.m[i];
            let ids_lost = s.b[B_WIPE] < c.b[B_WIPE]; // return ids: stated loss
            let ended = s.ret.iter().any(|r| r.mask >> i & 1 == 1 && r.term != 0);
            s.jreq == 0 || m.told == 0 || m.hfret == 0 || ids_lost || ended
        })
    }),
    ("I3 pod of ours remains after everything was returned", |s, c| {
        let over = |m: &M| m.tomb == 1 || m.verdict == 1 && m.adopted == 0;
        !s.m[..c.n].iter().all(|m| over(m) || s.hreq == 3 || s.jreq == 0)
            || s.m.iter().all(|m| m.pod.uid == 0 || m.pod.stranger == 1)
    }),
];

impl S {
    pub(crate) fn new(c: &Cfg) -> Self {
        let mut s = Self { up: 1, w: 3, synced: 1, settled: 1, b: c.b, ..Self::default() };
        for m in &mut s.m[..c.n] {
            m.nuid = 1;
        }
        if c.stranger {
            s.m[0].pod = Pod { uid: 1, ph: 1, term: 0, stranger: 1 };
            s.m[0].nuid = 2;
        }
        s
    }

    /// The stream takes the pod as it is now; no when it has no room.
    pub(super) fn emit(&mut self, i: usize) -> bool {
        if self.w < 2 || self.m[i].pod.stranger == 1 {
            return true;
        }
        if self.ql == 4 {
            return false;
        }
        self.q[usize::from(self.ql)] = (small(i), self.m[i].pod);
        self.ql += 1;
        true
    }

    pub(super) fn drop_stream(&mut self) {
        self.w = 0;
        self.ql = 0;
        self.q = Default::default();
        for m in &mut self.m {
            m.snap = Pod::default();
            m.kpre = 0;
        }
    }

    /// Whether a pod came into being; `None` when the stream has no room for it.
    pub(super) fn create(&mut self, i: usize) -> Option<bool> {
        let m = &mut self.m[i];
        if m.pod.uid != 0 {
            return Some(false);
        }
        m.pod = Pod { uid: m.nuid, ..Pod::default() };
        m.nuid += 1;
        self.emit(i).then_some(true)
    }

    /// The view may be judged by.
    pub(crate) fn fresh(&self) -> bool {
        self.synced == 1 && self.w == 3
    }

    /// The daemon knows the request.
    pub(super) fn live(&self) -> bool {
        self.jreq != 0
    }

    /// Machines are interchangeable: the smaller one first.
    pub(super) fn canonical(mut self, c: &Cfg) -> Self {
        for k in usize::from(self.ql)..4 {
            self.q[k] = Default::default();
        }
        if c.interchange && c.n == 2 && self.m[1] < self.m[0] {
            self.m.swap(0, 1);
            let sw = |x: u8| (x & 1) << 1 | (x >> 1 & 1);
            for r in &mut self.ret {
                r.mask = sw(r.mask);
                r.fail = sw(r.fail);
                if r.term > 0 {
                    r.term = 1 + sw(r.term - 1);
                }
            }
            for told in [&mut self.jterm, &mut self.hterm] {
                if *told > 0 && *told < 9 {
                    *told = 1 + sw(*told - 1);
                }
            }
            for k in 0..usize::from(self.ql) {
                self.q[k].0 ^= 1;
            }
        }
        self
    }
}

/// Facts about machine i, from the cache into the journal (one committed event).
pub(super) fn commit(s: &mut S, c: &Cfg, i: usize) {
    let synced = s.fresh() || !c.on(Rule::Sync);
    let m = &mut s.m[i];
    if s.jreq == 0 || m.gone == 1 {
        return;
    }
    let verdict = if m.ready == 1 { 2 } else { 1 };
    if m.c.uid != 0 {
        if m.uid == 0 {
            m.uid = m.c.uid;
        }
        if m.c.uid != m.uid {
            return;
        }
        if m.c.ph == 1 && m.c.term == 0 && m.verdict == 0 && m.tomb == 0 {
            m.ready = 1;
        }
        let deleted = m.c.term == 2 || c.as_hfd && m.c.term == 1;
        let dying = m.c.ph == 3 || deleted && m.ready == 0;
        if dying && m.verdict == 0 && m.tomb == 0 && synced {
            m.verdict = if m.ready == 1 { 2 } else { 1 };
        }
    } else if m.verdict == 0 && m.tomb == 0 && synced && (m.uid != 0 || m.act == 6) {
        m.verdict = verdict;
        let known = if m.uid != 0 { m.uid } else { m.au };
        if m.pod.uid != 0 && m.pod.uid == known && m.pod.ph < 3 && m.pod.term == 0 && m.pod.stranger == 0 {
            s.bad = 11;
        }
    }
}

/// What a machine counts as in an answer: 0 executing, 1 succeed, 2 fail.
pub(super) fn result(m: &M, c: &Cfg) -> u8 {
    let ready = m.ready == 1 || !c.on(Rule::Publish) && m.c.ph == 1 && m.c.uid != 0;
    match (m.verdict, ready) {
        (0, true) => 1,
        (0, false) if m.tomb == 0 => 0,
        _ => 2,
    }
}

/// The terminal answer that the machines' results make, if none executes: 1 + mask of succeed; and that mask so far.
pub(super) fn results(s: &S, c: &Cfg) -> (Option<u8>, u8) {
    let (mut executing, mut succeeded) = (false, 0);
    for i in 0..c.n {
        match result(&s.m[i], c) {
            0 => executing = true,
            1 => succeeded |= 1 << i,
            _ => {}
        }
    }
    ((!executing).then_some(1 + succeeded), succeeded)
}

/// Indexes of machines and returns.
pub(crate) fn small(i: usize) -> u8 {
    u8::try_from(i).expect("machines and returns are few")
}
