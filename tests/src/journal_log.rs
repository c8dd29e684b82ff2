//! What hfd has written to its journal, read from the write-ahead log beside it.

use std::{fs, path::Path};

/// What is in the write-ahead log (SQLite documentation, "WAL-mode File Format").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Transactions, each of them a batch of hfd.
    pub commits: u64,
    /// Bytes of them all.
    pub bytes: u64,
}

impl Log {
    /// Reads the log of the journal in `state`, of its present round: it starts over at 16 MiB, and at a checkpoint.
    pub fn of(state: &Path) -> Self {
        let log = fs::read(state.join("journal.db-wal")).unwrap_or_default();
        let number = |at: usize| {
            log.get(at..at + 4).map_or(0, |bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let (page, salts) = (number(8) as usize, (number(16), number(20)));
        let mut found = Self { commits: 0, bytes: 0 };
        let mut at = 32;
        // A frame of an earlier round of the log has other salts; one that ends a commit tells the database's size.
        while page > 0 && at + 24 + page <= log.len() && (number(at + 8), number(at + 12)) == salts {
            found.commits += u64::from(number(at + 4) != 0);
            at += 24 + page;
            found.bytes = at as u64;
        }
        found
    }
}
