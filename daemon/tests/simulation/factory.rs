//! HostFactory and hfctl: callers with keys, some of whom die, repeat themselves, or ask for nonsense.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hfd_core::{
    answer,
    id::{MachineName, RequestId},
    ledger::{Denied, NewRequest, NewReturn, ReturnedMachine, TemplateTerms},
    request::{Caller, Key},
    view::RebuildFacts,
};

use crate::{
    cluster::Owner,
    daemon::Waiting,
    profile::Fault,
    world::{Event, World},
};

/// Templates: id, maxNumber, deadline in seconds.
pub(crate) const TEMPLATES: [(&str, Option<u32>, u64); 2] = [("limited", Some(9), 300), ("free", None, 120)];
/// Machines that HostFactory wants to have at most.
const WANTED: usize = 24;

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Body {
    Request { template: usize, count: u32 },
    Return(Vec<(String, Option<String>)>),
}

/// A call without a reply yet.
#[derive(Debug, Clone)]
struct Open {
    key: String,
    body: Body,
    /// The caller is killed before it reads the reply.
    dies: bool,
    /// The key belongs to another body: it must be refused.
    misused: bool,
    /// The daemon has it.
    received: bool,
    tries: u32,
}

/// The callers.
#[derive(Debug, Default)]
pub(crate) struct Factory {
    numbers: u64,
    open: BTreeMap<u64, Open>,
    /// Calls that were answered, to be repeated.
    answered: Vec<(String, Body)>,
    /// Known requests, and whether their end was told.
    pub(crate) requests: BTreeMap<RequestId, bool>,
    pub(crate) returns: BTreeMap<RequestId, bool>,
    /// Machines that were told `succeed`, and are not returned.
    pub(crate) held: BTreeSet<String>,
    pub(crate) returned: Vec<String>,
}

impl Factory {
    pub(crate) fn fresh_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// No call is open and every return has ended.
    pub(crate) fn is_quiet(&self) -> bool {
        self.open.is_empty() && self.returns.values().all(|ended| *ended)
    }

    /// The state directory is lost: requests and returns are no longer known to anybody but us.
    pub(crate) fn lose_state(&mut self) {
        self.requests.clear();
        self.returns.clear();
        self.answered.clear();
        // A key that is not known any more may be used for anything.
        self.open.retain(|_, open| !open.misused);
    }

    /// Calls that were made and have not been answered, with their keys.
    pub(crate) fn waiting(&self) -> Vec<String> {
        self.open.values().map(|open| open.key.clone()).collect()
    }
}

impl World {
    pub(crate) fn factory_acts(&mut self) {
        let wait = if self.healing { 60_000 } else { self.dice.within(500..20_000) };
        if self.lively {
            self.after(wait, Event::Factory);
        }
        if self.healing {
            self.poll_some();
            return self.ask_return_requests();
        }
        match self.dice.within(0..20) {
            0..=4 => {
                let template = usize::try_from(self.dice.within(0..2)).expect("below 2");
                let count = self.dice.small(1..8);
                if self.factory.held.len() < WANTED {
                    self.call(Body::Request { template, count });
                }
            }
            5..=12 => self.poll_some(),
            13..=16 => self.return_some(),
            _ => self.ask_return_requests(),
        }
    }

    /// A new call with a fresh key.
    pub(crate) fn call(&mut self, body: Body) -> u64 {
        let number = self.factory.fresh_number();
        let (mut key, mut misused) = (format!("key-{number}"), false);
        let dies = self.strikes(Fault::CallerDies);
        if self.strikes(Fault::KeyReused)
            && let Some((old, other)) = self.dice.pick(&self.factory.answered).cloned()
            && other != body
        {
            (key, misused) = (old, true);
        }
        let open = Open { key, body, dies, misused, received: false, tries: 0 };
        self.factory.open.insert(number, open);
        self.caller_tries(number);
        number
    }

    /// A call reaches the daemon; while there is none, it waits in the socket.
    pub(crate) fn caller_tries(&mut self, number: u64) {
        if self.daemon.is_none() {
            return self.after(5000, Event::CallerTries { number });
        }
        let Some(open) = self.factory.open.get_mut(&number) else { return };
        open.received = true;
        open.tries += 1;
        let (key, body) = (open.key.clone(), open.body.clone());
        self.note(|| format!("  call {number} {key}: {body:?}"));
        let id = RequestId::from_random(self.dice.bytes());
        let decided = self.decide(id, &key, &body);
        if self.dies_at(Fault::CrashAfterDecision) {
            return;
        }
        match decided {
            Ok(id) => {
                let truth = self.truth();
                let (sighted, lives) = (truth.sighted, truth.lives);
                self.model.decide(id, sighted, lives);
                self.tell_when_durable(Waiting::Caller { number, id });
            }
            Err(why) => self.denied(number, &why),
        }
    }

    fn decide(&mut self, id: RequestId, key: &str, body: &Body) -> Result<RequestId, Denied> {
        let caller = Caller { uid: 1000, pid: 1 };
        let key = Some(Key { text: key.into(), body: hash_of(body) });
        let decided = match body {
            Body::Request { template, count } => {
                let (name, max, deadline) = TEMPLATES[*template];
                let template = TemplateTerms {
                    id: name.parse().expect("a legal template id"),
                    max,
                    ready_deadline: Duration::from_secs(deadline),
                    manifest: [u8::try_from(*template).expect("below 2") + 1; 32],
                    body: "{}".into(),
                };
                let new = NewRequest { id, template, count: *count, key, caller };
                self.ledger(|ledger, ctx| ledger.request_machines(ctx, new))
            }
            Body::Return(machines) => {
                let machines = machines.iter().map(|(name, id)| ReturnedMachine {
                    name: name.as_str().into(),
                    machine_id: id.as_deref().map(Into::into),
                });
                let new = NewReturn { id, machines: machines.collect(), key, caller };
                self.ledger(|ledger, ctx| ledger.return_machines(ctx, new))
            }
        };
        decided.expect("the daemon lives")
    }

    fn denied(&mut self, number: u64, why: &Denied) {
        self.note(|| format!("  denied {number}: {why}"));
        let open = self.factory.open.remove(&number).expect("it is open");
        let reused = matches!(why, Denied::KeyReused { .. });
        assert!(!reused || open.misused, "the key {} was never used for another body", open.key);
        let is_return = matches!(open.body, Body::Return(_));
        assert!(reused || !is_return, "a return was refused: {why}");
    }

    /// The daemon replies: with an id, or that the disk is full.
    pub(crate) fn reply(&mut self, number: u64, id: RequestId, durable: bool) {
        let Some(open) = self.factory.open.remove(&number) else { return };
        self.note(|| format!("  reply {number}: {id}, durable: {durable}"));
        if !durable {
            return;
        }
        assert!(!open.misused, "the key {} was taken for another body", open.key);
        let mut model = std::mem::take(&mut self.model);
        model.replied(&open.key, id, &self.truth());
        self.model = model;
        self.factory.answered.push((open.key.clone(), open.body.clone()));
        if self.strikes(Fault::RetriedCall) {
            // The reply is lost on its way: hfctl repeats the call with its key.
            let again = Open { received: false, tries: open.tries + 1, ..open };
            self.factory.open.insert(number, again);
            let wait = self.dice.within(10..3000);
            return self.after(wait, Event::CallerTries { number });
        }
        if open.dies {
            return;
        }
        match open.body {
            Body::Request { count, .. } => {
                self.stats.requests += 1;
                self.model.acknowledged.insert(id, count);
                self.factory.requests.insert(id, false);
            }
            Body::Return(machines) => {
                self.stats.returns += 1;
                self.model.acknowledged.insert(id, 0);
                self.factory.returns.insert(id, false);
                for (name, _) in machines {
                    self.factory.held.remove(&name);
                    self.factory.returned.push(name);
                }
            }
        }
    }

    /// The daemon has died: who had sent something to it repeats that with its key, or gives up.
    pub(crate) fn callers_are_cut_off(&mut self) {
        let received: Vec<_> =
            self.factory.open.iter().filter(|(_, open)| open.received).map(|(number, _)| *number).collect();
        for number in received {
            let Some(open) = self.factory.open.get_mut(&number) else { continue };
            open.received = false;
            if open.dies || open.tries > 5 {
                self.factory.open.remove(&number);
            } else {
                let wait = self.dice.within(200..2000);
                self.after(wait, Event::CallerTries { number });
            }
        }
    }

    /// getReturnRequests; some of what it lists is returned.
    pub(crate) fn ask_return_requests(&mut self) {
        let Some(daemon) = self.daemon.as_ref() else { return };
        let health = daemon.published.health();
        if health.guarding || !health.sighted {
            return;
        }
        let names: Vec<String> = self.factory.held.iter().cloned().collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let named = self.dice.chance(500).then_some(&*names);
        let unasked = i64::try_from(self.policy.told_or_unasked.as_secs()).expect("it fits");
        let (listed, _) = answer::return_requests(named, &daemon.published, unasked, self.wall());
        for listed in &listed {
            self.model.reclaim(&listed.machine, &self.truth());
        }
        self.stats.reclaims += listed.len() as u64;
        let back: Vec<_> = listed.iter().map(|listed| (listed.machine.to_string(), None)).collect();
        if !back.is_empty() && (self.healing || self.dice.chance(600)) && !self.lying {
            self.note(|| format!("  to be returned: {back:?}"));
            self.call(Body::Return(back));
        }
    }

    fn return_some(&mut self) {
        let held: Vec<_> = self.factory.held.iter().cloned().collect();
        let mut back = Vec::new();
        for name in held {
            if self.dice.chance(300) {
                back.push((name, None));
            }
        }
        if self.strikes(Fault::ReturnedAgain)
            && let Some(name) = self.dice.pick(&self.factory.returned).cloned()
        {
            back.push((name, Some("f0000000-0000-0000-0000-000000000000".to_owned())));
        }
        if self.strikes(Fault::UnknownName) {
            let unknown = MachineName { request: RequestId::from_random(self.dice.bytes()), ordinal: 3 };
            back.push((unknown.to_string(), None));
            back.push(("../../x".to_owned(), None));
            // A pod that no HostFactory provider has made.
            let (name, now) = (format!("web-{}", self.factory.fresh_number()), self.wall());
            self.cluster.add(&name, Owner::Stranger, None, RebuildFacts::default(), now);
            back.push((name, None));
        }
        if self.strikes(Fault::FormerProvider) {
            let name = format!("old-{}", self.factory.fresh_number());
            let (owner, now) = (Owner::FormerProvider, self.wall());
            let uid = self.cluster.add(&name, owner, None, RebuildFacts::default(), now);
            self.plan_life(&name, uid);
            back.push((name, None));
        }
        // Names of machines that HostFactory was never told to have.
        if self.dice.chance(100) {
            let known: Vec<_> = self.factory.requests.keys().copied().collect();
            if let Some(request) = self.dice.pick(&known).copied() {
                back.push((MachineName { request, ordinal: 0 }.to_string(), None));
            }
        }
        back.sort();
        back.dedup_by(|a, b| a.0 == b.0);
        if !back.is_empty() && !self.lying {
            self.call(Body::Return(back));
        }
    }
}

/// A hash of a body: FNV-1a, four times with other beginnings.
fn hash_of(body: &Body) -> [u8; 32] {
    let text = format!("{body:?}");
    let mut hash = [0; 32];
    for (part, begin) in hash.chunks_exact_mut(8).zip(0u64..) {
        let fnv = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325 ^ begin, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        part.copy_from_slice(&fnv.to_le_bytes());
    }
    hash
}
