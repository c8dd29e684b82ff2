//! The disk: a naive journal of everything that was made durable, and beside it the real one.
//!
//! The naive one keeps the rows of [`Change`] in maps. On the seeds that have it, the real one (`hfd::journal`) is
//! written with the same changes, closed and opened again at each crash, and must then hold the same.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use hfd::journal::{CommitError, Journal, Options};
use hfd_core::{
    change::{Change, Meta, Restored},
    commits::Order,
    id::{JournalId, MachineName, RequestId},
    machine::Machine,
    request::MachineRequest,
    returns::{ReturnEntry, ReturnRequest},
};

/// Rows by key, as they are durable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) requests: BTreeMap<RequestId, Arc<MachineRequest>>,
    pub(crate) machines: BTreeMap<MachineName, Machine>,
    pub(crate) returns: BTreeMap<RequestId, Arc<ReturnRequest>>,
    pub(crate) entries: BTreeMap<(RequestId, u32), ReturnEntry>,
}

/// The disk of one world.
pub(crate) struct Disk {
    pub(crate) rows: Rows,
    pub(crate) meta: Meta,
    /// No room: nothing new is written.
    pub(crate) full: bool,
    /// ... but for what may use the reserve.
    pub(crate) reserve: bool,
    /// The next write fails, and whether it took effect nobody knows.
    pub(crate) broken: bool,
    real: Option<Real>,
}

struct Real {
    journal: Option<Journal>,
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Disk {
    /// An empty journal; the real one chooses its own id, so it is asked for it.
    pub(crate) fn new(with_real: bool, id: JournalId, now: i64) -> Self {
        let meta = Meta { id, namespace: None, adopted_journals: Vec::new(), alive_at: now };
        let mut real = None;
        if with_real {
            let mut made = Real::new();
            // Its own id and time of making are by chance and by the clock: the first batch replaces them.
            made.write(vec![Change::Meta(meta.clone())]).expect("a new journal takes its facts");
            real = Some(made);
        }
        Self { rows: Rows::default(), meta, full: false, reserve: false, broken: false, real }
    }

    /// The state directory is lost, and the next start makes a new journal.
    pub(crate) fn lose(&mut self, id: JournalId, now: i64) {
        *self = Self::new(self.real.is_some(), id, now);
    }

    /// There is no room for it.
    pub(crate) fn refuses(&self, order: &Order) -> bool {
        self.full && !(order.use_reserve && self.reserve)
    }

    /// Writes a batch.
    pub(crate) fn write(&mut self, changes: Vec<Change>) {
        for change in &changes {
            self.rows.apply(change, &mut self.meta);
        }
        if let Some(real) = &mut self.real {
            real.write(changes).expect("the real journal has room");
        }
    }

    /// What a start finds.
    pub(crate) fn restore(&mut self) -> Restored {
        let restored = self.rows.restored(&self.meta);
        if let Some(real) = &mut self.real {
            let held = real.reopen();
            assert_eq!(held.meta, restored.meta, "the journal's own facts");
            assert_eq!(held.returns, restored.returns, "the returns in the journal");
            assert_eq!(held.requests, restored.requests, "the requests in the journal");
        }
        restored
    }
}

impl Rows {
    fn apply(&mut self, change: &Change, meta: &mut Meta) {
        match change {
            Change::Manifest { .. } => {}
            Change::Request(request) => drop(self.requests.insert(request.id, request.clone())),
            Change::Machine(name, machine) => drop(self.machines.insert(*name, machine.clone())),
            Change::Return(returned) => drop(self.returns.insert(returned.id, returned.clone())),
            Change::ReturnEntry(id, place, entry) => drop(self.entries.insert((*id, *place), entry.clone())),
            Change::Meta(facts) => *meta = facts.clone(),
            Change::Forget(id) => {
                self.requests.remove(id);
                self.machines.retain(|name, _| name.request != *id);
                self.returns.remove(id);
                self.entries.retain(|(of, _), _| of != id);
            }
        }
    }

    /// One machine's facts; `None` = there is no such machine.
    pub(crate) fn machine(&self, name: MachineName) -> Option<Machine> {
        let request = self.requests.get(&name.request)?;
        if name.ordinal >= request.count() {
            return None;
        }
        Some(self.machines.get(&name).cloned().unwrap_or_else(|| {
            let beyond = name.ordinal >= request.granted;
            let verdict = request.machines[name.ordinal as usize].verdict.clone().filter(|_| beyond);
            let gone_at = verdict.as_ref().map(|_| request.accepted_at);
            Machine { verdict, gone_at, ..Machine::default() }
        }))
    }

    pub(crate) fn request(&self, id: RequestId) -> Option<MachineRequest> {
        let header = self.requests.get(&id)?;
        let mut request = MachineRequest::clone(header);
        request.machines = (0..header.count())
            .map(|ordinal| self.machine(MachineName { request: id, ordinal }).expect("it is below the count"))
            .collect();
        Some(request)
    }

    pub(crate) fn return_request(&self, id: RequestId) -> Option<ReturnRequest> {
        let mut returned = ReturnRequest::clone(self.returns.get(&id)?);
        returned.entries = self.entries.range((id, 0)..=(id, u32::MAX)).map(|(_, entry)| entry.clone()).collect();
        Some(returned)
    }

    fn restored(&self, meta: &Meta) -> Restored {
        let mut requests: Vec<_> = self.requests.keys().filter_map(|id| self.request(*id)).collect();
        requests.sort_by_key(|request| (request.accepted_at, request.id));
        let mut returns: Vec<_> = self.returns.keys().filter_map(|id| self.return_request(*id)).collect();
        returns.sort_by_key(|returned| (returned.accepted_at, returned.id));
        Restored { meta: meta.clone(), requests, returns }
    }
}

impl Real {
    fn new() -> Self {
        // In memory where there is such a place: thousands of runs sync thousands of times.
        let place = PathBuf::from("/dev/shm");
        let directory = if place.is_dir() { tempfile::tempdir_in(place) } else { tempfile::tempdir() };
        let directory = directory.expect("a temporary directory");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
        let mut real = Self { journal: None, directory, runtime };
        real.reopen();
        real
    }

    fn write(&mut self, changes: Vec<Change>) -> Result<(), CommitError> {
        let journal = self.journal.as_ref().expect("it is open but for a moment");
        self.runtime.block_on(journal.commit(changes, false))
    }

    fn reopen(&mut self) -> Restored {
        if let Some(journal) = self.journal.take() {
            self.runtime.block_on(journal.close());
        }
        let options = Options { reserve_bytes: 0, ..Options::default() };
        let opened = Journal::open(&self.directory.path().join("journal"), &options);
        let (journal, restored, _) = opened.expect("what was closed can be opened");
        self.journal = Some(journal);
        restored
    }
}
