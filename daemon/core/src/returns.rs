//! Return requests: what HostFactory gave back, and how far its going is (`lifecycle.md` 5).

use std::{net::IpAddr, sync::Arc};

use crate::{
    id::{MachineName, RequestId},
    request::{Caller, Key},
};

/// A return request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnRequest {
    /// Its id.
    pub id: RequestId,
    /// Wall time of acceptance, epoch seconds.
    pub accepted_at: i64,
    /// Seconds after which what is not gone is reported as failed; blind time counts too.
    pub deadline: u32,
    /// Idempotency key, when the caller gave one.
    pub key: Option<Key>,
    /// Who asked.
    pub caller: Caller,
    /// When every entry had its end, epoch seconds; from then on the answer is frozen.
    pub ended_at: Option<i64>,
    /// When the terminal answer was given for the first time, epoch seconds.
    pub told_at: Option<i64>,
    /// What was returned, in the caller's order.
    pub entries: Vec<ReturnEntry>,
}

/// One returned machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnEntry {
    /// The name as given: data, never a path.
    pub name: Arc<str>,
    /// The machineId as given; `None` when absent, empty or equal to the name.
    pub machine_id: Option<Arc<str>>,
    /// Our machine of that name; `None` while (or because) we know none.
    pub machine: Option<MachineName>,
    /// Its address, for the answer, kept so that it outlives the machine request.
    pub ip: Option<IpAddr>,
    /// Its launch time, for the answer.
    pub launchtime: i64,
    /// Its end.
    pub end: Option<ReturnEnd>,
}

/// How the return of one machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReturnEnd {
    /// No pod of that name is left.
    Gone,
    /// Not gone by the deadline, or not ours to delete: why, and what holds it.
    Failed(Arc<str>),
}

impl ReturnRequest {
    /// Every entry has its end.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.entries.iter().all(|entry| entry.end.is_some())
    }
}
