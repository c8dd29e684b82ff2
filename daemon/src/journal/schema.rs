//! The tables, their versions, and the making of a new journal.
//!
//! A journal is made complete beside its place and then renamed, so that a half-made one is never found there: an empty
//! or headless file is damage, not a start.
//!
//! Version rule: a step that the version before can still read and write (a new table, a new column with a default)
//! leaves [`OLDEST_READER`] alone, so that going back by one version works; any other step raises it, and
//! `meta.oldest_reader` with it.

use std::path::Path;

use hfd_core::id::JournalId;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use rustix::rand::GetRandomFlags;

use super::{
    OpenError,
    file_system::{self, beside, directory_of},
};

/// The newest schema known; `PRAGMA user_version` of the file.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// `PRAGMA application_id`: "hfdj". Tells our files from other databases (SQLite documentation, "Database File Format").
pub(super) const APPLICATION_ID: i32 = 0x6866_646a;

/// The oldest schema whose programs can work with a journal of [`VERSION`].
const OLDEST_READER: i64 = 1;

/// Step n leads from version n to n + 1; a new journal takes all of them.
const STEPS: [&str; 1] = [STEP_1];

// Ids and hashes are blobs of their exact width. NULL = not known, not set. Times are epoch seconds.
const STEP_1: &str = "
CREATE TABLE meta (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    oldest_reader INTEGER NOT NULL,
    journal BLOB NOT NULL CHECK (length(journal) = 8),
    namespace BLOB CHECK (length(namespace) = 16),
    adopted_journals BLOB NOT NULL CHECK (length(adopted_journals) % 8 = 0),
    alive_at INTEGER NOT NULL
) STRICT;

CREATE TABLE manifests (
    hash BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    body TEXT NOT NULL
) STRICT;

CREATE TABLE requests (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 10),
    template TEXT NOT NULL,
    manifest BLOB REFERENCES manifests DEFERRABLE INITIALLY DEFERRED,
    count INTEGER NOT NULL CHECK (count BETWEEN 0 AND 100000),
    granted INTEGER NOT NULL,
    limited TEXT,
    ready_deadline INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    adopted INTEGER NOT NULL CHECK (adopted IN (0, 1)),
    key TEXT,
    key_body BLOB CHECK (length(key_body) = 32),
    caller_uid INTEGER NOT NULL,
    caller_pid INTEGER NOT NULL,
    polled INTEGER NOT NULL CHECK (polled IN (0, 1)),
    cancelled TEXT,
    ended_at INTEGER,
    succeeded BLOB,
    CHECK ((key IS NULL) = (key_body IS NULL)),
    CHECK ((ended_at IS NULL) = (succeeded IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_by_manifest ON requests (manifest);

CREATE TABLE machines (
    request BLOB NOT NULL REFERENCES requests ON DELETE CASCADE,
    ordinal INTEGER NOT NULL CHECK (ordinal BETWEEN 0 AND 99999),
    uid BLOB CHECK (length(uid) = 16),
    uid_recorded_at INTEGER NOT NULL,
    ip BLOB CHECK (length(ip) IN (4, 16)),
    first_ready INTEGER,
    verdict INTEGER CHECK (verdict IN (0, 1, 2)),
    verdict_message TEXT,
    verdict_at INTEGER,
    returned_by BLOB CHECK (length(returned_by) = 10),
    gone_at INTEGER,
    PRIMARY KEY (request, ordinal),
    CHECK ((verdict IS NULL) = (verdict_message IS NULL) AND (verdict IS NULL) = (verdict_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE returns (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 10),
    count INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    key TEXT,
    key_body BLOB CHECK (length(key_body) = 32),
    caller_uid INTEGER NOT NULL,
    caller_pid INTEGER NOT NULL,
    ended_at INTEGER,
    told_at INTEGER,
    CHECK ((key IS NULL) = (key_body IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE return_entries (
    return BLOB NOT NULL REFERENCES returns ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    machine_id TEXT,
    machine_request BLOB CHECK (length(machine_request) = 10),
    machine_ordinal INTEGER CHECK (machine_ordinal BETWEEN 0 AND 99999),
    ip BLOB CHECK (length(ip) IN (4, 16)),
    launchtime INTEGER NOT NULL,
    ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
    failure TEXT,
    PRIMARY KEY (return, position),
    CHECK ((machine_request IS NULL) = (machine_ordinal IS NULL)),
    CHECK (failure IS NULL OR ended = 1)
) STRICT, WITHOUT ROWID;
";

/// Makes a new journal at `path`, empty but for its id, durable with its name.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    let unfinished = beside(path, ".new");
    let io = |action| move |source| OpenError::Io { action, path: path.to_owned(), source };
    // Left by a start that was cut short here; it never held anything.
    for leftover in [unfinished.clone(), beside(&unfinished, "-journal")] {
        match std::fs::remove_file(&leftover) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("clear the place of")(error)),
            _ => {}
        }
    }
    file_system::private().create_new(true).open(&unfinished).map_err(io("create"))?;
    let mut id = [0; 8];
    rustix::rand::getrandom(&mut id, GetRandomFlags::empty()).map_err(|errno| io("draw an id for")(errno.into()))?;
    fill(&unfinished, JournalId(id)).map_err(|error| OpenError::from_sqlite(path, "create", error))?;
    std::fs::rename(&unfinished, path).map_err(io("create"))?;
    file_system::sync_directory(directory_of(path)).map_err(io("create"))
}

fn fill(path: &Path, id: JournalId) -> rusqlite::Result<()> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    migrate(&mut connection, 0)?;
    connection.execute(
        "INSERT INTO meta (only, oldest_reader, journal, adopted_journals, alive_at) VALUES (1, ?1, ?2, x'', 0)",
        params![OLDEST_READER, id.0],
    )?;
    connection.close().map_err(|(_, error)| error)
}

/// Brings an open journal to [`VERSION`], or says why it cannot be used. Going back by one version leaves it as it is.
pub(super) fn bring_up_to_date(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |error| OpenError::from_sqlite(path, "read the schema of", error);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sqlite)?;
    if found < 1 {
        let damage = format!("its schema version is {found}");
        return Err(OpenError::Damaged { path: path.to_owned(), damage });
    }
    if found > VERSION {
        let reader = connection.query_row("SELECT oldest_reader FROM meta", [], |row| row.get::<_, i64>(0));
        return match reader {
            Ok(oldest_reader) if oldest_reader <= VERSION => Ok(()),
            _ => Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION }),
        };
    }
    migrate(connection, found).map_err(|error| OpenError::from_sqlite(path, "upgrade", error))
}

fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(from).unwrap_or(0).min(STEPS.len());
    if done == STEPS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in &STEPS[done..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
