//! Carries the ledger's calls to the API server, each in a task of its own, and their ends back to the engine.
//!
//! It decides nothing: how many run at once is the scheduler's choice, whether one is repeated the ledger's.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use hfd_core::{
    change::Batch,
    id::{JournalId, RequestId},
    ledger::{Action, Call, CallEnd, Slot},
    outcome::{CreateOutcome, DeleteOutcome, ListOutcome, LookOutcome, NamespaceOutcome, NotDone, RefusalKind},
    queue::Target,
    request::{ContentHash, MachineRequest},
};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::{
    journal::Manifests,
    kube::{Cluster, Link, PodManifests, RequestIdentity},
};

/// Without a client, a call is not tried again before this.
const NO_CLIENT_WAIT: Duration = Duration::from_secs(1);

/// What comes back.
#[derive(Debug)]
pub(super) enum Outcome {
    /// One call ended.
    Call { target: Target, slot: Slot, end: CallEnd },
    /// The guard's LIST.
    Listed(ListOutcome),
    /// The namespace.
    Namespace(NamespaceOutcome),
}

/// The actuator. Lives inside the engine, whose tasks it owns.
pub(super) struct Actuator {
    link: Link,
    outcomes: mpsc::Sender<Outcome>,
    tasks: TaskTracker,
    manifests: Manifests,
    /// Manifests of the requests that are creating.
    pods: HashMap<RequestId, Arc<PodManifests>>,
    instance: String,
    journal: JournalId,
}

impl Actuator {
    pub(super) fn new(
        link: Link,
        outcomes: mpsc::Sender<Outcome>,
        manifests: Manifests,
        instance: String,
        journal: JournalId,
    ) -> Self {
        Self { link, outcomes, tasks: TaskTracker::new(), manifests, pods: HashMap::new(), instance, journal }
    }

    /// Remembers a resolved manifest.
    pub(super) fn know_manifest(&mut self, hash: ContentHash, body: &Arc<str>) {
        self.manifests.entry(hash).or_insert_with(|| body.clone());
    }

    /// Forgets the manifests of requests that create nothing any more.
    pub(super) fn forget_ended(&mut self, batch: &Batch) {
        for (id, request) in &batch.requests {
            if request.as_ref().is_none_or(|request| request.terminal.is_some()) {
                self.pods.remove(id);
            }
        }
    }

    /// Starts one call.
    pub(super) fn start(&mut self, call: Call) {
        let Call { target, action, slot } = call;
        let cluster = self.link.current();
        let body = match (&action, &target, &cluster) {
            (Action::Create(request), Target::Machine(name), Some(cluster)) => {
                self.pods_of(request, cluster).map(|pods| pods.pod(name.ordinal))
            }
            _ => None,
        };
        let (outcomes, link) = (self.outcomes.clone(), self.link.clone());
        self.tasks.spawn(async move {
            let end = match cluster {
                Some(cluster) => {
                    let end = perform(&cluster, &target, &action, body).await;
                    if is_unauthorized(&end) {
                        link.rebuild(cluster.build);
                    }
                    end
                }
                None => without_client(&link, &action),
            };
            // The engine outlives its calls; if it is gone all the same, nobody is left to tell.
            let _ended = outcomes.send(Outcome::Call { target, slot, end }).await;
        });
    }

    /// Asks for one quorum LIST.
    pub(super) fn list(&self) {
        let (outcomes, cluster, link) = (self.outcomes.clone(), self.link.current(), self.link.clone());
        self.tasks.spawn(async move {
            let outcome = match cluster {
                Some(cluster) => {
                    let outcome = cluster.list().await;
                    if outcome == ListOutcome::Unauthorized {
                        link.rebuild(cluster.build);
                    }
                    outcome
                }
                None => ListOutcome::NotDone(no_client(&link)),
            };
            let _ended = outcomes.send(Outcome::Listed(outcome)).await;
        });
    }

    /// Asks for the namespace.
    pub(super) fn namespace(&self) {
        let (outcomes, cluster, link) = (self.outcomes.clone(), self.link.current(), self.link.clone());
        self.tasks.spawn(async move {
            let outcome = match cluster {
                Some(cluster) => {
                    let outcome = cluster.namespace_uid().await;
                    if outcome == NamespaceOutcome::Unauthorized {
                        link.rebuild(cluster.build);
                    }
                    outcome
                }
                None => NamespaceOutcome::NotDone(no_client(&link)),
            };
            let _ended = outcomes.send(Outcome::Namespace(outcome)).await;
        });
    }

    /// Nothing more is started; the channel of outcomes ends with the last call.
    pub(super) fn close(&mut self) {
        self.tasks.close();
        let (closed, _) = mpsc::channel(1);
        self.outcomes = closed;
    }

    fn pods_of(&mut self, request: &MachineRequest, cluster: &Cluster) -> Option<Arc<PodManifests>> {
        let vacant = match self.pods.entry(request.id) {
            Entry::Occupied(known) => return Some(known.get().clone()),
            Entry::Vacant(vacant) => vacant,
        };
        let manifest = serde_json::from_str(self.manifests.get(&request.manifest)?).ok()?;
        let identity = RequestIdentity {
            request: request.id,
            namespace: cluster.namespace.clone(),
            instance: self.instance.clone(),
            template: request.template.clone(),
            count: request.count(),
            accepted_at: request.accepted_at,
            journal: self.journal,
        };
        Some(vacant.insert(Arc::new(PodManifests::new(&manifest, &identity))).clone())
    }
}

async fn perform(cluster: &Cluster, target: &Target, action: &Action, body: Option<Vec<u8>>) -> CallEnd {
    let name = match target {
        Target::Machine(name) => name.to_string(),
        Target::Name(name) => name.to_string(),
    };
    match (action, body) {
        (Action::Create(_), Some(body)) => CallEnd::Create(cluster.create(body).await),
        (Action::Create(_), None) => CallEnd::Create(CreateOutcome::Refused {
            kind: RefusalKind::Invalid,
            message: "the journal has no readable manifest for this request".to_owned(),
        }),
        (Action::Delete { uid, force }, _) => CallEnd::Delete(cluster.delete(&name, *uid, *force).await),
        (Action::Look, _) => CallEnd::Look(cluster.look(&name).await),
    }
}

fn is_unauthorized(end: &CallEnd) -> bool {
    matches!(
        end,
        CallEnd::Create(CreateOutcome::Unauthorized)
            | CallEnd::Delete(DeleteOutcome::Unauthorized)
            | CallEnd::Look(LookOutcome::Unauthorized)
    )
}

fn without_client(link: &Link, action: &Action) -> CallEnd {
    let not_done = no_client(link);
    match action {
        Action::Create(_) => CallEnd::Create(CreateOutcome::NotDone(not_done)),
        Action::Delete { .. } => CallEnd::Delete(DeleteOutcome::NotDone(not_done)),
        Action::Look => CallEnd::Look(LookOutcome::NotDone(not_done)),
    }
}

fn no_client(link: &Link) -> NotDone {
    let why = link.trouble().map_or_else(|| "no client for the cluster yet".to_owned(), |why| why.to_string());
    NotDone { why, retry_after: Some(NO_CLIENT_WAIT), throttled: false }
}
