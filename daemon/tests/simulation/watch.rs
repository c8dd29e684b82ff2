//! The pod watch as the daemon has it: lists and a stream from the cluster's log into the pod cache and the ledger.
//!
//! ```text
//! Down ─> (list began) Asked ─> Paging ─> Streaming ─┬─ cut ──────────> Down, resumes where it was
//!   ^                                                ├─ expired (410) ─> Down, lists anew
//!   └────────── silence of 90 s, 401 ────────────────┴─ half-open: nothing comes, and nothing says so
//! ```
//! A LIST is of one moment and delivered later; the stream is in order and may lag. What it tells the engine, and in
//! which order, is that of `hfd::kube::watch`.

use std::collections::BTreeSet;

use hfd::cache::RequestFacts;
use hfd_core::{id::MachineName, ledger::Ledger, pod::PodRecord, view::Ctx};

use crate::{
    cluster::{Change, Cluster},
    daemon::Cache,
    follow::Follow,
    profile::Fault,
    world::{Event, World},
};

/// Silence after which the view is not believed, milliseconds.
const FRESH_WITHIN: u64 = 90_000;

/// Where the watch is.
#[derive(Debug, Default)]
enum State {
    /// Nothing is open. The next thing is a list, or the stream from this place of the log on.
    #[default]
    Closed,
    Resuming(usize),
    /// The LIST is sent and not read yet.
    Asked,
    /// It was read at that place of the log; the rest is still to come.
    Paging(Vec<(MachineName, PodRecord)>, usize),
    Streaming(usize),
}

/// The watch of one life.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: State,
    /// Events of an earlier connection count no more.
    connection: u64,
    fresh: bool,
    listed: bool,
    /// What the last LIST that was read had.
    read: BTreeSet<MachineName>,
    last_bytes: u64,
    /// Half-open: nothing comes any more.
    pub(crate) silent: bool,
    /// Nothing comes before a test says so.
    pub(crate) held: bool,
    /// Synced and fresh since then: the daemon is sighted at most since then.
    pub(crate) seeing_since: Option<u64>,
}

impl Watch {
    pub(crate) fn is_streaming(&self) -> bool {
        matches!(self.state, State::Streaming(_))
    }

    /// A LIST was read and is on its way.
    pub(crate) fn is_paging(&self) -> bool {
        matches!(self.state, State::Paging(..))
    }

    fn next_connection(&mut self) -> u64 {
        self.connection += 1;
        self.silent = false;
        self.connection
    }
}

impl World {
    pub(crate) fn watch(&mut self) -> Option<&mut Watch> {
        self.daemon.as_mut().map(|daemon| &mut daemon.watch)
    }

    /// Starts over with a list.
    pub(crate) fn connect(&mut self) {
        self.close_watch(None, 10);
    }

    /// The connection breaks; it is opened again after a while, where it was or with a list.
    pub(crate) fn close_watch(&mut self, resume: Option<usize>, wait: u64) {
        self.tell_fresh(false);
        let life = self.lives;
        let Some(watch) = self.watch() else { return };
        watch.state = resume.map_or(State::Closed, State::Resuming);
        let connection = watch.next_connection();
        self.after(wait, Event::Watch { life, connection });
    }

    /// The stream ends; the next one goes on where it was.
    pub(crate) fn cut_watch(&mut self) {
        let place = match self.watch().map(|watch| &watch.state) {
            Some(State::Streaming(place) | State::Resuming(place)) => Some(*place),
            _ => None,
        };
        let wait = self.dice.within(100..5000);
        self.close_watch(place, wait);
    }

    fn tell_fresh(&mut self, fresh: bool) {
        let now = self.now;
        let Some(watch) = self.watch() else { return };
        if watch.fresh == fresh {
            return;
        }
        watch.fresh = fresh;
        let over = match fresh {
            true => {
                watch.seeing_since = Some(now);
                0
            }
            false => watch.seeing_since.take().map_or(0, |since| now - since),
        };
        self.sighted += over;
        self.note(|| format!("  fresh: {fresh}"));
        self.ledger(|ledger, ctx| ledger.freshness(ctx, fresh));
    }

    pub(crate) fn watch_goes_on(&mut self, connection: u64) {
        let life = self.lives;
        let now = self.now;
        let Some(watch) = self.watch().filter(|watch| watch.connection == connection) else { return };
        if watch.held {
            return self.after(500, Event::Watch { life, connection });
        }
        let silence = now - watch.last_bytes;
        let wait = match std::mem::take(&mut watch.state) {
            State::Closed => self.list_begins(),
            State::Asked => self.list_is_read(),
            State::Paging(rest, place) => self.page_comes(rest, place),
            State::Resuming(place) if self.outage => {
                self.set_watch(State::Resuming(place));
                2000
            }
            State::Resuming(place) => self.stream_opens(place),
            State::Streaming(place) if self.outage => return self.close_watch(Some(place), 1000),
            State::Streaming(place) if watch_is_silent(self) => {
                if silence >= FRESH_WITHIN {
                    return self.close_watch(Some(place), 100);
                }
                self.set_watch(State::Streaming(place));
                FRESH_WITHIN - silence
            }
            State::Streaming(place) => self.stream_comes(place),
        };
        self.after(wait, Event::Watch { life, connection });
    }

    fn set_watch(&mut self, state: State) {
        if let Some(watch) = self.watch() {
            watch.state = state;
        }
    }

    fn list_begins(&mut self) -> u64 {
        self.tell_fresh(false);
        self.following(Follow::list_began);
        if let Some(watch) = self.watch() {
            (watch.state, watch.listed) = (State::Asked, false);
        }
        if let Some(daemon) = &self.daemon {
            daemon.cache.0.begin_list();
        }
        self.ledger(Ledger::list_began);
        let slow = self.strikes(Fault::SlowList);
        if slow { self.dice.within(200..15_000) } else { self.dice.within(5..200) }
    }

    /// The server reads the LIST: what is created from here on is not in it.
    fn list_is_read(&mut self) -> u64 {
        if self.outage {
            self.set_watch(State::Closed);
            return 2000;
        }
        let mut pods = self.cluster.list();
        if self.falsifies(&pods) {
            pods.clear();
        }
        let (place, read) = (self.cluster.log.len(), pods.iter().map(|(name, _)| *name).collect());
        if let Some(watch) = self.watch() {
            watch.read = read;
        }
        self.set_watch(State::Paging(pods, place));
        self.following(Follow::list_read);
        let slow = self.strikes(Fault::SlowList);
        if slow { self.dice.within(200..15_000) } else { self.dice.within(5..200) }
    }

    /// Whether this LIST shows nothing of what lives: the guard's case (`lifecycle.md` 6). Only while all that is shown
    /// are ready machines that nobody returns, for about others a wrong view is believed by design.
    fn falsifies(&mut self, pods: &[(MachineName, PodRecord)]) -> bool {
        let was_lying = std::mem::take(&mut self.lying);
        let rows = &self.disk.rows;
        let live = |(name, pod): &(MachineName, PodRecord)| {
            let machine = rows.machine(*name);
            let healthy = pod.is_usable() && pod.disruption.is_none(); // what is going was reported before
            healthy && machine.is_some_and(|machine| machine.uid == Some(pod.uid) && machine.is_live())
        };
        let quiet = self.factory.is_quiet() && self.calls.is_empty();
        let at_most = rows.requests.keys().filter_map(|id| rows.request(*id));
        let waiting =
            at_most.flat_map(|request| request.machines).any(|machine| machine.gone_at.is_none() && !machine.is_live());
        if was_lying || waiting || !quiet || pods.len() < self.policy.guard_min || !pods.iter().all(live) {
            return false;
        }
        self.lying = self.strikes(Fault::LyingList);
        self.lying
    }

    fn page_comes(&mut self, mut rest: Vec<(MachineName, PodRecord)>, place: usize) -> u64 {
        if self.dies_at(Fault::CrashWhileListing) {
            return 0;
        }
        let size = usize::try_from(self.dice.within(1..8)).expect("below 8");
        let size = if self.follow.is_some() { rest.len() } else { size };
        let page: Vec<_> = rest.drain(..size.min(rest.len())).map(|(name, pod)| Change::Applied(name, pod)).collect();
        self.take(&page);
        if !rest.is_empty() {
            self.set_watch(State::Paging(rest, place));
            return self.dice.within(1..300);
        }
        let mut swept = self.daemon.as_ref().map(|daemon| daemon.cache.0.end_list()).unwrap_or_default();
        swept.sort_unstable();
        self.note(|| format!("  listed, {} swept", swept.len()));
        self.following(Follow::list_done);
        let adopted = self.ledger(|ledger, ctx| {
            let rebuilding = ledger.is_rebuilding();
            ledger.list_done(ctx, &swept);
            rebuilding && !ledger.is_rebuilding()
        });
        if adopted == Some(true)
            && let Some(read) = self.watch().map(|watch| watch.read.clone())
        {
            self.model.rebuilt_from = read;
        }
        let now = self.now;
        if let Some(watch) = self.watch() {
            (watch.state, watch.listed, watch.last_bytes) = (State::Streaming(place), true, now);
        }
        self.tell_fresh(true);
        self.dice.within(5..300)
    }

    fn stream_opens(&mut self, place: usize) -> u64 {
        if self.strikes(Fault::WatchExpired) {
            self.set_watch(State::Closed);
            return 10;
        }
        self.set_watch(State::Streaming(place));
        self.dice.within(10..1000)
    }

    fn stream_comes(&mut self, place: usize) -> u64 {
        let waiting = self.cluster.log.len() - place;
        let some = usize::try_from(self.dice.within(1..6)).expect("below 6").min(waiting);
        let some = if self.one_by_one { waiting.min(1) } else { some };
        let changes = self.cluster.log[place..place + some].to_vec();
        self.following(|follow| follow.delivered(&changes));
        self.take(&changes);
        let now = self.now;
        if let Some(watch) = self.watch() {
            (watch.state, watch.last_bytes) = (State::Streaming(place + some), now);
        }
        self.tell_fresh(true);
        let slow = self.strikes(Fault::SlowWatch);
        match slow {
            true => self.dice.within(1000..40_000),
            false if self.one_by_one => 1000,
            false if waiting > some => self.dice.within(1..50),
            false if self.healing => self.dice.within(2000..30_000),
            false => self.dice.within(20..2000),
        }
    }

    /// The cache first, then the engine.
    fn take(&mut self, changes: &[Change]) {
        let Some(daemon) = &self.daemon else { return };
        let names: Vec<_> = changes.iter().filter(|change| apply(&daemon.cache, &self.cluster, change)).collect();
        let names: Vec<_> = names.into_iter().map(name_of).collect();
        if !names.is_empty() {
            self.note(|| format!("  seen: {changes:?}"));
            self.ledger(|ledger, ctx: Ctx<'_>| ledger.pods_seen(ctx, &names));
        }
    }
}

fn watch_is_silent(world: &mut World) -> bool {
    world.watch().is_some_and(|watch| watch.silent)
}

const fn name_of(change: &Change) -> MachineName {
    match change {
        Change::Applied(name, _) | Change::Deleted(name, _) => *name,
    }
}

fn apply(cache: &Cache, cluster: &Cluster, change: &Change) -> bool {
    match change {
        Change::Applied(name, record) => {
            let facts = cluster.facts.get(&name.request);
            if let Some(facts) = facts
                && let (Some(template), Some(count)) = (facts.template.clone(), facts.count)
                && let (Some(accepted_at), Some(journal)) = (facts.accepted_at, facts.journal)
            {
                cache.0.learn_request(name.request, RequestFacts { template, count, accepted_at, journal });
            }
            cache.0.apply(*name, record.clone())
        }
        Change::Deleted(name, uid) => cache.0.delete(name, *uid),
    }
}
