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
mod inputs;
mod log;
mod view;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use hfd_core::{commits::Commits, ledger::Ledger, view::Ctx};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::info;

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

    /// One step of the ledger at this instant.
    fn step<T>(&mut self, step: impl FnOnce(&mut Ledger, Ctx<'_>) -> T) -> T {
        step(&mut self.ledger, context(self.started, &self.cache))
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
