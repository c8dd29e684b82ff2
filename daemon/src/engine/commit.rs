//! Durable before told: batches to the journal, and the replies that wait for them.

use std::time::Duration;

use hfd_core::{commits::Order, id::RequestId, ledger::Denied};
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::{Engine, EngineError, PROBE_DISK_EVERY, Refusal, Waiting, context, log};
use crate::{
    clock,
    crash_point::{self, Point},
    journal::CommitError,
};

/// Time between the begin of a commit and that of the next one for which nobody waits: while thousands of pods come or
/// go, the news of so long are one batch. The API server's own store has the same disk, and each fsync costs it too.
const COMMIT_EVERY: Duration = Duration::from_millis(20);

impl Engine {
    /// Starts a commit when there is something to commit and none is in flight. What nobody waits for has time until
    /// [`Self::commit_due`].
    pub(super) fn start_commit(&mut self) {
        if !self.commits.is_waited_for() && self.commit_due().is_some_and(|due| due > self.started.elapsed()) {
            return;
        }
        self.commit_now();
    }

    /// When what nobody waits for is committed next, if there is such.
    pub(super) fn commit_due(&self) -> Option<Duration> {
        let waits = !self.commits.is_in_flight() && self.ledger.has_changes();
        waits.then(|| self.committed_at + COMMIT_EVERY)
    }

    fn commit_now(&mut self) {
        let Some(Order { changes, use_reserve }) = self.commits.begin(&mut self.ledger) else { return };
        self.committed_at = self.started.elapsed();
        let journal = self.journal.clone();
        self.committing = Some(Box::pin(async move { journal.commit(changes, use_reserve).await }));
    }

    pub(super) fn committed(&mut self, result: Result<(), CommitError>) -> Result<(), EngineError> {
        if self.committing.take().is_none() {
            return Ok(());
        }
        match result {
            Ok(()) => {
                crash_point::pass(Point::AfterJournal);
                let Self { commits, ledger, published, actuator, .. } = self;
                let waiting = commits.durable(ledger, context(self.started, &self.cache), |batch| {
                    log::ends(batch, published);
                    published.publish(batch);
                    actuator.forget_ended(batch);
                });
                self.probe_disk_at = None;
                if !waiting.is_empty() {
                    crash_point::pass(Point::BeforeReply);
                    self.told = true;
                    waiting.into_iter().for_each(|tell| tell(Ok(())));
                    crash_point::pass(Point::AfterReply);
                }
                Ok(())
            }
            Err(CommitError::Full(why)) => {
                warn!(%why, "the journal's disk is full: refusing new requests until there is room");
                let now = clock::now(self.started);
                let waiting = self.commits.roll_back(&mut self.ledger, now);
                waiting.into_iter().for_each(|tell| tell(Err(Refusal::Denied(Denied::DiskFull))));
                self.probe_disk_at = Some(now.mono + PROBE_DISK_EVERY);
                Ok(())
            }
            Err(fatal) => {
                error!(error = %fatal, "the journal failed: stopping, so that nothing is said that is not durable");
                Err(fatal.into())
            }
        }
    }

    pub(super) fn probe_disk(&mut self) {
        let due = self.probe_disk_at.is_some_and(|at| at <= self.started.elapsed());
        if due && self.committing.is_none() {
            self.probe_disk_at = None;
            self.step(|ledger, ctx| ledger.probe_disk(ctx));
        }
    }

    pub(super) fn answer(
        &mut self,
        decided: Result<RequestId, Refusal>,
        reply: oneshot::Sender<Result<RequestId, Refusal>>,
    ) {
        match decided {
            Ok(id) => {
                crash_point::pass(Point::AfterDecide);
                self.reply_when_durable(Box::new(move |result| drop(reply.send(result.map(|()| id)))));
            }
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    /// Replies once everything decided until now is durable.
    pub(super) fn reply_when_durable(&mut self, tell: Waiting) {
        if let Some(tell) = self.commits.wait(&self.ledger, tell) {
            tell(Ok(()));
        }
    }

    /// A clean stop: calls that were sent are heard, and what is decided is committed.
    pub(super) async fn finish(mut self) -> Result<(), EngineError> {
        self.actuator.close();
        while let Some(outcome) = self.outcomes.recv().await {
            self.outcome(outcome);
        }
        loop {
            self.commit_now();
            let Some(future) = &mut self.committing else { return Ok(()) };
            let result = future.as_mut().await;
            let full = matches!(result, Err(CommitError::Full(_)));
            self.committed(result)?;
            if full {
                return Ok(());
            }
        }
    }
}
