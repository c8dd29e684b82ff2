//! What readers see: the committed state, put here by the engine alone after each commit.
//!
//! A reader takes a shared value out of a sharded map and works on it without any lock, so an answer of 10,000
//! machines holds nobody up, and no answer waits for the engine, the disk or the API server.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;
use hfd_core::{
    answer::Committed,
    change::Batch,
    id::{MachineName, RequestId},
    ledger::{AtRisk, Binding, Mode},
    request::MachineRequest,
    returns::ReturnRequest,
};

/// How far answers can be trusted; changes with the view, not with single machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// How far the journal can be trusted.
    pub mode: Mode,
    /// Whether the namespace is the journal's.
    pub binding: Binding,
    /// The view is synced, fresh and of the right namespace.
    pub sighted: bool,
    /// A mass loss waits for its confirmation.
    pub guarding: bool,
    /// The journal's disk is full.
    pub disk_full: bool,
}

/// Committed state for readers.
#[derive(Debug)]
pub struct Published {
    requests: DashMap<RequestId, Arc<MachineRequest>>,
    returns: DashMap<RequestId, Arc<ReturnRequest>>,
    at_risk: DashMap<MachineName, AtRisk>,
    troubles: DashMap<Arc<str>, Arc<str>>,
    /// Held for a copy of a few bytes.
    health: RwLock<Health>,
    /// What the watch complained about last. Held for a pointer's copy.
    watch_trouble: RwLock<Option<Arc<str>>>,
    started: Instant,
    /// Milliseconds since `started` of HostFactory's last getRequestStatus, plus 1; 0 = none.
    last_poll: AtomicU64,
}

impl Published {
    /// An empty state; `started` is the start of this life.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        Self {
            requests: DashMap::new(),
            returns: DashMap::new(),
            at_risk: DashMap::new(),
            troubles: DashMap::new(),
            health: RwLock::new(Health {
                mode: Mode::FirstStart,
                binding: Binding::Unknown,
                sighted: false,
                guarding: false,
                disk_full: false,
            }),
            watch_trouble: RwLock::new(None),
            started,
            last_poll: AtomicU64::new(0),
        }
    }

    /// How far answers can be trusted.
    #[must_use]
    pub fn health(&self) -> Health {
        *self.health.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the watch does not see the cluster, until it does again.
    #[must_use]
    pub fn watch_trouble(&self) -> Option<Arc<str>> {
        self.watch_trouble.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_watch_trouble(&self, why: Option<&str>) {
        *self.watch_trouble.write().unwrap_or_else(PoisonError::into_inner) = why.map(Into::into);
    }

    /// HostFactory asked for the status of something, now.
    pub fn note_poll(&self) {
        let at = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.last_poll.store(at + 1, Ordering::Relaxed);
    }

    /// When HostFactory asked last, since the start of this life.
    #[must_use]
    pub fn last_poll(&self) -> Option<Duration> {
        self.last_poll.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_millis)
    }

    /// Every machine request, in no order.
    #[must_use]
    pub fn all_requests(&self) -> Vec<Arc<MachineRequest>> {
        self.requests.iter().map(|entry| entry.value().clone()).collect()
    }

    /// Every return, in no order.
    #[must_use]
    pub fn all_returns(&self) -> Vec<Arc<ReturnRequest>> {
        self.returns.iter().map(|entry| entry.value().clone()).collect()
    }

    /// Makes a durable batch visible.
    pub fn publish(&self, batch: &Batch) {
        for (id, request) in &batch.requests {
            match request {
                Some(request) => drop(self.requests.insert(*id, request.clone())),
                None => drop(self.requests.remove(id)),
            }
        }
        for (id, request) in &batch.returns {
            match request {
                Some(request) => drop(self.returns.insert(*id, request.clone())),
                None => drop(self.returns.remove(id)),
            }
        }
    }

    /// Makes visible what the journal holds, after a start.
    pub fn publish_all(
        &self,
        requests: impl Iterator<Item = (RequestId, Arc<MachineRequest>)>,
        returns: impl Iterator<Item = (RequestId, Arc<ReturnRequest>)>,
    ) {
        requests.for_each(|(id, request)| drop(self.requests.insert(id, request)));
        returns.for_each(|(id, request)| drop(self.returns.insert(id, request)));
    }

    /// Makes changes of what is at risk visible.
    pub fn publish_at_risk(&self, changes: Vec<(MachineName, Option<AtRisk>)>) {
        for (name, risk) in changes {
            match risk {
                Some(risk) => drop(self.at_risk.insert(name, risk)),
                None => drop(self.at_risk.remove(&name)),
            }
        }
    }

    /// Makes changes of what keeps returned machines visible.
    pub fn publish_troubles(&self, changes: Vec<(Arc<str>, Option<Arc<str>>)>) {
        for (name, why) in changes {
            match why {
                Some(why) => drop(self.troubles.insert(name, why)),
                None => drop(self.troubles.remove(&name)),
            }
        }
    }

    /// Makes visible how far answers can be trusted.
    pub fn publish_health(&self, health: Health) {
        if self.health() != health {
            *self.health.write().unwrap_or_else(PoisonError::into_inner) = health;
        }
    }
}

impl Committed for Published {
    fn request(&self, id: RequestId) -> Option<Arc<MachineRequest>> {
        self.requests.get(&id).map(|entry| entry.value().clone())
    }

    fn return_request(&self, id: RequestId) -> Option<Arc<ReturnRequest>> {
        self.returns.get(&id).map(|entry| entry.value().clone())
    }

    fn at_risk(&self, name: MachineName) -> Option<AtRisk> {
        self.at_risk.get(&name).map(|entry| *entry.value())
    }

    fn all_at_risk(&self) -> Vec<(MachineName, AtRisk)> {
        self.at_risk.iter().map(|entry| (*entry.key(), *entry.value())).collect()
    }

    fn trouble(&self, name: &str) -> Option<Arc<str>> {
        self.troubles.get(name).map(|entry| entry.value().clone())
    }
}
