//! Machines through the ledger: what the engine decides, publishes and forgets of them, without journal and cluster.

use std::time::{Duration, Instant};

use hfd_core::{
    answer::{self, Committed as _},
    clock::Now,
    commits::Commits,
    id::{MachineName, RequestId},
    ledger::{Action, Call, CallEnd, Ledger, NewRequest, NewReturn, ReturnedMachine, TemplateTerms},
    outcome::{CreateOutcome, DeleteOutcome, NamespaceOutcome},
    pod::{Phase, PodRecord},
    policy::Policy,
    queue::Target,
    request::Caller,
    view::Ctx,
};
use proto_schema::hostfactory::{MachineResult, RequestState};

use super::{machine, request, uid};
use crate::{cache::PodCache, fuzzing::sample, published::Published};

/// News that the watch brings at once.
const NEWS: usize = 256;

/// A life of hfd in which `machines` come and go.
pub(super) fn lifecycle(machines: u32) {
    let mut life = Life::begin();
    life.step(|ledger, ctx| ledger.request_machines(ctx, asked_for(machines)).map(drop).expect("it is accepted"));
    life.settle();
    let all: Vec<MachineName> = (0..machines).map(machine).collect();
    life.news(&all, |cache, name| cache.apply(name, pod(name, true)));
    let polled = life.status(request());
    assert_eq!((polled.0, polled.1), (RequestState::Complete, all.len()));

    let back = RequestId::from_random([2; 10]);
    let named = |name: &MachineName| ReturnedMachine { name: name.to_string().into(), machine_id: None };
    let returned =
        NewReturn { id: back, machines: all.iter().map(named).collect(), key: None, caller: Caller::default() };
    life.step(|ledger, ctx| ledger.return_machines(ctx, returned).map(drop).expect("it is accepted"));
    life.settle();
    assert_eq!(life.status(back), (RequestState::Complete, all.len()));
    assert!(life.cache.is_empty());

    life.step(|ledger, ctx| ledger.told(ctx, &[back]));
    life.pass(2 * Policy::default().keep);
    assert!(
        life.published.all_requests().is_empty() && life.published.all_returns().is_empty(),
        "nothing is forgotten"
    );
}

/// The engine's side of one life, and a cluster that does what it is asked for at once.
struct Life {
    ledger: Ledger,
    commits: Commits<()>,
    published: Published,
    cache: PodCache,
    now: Now,
}

impl Life {
    /// The cluster is seen, nothing runs.
    fn begin() -> Self {
        let now = Now { mono: Duration::ZERO, wall: sample::NOW };
        let mut life = Self {
            ledger: Ledger::new(sample::nothing(), Policy::default(), now),
            commits: Commits::default(),
            published: Published::new(Instant::now()),
            cache: PodCache::new(),
            now,
        };
        life.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(uid(u32::MAX))));
        life.step(|ledger, ctx| ledger.list_began(ctx));
        life.cache.begin_list();
        let swept = life.cache.end_list();
        life.step(|ledger, ctx| ledger.list_done(ctx, &swept));
        life.step(|ledger, ctx| ledger.freshness(ctx, true));
        life.settle();
        assert!(life.ledger.is_sighted());
        life
    }

    /// One step of the ledger, at a later instant than the last.
    fn step<T>(&mut self, step: impl FnOnce(&mut Ledger, Ctx<'_>) -> T) -> T {
        self.now.mono += Duration::from_micros(100);
        step(&mut self.ledger, Ctx { now: self.now, pods: &self.cache })
    }

    /// What is decided becomes durable and is published.
    fn commit(&mut self) {
        if self.commits.begin(&mut self.ledger, self.now.mono).is_some() {
            let Self { commits, ledger, published, .. } = self;
            commits.durable(ledger, Ctx { now: self.now, pods: &self.cache }, |batch| published.publish(batch));
        }
        self.published.publish_at_risk(self.ledger.take_at_risk_changes());
        self.published.publish_troubles(self.ledger.take_trouble_changes());
    }

    /// Commits and makes calls until nothing is left to do; the watch shows what each round of calls did.
    fn settle(&mut self) {
        loop {
            self.commit();
            if self.ledger.take_needs().namespace {
                self.step(|ledger, ctx| ledger.namespace_seen(ctx, &NamespaceOutcome::Known(uid(u32::MAX))));
            }
            let calls: Vec<Call> = std::iter::from_fn(|| self.step(|ledger, ctx| ledger.next_call(ctx))).collect();
            if calls.is_empty() && !self.ledger.has_changes() {
                return;
            }
            let mut touched = Vec::with_capacity(calls.len());
            for Call { target, action, slot } in calls {
                let Target::Machine(name) = target else { panic!("{target:?} is no machine of ours") };
                let (end, created) = match action {
                    Action::Create(_) => (CallEnd::Create(CreateOutcome::Created(uid(name.ordinal))), true),
                    Action::Delete { .. } => (CallEnd::Delete(DeleteOutcome::Accepted), false),
                    Action::Look => panic!("nothing of {name} is in doubt"),
                };
                self.step(|ledger, ctx| ledger.call_ended(ctx, &target, &slot, end));
                touched.push((name, created));
            }
            let (names, created): (Vec<_>, Vec<_>) = touched.into_iter().unzip();
            let mut created = created.into_iter();
            self.news(&names, |cache, name| match created.next() {
                Some(true) => cache.apply(name, pod(name, false)),
                _ => cache.delete(&name, uid(name.ordinal)),
            });
        }
    }

    /// The watch shows what became of these pods, some hundred at once, as it does when many change.
    fn news(&mut self, names: &[MachineName], mut change: impl FnMut(&PodCache, MachineName) -> bool) {
        for names in names.chunks(NEWS) {
            names.iter().for_each(|name| assert!(change(&self.cache, *name), "no news of {name}"));
            self.step(|ledger, ctx| ledger.pods_seen(ctx, names));
            self.commit();
        }
    }

    /// Time passes, and the clock is looked at.
    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall = self.now.wall.saturating_add_unsigned(time.as_secs());
        self.step(|ledger, ctx| ledger.tick(ctx, None));
        self.settle();
    }

    /// What HostFactory is told: the state, and of how many machines it says that they went well.
    fn status(&self, id: RequestId) -> (RequestState, usize) {
        let status = match self.published.request(id) {
            Some(request) => answer::machine_request(&request, self.now.wall),
            None => {
                let request = self.published.return_request(id).expect("it was accepted");
                answer::return_request(&request, &self.published, self.now.wall)
            }
        };
        let well = status.machines.iter().filter(|machine| machine.result == MachineResult::Succeed);
        (status.status, well.count())
    }
}

fn asked_for(machines: u32) -> NewRequest {
    let template = TemplateTerms {
        id: "small".parse().expect("a legal template id"),
        max: None,
        ready_deadline: Duration::from_secs(300),
        manifest: [7; 32],
        body: "{}".into(),
    };
    NewRequest { id: request(), template, count: machines, key: None, caller: Caller::default() }
}

fn pod(name: MachineName, ready: bool) -> PodRecord {
    PodRecord {
        uid: uid(name.ordinal),
        journal: Some(sample::nothing().meta.id),
        created: sample::NOW,
        phase: if ready { Phase::Running } else { Phase::Pending },
        ready,
        ip: ready.then(|| [10, 0, 0, 1].into()),
        deletion: None,
        grace: 30,
        disruption: None,
        reason: None,
        node: None,
    }
}
