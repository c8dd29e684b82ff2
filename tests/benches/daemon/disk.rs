//! The floors on the disk: a bare append with its fsync, and a bare store that commits at once for all that wait.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::{Barrier, mpsc},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::timed;

/// Bytes of an append.
const BLOCK: [u8; 4096] = [7; 4096];
/// Small stacks: a writer only sends and waits.
pub(crate) const STACK_BYTES: usize = 128 * 1024;

/// A file that grows by durable appends.
pub(crate) struct Appender(File);

impl Appender {
    /// A new file in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        let path = dir.join("appended-by-the-bench");
        Self(OpenOptions::new().create(true).append(true).open(path).expect("the directory is ours"))
    }

    /// 4 KiB and their fsync.
    pub(crate) fn append(&mut self) -> Duration {
        timed(|| {
            self.0.write_all(&BLOCK).expect("the disk has room");
            self.0.sync_all().expect("the disk works");
        })
    }
}

/// One thread with an SQLite file as the journal has it (write-ahead log, an fsync a commit), and nothing around it.
pub(crate) struct BareStore {
    orders: mpsc::Sender<mpsc::Sender<()>>,
    thread: thread::JoinHandle<u64>,
}

impl BareStore {
    /// Opens one in `dir`.
    pub(crate) fn open(dir: &Path) -> Self {
        let path = dir.join("bare-store.db");
        let (orders, waiting) = mpsc::channel();
        Self { orders, thread: thread::spawn(move || serve(&path, &waiting)) }
    }

    /// Lets `writers` write one row each at the same moment; until all are durable.
    pub(crate) fn burst(&self, writers: usize) -> Duration {
        let start = Barrier::new(writers + 1);
        thread::scope(|scope| {
            let writer = |orders: mpsc::Sender<mpsc::Sender<()>>| {
                let start = &start;
                move || {
                    let (done, is_done) = mpsc::channel();
                    start.wait();
                    orders.send(done).expect("the store runs");
                    is_done.recv().expect("the store commits");
                }
            };
            let spawn = |_| {
                let builder = thread::Builder::new().stack_size(STACK_BYTES);
                builder.spawn_scoped(scope, writer(self.orders.clone())).expect("a thread can be started")
            };
            let running: Vec<_> = (0..writers).map(spawn).collect();
            start.wait();
            let begun = Instant::now();
            running.into_iter().for_each(|writer| writer.join().expect("a writer does not panic"));
            begun.elapsed()
        })
    }

    /// Ends it and tells how many commits it made.
    pub(crate) fn close(self) -> u64 {
        drop(self.orders);
        self.thread.join().expect("the store does not panic")
    }
}

fn serve(path: &Path, waiting: &mpsc::Receiver<mpsc::Sender<()>>) -> u64 {
    let mut connection = Connection::open(path).expect("the directory is ours");
    let setup = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA wal_autocheckpoint = 4096; CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB) STRICT;";
    connection.execute_batch(setup).expect("SQLite works");
    let mut commits = 0;
    while let Ok(first) = waiting.recv() {
        let batch: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let transaction = connection.transaction().expect("SQLite works");
        let mut insert = transaction.prepare_cached("INSERT INTO rows (body) VALUES (?1)").expect("SQLite works");
        for _ in &batch {
            // As much as a request with one machine.
            insert.execute([&BLOCK[..160]]).expect("SQLite works");
        }
        drop(insert);
        transaction.commit().expect("the disk works");
        commits += 1;
        batch.into_iter().for_each(|done| done.send(()).expect("the writer waits"));
    }
    commits
}
