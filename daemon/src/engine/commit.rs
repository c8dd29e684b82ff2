//! Durable before told: batches to the journal, and the replies that wait for them.

use hfd_core::{commits::Order, id::RequestId, ledger::Denied};
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::{Engine, EngineError, PROBE_DISK_EVERY, Refusal, Waiting, context, log};
use crate::{
    clock,
    crash_point::{self, Point},
    journal::CommitError,
};

impl Engine {
    /// Starts a commit when there is something to commit and none is in flight.
    pub(super) fn start_commit(&mut self) {
        let Some(Order { changes, use_reserve }) = self.commits.begin(&mut self.ledger) else { return };
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
            self.start_commit();
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
