//! Random lives of a small world against a handful of plain invariants. A failing seed prints itself; run it alone with
//! `only(seed)`.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{World, machine};
use crate::{
    answer,
    doing::Doing,
    id::{MachineName, PodUid, RequestId},
    ledger::{Action, Call, CallEnd, NewReturn, ReturnedMachine},
    outcome::{CreateOutcome, DeleteOutcome, LookOutcome, NotDone, RefusalKind},
    pod::{Deletion, Phase, PodRecord},
    queue::Target,
    request::Caller,
    returns::ReturnEnd,
};

const SEEDS: u64 = 2000;
const STEPS: usize = 100;
const MACHINES_MAX: u32 = 12;
/// The server gives a POST up after this long.
const SERVER_TIME_OUT: i64 = 60;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ z >> 31) % sides
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[usize::try_from(self.roll(from.len() as u64)).unwrap_or(0)])
    }
}

struct Life {
    world: World,
    dice: Dice,
    /// Calls sent and unanswered, with the wall time of sending.
    sent: Vec<(i64, Call)>,
    /// POSTs that nobody waits for and that may still land, until then.
    late: Vec<(i64, MachineName)>,
    requests: Vec<RequestId>,
    returns: Vec<RequestId>,
    machines: u32,
    was_ready: BTreeSet<MachineName>,
    told_succeed: BTreeMap<MachineName, String>,
    told_terminal: BTreeMap<RequestId, String>,
    fresh: bool,
    /// What the LIST under way has read.
    listing: Option<BTreeMap<MachineName, PodRecord>>,
}

impl Life {
    fn new(seed: u64) -> Self {
        Self {
            world: World::new(),
            dice: Dice::new(seed),
            sent: Vec::new(),
            late: Vec::new(),
            requests: Vec::new(),
            returns: Vec::new(),
            machines: 0,
            was_ready: BTreeSet::new(),
            told_succeed: BTreeMap::new(),
            told_terminal: BTreeMap::new(),
            fresh: true,
            listing: None,
        }
    }

    fn step(&mut self) {
        match self.dice.roll(30) {
            0 | 1 => self.request(),
            2..=5 => self.world.commit(),
            6..=9 => self.send(),
            10..=13 => self.answer_a_call(),
            14 => self.land_late(),
            15..=17 => self.deliver(),
            18..=21 => self.change_a_pod(),
            22 => self.return_some(),
            23 | 24 => {
                let seconds = self.dice.roll(40);
                self.world.pass_blindly(seconds);
            }
            25 => {
                self.fresh = !self.fresh;
                let fresh = self.fresh;
                self.world.step(|ledger, ctx| ledger.freshness(ctx, fresh));
            }
            26 => match self.listing.take() {
                Some(read) => self.world.list_ends_with(read),
                None => {
                    self.world.list_begins();
                    self.listing = Some(self.world.cluster.clone());
                }
            },
            27 => {
                if self.listing.is_none() {
                    self.world.answer_needs();
                }
            }
            28 if self.dice.roll(4) == 0 => self.crash(),
            28 => self.world.disk_full = self.dice.roll(3) == 0,
            _ => self.poll(),
        }
        if self.world.ledger.is_disk_full() && self.dice.roll(4) == 0 {
            self.world.step(|ledger, ctx| ledger.probe_disk(ctx));
        }
    }

    fn request(&mut self) {
        let count = u32::try_from(1 + self.dice.roll(4)).unwrap_or(1);
        if self.machines + count <= MACHINES_MAX
            && let Ok(id) = self.world.try_request(count, Some(MACHINES_MAX - 2), None)
        {
            self.machines += count;
            self.requests.push(id);
        }
    }

    fn send(&mut self) {
        let Some(call) = self.world.step(|ledger, ctx| ledger.next_call(ctx)) else { return };
        if let (Target::Machine(name), Action::Create(_)) = (&call.target, &call.action) {
            let machine = &self.world.request_of(name.request).machines[name.ordinal as usize];
            let decided = machine.uid.is_some() || machine.verdict.is_some() || machine.returned_by.is_some();
            assert!(!decided, "a POST for {name}, of which is durable: {machine:?}");
        }
        self.sent.push((self.world.now.wall, call));
    }

    fn answer_a_call(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let place = usize::try_from(self.dice.roll(self.sent.len() as u64)).unwrap_or(0);
        let (at, call) = self.sent.swap_remove(place);
        let Target::Machine(name) = call.target else { panic!("no other names are returned here") };
        let not_done = NotDone { why: "503".into(), retry_after: None, throttled: false };
        let luck = self.dice.roll(10);
        let end = match call.action {
            Action::Create(_) => CallEnd::Create(self.create(name, at, luck, not_done)),
            Action::Delete { .. } if luck == 0 => CallEnd::Delete(DeleteOutcome::NotDone(not_done)),
            Action::Delete { uid, .. } => {
                let outcome = self.delete(name, uid);
                CallEnd::Delete(if luck == 1 { DeleteOutcome::Ambiguous("reset".into()) } else { outcome })
            }
            Action::Look if luck == 0 => CallEnd::Look(LookOutcome::NotDone(not_done)),
            Action::Look => CallEnd::Look(self.world.look(name)),
        };
        self.world.step(|ledger, ctx| ledger.call_ended(ctx, &call.target, &call.slot, end));
    }

    fn create(&mut self, name: MachineName, at: i64, luck: u64, not_done: NotDone) -> CreateOutcome {
        let alive = self.world.now.wall < at + SERVER_TIME_OUT;
        match luck {
            0 => CreateOutcome::NotDone(not_done),
            1 => CreateOutcome::Refused { kind: RefusalKind::Quota, message: "quota".into() },
            2 => CreateOutcome::Unauthorized,
            3 | 4 => {
                self.late.push((at + SERVER_TIME_OUT, name));
                CreateOutcome::Ambiguous("time-out".into())
            }
            _ if !alive => CreateOutcome::Ambiguous("time-out".into()),
            _ if self.world.cluster.contains_key(&name) => CreateOutcome::AlreadyExists,
            5 => {
                self.world.land(name);
                CreateOutcome::Ambiguous("reset".into())
            }
            _ => CreateOutcome::Created(self.world.land(name)),
        }
    }

    fn delete(&mut self, name: MachineName, uid: PodUid) -> DeleteOutcome {
        let Some(pod) = self.world.cluster.get(&name).filter(|pod| pod.uid == uid) else { return DeleteOutcome::Gone };
        let living = !pod.has_ended() && pod.deletion.is_none();
        let machine = &self.world.request_of(name.request).machines[name.ordinal as usize];
        let told = self.told_succeed.get(&name).is_some_and(|told| *told == uid.to_string());
        assert!(!(living && told && !machine.is_returned()), "{name} was told succeed, lives, and is deleted");
        if pod.phase == Phase::Pending {
            self.world.cluster.remove(&name);
        } else {
            let ends_at = self.world.now.wall + 30;
            self.world.cluster.entry(name).and_modify(|pod| pod.deletion = Some(Deletion { ends_at }));
        }
        DeleteOutcome::Accepted
    }

    fn land_late(&mut self) {
        let now = self.world.now.wall;
        self.late.retain(|(until, _)| *until > now);
        if let Some((_, name)) = self.late.pop()
            && !self.world.cluster.contains_key(&name)
        {
            self.world.land(name);
        }
    }

    /// All of the news, or that of one pod.
    fn deliver(&mut self) {
        if self.listing.is_some() {
            return;
        }
        if self.dice.roll(2) == 0 {
            self.world.deliver();
        } else if let Some(name) = self.any_pod() {
            self.world.deliver_one(name);
        }
    }

    fn any_pod(&mut self) -> Option<MachineName> {
        let names: Vec<_> = self.world.cluster.keys().copied().collect();
        self.dice.pick(&names)
    }

    fn change_a_pod(&mut self) {
        let Some(name) = self.any_pod() else { return };
        let luck = self.dice.roll(10);
        let ends_at = self.world.now.wall + 30;
        let Some(pod) = self.world.cluster.get_mut(&name) else { return };
        match luck {
            _ if pod.deletion.is_some() => drop(self.world.cluster.remove(&name)),
            0..=5 if !pod.has_ended() => {
                (pod.ready, pod.phase, pod.ip) = (true, Phase::Running, Some([10, 0, 0, 1].into()));
                self.was_ready.insert(name);
            }
            6 => pod.ready = false,
            7 => (pod.ready, pod.phase) = (false, Phase::Failed),
            8 => pod.deletion = Some(Deletion { ends_at }),
            9 => drop(self.world.cluster.remove(&name)),
            _ => {}
        }
    }

    fn return_some(&mut self) {
        let durable: Vec<_> = self.requests.iter().copied().filter(|id| self.world.knows(*id)).collect();
        let Some(request) = self.dice.pick(&durable) else { return };
        let count = self.world.request_of(request).count();
        let machines = (0..count).filter(|_| self.dice.roll(2) == 0).map(|ordinal| machine(request, ordinal));
        let machines: Vec<_> =
            machines.map(|name| ReturnedMachine { name: name.to_string().into(), machine_id: None }).collect();
        if machines.is_empty() {
            return;
        }
        let new = NewReturn { id: self.world.fresh_id(), machines, key: None, caller: Caller::default() };
        let id = self.world.step(|ledger, ctx| ledger.return_machines(ctx, new)).expect("an id is always answered");
        self.returns.push(id);
    }

    fn crash(&mut self) {
        let now = self.world.now.wall;
        for (at, call) in self.sent.drain(..) {
            if let (Target::Machine(name), Action::Create(_)) = (call.target, call.action) {
                self.late.push((at.min(now) + SERVER_TIME_OUT, name));
            }
        }
        let down = i64::try_from(self.dice.roll(30)).unwrap_or(1);
        self.world.crash(down);
        (self.fresh, self.listing) = (false, None);
        self.forget_undone();
    }

    /// What a crash or a full disk undid was never answered.
    fn forget_undone(&mut self) {
        self.requests.retain(|id| self.world.knows(*id));
        self.returns.retain(|id| self.world.return_of(*id).is_some());
    }

    fn poll(&mut self) {
        let known: Vec<_> = self.requests.iter().copied().filter(|id| self.world.knows(*id)).collect();
        self.world.ledger.polled(&known);
        for id in known {
            for told in answer::machine_request(self.world.request_of(id), self.world.now.wall).machines {
                if told.result == proto_schema::hostfactory::MachineResult::Succeed
                    && let Ok(name) = told.name.parse()
                {
                    self.told_succeed.insert(name, told.machine_id.to_string());
                }
            }
        }
    }

    fn check(&mut self) {
        for id in self.requests.clone() {
            if self.world.knows(id) {
                self.check_request(id);
            }
        }
        for id in &self.returns {
            let ended = self.world.return_of(*id).into_iter().flat_map(|request| &request.entries);
            for entry in ended.filter(|entry| entry.end == Some(ReturnEnd::Gone)) {
                let name: MachineName = entry.name.parse().expect("only machines are returned");
                assert!(!self.world.cluster.contains_key(&name), "{name} is told gone and has a pod");
            }
        }
        if self.world.ledger.is_sighted() {
            for (name, risk) in &self.world.ledger.at_risk {
                let machine = &self.world.request_of(name.request).machines[name.ordinal as usize];
                let pod = self.world.cluster.get(name).filter(|pod| Some(pod.uid) == machine.uid);
                let living = pod.is_some_and(|pod| !pod.has_ended() && pod.deletion.is_none());
                assert!(!living, "{name} lives and is listed as {risk:?}");
            }
        }
        self.check_counters();
    }

    fn check_request(&mut self, id: RequestId) {
        let request = self.world.request_of(id);
        let Some(terminal) = &request.terminal else { return };
        for ordinal in 0..request.count() {
            let name = machine(id, ordinal);
            let lied = terminal.has_succeeded(ordinal) && !self.was_ready.contains(&name);
            assert!(!lied, "{name} is told succeed and never was ready");
        }
        let told = format!("{:?}", terminal.succeeded);
        let before = self.told_terminal.entry(id).or_insert_with(|| told.clone());
        assert_eq!(*before, told, "the terminal answer of {id} changed");
    }

    fn check_counters(&self) {
        let ledger = &self.world.ledger;
        let machines = || ledger.requests.iter().flat_map(|(_, request)| &request.machines);
        let template = "T".parse().expect("a template id");
        let in_use = machines().filter(|machine| machine.is_in_use()).count();
        assert_eq!(ledger.in_use(&template) as usize, in_use, "in use");
        assert_eq!(ledger.derived.live, machines().filter(|machine| machine.is_live()).count(), "live");
        let (.., in_flight) = ledger.queues.depths();
        assert_eq!(in_flight, self.sent.len(), "slots");
        let going = ledger.at_risk.values().filter(|risk| matches!(risk, crate::ledger::AtRisk::EndsAt(_))).count();
        assert_eq!(ledger.going, going, "going");
    }

    /// All faults end: everything is decided, and nothing is left over.
    fn heal(&mut self) {
        self.world.disk_full = false;
        self.late.clear();
        while !self.sent.is_empty() {
            self.answer_a_call();
        }
        self.late.clear();
        self.world.step(|ledger, ctx| ledger.probe_disk(ctx));
        self.world.cluster.retain(|_, pod| pod.deletion.is_none());
        self.world.sync();
        self.forget_undone();
        for seconds in [61, 61, 61, 301, 61, 601, 61, 1801, 61] {
            self.world.pass(seconds);
        }
        for id in &self.requests {
            assert!(self.world.request_of(*id).terminal.is_some(), "{id} never ends: {:?}", self.world.request_of(*id));
        }
        for id in &self.returns {
            let request = self.world.return_of(*id).expect("it was durable or the daemon lived");
            assert!(request.ended_at.is_some(), "return {id} never ends: {request:?}");
        }
        for (name, pod) in &self.world.cluster {
            let machine = &self.world.request_of(name.request).machines[name.ordinal as usize];
            assert!(machine.is_live() && machine.uid == Some(pod.uid), "{name} is left over: {machine:?}");
        }
        let ledger = &self.world.ledger;
        assert_eq!(ledger.queues.depths(), (0, 0, 0));
        let busy: Vec<&Doing> = ledger.doing.values().collect();
        assert!(busy.is_empty() && ledger.derived.covering.is_empty(), "{busy:?}");
    }
}

fn only(seed: u64) {
    let mut life = Life::new(seed);
    for _ in 0..STEPS {
        life.step();
        life.check();
    }
    life.heal();
    life.check();
}

#[test]
fn random_lives_keep_the_promises() {
    for seed in 0..SEEDS {
        if std::panic::catch_unwind(|| only(seed)).is_err() {
            panic!("seed {seed} fails");
        }
    }
}
