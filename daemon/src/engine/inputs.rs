//! What comes in, turned into steps of the ledger: what callers want, what the watch sees, how calls end.

use std::time::SystemTime;

use hfd_core::{
    id::RequestId,
    ledger::{CallEnd, Denied, Ledger},
    outcome::{ListOutcome, NamespaceOutcome},
    view::Ctx,
};
use tracing::{info, warn};

use super::{Command, Engine, Refusal, actuator::Outcome, context};
use crate::{
    crash_point::{self, Point},
    kube::Seen,
};

impl Engine {
    pub(super) fn command(&mut self, command: Command) {
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

    pub(super) fn seen(&mut self, seen: Seen) {
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

    pub(super) fn outcome(&mut self, outcome: Outcome) {
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
}
