//! The journal's thread: takes orders one at a time, answers each after its fsync, and does the chores in between.

use std::{
    io,
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use hfd_core::change::Change;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{CommitError, reserve, store::Store};

/// One batch to be made durable.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) changes: Vec<Change>,
    pub(super) use_reserve: bool,
    pub(super) done_tx: oneshot::Sender<Result<(), CommitError>>,
}

/// Starts the thread; it ends when every sender of orders is gone and what they sent is done.
pub(super) fn spawn(
    store: Store,
    orders_rx: mpsc::Receiver<Order>,
    idle_checkpoint: Duration,
) -> io::Result<JoinHandle<()>> {
    // Only to wait for an order with a time-out; it drives nothing else.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    Builder::new()
        .name("hfd-journal".to_owned())
        .spawn(move || runtime.block_on(serve(store, orders_rx, idle_checkpoint)))
}

async fn serve(mut store: Store, mut orders_rx: mpsc::Receiver<Order>, idle_checkpoint: Duration) {
    let mut written_at = Instant::now();
    loop {
        let pause = if store.lacks_reserve() { reserve::RETRY.min(idle_checkpoint) } else { idle_checkpoint };
        let order = match timeout(pause, orders_rx.recv()).await {
            Ok(None) => break,
            Ok(order) => order,
            Err(_) => None,
        };
        if let Some(Order { changes, use_reserve, done_tx }) = order {
            let outcome = store.commit(&changes, use_reserve);
            let is_written = outcome.is_ok() && !changes.is_empty();
            // Nobody waits for it any more: it is durable all the same.
            let _ = done_tx.send(outcome);
            if is_written {
                written_at = Instant::now();
            }
        }
        // Who gave the order is answered. A failure from here on is told by the thread's end.
        let failed_before = store.has_failed();
        store.shorten_log();
        store.restore_reserve();
        // An empty batch, a sign of life, is no reason to wait longer.
        if written_at.elapsed() >= idle_checkpoint {
            store.checkpoint();
        }
        if store.has_failed() && !failed_before {
            break;
        }
    }
    store.checkpoint();
}

#[cfg(test)]
mod tests {
    use hfd_core::change::Meta;
    use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

    use super::*;
    use crate::journal::Options;

    /// Opens a journal in a new directory.
    fn store() -> (tempfile::TempDir, Store, Meta) {
        let place = tempfile::tempdir().expect("a temporary directory");
        let options = Options { reserve_bytes: 0, allow_network_file_system: true, ..Options::default() };
        let (store, restored, _) = Store::open(&place.path().join("journal.db"), &options).expect("a new journal");
        (place, store, restored.meta)
    }

    async fn commit(orders_tx: &mpsc::Sender<Order>, changes: Vec<Change>) -> Result<(), CommitError> {
        let (done_tx, done_rx) = oneshot::channel();
        orders_tx.send(Order { changes, use_reserve: false, done_tx }).await.map_err(|_| CommitError::Stopped)?;
        done_rx.await.map_err(|_| CommitError::Stopped)?
    }

    #[tokio::test]
    async fn signs_of_life_do_not_keep_an_idle_journal_from_emptying_its_log() {
        let (_place, store, meta) = store();
        let facts = store.facts();
        let (orders_tx, orders_rx) = mpsc::channel(1);
        // They come faster than this.
        let thread = spawn(store, orders_rx, Duration::from_millis(50)).expect("a thread");
        let later = Meta { alive_at: meta.alive_at + 1, ..meta };
        commit(&orders_tx, vec![Change::Meta(later)]).await.expect("the commit");
        let begun = Instant::now();
        while facts.status().log_bytes > 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "the log is never emptied");
            commit(&orders_tx, Vec::new()).await.expect("it lives");
        }
        drop(orders_tx);
        thread.join().expect("it ends");
    }

    #[tokio::test]
    async fn a_chore_that_fails_while_nobody_waits_ends_the_thread_and_leaves_word_of_it() {
        let (_place, mut store, meta) = store();
        let no_checkpoint = |context: AuthContext<'_>| match context.action {
            AuthAction::Pragma { pragma_name: "wal_checkpoint", .. } => Authorization::Deny,
            _ => Authorization::Allow,
        };
        store.connection_mut().authorizer(Some(no_checkpoint)).expect("SQLite takes it");
        let facts = store.facts();
        let (orders_tx, orders_rx) = mpsc::channel(1);
        let thread = spawn(store, orders_rx, Duration::from_millis(1)).expect("a thread");
        commit(&orders_tx, vec![Change::Meta(meta)]).await.expect("the commit itself is well");
        orders_tx.closed().await;
        let status = facts.status();
        assert!(!status.writable);
        assert!(status.last_error.is_some_and(|why| why.contains("not authorized")));
        thread.join().expect("it ends");
    }
}
