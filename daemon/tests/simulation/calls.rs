//! Calls to the API server and what can become of them on the way there and back.

use std::time::Duration;

use hfd_core::{
    id::{MachineName, PodUid},
    ledger::{Action, Call, CallEnd},
    outcome::{CreateOutcome, DeleteOutcome, ListOutcome, LookOutcome, NamespaceOutcome, NotDone, RefusalKind},
    queue::Target,
};

use crate::{
    cluster::Owner,
    follow::Post,
    profile::Fault,
    world::{Event, World},
};

/// hfd gives a call up after this long, milliseconds.
const CALL_TIMEOUT: u64 = 30_000;
/// The API server does not act on a request after this long.
pub(crate) const SERVER_TIMEOUT: u64 = 60_000;

/// A call on its way.
#[derive(Debug)]
pub(crate) struct Sent {
    call: Call,
    life: u64,
    at: u64,
    /// It takes effect when it arrives.
    works: bool,
    /// What the daemon is told instead of what happened.
    instead: Option<CallEnd>,
    /// What happened.
    end: Option<CallEnd>,
    /// Both have to be over before it is forgotten.
    arrived: bool,
    answered: bool,
}

impl World {
    /// The time that a message takes, milliseconds.
    pub(crate) fn travel(&mut self) -> u64 {
        if self.strikes(Fault::SlowCall) { self.dice.within(100..12_000) } else { self.dice.within(1..60) }
    }

    /// The daemon sends a call.
    pub(crate) fn send(&mut self, call: Call) {
        let Call { target, action, .. } = &call;
        match (target, action) {
            (Target::Machine(name), Action::Create(_)) => {
                let mut model = std::mem::take(&mut self.model);
                model.post_sent(*name, self.lives, &self.truth());
                self.model = model;
                self.stats.posts += 1;
            }
            (target, Action::Delete { uid, .. }) => {
                let second_writer = self.sees_second_writer();
                self.model.delete_sent(&name_of(target), *uid, second_writer, &self.truth());
                self.stats.deletes += 1;
            }
            _ => {}
        }
        let name = name_of(target);
        let what = match action {
            Action::Create(_) => "POST".to_owned(),
            Action::Delete { force, .. } => format!("DELETE (force: {force})"),
            Action::Look => "GET".to_owned(),
        };
        let number = self.factory.fresh_number();
        self.note(|| format!("  {number}: {what} {name}"));
        let (there, back) = (self.travel(), self.travel());
        // Where the run is followed, the answer is there when the call arrives.
        let back = if self.follow.is_some() { 0 } else { back };
        let (works, instead, there, answered) = self.fate(action, there, back);
        self.follow_sent(target, action, works, instead.as_ref());
        let looks = works && matches!(action, Action::Look) && self.follow.is_some();
        let life = self.lives;
        let sent = Sent { call, life, at: self.now, works, instead, end: None, arrived: !works, answered: false };
        self.calls.insert(number, sent);
        if looks {
            return self.look_at_once(life, number);
        }
        if works {
            self.after(there, Event::CallArrives { number });
        }
        self.after(answered, Event::CallAnswered { life, number });
    }

    fn follow_sent(&mut self, target: &Target, action: &Action, works: bool, instead: Option<&CallEnd>) {
        let Target::Machine(name) = *target else { return };
        let may_land = works || is_ambiguous(instead);
        self.following(|follow| match action {
            Action::Create(_) => follow.post(name, if may_land { Post::Sent } else { Post::SentInVain }),
            Action::Delete { .. } => follow.delete_sent(name),
            Action::Look => {}
        });
    }

    /// The model has a look in one step.
    fn look_at_once(&mut self, life: u64, number: u64) {
        let sighted = self.daemon.as_ref().is_some_and(|daemon| daemon.ledger.is_sighted());
        let target = self.calls[&number].call.target.clone();
        self.call_arrives(number);
        if let Target::Machine(name) = target {
            self.following(|follow| follow.looked(name, sighted));
        }
        self.call_answered(life, number);
    }

    /// POSTs of this life that will never do anything, and that nobody has given up yet.
    pub(crate) fn posts_in_vain(&self) -> Vec<MachineName> {
        let in_vain = |sent: &&Sent| {
            !sent.works && !sent.answered && sent.life == self.lives && is_ambiguous(sent.instead.as_ref())
        };
        let names =
            self.calls.values().filter(in_vain).filter_map(|sent| match (&sent.call.target, &sent.call.action) {
                (Target::Machine(name), Action::Create(_)) => Some(*name),
                _ => None,
            });
        names.collect()
    }

    /// Whether it takes effect, what is told instead, when it arrives and when it is answered.
    fn fate(&mut self, action: &Action, there: u64, back: u64) -> (bool, Option<CallEnd>, u64, u64) {
        let whole = there + back;
        if self.outage {
            return (false, Some(not_done(action, "connection refused", None)), there, there);
        }
        if self.strikes(Fault::CallNotDone) {
            return (false, Some(not_done(action, "503", None)), there, whole);
        }
        if self.strikes(Fault::Throttled) {
            let wait = Duration::from_secs(self.dice.within(1..6));
            return (false, Some(not_done(action, "429", Some(wait))), there, whole);
        }
        if self.strikes(Fault::Unauthorized) {
            let end = match action {
                Action::Create(_) => CallEnd::Create(CreateOutcome::Unauthorized),
                Action::Delete { .. } => CallEnd::Delete(DeleteOutcome::Unauthorized),
                Action::Look => CallEnd::Look(LookOutcome::Unauthorized),
            };
            return (false, Some(end), there, whole);
        }
        match action {
            Action::Create(_) => self.fate_of_a_post(there, whole),
            Action::Delete { .. } if self.strikes(Fault::DeleteRefused) => {
                (false, Some(CallEnd::Delete(DeleteOutcome::Refused("forbidden".into()))), there, whole)
            }
            Action::Delete { .. } if self.strikes(Fault::DeleteAnswerLost) => {
                let ambiguous = CallEnd::Delete(DeleteOutcome::Ambiguous("connection reset".into()));
                (self.dice.chance(500), Some(ambiguous), there, whole)
            }
            _ => (true, None, there, whole),
        }
    }

    fn fate_of_a_post(&mut self, there: u64, whole: u64) -> (bool, Option<CallEnd>, u64, u64) {
        let ambiguous = |why: &str| Some(CallEnd::Create(CreateOutcome::Ambiguous(why.into())));
        if self.strikes(Fault::Quota) {
            let message = "exceeded quota: pods".to_owned();
            let end = CallEnd::Create(CreateOutcome::Refused { kind: RefusalKind::Quota, message });
            return (false, Some(end), there, whole);
        }
        if self.strikes(Fault::PostLost) {
            let given_up = if self.dice.chance(500) { whole } else { CALL_TIMEOUT };
            return (false, ambiguous("time-out"), there, given_up);
        }
        if self.strikes(Fault::PostLate) {
            let given_up = if self.dice.chance(500) { whole } else { CALL_TIMEOUT };
            return (true, ambiguous("time-out"), self.dice.within(there..SERVER_TIMEOUT), given_up);
        }
        if self.strikes(Fault::PostAnswerLost) {
            return (true, ambiguous("connection reset"), there, whole);
        }
        (true, None, there, whole)
    }

    /// The server acts.
    pub(crate) fn call_arrives(&mut self, number: u64) {
        let Some(mut sent) = self.calls.remove(&number) else { return };
        sent.arrived = true;
        if sent.works {
            self.following(|_| ());
            let end = self.perform(&sent);
            if let (Target::Machine(name), CallEnd::Create(outcome)) = (&sent.call.target, &end) {
                let this_life = self.daemon.as_ref().is_some_and(|daemon| daemon.life == sent.life);
                let lands = matches!(outcome, CreateOutcome::Created(_));
                let what = match this_life && !sent.answered {
                    true => Post::Lands { answered: sent.instead.is_none() },
                    false => Post::Late { this_life, lands },
                };
                self.follow_post(*name, outcome, what);
            }
            self.note(|| format!("  {number}: {end:?}"));
            sent.end = Some(end);
        }
        if !sent.answered {
            self.calls.insert(number, sent);
        }
    }

    fn perform(&mut self, sent: &Sent) -> CallEnd {
        let now = self.wall();
        match (&sent.call.target, &sent.call.action) {
            (Target::Machine(name), Action::Create(request)) => {
                let journal = self.disk.meta.id;
                let outcome = self.cluster.post(*name, request, journal, now);
                match &outcome {
                    CreateOutcome::Created(uid) => {
                        self.model.posted(*name, *uid, (sent.life, sent.at), &self.cluster);
                        self.plan_life(&name.to_string(), *uid);
                    }
                    CreateOutcome::Refused { .. } => drop(self.model.refused.insert(*name)),
                    _ => {}
                }
                CallEnd::Create(outcome)
            }
            (target, Action::Delete { uid, force }) => {
                let name = name_of(target);
                CallEnd::Delete(self.delete_pod(&name, *uid, *force))
            }
            (target, _) => {
                let found = self.cluster.look(&name_of(target));
                if let Target::Machine(name) = target {
                    self.model.creates.looked_at(*name, sent.life, &found, now);
                }
                CallEnd::Look(found)
            }
        }
    }

    /// DELETE, and the kubelet that ends the pod.
    pub(crate) fn delete_pod(&mut self, name: &str, uid: PodUid, force: bool) -> DeleteOutcome {
        let now = self.wall();
        let (outcome, ending) = self.cluster.delete(name, uid, force, now);
        if ending {
            self.plan_removal(name, uid);
        }
        outcome
    }

    /// The kubelet ends a marked pod within its grace, if its node lives.
    pub(crate) fn plan_removal(&mut self, name: &str, uid: PodUid) {
        let stuck = self.strikes(Fault::StuckTerminating);
        if let Some(pod) = self.cluster.pods.get_mut(name)
            && (stuck || pod.stuck)
        {
            pod.stuck = true;
            return;
        }
        let wait = self.dice.within(50..30_000);
        self.after(wait, Event::PodRemoved { name: name.to_owned(), uid });
    }

    /// The answer reaches the daemon, if it is still the one that asked.
    pub(crate) fn call_answered(&mut self, life: u64, number: u64) {
        let Some(mut sent) = self.calls.remove(&number) else { return };
        sent.answered = true;
        let at = sent.at;
        let end = sent.instead.clone().or_else(|| sent.end.clone());
        let (target, slot) = (sent.call.target.clone(), sent.call.slot.clone());
        if let (Target::Machine(name), Some(CallEnd::Create(CreateOutcome::Refused { .. }))) = (&target, &end) {
            self.model.refused.insert(*name);
        }
        let given_up = is_ambiguous(end.as_ref()) && sent.end.is_none();
        let works = sent.works;
        if let Target::Machine(name) = target
            && given_up
            && self.daemon.as_ref().is_some_and(|daemon| daemon.life == life)
        {
            self.following(|follow| {
                follow.post(name, Post::GivenUp);
                if !works {
                    follow.post(name, Post::Late { this_life: true, lands: false });
                }
            });
        }
        if !sent.arrived {
            self.calls.insert(number, sent);
        } else if sent.life != life {
            return;
        }
        if self.daemon.as_ref().is_some_and(|daemon| daemon.life == life)
            && let Some(end) = end
        {
            match (&target, &end) {
                (Target::Machine(name), CallEnd::Create(outcome)) => self.model.creates.answered(*name, life, outcome),
                (Target::Machine(name), CallEnd::Look(found)) => self.model.creates.looked(*name, life, at, found),
                _ => {}
            }
            self.ledger(|ledger, ctx| ledger.call_ended(ctx, &target, &slot, end));
        }
    }

    pub(crate) fn list_answered(&mut self) {
        let outcome = match self.outage || self.strikes(Fault::CallNotDone) {
            true => ListOutcome::NotDone(refusal("503", None)),
            false => ListOutcome::Pods(self.cluster.listed()),
        };
        self.note(|| format!("  {outcome:?}"));
        self.ledger(|ledger, ctx| ledger.guard_listed(ctx, outcome));
    }

    pub(crate) fn namespace_answered(&mut self, read: Option<Option<PodUid>>) {
        let read = read.unwrap_or(self.cluster.namespace);
        let outcome = match (self.outage || self.strikes(Fault::CallNotDone), read) {
            (true, _) => NamespaceOutcome::NotDone(refusal("503", None)),
            (false, Some(uid)) => NamespaceOutcome::Known(uid),
            (false, None) => NamespaceOutcome::NotFound,
        };
        self.note(|| format!("  {outcome:?}"));
        self.ledger(|ledger, ctx| ledger.namespace_seen(ctx, &outcome));
    }

    /// The view shows pods that another journal has made.
    fn sees_second_writer(&self) -> bool {
        let Some(daemon) = &self.daemon else { return false };
        let ours = |journal| journal == self.disk.meta.id || self.disk.meta.adopted_journals.contains(&journal);
        let foreign = |pod: &crate::cluster::Pod| {
            pod.owner == Owner::Ours && pod.record.journal.is_some_and(|journal| !ours(journal))
        };
        let seen = |name: &str| name.parse().ok().and_then(|name| daemon.cache.0.get(&name));
        self.cluster
            .pods
            .iter()
            .any(|(name, pod)| foreign(pod) && seen(name).is_some_and(|seen| seen.uid == pod.record.uid))
    }
}

fn is_ambiguous(end: Option<&CallEnd>) -> bool {
    matches!(end, Some(CallEnd::Create(CreateOutcome::Ambiguous(_))))
}

fn name_of(target: &Target) -> String {
    match target {
        Target::Machine(name) => name.to_string(),
        Target::Name(name) => name.to_string(),
    }
}

fn refusal(why: &str, retry_after: Option<Duration>) -> NotDone {
    NotDone { why: why.to_owned(), retry_after, throttled: retry_after.is_some() }
}

fn not_done(action: &Action, why: &str, retry_after: Option<Duration>) -> CallEnd {
    let not_done = refusal(why, retry_after);
    match action {
        Action::Create(_) => CallEnd::Create(CreateOutcome::NotDone(not_done)),
        Action::Delete { .. } => CallEnd::Delete(DeleteOutcome::NotDone(not_done)),
        Action::Look => CallEnd::Look(LookOutcome::NotDone(not_done)),
    }
}
