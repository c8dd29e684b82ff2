//! The engine: the one task that owns the ledger.
//!
//! ```text
//! commands ──┐                    ┌─ batch ──> journal ──(durable)──> publish, reply, plan calls
//! Seen ──────┼─> ledger (pure) ───┤
//! outcomes ──┤                    └─ calls, LIST, relist <── derived from committed state ──> actuator tasks
//! clock ─────┘
//! ```
//! One commit is in flight at a time; what is decided meanwhile goes into the next one, so the size of a batch adapts
//! to the speed of the disk. What no reply waits for begins one some milliseconds after the last at the earliest. A
//! reply goes out when the commit that contains its decision is durable, never before. The engine must never wait for
//! the API server, and nobody but it holds `&mut Ledger`.

mod actuator;
mod commit;
mod handle;
mod log;
mod view;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use hfd_core::{
    commits::Commits,
    id::RequestId,
    ledger::{CallEnd, Denied, Ledger},
    outcome::{ListOutcome, NamespaceOutcome},
    view::Ctx,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::actuator::{Actuator, Outcome};
pub use self::handle::{Command, EngineHandle, Refusal};
use crate::{
    cache::PodCache,
    clock,
    crash_point::{self, Point},
    journal::{CommitError, Journal},
    kube::{Link, Seen},
    published::{Health, Published},
};

/// Messages taken from one source before the others have their turn.
const TURN: usize = 256;
/// Longest time between two ticks while nothing has a deadline.
const IDLE_TICK: Duration = Duration::from_secs(30);
/// Time between two ticks while something has a deadline.
const TICK: Duration = Duration::from_secs(1);
/// Room on a full disk is looked for this often.
const PROBE_DISK_EVERY: Duration = Duration::from_secs(2);

/// What the engine works with.
pub struct Parts {
    /// State, as restored from the journal.
    pub ledger: Ledger,
    /// Resolved manifests by content.
    pub manifests: crate::journal::Manifests,
    /// The journal.
    pub journal: Arc<Journal>,
    /// The pod cache; the engine only reads it.
    pub cache: Arc<PodCache>,
    /// Where committed state is published.
    pub published: Arc<Published>,
    /// The way to the cluster.
    pub link: Link,
    /// Makes the watch start over with a fresh LIST.
    pub relist: Arc<Notify>,
    /// What the watch sees.
    pub seen: mpsc::Receiver<Seen>,
    /// What callers want.
    pub commands: mpsc::Receiver<Command>,
    /// The provider instance.
    pub instance: String,
    /// Start of this life.
    pub started: Instant,
    /// Calls in flight at most.
    pub concurrency: usize,
}

/// Why the engine ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The journal failed: what is durable is unknown, so nothing may be said any more.
    #[error(transparent)]
    Journal(#[from] CommitError),
    /// A task it depends on ended.
    #[error("the {0} ended unexpectedly")]
    PartEnded(&'static str),
}

type Committing = Pin<Box<dyn Future<Output = Result<(), CommitError>> + Send>>;
/// Told when the commit that a reply waits for has ended.
type Waiting = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

/// The engine's task.
pub struct Engine {
    ledger: Ledger,
    journal: Arc<Journal>,
    cache: Arc<PodCache>,
    published: Arc<Published>,
    actuator: Actuator,
    relist: Arc<Notify>,
    seen: mpsc::Receiver<Seen>,
    commands: mpsc::Receiver<Command>,
    outcomes: mpsc::Receiver<Outcome>,
    started: Instant,
    committing: Option<Committing>,
    commits: Commits<Waiting>,
    /// Somebody was told just now that a commit has ended.
    told: bool,
    rebuilds: Vec<oneshot::Sender<Result<hfd_core::ledger::Rebuilt, Refusal>>>,
    probe_disk_at: Option<Duration>,
    /// When the ledger was ticked last; what keeps coming in must not put the next tick off.
    ticked_at: Duration,
    /// What the watch said of its own state last, for people.
    fresh: bool,
    /// What the log was told last of a namespace that goes.
    namespace_going: Option<&'static str>,
}

enum Input {
    Command(Command),
    Seen(Seen),
    Outcome(Outcome),
    Committed(Result<(), CommitError>),
    CommitDue,
    Tick,
}

impl Engine {
    /// Puts the parts together and publishes what the journal holds.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (outcomes_tx, outcomes) = mpsc::channel(parts.concurrency.max(8) * 2);
        let meta = parts.ledger.meta();
        let actuator = Actuator::new(parts.link, outcomes_tx, parts.manifests, parts.instance, meta.id);
        let (requests, returns) = parts.ledger.all_committed();
        parts.published.publish_all(requests, returns);
        let mut engine = Self {
            ledger: parts.ledger,
            journal: parts.journal,
            cache: parts.cache,
            published: parts.published,
            actuator,
            relist: parts.relist,
            seen: parts.seen,
            commands: parts.commands,
            outcomes,
            started: parts.started,
            committing: None,
            commits: Commits::default(),
            told: false,
            rebuilds: Vec::new(),
            probe_disk_at: None,
            ticked_at: Duration::ZERO,
            fresh: false,
            namespace_going: None,
        };
        engine.step(|ledger, ctx| ledger.resume(ctx));
        engine.publish_view();
        engine
    }

    /// Runs until `shutdown`; then finishes the commit in flight and the calls that were sent.
    ///
    /// # Errors
    /// [`EngineError`] when going on would risk a promise; the process has to stop.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), EngineError> {
        loop {
            self.go_on();
            let input = tokio::select! {
                // Once told to stop, the parts around end as well: that is no failure.
                biased;
                () = shutdown.cancelled() => return self.finish().await,
                input = self.next_input() => input?,
            };
            self.take(input)?;
            if std::mem::take(&mut self.told) {
                // Who was told goes first: their replies would wait for the calls that are made next.
                let_others_run().await;
            }
            self.take_what_waits()?;
        }
    }

    /// Starts whatever can be started: a commit, calls, questions.
    fn go_on(&mut self) {
        self.start_commit();
        let ctx = context(self.started, &self.cache);
        while let Some(call) = self.ledger.next_call(ctx) {
            self.actuator.start(call);
        }
        let needs = self.ledger.take_needs();
        if needs.list {
            info!("many machines seem lost at once: asking the API server before anyone is told");
            self.actuator.list();
        }
        if needs.namespace {
            self.actuator.namespace();
        }
        if needs.relist {
            self.relist.notify_one();
        }
        self.publish_view();
    }

    async fn next_input(&mut self) -> Result<Input, EngineError> {
        let (tick, commit) =
            (self.next_tick(), self.commit_due().map(|due| due.saturating_sub(self.started.elapsed())));
        tokio::select! {
            result = commit::ended(&mut self.committing) => Ok(Input::Committed(result)),
            outcome = self.outcomes.recv() => {
                outcome.map(Input::Outcome).ok_or(EngineError::PartEnded("actuator"))
            }
            seen = self.seen.recv() => seen.map(Input::Seen).ok_or(EngineError::PartEnded("pod watch")),
            command = self.commands.recv() => {
                command.map(Input::Command).ok_or(EngineError::PartEnded("RPC server"))
            }
            () = tokio::time::sleep(commit.unwrap_or_default()), if commit.is_some() => Ok(Input::CommitDue),
            () = tokio::time::sleep(tick) => Ok(Input::Tick),
        }
    }

    /// Takes what is there already, so that one commit covers it all.
    fn take_what_waits(&mut self) -> Result<(), EngineError> {
        for _ in 0..TURN {
            let Ok(outcome) = self.outcomes.try_recv() else { break };
            self.take(Input::Outcome(outcome))?;
        }
        for _ in 0..TURN {
            let Ok(command) = self.commands.try_recv() else { break };
            self.take(Input::Command(command))?;
        }
        Ok(())
    }

    fn take(&mut self, input: Input) -> Result<(), EngineError> {
        match input {
            Input::Command(command) => self.command(command),
            Input::Seen(seen) => self.seen(seen),
            Input::Outcome(outcome) => self.outcome(outcome),
            Input::Committed(result) => self.committed(result)?,
            Input::CommitDue => {}
            Input::Tick => {
                self.ticked_at = self.started.elapsed();
                let last_poll = self.published.last_poll();
                self.step(|ledger, ctx| ledger.tick(ctx, last_poll));
                self.probe_disk();
            }
        }
        if let Some(rebuilt) = self.ledger.take_rebuilt() {
            crash_point::pass(Point::DuringRebuild);
            info!(requests = rebuilt.requests, machines = rebuilt.machines, "rebuilt from the cluster");
            for reply in std::mem::take(&mut self.rebuilds) {
                let tell = move |result: Result<(), Refusal>| drop(reply.send(result.map(|()| rebuilt)));
                self.reply_when_durable(Box::new(tell));
            }
        }
        Ok(())
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::RequestMachines { new, deadline, reply } => {
                let (template, count, caller) = (new.template.id.clone(), new.count, new.caller);
                self.actuator.know_manifest(new.template.manifest, &new.template.body);
                let decided = self.in_time(deadline, |ledger, ctx| ledger.request_machines(ctx, new));
                if let Ok(id) = &decided {
                    info!(request = %id, %template, count, peer_uid = caller.uid, peer_pid = caller.pid, "machines requested");
                }
                self.answer(decided, reply);
            }
            Command::ReturnMachines { new, force, deadline, reply } => {
                let (count, caller) = (new.machines.len(), new.caller);
                let forced: Vec<_> = match force {
                    true => new.machines.iter().filter_map(|machine| machine.name.parse().ok()).collect(),
                    false => Vec::new(),
                };
                let decided = self.in_time(deadline, |ledger, ctx| {
                    let id = ledger.return_machines(ctx, new)?;
                    ledger.force(ctx, &forced);
                    Ok(id)
                });
                if let Ok(id) = &decided {
                    info!(request = %id, count, peer_uid = caller.uid, peer_pid = caller.pid, force, "machines returned");
                }
                self.answer(decided, reply);
            }
            Command::Polled { ids, reply } => {
                self.ledger.polled(&ids);
                crash_point::pass(Point::AfterDecide);
                // A poll is answered even when the mark cannot be made durable now.
                self.reply_when_durable(Box::new(move |_| {
                    let _gone = reply.send(()); // the caller may have left
                }));
            }
            Command::Told { ids } => self.step(|ledger, ctx| ledger.told(ctx, &ids)),
            Command::Ask(question) => question(&self.ledger, context(self.started, &self.cache)),
            Command::Rebuild { reply } => {
                info!("a rebuild from the cluster was asked for");
                self.rebuilds.push(reply);
                self.step(|ledger, ctx| ledger.start_rebuild(ctx));
            }
            Command::AcceptNamespace { reply } => {
                let decided = self.step(|ledger, ctx| ledger.accept_namespace(ctx));
                match decided {
                    Ok(uid) => {
                        warn!(%uid, "the namespace was accepted by an operator");
                        self.reply_when_durable(Box::new(move |result| drop(reply.send(result.map(|()| uid)))));
                    }
                    Err(why) => drop(reply.send(Err(Refusal::Refused(why)))),
                }
            }
        }
    }

    fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::ListBegan => self.step(|ledger, ctx| ledger.list_began(ctx)),
            Seen::Pods(pods) => {
                let names: Vec<_> = pods.iter().map(|pod| pod.name).collect();
                self.step(|ledger, ctx| ledger.pods_seen(ctx, &names));
            }
            Seen::ListDone { swept } => {
                crash_point::pass(Point::AfterSync);
                info!(pods = self.cache.len(), vanished = swept.len(), "the cluster's pods are listed");
                self.step(|ledger, ctx| ledger.list_done(ctx, &swept));
            }
            Seen::Fresh(fresh) => {
                if self.fresh && !fresh {
                    warn!("the view of the cluster is not fresh: no verdicts until it is");
                }
                self.fresh = fresh;
                if fresh {
                    self.published.note_watch_trouble(None);
                }
                self.step(|ledger, ctx| ledger.freshness(ctx, fresh));
            }
            Seen::Unauthorized => {
                warn!("the API server does not accept our credentials: getting new ones");
                self.published.note_watch_trouble(Some("the API server does not accept our credentials (401)"));
            }
            Seen::Failed(why) => {
                if self.published.watch_trouble().as_deref() != Some(why.as_str()) {
                    warn!(%why, "the watch broke and is resumed");
                }
                self.published.note_watch_trouble(Some(&why));
            }
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Call { target, slot, end } => {
                match end {
                    CallEnd::Create(_) => crash_point::pass(Point::BetweenCreates),
                    CallEnd::Delete(_) => crash_point::pass(Point::BetweenDeletes),
                    CallEnd::Look(_) => {}
                }
                self.step(|ledger, ctx| ledger.call_ended(ctx, &target, &slot, end));
            }
            Outcome::Listed(outcome) => {
                if let ListOutcome::Pods(pods) = &outcome {
                    info!(pods = pods.len(), "the API server confirmed what runs");
                }
                self.step(|ledger, ctx| ledger.guard_listed(ctx, outcome));
            }
            Outcome::Namespace(outcome) => {
                // It is asked for again and again while it goes or is gone.
                let going = match outcome {
                    NamespaceOutcome::NotFound => Some("the namespace does not exist"),
                    NamespaceOutcome::Terminating(_) => Some("the namespace is being deleted with all pods in it"),
                    _ => None,
                };
                if let Some(what) = going.filter(|_| self.namespace_going != going) {
                    warn!("{what}");
                }
                self.namespace_going = going;
                self.step(|ledger, ctx| ledger.namespace_seen(ctx, &outcome));
            }
        }
    }

    /// One step of the ledger at this instant.
    fn step<T>(&mut self, step: impl FnOnce(&mut Ledger, Ctx<'_>) -> T) -> T {
        step(&mut self.ledger, context(self.started, &self.cache))
    }

    /// Decides, unless the caller has given up already: then nothing is stored that nobody would learn of.
    fn in_time(
        &mut self,
        deadline: Option<SystemTime>,
        decide: impl FnOnce(&mut Ledger, Ctx<'_>) -> Result<RequestId, Denied>,
    ) -> Result<RequestId, Refusal> {
        if deadline.is_some_and(|deadline| deadline <= SystemTime::now()) {
            return Err(Refusal::TooLate);
        }
        self.step(decide).map_err(Refusal::Denied)
    }

    fn publish_view(&mut self) {
        let at_risk = self.ledger.take_at_risk_changes();
        log::at_risk(&at_risk, &self.published);
        self.published.publish_at_risk(at_risk);
        self.published.publish_troubles(self.ledger.take_trouble_changes());
        self.published.publish_health(Health {
            mode: self.ledger.mode(),
            binding: self.ledger.binding(),
            sighted: self.ledger.is_sighted(),
            guarding: self.ledger.is_guarding(),
            disk_full: self.ledger.is_disk_full(),
        });
    }

    fn next_tick(&self) -> Duration {
        let now = self.started.elapsed();
        let longest = if self.ledger.has_deadlines() || self.probe_disk_at.is_some() { TICK } else { IDLE_TICK };
        let due = self.ticked_at + longest;
        self.ledger.next_wake().map_or(due, |at| at.min(due)).saturating_sub(now)
    }
}

/// Lets those run who can, and then us: at the end of the queue, from which an idle thread may take us. What
/// `tokio::task::yield_now` sets aside comes back only after a thread's next look at its sockets, dozens of answers later.
async fn let_others_run() {
    let mut has_waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn context(started: Instant, cache: &PodCache) -> Ctx<'_> {
    Ctx { now: clock::now(started), pods: cache }
}
