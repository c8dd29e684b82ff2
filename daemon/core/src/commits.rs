//! Which commit is in flight, and which replies wait for which commit (`lifecycle.md` 2, 11).
//!
//! ```text
//! wait(reply) ─> next ──begin──> in flight ──durable───> publish, act, tell all of it
//!                 └─────────────────┴───────roll_back──> undo, tell both
//! ```
//! One commit is in flight at a time. A reply waits for the commit that has what it tells: the next one while anything
//! is undecided, else the one in flight. It never leaves before that one has ended, and never waits for ever. Pure: who
//! performs the commit (the engine with the journal) says how it ended.

use std::time::Duration;

use crate::{
    change::{Batch, Change},
    clock::Now,
    ledger::Ledger,
    view::Ctx,
};

/// Time between the begin of a commit and that of the next one for which nobody waits: while thousands of pods come or
/// go, the news of so long are one batch. The API server's own store has the same disk, and each fsync costs it too.
const COMMIT_EVERY: Duration = Duration::from_millis(20);

/// What is to be made durable together, whole or not at all.
#[derive(Debug)]
pub struct Order {
    /// In the order in which they must be written.
    pub changes: Vec<Change>,
    /// It may use the disk reserve.
    pub use_reserve: bool,
}

/// The commit in flight and who waits; `W` is how one that waits is told.
#[derive(Debug)]
pub struct Commits<W> {
    in_flight: Option<(Batch, Vec<W>)>,
    /// They wait for what the next batch will have.
    next: Vec<W>,
    /// When the last commit began, on the monotonic clock.
    begun_at: Duration,
}

impl<W> Default for Commits<W> {
    fn default() -> Self {
        Self { in_flight: None, next: Vec::new(), begun_at: Duration::ZERO }
    }
}

impl<W> Commits<W> {
    /// A commit has begun and has not ended.
    #[must_use]
    pub const fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// When the next commit is to begin, on the monotonic clock: at once where somebody waits for it. `None` while one is
    /// in flight or there is nothing to commit.
    #[must_use]
    pub fn due(&self, ledger: &Ledger) -> Option<Duration> {
        let pause = if self.next.is_empty() { COMMIT_EVERY } else { Duration::ZERO };
        (!self.is_in_flight() && ledger.has_changes()).then(|| self.begun_at + pause)
    }

    /// Begins a commit if one is due.
    pub fn begin_due(&mut self, ledger: &mut Ledger, now: Duration) -> Option<Order> {
        self.due(ledger).filter(|due| *due <= now)?;
        self.begin(ledger, now)
    }

    /// Begins a commit when there is something to commit and none is in flight.
    pub fn begin(&mut self, ledger: &mut Ledger, now: Duration) -> Option<Order> {
        self.due(ledger)?;
        self.begun_at = now;
        let mut batch = ledger.take_batch();
        let order = Order { changes: std::mem::take(&mut batch.changes), use_reserve: batch.uses_reserve };
        self.in_flight = Some((batch, std::mem::take(&mut self.next)));
        Some(order)
    }

    /// Lets `waiting` wait until everything decided until now is durable; gives it back when that is so already.
    pub fn wait(&mut self, ledger: &Ledger, waiting: W) -> Option<W> {
        if ledger.has_changes() {
            self.next.push(waiting);
        } else if let Some((_, in_flight)) = &mut self.in_flight {
            in_flight.push(waiting);
        } else {
            return Some(waiting);
        }
        None
    }

    /// The commit in flight is durable: readers see it first, then the ledger acts upon it; who waited is to be told.
    pub fn durable(&mut self, ledger: &mut Ledger, ctx: Ctx<'_>, publish: impl FnOnce(&Batch)) -> Vec<W> {
        let Some((batch, waiting)) = self.in_flight.take() else { return Vec::new() };
        publish(&batch);
        ledger.committed(ctx, &batch);
        waiting
    }

    /// There was no room for the commit in flight: it and all that was decided since are undone. Who waited for either
    /// is to be told so.
    pub fn roll_back(&mut self, ledger: &mut Ledger, now: Now) -> Vec<W> {
        ledger.roll_back(now);
        let mut waiting = self.in_flight.take().map(|(_, waiting)| waiting).unwrap_or_default();
        waiting.append(&mut self.next);
        waiting
    }
}
