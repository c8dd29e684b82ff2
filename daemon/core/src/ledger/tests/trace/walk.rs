//! The walk: what HostFactory does, time, and how each step is told to the oracle.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::{
    super::{
        model::{
            rules::Cfg,
            state::{B_KILL, B_RDL, NOBODY, S, small},
        },
        random::Dice,
        world::{World, machine},
    },
    oracle::{Beside, Oracle},
};
use crate::{
    answer,
    id::{MachineName, PodUid, RequestId},
    ledger::{Call, Mode},
    machine::VerdictKind,
    pod::PodRecord,
    returns::ReturnEnd,
};
use proto_schema::hostfactory::{MachineResult, RequestState};

/// A call under way, until the server gives it up (wall time).
pub(super) struct Sent<T> {
    pub(super) until: i64,
    pub(super) what: T,
}

pub(super) struct Walk {
    pub(super) world: World,
    pub(super) dice: Dice,
    pub(super) oracle: Oracle,
    /// Which faults there are.
    pub(super) faults: [u8; 10],
    pub(super) strangers: bool,
    max_returns: usize,
    /// What HostFactory knows: 0 unsent, 1 outstanding, 2 has the id, 3 killed.
    asked: u8,
    pub(super) name: Option<MachineName>,
    /// It has seen the machine listed in an answer.
    knows: bool,
    told: u8,
    pub(super) returns: Vec<(RequestId, bool)>,
    // under way
    pub(super) post: Option<Sent<Call>>,
    pub(super) late: Vec<i64>,
    pub(super) old: Vec<i64>,
    /// The call is of this life, or of an earlier one (`None`).
    pub(super) delete: Option<Sent<(PodUid, Option<Call>)>>,
    // the stream, as the model numbers it
    pub(super) stream: u8,
    pub(super) read: Option<PodRecord>,
    pub(super) queue: VecDeque<Option<PodRecord>>,
    pub(super) up: bool,
    settled: bool,
    /// A stranger's pod has the name.
    pub(super) stranger: bool,
    pub(super) uids: HashMap<PodUid, u8>,
    pub(super) next_uid: u8,
}

impl Walk {
    pub(super) fn new(mut cfg: Cfg, seed: u64, scenario: &str) -> Self {
        let faults = cfg.b;
        // Not spent: the budget says only whether there is such a fault at all.
        cfg.b = cfg.b.map(|budget| if budget > 0 { 200 } else { 0 });
        cfg.b[B_RDL] = 200;
        let test = scenario.replace('-', "_");
        let title = format!("HFD_TRACE_SEED={seed} cargo test -p hfd-core trace::{test}");
        let mut world = World::new();
        // The model knows no namespace.
        world.namespace_at_once = true;
        Self {
            world,
            dice: Dice::new(seed),
            faults,
            strangers: cfg.stranger,
            max_returns: cfg.rets,
            stranger: cfg.stranger,
            next_uid: if cfg.stranger { 2 } else { 1 },
            oracle: Oracle::new(cfg, title),
            asked: 0,
            name: None,
            knows: false,
            told: 0,
            returns: Vec::new(),
            post: None,
            late: Vec::new(),
            old: Vec::new(),
            delete: None,
            stream: 3,
            read: None,
            queue: VecDeque::new(),
            up: true,
            settled: true,
            uids: HashMap::new(),
        }
    }

    /// One step; `false` = the model's bounds are reached.
    pub(super) fn step(&mut self) -> bool {
        match self.dice.roll(26) {
            0..=2 => self.ask(),
            3 | 4 => self.poll(),
            5 => self.give_back(),
            6 => self.poll_return(),
            7 => self.ask_for_returns(),
            8..=10 => return self.start_call(),
            11..=13 => self.post_ends(),
            14 => self.late_post(),
            15 => self.delete_ends(),
            16 | 17 => self.pod_lives(),
            18..=20 => self.stream_moves(),
            21 => self.fault(),
            22 => self.rebuild(),
            23 => self.strangers_act(),
            _ => self.time_passes(),
        }
        true
    }

    pub(super) fn has(&self, fault: usize) -> bool {
        self.faults[fault] > 0
    }

    /// The daemon knows the request.
    pub(super) fn live(&self) -> bool {
        self.name.is_some_and(|name| self.world.ledger.committed_request(name.request).is_some())
    }

    /// A step without a subject.
    pub(super) fn say(&mut self, name: &'static str) {
        self.oracle.step((name, small(NOBODY)));
    }

    /// A step of the machine.
    pub(super) fn say_of_machine(&mut self, name: &'static str) {
        self.oracle.step((name, 0));
    }

    /// What is durable and under way now, against the model's states.
    pub(super) fn compare(&mut self, beside: Beside) {
        self.world.commit();
        let seen = Seen::of(self);
        let what = format!("{seen:?}");
        self.oracle.keep(beside, &what, |s| seen.agrees(s));
    }

    // --- HostFactory

    fn ask(&mut self) {
        match self.asked {
            0 => {
                self.asked = 1;
                self.say("HF: requestMachines");
            }
            1 if self.name.is_none() => {
                if let Ok(id) = self.world.try_request(1, None, None) {
                    self.name = Some(machine(id, 0));
                    if self.stranger {
                        self.world.strangers.insert(machine(id, 0).to_string());
                    }
                    self.say("hfd: commits the request");
                    self.compare(Beside::Nothing);
                }
            }
            1 if self.has(B_KILL) && self.dice.roll(3) == 0 => {
                self.asked = 3;
                self.say("HF: script killed, reply lost for good");
            }
            1 if self.live() => {
                self.asked = 2;
                self.say("hfd: reply with requestId arrives");
            }
            _ => {}
        }
    }

    fn poll(&mut self) {
        let Some(name) = self.name.filter(|_| self.asked == 2) else { return };
        let mut told = 0;
        if let Some(request) = self.world.ledger.committed_request(name.request).cloned() {
            let answer = answer::machine_request(&request, self.world.now.wall);
            if answer.status != RequestState::Running {
                told = 1 + u8::from(answer.machines[0].result == MachineResult::Succeed);
            }
            self.world.ledger.polled(&[name.request]);
            self.knows = true;
        } else if self.world.ledger.mode() == Mode::Serving {
            told = 9;
        }
        if self.told == 0 {
            self.told = told;
        }
        self.oracle.step(("HF: getRequestStatus is answered", told));
        self.compare(Beside::Nothing);
    }

    fn give_back(&mut self) {
        let Some(name) = self.name.filter(|_| self.knows && self.live()) else { return };
        if self.returns.len() >= self.max_returns {
            return;
        }
        let lost = self.returns.is_empty() && self.has(B_KILL) && self.dice.roll(2) == 0;
        let id = self.world.try_return(&[name.to_string()]);
        self.returns.push((id, !lost));
        let step = match lost {
            false => "HF: requestReturnMachines, committed, answered (mask)",
            true => "HF: requestReturnMachines, committed, reply lost (mask)",
        };
        self.oracle.step((step, 1));
        self.compare(Beside::Nothing);
    }

    /// HostFactory asks how its returns stand; the end of one is told.
    fn poll_return(&mut self) {
        for k in 0..self.returns.len() {
            let (id, answered) = self.returns[k];
            let ended = self.world.return_of(id).is_some_and(|request| request.ended_at.is_some());
            if !answered || !ended {
                continue;
            }
            self.world.step(|ledger, ctx| ledger.told(ctx, &[id]));
            self.compare(Beside::Nothing);
            let failed = u8::from(self.has_failed(id));
            self.oracle.keep(Beside::Nothing, "the return's end is told", |s| s.ret[k].term == 1 + failed);
        }
    }

    pub(super) fn has_failed(&self, id: RequestId) -> bool {
        let end = self.world.return_of(id).and_then(|request| request.entries[0].end.as_ref());
        matches!(end, Some(ReturnEnd::Failed(_)))
    }

    fn ask_for_returns(&mut self) {
        let Some(name) = self.name.filter(|_| self.knows && self.live()) else { return };
        if self.world.ledger.is_sighted() && self.world.listed(name).is_some() {
            self.oracle.listed();
        }
    }

    // --- time

    fn time_passes(&mut self) {
        const SPANS: [u64; 9] = [1, 6, 20, 59, 61, 301, 601, 1801, 3601];
        let seconds = self.dice.pick(&SPANS).unwrap_or(1);
        let now = self.world.now.wall + i64::try_from(seconds).unwrap_or(0);
        if self.post.as_ref().is_some_and(|post| post.until <= now) {
            return self.post_ends(); // the client does not wait that long
        }
        self.world.now.mono += Duration::from_secs(seconds);
        self.world.now.wall = now;
        self.expire();
        if !self.settled && self.world.now.mono >= self.world.policy.server_request_timeout {
            self.settled = true;
            self.oracle.settled();
        }
        // Others are polled, unless this request would be, too, and is not.
        let waits = self.asked == 1 || self.asked == 2 && self.told == 0;
        let polled = (!waits).then_some(self.world.now.mono);
        self.world.step(|ledger, ctx| ledger.tick(ctx, polled));
        self.compare(Beside::Time);
        self.relist_if_wanted();
    }

    /// What the server gives up, it gives up before hfd may rely on that.
    fn expire(&mut self) {
        let now = self.world.now.wall;
        while let Some(at) = self.late.iter().position(|until| *until <= now) {
            self.late.swap_remove(at);
            self.say_of_machine("api: late POST never lands");
            self.keep_under_way();
        }
        while let Some(at) = self.old.iter().position(|until| *until <= now) {
            self.old.swap_remove(at);
            self.say_of_machine("api: late POST never lands");
            self.keep_under_way();
        }
        if self.delete.as_ref().is_some_and(|delete| delete.until <= now) {
            self.delete_is_lost();
        }
    }

    pub(super) fn started(&mut self) {
        self.settled = false;
    }

    /// What is under way, against the model's states.
    pub(super) fn keep_under_way(&mut self) {
        let seen = Seen::of(self);
        self.oracle.keep(Beside::Nothing, "", |s| seen.under_way_agrees(s));
    }
}

/// What is compared.
#[derive(Debug)]
struct Seen {
    late: u8,
    old: u8,
    delete: u8,
    pod: u8,
    durable: Option<Durable>,
}

#[derive(Debug)]
struct Durable {
    uid: u8,
    ready: bool,
    verdict: u8,
    tomb: bool,
    gone: bool,
    polled: Option<bool>,
    /// 0, else 1 + mask of succeed
    terminal: u8,
    /// Ended, failed.
    returns: Vec<(bool, bool)>,
}

impl Seen {
    fn of(walk: &Walk) -> Self {
        let number = |uid: PodUid| walk.uids.get(&uid).copied().unwrap_or(0);
        let pod = walk.name.and_then(|name| walk.world.cluster.get(&name));
        Self {
            late: small(walk.late.len()),
            old: small(walk.old.len()),
            delete: walk.delete.as_ref().map_or(0, |delete| number(delete.what.0)),
            pod: pod.map_or(0, |pod| number(pod.uid)),
            durable: walk.name.filter(|_| walk.live()).map(|name| Durable::of(walk, name)),
        }
    }

    fn under_way_agrees(&self, s: &S) -> bool {
        let m = &s.m[0];
        let pod = if m.pod.stranger == 1 { 0 } else { m.pod.uid };
        (m.late, m.old, m.del, pod) == (self.late, self.old, self.delete, self.pod)
    }

    fn agrees(&self, s: &S) -> bool {
        self.under_way_agrees(s)
            && match &self.durable {
                None => s.jreq == 0,
                Some(durable) => s.jreq != 0 && durable.agrees(s),
            }
    }
}

impl Durable {
    fn of(walk: &Walk, name: MachineName) -> Self {
        let request = walk.world.request_of(name.request);
        let machine = &request.machines[0];
        let ended = |id| walk.world.return_of(id).is_some_and(|request| request.ended_at.is_some());
        Self {
            uid: machine.uid.map_or(0, |uid| walk.uids[&uid]),
            ready: machine.was_ready(),
            verdict: match machine.verdict_kind() {
                None => 0,
                Some(VerdictKind::Failed | VerdictKind::Overdue) => 1,
                Some(VerdictKind::Lost) => 2,
            },
            tomb: machine.is_returned(),
            gone: machine.gone_at.is_some(),
            polled: (request.origin == crate::request::Origin::Accepted).then_some(request.polled),
            terminal: request.terminal.as_ref().map_or(0, |end| 1 + u8::from(end.has_succeeded(0))),
            returns: walk.returns.iter().map(|(id, _)| (ended(*id), walk.has_failed(*id))).collect(),
        }
    }

    fn agrees(&self, s: &S) -> bool {
        let m = &s.m[0];
        let uid = m.uid == self.uid || self.uid == 0 && (self.tomb || self.verdict != 0);
        let verdict = m.verdict == self.verdict || self.tomb && self.verdict == 0;
        let returns = self.returns.iter().zip(&s.ret).all(|((ended, failed), r)| match (r.term, *ended) {
            (0, false) => r.fail == 0,
            (0, true) => !failed || r.fail == 1 || m.gone == 1,
            (term, ended) => ended && term == 1 + u8::from(*failed),
        });
        uid && verdict
            && (m.ready == 1, m.tomb == 1, m.gone == 1) == (self.ready, self.tomb, self.gone)
            && self.polled.is_none_or(|polled| polled == (s.jpol == 1))
            && s.jterm == self.terminal
            && returns
    }
}
