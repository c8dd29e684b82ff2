//! What has to become durable together: the journal writes a [`Batch`] in one commit, whole or not at all.
//!
//! Changes are upserts of present values, not deltas, so writing one twice is harmless and loading needs no replay
//! logic of its own.

use std::sync::Arc;

use crate::{
    id::{JournalId, MachineName, PodUid, RequestId},
    machine::Machine,
    request::{ContentHash, MachineRequest},
    returns::{ReturnEntry, ReturnRequest},
};

/// One durable change.
#[derive(Debug, Clone)]
pub enum Change {
    /// A resolved manifest, by content; written before the request that refers to it.
    Manifest {
        /// Its hash.
        hash: ContentHash,
        /// Its JSON.
        body: Arc<str>,
    },
    /// A machine request without its machines.
    Request(Arc<MachineRequest>),
    /// The facts of one machine. A machine without a row has none (or failed at acceptance by the request's limit).
    Machine(MachineName, Machine),
    /// A return request without its entries.
    Return(Arc<ReturnRequest>),
    /// One entry of a return, by position.
    ReturnEntry(RequestId, u32, ReturnEntry),
    /// Facts about the journal itself.
    Meta(Meta),
    /// A machine request or a return whose time is over, with all that belongs to it.
    Forget(RequestId),
}

/// Facts about the journal itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Random id of this journal.
    pub id: JournalId,
    /// The namespace that it is bound to.
    pub namespace: Option<PodUid>,
    /// Journals whose pods were adopted by a rebuild: not a second writer.
    pub adopted_journals: Vec<JournalId>,
    /// A moment at which the daemon was alive, epoch seconds, at most half a minute old while a machine waits: tells
    /// after a restart how long the deadlines were not running.
    pub alive_at: i64,
}

/// What is committed together.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order in which they must be written.
    pub changes: Vec<Change>,
    /// What readers see once the batch is durable; `None` = forgotten.
    pub requests: Vec<(RequestId, Option<Arc<MachineRequest>>)>,
    /// The same for returns.
    pub returns: Vec<(RequestId, Option<Arc<ReturnRequest>>)>,
    /// Machines whose effects have to be looked at again after the commit.
    pub(crate) machines: Vec<MachineName>,
    /// The journal's own facts, where they are written.
    pub(crate) meta: Option<Meta>,
    /// Machine requests accepted in this batch.
    pub(crate) accepted: Vec<RequestId>,
    /// Only returns and facts, no new machine request: may use the disk reserve (`lifecycle.md` 11).
    pub uses_reserve: bool,
}

impl Batch {
    /// There is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// All that a journal holds, as loaded at start.
#[derive(Debug)]
pub struct Restored {
    /// The journal's own facts.
    pub meta: Meta,
    /// Machine requests, complete.
    pub requests: Vec<MachineRequest>,
    /// Return requests, complete.
    pub returns: Vec<ReturnRequest>,
}
