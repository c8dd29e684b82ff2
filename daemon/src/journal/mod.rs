//! The journal: what hfd has accepted and seen, durable in one SQLite file, before anything is answered.
//!
//! ```text
//! engine ── commit(changes) ──> bounded channel ──> thread "hfd-journal" ── BEGIN .. COMMIT (fsync) ──> answer
//!                                                        └─ idle: checkpoint, reserve
//! ```
//! One thread owns the connection; a batch is one transaction, answered after its fsync, whole or not at all. There is
//! no replay logic: changes are upserts of present values, and [`Journal::open`] reads the values back.
//!
//! It must never answer before the disk has it, never start empty where a journal was or is damaged, never go on after
//! a failed write that is not "disk full" (`lifecycle.md` 11), and never grow without bound: ended requests are
//! forgotten by the core, the write-ahead log is checkpointed, space is reused.

mod error;
mod file_system;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod load;
mod place;
mod reserve;
mod schema;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod values;
#[cfg(any(test, feature = "workloads"))]
pub(crate) mod workloads;
mod write;
mod writer;

use std::{collections::HashMap, path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use hfd_core::{
    change::{Change, Restored},
    request::ContentHash,
};
use tokio::sync::{mpsc, oneshot};

pub use self::{
    error::{CommitError, OpenError},
    status::JournalStatus,
};
use self::{status::Facts, store::Store, writer::Order};

/// Resolved manifests by content.
pub type Manifests = HashMap<ContentHash, Arc<str>>;

/// Commits that may wait for the journal's thread. The engine has one in flight, so more than a few is a fault.
const QUEUE: usize = 8;

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes set aside on the disk for returns, for when it is full (`lifecycle.md` 11); 0 = none.
    pub reserve_bytes: u64,
    /// Without a commit for this long, the write-ahead log is emptied. Between commits that would double their cost.
    pub idle_checkpoint: Duration,
    /// Work on a network file system although locks and fsync of many of them are not to be trusted.
    pub allow_network_file_system: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // A return of 10,000 machines writes about 2 MiB of log.
            reserve_bytes: 4 << 20,
            idle_checkpoint: Duration::from_secs(60),
            allow_network_file_system: false,
        }
    }
}

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    orders_tx: mpsc::Sender<Order>,
    facts: Arc<Facts>,
    thread: JoinHandle<()>,
}

impl Journal {
    /// Opens the journal at `path`, in an existing directory, and reads all that it holds. Where there is none, one is
    /// made under a new random id and is durable when this returns; so is everything that this returns. Blocks.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do. Then nothing was changed: what is damaged, foreign, newer or in
    /// use stays as it was found.
    pub fn open(path: &Path, options: &Options) -> Result<(Self, Restored, Manifests), OpenError> {
        let (store, restored, manifests) = Store::open(path, options)?;
        let facts = store.facts();
        let (orders_tx, orders_rx) = mpsc::channel(QUEUE);
        let thread = writer::spawn(store, orders_rx, options.idle_checkpoint).map_err(|source| OpenError::Io {
            action: "start the thread of",
            path: path.to_owned(),
            source,
        })?;
        Ok((Self { orders_tx, facts, thread }, restored, manifests))
    }

    /// Makes a batch durable, whole or not at all, in the order given; returns once the disk has it. `use_reserve`: on
    /// a full disk the reserve is given up for it. An empty batch writes nothing and tells that the thread is alive.
    ///
    /// A caller that stops waiting does not stop the commit.
    ///
    /// # Errors
    /// [`CommitError`] says whether it can be tried again.
    pub async fn commit(&self, changes: Vec<Change>, use_reserve: bool) -> Result<(), CommitError> {
        let (done_tx, done_rx) = oneshot::channel();
        let order = Order { changes, use_reserve, done_tx };
        self.orders_tx.send(order).await.map_err(|_| CommitError::Stopped)?;
        done_rx.await.map_err(|_| CommitError::Stopped)?
    }

    /// What there is to know about the journal, without waiting for it or touching the disk.
    #[must_use]
    pub fn status(&self) -> JournalStatus {
        self.facts.status()
    }

    /// Ends when the journal's thread has ended, which it does on its own only by a fault.
    pub async fn stopped(&self) {
        self.orders_tx.closed().await;
    }

    /// Finishes what waits, empties the write-ahead log into the database and closes the file.
    pub async fn close(self) {
        let Self { orders_tx, thread, .. } = self;
        drop(orders_tx);
        // A panic of the thread has been reported by the panic hook, and what it had acknowledged is durable.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}
