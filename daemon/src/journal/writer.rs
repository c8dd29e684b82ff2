//! The journal's thread: takes orders one at a time, answers each after its fsync, and does the chores in between.

use std::{
    io,
    thread::{Builder, JoinHandle},
    time::Duration,
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
    let mut idle = Duration::ZERO;
    loop {
        let pause = if store.lacks_reserve() { reserve::RETRY.min(idle_checkpoint) } else { idle_checkpoint };
        match timeout(pause, orders_rx.recv()).await {
            Ok(Some(Order { changes, use_reserve, done_tx })) => {
                let outcome = store.commit(&changes, use_reserve);
                // Nobody waits for it any more: it is durable all the same.
                let _ = done_tx.send(outcome);
                if !changes.is_empty() {
                    store.shorten_log();
                    idle = Duration::ZERO;
                }
            }
            Ok(None) => break,
            Err(_) => idle += pause,
        }
        store.restore_reserve();
        if idle >= idle_checkpoint {
            store.checkpoint();
        }
    }
    store.checkpoint();
}
