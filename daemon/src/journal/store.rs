//! The connection and what belongs to it: opening, committing, and the chores between.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hfd_core::change::{Change, Restored};
use rusqlite::{Connection, OpenFlags, config::DbConfig, hooks::Wal};

use super::{
    CommitError, Manifests, OpenError, Options,
    file_system::{self, beside, directory_of},
    load::load,
    place::{FileId, check_place, not_found_there},
    reserve::{self, Reserve},
    schema,
    status::Facts,
    write::write,
};
use crate::crash_point::{self, Point};

/// A log of this many pages (16 MiB) is copied into the database once the commit that reached it is answered; the next
/// one starts the log over. Large enough that no burst pays for it often.
const CHECKPOINT_PAGES: u32 = 4096;
/// What a single huge batch made of the log beyond this is cut off when it starts over.
const LOG_LIMIT_BYTES: u32 = CHECKPOINT_PAGES * 4096;
/// Up to this size the whole file's structure is checked at start, some 100 ms for it all. Beyond, reading every row
/// has to do: it walks the same pages, but not the indexes and the free ones.
const CHECKED_BYTES: i64 = 64 << 20;
/// Negative = KiB. Holds what a batch of 10,000 machines touches.
const CACHE_KIB: i32 = -8192;
/// A process that is just ending may still hold the file this long.
const PATIENCE: Duration = Duration::from_secs(1);

/// An open journal file. Lives on the journal's thread.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    reserve: Reserve,
    facts: Arc<Facts>,
    path: PathBuf,
    log: PathBuf,
    /// Which file it is: whoever starts next finds what is at `path`, and not what is open here.
    file: FileId,
    /// The same of the log, once something was written to it.
    log_file: Option<FileId>,
    /// Pages in the log after the last commit.
    log_pages: Arc<AtomicU32>,
    /// The log may hold what the database does not.
    log_in_use: bool,
    /// When the log may be copied again, after the disk had less room than it said.
    copy_not_before: Option<Instant>,
    /// The failure after which nothing is written any more.
    failed: Option<String>,
}

impl Store {
    /// See [`super::Journal::open`].
    pub(super) fn open(path: &Path, options: &Options) -> Result<(Self, Restored, Manifests), OpenError> {
        let directory = directory_of(path);
        if !options.allow_network_file_system {
            let kind = file_system::network_kind(directory).map_err(|source| OpenError::Io {
                action: "find the directory of",
                path: path.to_owned(),
                source,
            })?;
            if let Some(kind) = kind {
                return Err(OpenError::NetworkFileSystem { path: directory.to_owned(), kind });
            }
        }
        let log = beside(path, "-wal");
        if is_present(path)? {
            refuse_foreign(path)?;
        } else if size(&log) > 0 {
            return Err(OpenError::Missing { path: path.to_owned(), log });
        } else {
            schema::create(path)?;
        }
        let mut connection = connect(path).map_err(|error| OpenError::from_sqlite(path, "open", error))?;
        if connection.is_readonly("main").map_err(|error| OpenError::from_sqlite(path, "open", error))? {
            return Err(OpenError::ReadOnly { path: path.to_owned() });
        }
        check(&connection, path)?;
        schema::bring_up_to_date(&mut connection, path)?;
        let (restored, manifests) = load(&connection, path)?;
        let reserve = Reserve::prepare(directory, options.reserve_bytes);
        settle(&connection, path, &log, &reserve)?;
        let facts = Arc::new(Facts::new(path));
        let log_in_use = size(&log) > 0;
        let log_pages = Arc::new(AtomicU32::new(0));
        count_log_pages(&mut connection, &log_pages).map_err(|error| OpenError::from_sqlite(path, "open", error))?;
        let file =
            FileId::of(path).map_err(|source| OpenError::Io { action: "find", path: path.to_owned(), source })?;
        let path = path.to_owned();
        let store = Self {
            connection,
            reserve,
            facts,
            path,
            log,
            file,
            log_file: None,
            log_pages,
            log_in_use,
            copy_not_before: None,
            failed: None,
        };
        store.note_sizes();
        Ok((store, restored, manifests))
    }

    /// What others may know about it.
    pub(super) fn facts(&self) -> Arc<Facts> {
        self.facts.clone()
    }

    /// Makes `changes` durable, whole or not at all. After a [`CommitError::Fatal`] every call ends with the same.
    pub(super) fn commit(&mut self, changes: &[Change], use_reserve: bool) -> Result<(), CommitError> {
        if let Some(failure) = &self.failed {
            return Err(CommitError::Fatal(failure.clone()));
        }
        if changes.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        self.log_in_use = true;
        let Self { connection, reserve, path, .. } = self;
        let outcome = reserve.help(use_reserve, || {
            write(connection, changes).map_err(|error| CommitError::from_sqlite(&error, directory_of(path)))
        });
        // After the write and before anyone is told of it: what went into a file without a name is in no journal.
        let outcome = outcome.and_then(|()| self.check_places());
        match &outcome {
            Ok(()) => self.facts.note_commit(changes.len(), begun.elapsed()),
            Err(error) => self.note_failure(error),
        }
        self.note_sizes();
        outcome
    }

    /// Makes the reserve again, if it was given up and there is room.
    pub(super) fn restore_reserve(&mut self) {
        if self.reserve.is_due() {
            // The log's room is room as well, where the database does not have to grow for what is in it.
            self.checkpoint();
            self.reserve.restore();
            self.note_sizes();
        }
    }

    /// The reserve was given up.
    pub(super) const fn lacks_reserve(&self) -> bool {
        self.reserve.is_missing()
    }

    /// Copies a long log into the database, so that the next commit starts it over. Takes as long as some hundred commits,
    /// so it is no part of one (SQLite's own `wal_autocheckpoint` would be). Where the disk has no room for what the
    /// database would grow by, the log grows on, until a commit meets the full disk and tells.
    pub(super) fn shorten_log(&mut self) {
        if self.failed.is_some() || self.log_pages.load(Relaxed) < CHECKPOINT_PAGES {
            return;
        }
        self.copy_log(|connection| checkpoint(connection, "PASSIVE"));
    }

    /// Copies the log, unless the disk has no room for it; whether it did.
    pub(super) fn copy_log(&mut self, copy: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> bool {
        if self.copy_not_before.is_some_and(|due| due > Instant::now()) {
            return false;
        }
        let copied = has_room_to_copy(&self.connection, &self.path, &self.reserve).and_then(|has_room| {
            if has_room {
                copy(&self.connection)?;
                // Until the next commit tells.
                self.log_pages.store(0, Relaxed);
            }
            Ok(has_room)
        });
        let copied = copied.unwrap_or_else(|error| {
            match CommitError::from_sqlite(&error, directory_of(&self.path)) {
                // A quota, or somebody else was faster. The log has it all, and commits tell of a full disk themselves.
                CommitError::Full(why) => {
                    self.copy_not_before = Some(Instant::now() + reserve::RETRY);
                    tracing::warn!(%why, "no room to copy the journal's log into its database: the log grows on");
                }
                error => self.note_failure(&error),
            }
            false
        });
        self.note_sizes();
        copied
    }

    /// Nothing is written any more.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Moves the log into the database and cuts it to nothing. A full disk is left for the next time.
    pub(super) fn checkpoint(&mut self) {
        if !self.log_in_use || self.failed.is_some() {
            return;
        }
        if self.copy_log(empty_log) {
            self.log_in_use = false;
        }
    }

    /// Whether database and log are still where the next start looks for them. A commit is in the log first.
    fn check_places(&mut self) -> Result<(), CommitError> {
        check_place(&self.path, self.file)?;
        match self.log_file {
            Some(written) => check_place(&self.log, written).inspect_err(|_| {
                if !self.log.exists() {
                    // It is open here, so what it has can still be saved into the database; if not, nothing is worse.
                    let _ = empty_log(&self.connection);
                }
            }),
            None => {
                self.log_file = Some(FileId::of(&self.log).map_err(|error| not_found_there(&self.log, &error))?);
                Ok(())
            }
        }
    }

    fn note_failure(&mut self, error: &CommitError) {
        self.facts.note_failure(&error.to_string());
        if let CommitError::Fatal(failure) = error {
            tracing::error!(path = %self.path.display(), error = %failure, "the journal failed: nothing more is written");
            self.failed = Some(failure.clone());
        }
    }

    fn note_sizes(&self) {
        self.facts.note_sizes(size(&self.path), size(&self.log), self.reserve.held_bytes());
    }

    #[cfg(test)]
    pub(super) const fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    #[cfg(test)]
    pub(super) const fn reserve_mut(&mut self) -> &mut Reserve {
        &mut self.reserve
    }

    #[cfg(test)]
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Before anything that reads the file: alone on it, SQLite keeps the log's index in memory. A shared one would be
    // mapped from a file, and without room for that file's blocks the first touch kills the process (SIGBUS).
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // A refused journal stays as it was found; an orderly end empties the log itself.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_prepared_statement_cache_capacity(32);
    for (pragma, value) in [("trusted_schema", "OFF"), ("cell_size_check", "ON"), ("foreign_keys", "ON")] {
        connection.pragma_update(None, pragma, value)?;
    }
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", crash_point::synchronous())?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
    Ok(connection)
}

/// Lets every commit tell how many pages the log has.
fn count_log_pages(connection: &mut Connection, pages: &Arc<AtomicU32>) -> rusqlite::Result<()> {
    let pages = Arc::clone(pages);
    connection.wal_hook(Some(move |_: &mut Wal, in_log: i32| {
        pages.store(u32::try_from(in_log).unwrap_or(0), Relaxed);
        Ok(())
    }))
}

fn is_present(path: &Path) -> Result<bool, OpenError> {
    match fs::metadata(path) {
        Ok(facts) if facts.is_file() => Ok(true),
        Ok(_) => Err(OpenError::Foreign { path: path.to_owned(), what: "not a file" }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(OpenError::Io { action: "find", path: path.to_owned(), source }),
    }
}

/// Looks at the header (SQLite documentation, "Database File Format") before SQLite may write to the file.
fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let mut header = [0; 100];
    let outcome = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    match outcome {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            let damage = format!("it has {} bytes, less than its header", size(path));
            return Err(OpenError::Damaged { path: path.to_owned(), damage });
        }
        Err(source) => return Err(OpenError::Io { action: "read", path: path.to_owned(), source }),
        Ok(()) => {}
    }
    let foreign = |what| Err(OpenError::Foreign { path: path.to_owned(), what });
    if !header.starts_with(b"SQLite format 3\0") {
        return foreign("not an SQLite database");
    }
    if header[68..72] != schema::APPLICATION_ID.to_be_bytes() {
        return foreign("another program's database");
    }
    Ok(())
}

fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::from_sqlite(path, "check", error);
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).map_err(failed)?;
    let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(failed)?;
    if pages.saturating_mul(page_bytes) > CHECKED_BYTES {
        return Ok(());
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if verdict == "ok" { Ok(()) } else { Err(OpenError::Damaged { path: path.to_owned(), damage: verdict }) }
}

/// Makes durable what was just read. The last life may have ended between a commit's write and its fsync, or by a
/// failed fsync, after which the page cache shows what the disk does not have: answering from it could be unsaid by a
/// power cut. Copying the log into the database writes every such page again and fsyncs it.
fn settle(connection: &Connection, path: &Path, log: &Path, reserve: &Reserve) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { action: "settle", path: path.to_owned(), source };
    let copied = has_room_to_copy(connection, path, reserve)
        .and_then(|has_room| if has_room { empty_log(connection).map(|()| true) } else { Ok(false) });
    let is_copied = match copied {
        Err(error) if matches!(CommitError::from_sqlite(&error, directory_of(path)), CommitError::Full(_)) => false,
        copied => copied.map_err(|error| OpenError::from_sqlite(path, "settle", error))?,
    };
    if !is_copied {
        // No room to copy it. Then its writes did not fail by the disk, and an fsync of the log itself is enough.
        File::open(log).and_then(|file| file.sync_all()).map_err(io)?;
    }
    file_system::sync_directory(directory_of(path)).map_err(io)
}

/// The database can grow to all that the log has, and what is kept for returns stays free.
fn has_room_to_copy(connection: &Connection, path: &Path, reserve: &Reserve) -> rusqlite::Result<bool> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let whole = u64::from(number("page_count")?) * u64::from(number("page_size")?);
    let grows_by = whole.saturating_sub(size(path));
    Ok(grows_by == 0 || grows_by <= reserve.free_beside())
}

fn empty_log(connection: &Connection) -> rusqlite::Result<()> {
    checkpoint(connection, "TRUNCATE")
}

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    crash_point::pass(Point::BeforeCheckpoint);
    // Its row tells of other connections in the way; there are none.
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
    crash_point::pass(Point::AfterCheckpoint);
    Ok(())
}

/// Bytes of a file; 0 when there is none.
fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |facts| facts.len())
}
