//! Durable before told: batches to the journal, and the replies that wait for them.

use std::time::Duration;

use hfd_core::{commits::Order, id::RequestId, ledger::Denied};
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::{Committing, Engine, EngineError, PROBE_DISK_EVERY, Refusal, Waiting, context, log};
use crate::{
    clock,
    crash_point::{self, Point},
    journal::CommitError,
};

impl Engine {
    /// Starts a commit when one is due. What nobody waits for has time until [`Self::commit_due`].
    pub(super) fn start_commit(&mut self) {
        let order = self.commits.begin_due(&mut self.ledger, self.started.elapsed());
        self.give(order);
    }

    /// When the next commit is to begin.
    pub(super) fn commit_due(&self) -> Option<Duration> {
        self.commits.due(&self.ledger)
    }

    fn commit_now(&mut self) {
        let order = self.commits.begin(&mut self.ledger, self.started.elapsed());
        self.give(order);
    }

    fn give(&mut self, order: Option<Order>) {
        let Some(Order { changes, use_reserve }) = order else { return };
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
                // What a return covers is no longer asked for by us once the return is acknowledged.
                self.publish_view();
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

    /// A clean stop: what is decided is committed, and calls that were sent are heard. The API server may let a call
    /// wait for longer than the service manager waits for us, so no commit waits for a call.
    pub(super) async fn finish(mut self) -> Result<(), EngineError> {
        self.actuator.close();
        let (mut calls, mut disk_full) = (true, false);
        loop {
            if !disk_full {
                self.commit_now();
            }
            if !calls && self.committing.is_none() {
                return Ok(());
            }
            let Self { committing, outcomes, .. } = &mut self;
            tokio::select! {
                result = ended(committing) => {
                    disk_full = matches!(result, Err(CommitError::Full(_)));
                    self.committed(result)?;
                }
                outcome = outcomes.recv(), if calls => match outcome {
                    Some(outcome) => self.outcome(outcome),
                    None => calls = false,
                },
            }
        }
    }
}

/// The end of the commit in flight, if there is one.
pub(super) async fn ended(committing: &mut Option<Committing>) -> Result<(), CommitError> {
    match committing {
        Some(future) => future.as_mut().await,
        None => std::future::pending().await,
    }
}
