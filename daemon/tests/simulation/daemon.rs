//! The daemon: the real ledger, commits, pod cache and published state, with the engine's loop around them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hfd::{
    cache::PodCache,
    published::{Health, Published},
};
use hfd_core::{
    change::Change,
    clock::Now,
    commits::{Commits, Order},
    id::{MachineName, RequestId},
    ledger::Ledger,
    outcome::NamespaceOutcome,
    pod::PodRecord,
    view::{Ctx, PodView, RebuildFacts},
};

use crate::{
    limits::Limits,
    model::Truth,
    profile::Fault,
    watch::Watch,
    world::{Event, World},
};

/// Room on a full disk is looked for this often, milliseconds; as the engine does.
const PROBE_DISK_EVERY: u64 = 2000;

/// Who waits for a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Waiting {
    /// A caller of requestMachines or requestReturnMachines.
    Caller { number: u64, id: RequestId },
    /// A poll that marks its requests first.
    Poll { number: u64 },
    /// An operator.
    Operator,
}

/// The real pod cache; what it tells in no order is sorted, so that a run can be repeated.
#[derive(Debug, Default)]
pub(crate) struct Cache(pub(crate) PodCache);

impl PodView for Cache {
    fn pod(&self, name: MachineName) -> Option<PodRecord> {
        self.0.get(&name)
    }

    fn names(&self) -> Vec<MachineName> {
        let mut names = PodView::names(&self.0);
        names.sort_unstable();
        names
    }

    fn facts(&self, request: RequestId) -> Option<RebuildFacts> {
        self.0.facts(request)
    }
}

/// One life of the daemon.
pub(crate) struct Daemon {
    pub(crate) life: u64,
    started: u64,
    pub(crate) ledger: Ledger,
    commits: Commits<Waiting>,
    /// What is on its way to the disk.
    committing: Option<Order>,
    pub(crate) published: Published,
    pub(crate) cache: Cache,
    pub(crate) watch: Watch,
    probe_disk_at: Option<u64>,
    /// The commit that waits until it is due.
    commit_due_at: Option<Duration>,
    tick_at: u64,
    pub(crate) last_poll: Option<Duration>,
    /// Polls that wait for their mark: what they ask about.
    pub(crate) polls: BTreeMap<u64, Vec<String>>,
}

impl World {
    /// Starts the daemon from what the disk has.
    pub(crate) fn start(&mut self) {
        if self.daemon.is_some() {
            return;
        }
        self.lives += 1;
        let now = self.now;
        self.following(|follow| follow.started(now));
        let restored = self.disk.restore();
        let now = Now { mono: Duration::ZERO, wall: self.wall() };
        let ledger = Ledger::new(restored, self.policy.clone(), now);
        let published = Published::new(Instant::now()); // its own clock is not asked for anything here
        let (requests, returns) = ledger.all_committed();
        published.publish_all(requests, returns);
        self.daemon = Some(Box::new(Daemon {
            life: self.lives,
            started: self.now,
            ledger,
            commits: Commits::default(),
            committing: None,
            published,
            cache: Cache::default(),
            watch: Watch::default(),
            probe_disk_at: None,
            commit_due_at: None,
            tick_at: u64::MAX,
            last_poll: None,
            polls: BTreeMap::new(),
        }));
        self.ledger(|ledger, ctx| ledger.resume(ctx));
        self.plan_tick();
        self.connect();
        if self.strikes(Fault::CrashInReplay) {
            self.crash(None);
        }
    }

    /// The process ends here and now. What is in flight to the disk may or may not have come through: `durable`, or
    /// the dice.
    pub(crate) fn crash(&mut self, durable: Option<bool>) {
        let Some(mut daemon) = self.daemon.take().map(|daemon| *daemon) else { return };
        self.note(|| "  the daemon dies".to_owned());
        self.stats.crashes += 1;
        self.sighted += daemon.watch.seeing_since.take().map_or(0, |since| self.now - since);
        self.compare_with_disk(&daemon);
        if let Some(order) = daemon.committing {
            let durable = durable.unwrap_or_else(|| self.dice.chance(500));
            if durable && !self.disk.refuses(&order) {
                self.becomes_durable(order);
            }
        }
        self.compare_with_model(); // what became durable is of the life that ends
        let in_vain = self.posts_in_vain();
        self.following(|follow| follow.crashed(&in_vain));
        self.callers_are_cut_off();
        let longest = if self.dice.chance(200) { 300_000 } else { 5000 };
        let wait = self.dice.within(100..longest);
        self.after(wait, Event::Start);
    }

    /// What readers see is what the journal has, field by field.
    fn compare_with_disk(&self, daemon: &Daemon) {
        let rows = &self.disk.rows;
        let (requests, returns) = daemon.ledger.all_committed();
        let mut count = 0;
        for (id, request) in requests {
            count += 1;
            assert_eq!(rows.request(id).as_ref(), Some(&*request), "the journal and the committed state of {id}");
        }
        assert_eq!(count, rows.requests.len(), "requests in the journal");
        let mut count = 0;
        for (id, returned) in returns {
            count += 1;
            assert_eq!(rows.return_request(id).as_ref(), Some(&*returned), "the journal and the return {id}");
        }
        assert_eq!(count, rows.returns.len(), "returns in the journal");
    }

    fn mono(&self, daemon: &Daemon) -> Now {
        Now { mono: Duration::from_millis(self.now - daemon.started), wall: self.wall() }
    }

    /// One step of the ledger at this instant.
    pub(crate) fn ledger<T>(&mut self, step: impl FnOnce(&mut Ledger, Ctx<'_>) -> T) -> Option<T> {
        let mut daemon = self.daemon.take()?;
        let now = self.mono(&daemon);
        let ctx = Ctx { now, pods: &daemon.cache };
        let result = step(&mut daemon.ledger, ctx);
        // The model knows no namespace: what is asked about it is answered within the step.
        if let (Some(_), Some(uid)) = (&self.follow, self.cluster.namespace) {
            daemon.ledger.namespace_seen(ctx, &NamespaceOutcome::Known(uid));
        }
        self.daemon = Some(daemon);
        Some(result)
    }

    /// A crash at a named point.
    pub(crate) fn dies_at(&mut self, fault: Fault) -> bool {
        let dies = self.daemon.is_some() && self.strikes(fault);
        if dies {
            self.crash(match fault {
                Fault::CrashCommitLost => Some(false),
                Fault::CrashCommitDurable => Some(true),
                _ => None,
            });
        }
        dies
    }

    /// What the engine does after each input: a commit, calls, questions, publication.
    pub(crate) fn go_on(&mut self) {
        if self.daemon.is_none() {
            return;
        }
        // Where the run is followed, what is decided is durable in the same step.
        while self.begin_commit() && self.follow.is_some() {}
        while let Some(Some(call)) = self.ledger(|ledger, ctx| ledger.next_call(ctx)) {
            if self.dies_at(Fault::CrashBetweenCalls) {
                return;
            }
            self.send(call);
        }
        while self.follow.is_some() && self.begin_commit() {}
        let Some(needs) = self.ledger(|ledger, _| ledger.take_needs()) else { return };
        let life = self.lives;
        if needs.list {
            let wait = self.travel();
            self.after(wait, Event::ListAnswered { life });
        }
        if needs.namespace {
            let wait = self.travel();
            let read = self.dice.chance(500).then_some(self.cluster.namespace);
            self.after(wait, Event::NamespaceAnswered { life, read });
        }
        if needs.relist {
            self.connect();
        }
        self.publish_view();
        self.plan_tick();
    }

    /// Whether there was something to commit.
    fn begin_commit(&mut self) -> bool {
        let Some(mut daemon) = self.daemon.take() else { return false };
        let (now, life) = (self.mono(&daemon).mono, daemon.life);
        let order = match self.paces_commits {
            true => daemon.commits.begin_due(&mut daemon.ledger, now),
            false => daemon.commits.begin(&mut daemon.ledger, now),
        };
        let due = daemon.commits.due(&daemon.ledger).filter(|due| *due > now && daemon.commit_due_at != Some(*due));
        if let Some(due) = due {
            daemon.commit_due_at = Some(due);
            let wait = u64::try_from((due - now).as_nanos().div_ceil(1_000_000)).expect("it fits");
            self.after(wait, Event::CommitDue);
        }
        let has_begun = order.is_some();
        daemon.committing = order.or(daemon.committing);
        self.daemon = Some(daemon);
        if !has_begun {
            return false;
        }
        if self.dies_at(Fault::CrashCommitLost) || self.dies_at(Fault::CrashCommitDurable) {
            return true;
        }
        if self.follow.is_some() {
            self.commit_ends();
            self.compare_with_model();
            return true;
        }
        let slow = self.strikes(Fault::SlowDisk);
        let wait = if slow { self.dice.within(200..20_000) } else { self.dice.within(1..20) };
        self.after(wait, Event::CommitEnds { life });
        true
    }

    fn becomes_durable(&mut self, order: Order) {
        let mut model = std::mem::take(&mut self.model);
        let bound = order.changes.iter().rev().find_map(|change| match change {
            Change::Meta(meta) => Some(meta.namespace),
            _ => None,
        });
        let truth = self.truth();
        let truth = Truth { bound: bound.unwrap_or(truth.bound), ..truth };
        for change in &order.changes {
            model.becomes_durable(change, &truth);
        }
        let before = Limits::before(&order.changes, &self.disk.rows);
        let rows = &self.disk.rows;
        if let Some(follow) = &mut self.follow {
            follow.becomes_durable(&order.changes, rows);
        }
        self.disk.write(order.changes);
        model.limits.after(&before, &self.disk.rows);
        self.model = model;
    }

    pub(crate) fn commit_ends(&mut self) {
        let Some(order) = self.daemon.as_mut().and_then(|daemon| daemon.committing.take()) else { return };
        if self.disk.broken {
            // EIO: what the disk has nobody knows; the process stops, and the next start reads it.
            self.disk.broken = false;
            if let Some(daemon) = &mut self.daemon {
                daemon.committing = Some(order);
            }
            return self.crash(None);
        }
        if self.disk.refuses(&order) {
            return self.rolled_back();
        }
        self.becomes_durable(order);
        self.stats.commits += 1;
        let Some(mut daemon) = self.daemon.take() else { return };
        let ctx = Ctx { now: self.mono(&daemon), pods: &daemon.cache };
        let published = &daemon.published;
        let waiting = daemon.commits.durable(&mut daemon.ledger, ctx, |batch| published.publish(batch));
        daemon.probe_disk_at = None;
        self.daemon = Some(daemon);
        self.publish_view();
        for waiting in waiting {
            if self.dies_at(Fault::CrashBeforeReply) {
                return;
            }
            self.tell(waiting, true);
        }
    }

    fn rolled_back(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let now = self.mono(&daemon);
        let waiting = daemon.commits.roll_back(&mut daemon.ledger, now);
        daemon.probe_disk_at = Some(self.now + PROBE_DISK_EVERY);
        self.daemon = Some(daemon);
        for waiting in waiting {
            self.tell(waiting, false);
        }
    }

    /// Tells once everything decided until now is durable.
    pub(crate) fn tell_when_durable(&mut self, waiting: Waiting) {
        let Some(daemon) = self.daemon.as_mut() else { return };
        if let Some(waiting) = daemon.commits.wait(&daemon.ledger, waiting) {
            self.tell(waiting, true);
        }
    }

    fn tell(&mut self, waiting: Waiting, durable: bool) {
        match waiting {
            Waiting::Caller { number, id } => self.reply(number, id, durable),
            Waiting::Poll { number } => self.answer_poll(number),
            Waiting::Operator => {}
        }
    }

    pub(crate) fn publish_view(&mut self) {
        let Some(daemon) = self.daemon.as_mut() else { return };
        let (ledger, published) = (&mut daemon.ledger, &daemon.published);
        published.publish_at_risk(ledger.take_at_risk_changes());
        published.publish_troubles(ledger.take_trouble_changes());
        published.publish_health(Health {
            mode: ledger.mode(),
            binding: ledger.binding(),
            sighted: ledger.is_sighted(),
            guarding: ledger.is_guarding(),
            disk_full: ledger.is_disk_full(),
        });
        if ledger.take_rebuilt().is_some() {
            self.stats.rebuilds += 1;
            self.tell_when_durable(Waiting::Operator);
            self.dies_at(Fault::CrashInRebuild);
        }
    }

    /// The next tick: when the ledger wants it, and at the latest after some seconds.
    fn plan_tick(&mut self) {
        let longest = if self.healing { 15_000 } else { 1000 + self.now % 3000 };
        let Some(daemon) = self.daemon.as_mut() else { return };
        let wake = daemon
            .ledger
            .next_wake()
            .map(|at| daemon.started + u64::try_from(at.as_nanos().div_ceil(1_000_000)).expect("it fits"));
        let at = wake.map_or(self.now + longest, |at| at.min(self.now + longest)).max(self.now + 10);
        if daemon.tick_at <= self.now || at < daemon.tick_at {
            daemon.tick_at = at;
            let life = daemon.life;
            self.after(at - self.now, Event::Tick { life });
        }
    }

    pub(crate) fn tick(&mut self) {
        let Some(daemon) = self.daemon.as_mut() else { return };
        if daemon.tick_at > self.now {
            return; // an earlier one took its place
        }
        daemon.tick_at = 0;
        let (last_poll, committing) = (daemon.last_poll, daemon.committing.is_some());
        let probe = daemon.probe_disk_at.is_some_and(|at| at <= self.now) && !committing;
        self.ledger(|ledger, ctx| ledger.tick(ctx, last_poll));
        if probe {
            if let Some(daemon) = self.daemon.as_mut() {
                daemon.probe_disk_at = None;
            }
            self.ledger(|ledger, ctx| ledger.probe_disk(ctx));
        }
    }

    /// HostFactory has polled now.
    pub(crate) fn note_poll(&mut self) {
        if let Some(daemon) = self.daemon.as_mut() {
            daemon.last_poll = Some(Duration::from_millis(self.now - daemon.started));
        }
    }
}
