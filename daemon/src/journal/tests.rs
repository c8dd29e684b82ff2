//! The journal at its boundary: what was committed comes back, and what is not whole is refused.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::fs::FileExt,
};

use hfd_core::{
    change::Meta,
    id::{JournalId, MachineName, PodUid, RequestId},
    machine::{Machine, Verdict, VerdictKind},
    request::{Caller, Key, MachineRequest, Origin},
    returns::{ReturnEnd, ReturnEntry, ReturnRequest},
};
use tempfile::TempDir;

use super::*;

const MANIFEST: ContentHash = [7; 32];

/// A state directory with a journal's path in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("journal.db")
    }

    fn open(&self) -> Result<(Store, Restored, Manifests), OpenError> {
        Store::open(&self.path(), &options())
    }

    fn store(&self) -> Store {
        self.open().expect("the journal opens").0
    }

    fn restored(&self) -> Restored {
        self.open().expect("the journal opens").1
    }

    fn refused(&self) -> OpenError {
        match self.open() {
            Ok((_, restored, _)) => panic!("opened with {} requests", restored.requests.len()),
            Err(error) => error,
        }
    }

    /// The files as a kill at this moment would leave them, in a place of their own.
    fn as_after_a_kill(&self) -> Self {
        let copy = Self::new();
        for name in ["journal.db", "journal.db-wal"] {
            fs::copy(self.0.path().join(name), copy.0.path().join(name)).expect("the journal's files");
        }
        copy
    }

    fn overwrite(&self, name: &str, offset: u64, bytes: &[u8]) {
        let file = fs::OpenOptions::new().write(true).open(self.0.path().join(name)).expect("the file");
        file.write_all_at(bytes, offset).expect("it is writable");
    }
}

fn options() -> Options {
    Options { reserve_bytes: 64 << 10, allow_network_file_system: true, ..Options::default() }
}

fn id(number: u8) -> RequestId {
    RequestId::from_random([number; 10])
}

fn name(request: u8, ordinal: u32) -> MachineName {
    MachineName { request: id(request), ordinal }
}

fn manifest() -> Change {
    Change::Manifest { hash: MANIFEST, body: "{\"kind\":\"Pod\"}".into() }
}

fn plain_request(number: u8, count: u32) -> MachineRequest {
    MachineRequest {
        id: id(number),
        template: "small".parse().expect("a legal template id"),
        manifest: MANIFEST,
        granted: count,
        limit: None,
        ready_deadline: 300,
        accepted_at: 1_700_000_000 + i64::from(number),
        origin: Origin::Accepted,
        key: None,
        caller: Caller::default(),
        polled: false,
        cancelled: None,
        terminal: None,
        machines: vec![Machine::default(); count as usize],
    }
}

fn accepted(request: &MachineRequest) -> Vec<Change> {
    vec![manifest(), Change::Request(Arc::new(request.clone()))]
}

/// Every field at a value of its own.
fn rich_request() -> MachineRequest {
    let verdict = |kind, message: &str| Some(Arc::new(Verdict { kind, message: message.into(), at: 1_700_000_400 }));
    let mut request = plain_request(1, 12);
    request.granted = 10;
    request.limit = Some("maxNumber 10 reached, 0 in use".into());
    request.key = Some(Key { text: "kéy \"1\"".into(), body: [9; 32] });
    request.caller = Caller { uid: u32::MAX, pid: i32::MAX };
    request.polled = true;
    request.cancelled = Some("cancelled by an operator".into());
    request.fail_beyond_limit();
    request.machines[0] = Machine {
        uid: Some(PodUid::from_bytes([1; 16])),
        uid_recorded_at: 1_700_000_100,
        ip: Some(Ipv4Addr::new(10, 0, 0, 1).into()),
        first_ready: Some(1_700_000_200),
        verdict: verdict(VerdictKind::Lost, "node lost"),
        returned_by: Some(id(9)),
        gone_at: Some(1_700_000_500),
    };
    request.machines[3] = Machine {
        ip: Some(Ipv6Addr::LOCALHOST.into()),
        verdict: verdict(VerdictKind::Overdue, "not ready\0in time\n"),
        ..Machine::default()
    };
    request.machines[9].verdict = verdict(VerdictKind::Failed, "");
    request.machines[11].returned_by = Some(id(1));
    request.freeze(1_700_000_600);
    request
}

fn rich_return() -> ReturnRequest {
    let entry = |name: &str| ReturnEntry {
        name: name.into(),
        machine_id: None,
        machine: None,
        ip: None,
        launchtime: 0,
        end: None,
    };
    ReturnRequest {
        id: id(2),
        accepted_at: 1_700_000_700,
        deadline: 1800,
        key: Some(Key { text: "k".into(), body: [3; 32] }),
        caller: Caller { uid: 1000, pid: 0 },
        ended_at: Some(1_700_000_800),
        told_at: Some(1_700_000_900),
        entries: vec![
            ReturnEntry {
                machine_id: Some("id".into()),
                machine: Some(name(1, 99_999)),
                ip: Some(Ipv4Addr::new(10, 0, 0, 1).into()),
                launchtime: 1_700_000_200,
                end: Some(ReturnEnd::Gone),
                ..entry("aaaa-00000")
            },
            ReturnEntry { end: Some(ReturnEnd::Failed("held by a finalizer".into())), ..entry("../../etc/passwd") },
            entry(""),
        ],
    }
}

fn machine_changes(request: &MachineRequest) -> impl Iterator<Item = Change> {
    request.named_machines().map(|(name, machine)| Change::Machine(name, machine.clone()))
}

fn return_changes(returned: &ReturnRequest) -> Vec<Change> {
    let entries = (0..).zip(&returned.entries);
    std::iter::once(Change::Return(Arc::new(returned.clone())))
        .chain(entries.map(|(position, entry)| Change::ReturnEntry(returned.id, position, entry.clone())))
        .collect()
}

#[tokio::test]
async fn every_field_comes_back_as_it_was_committed() {
    let place = Place::new();
    let (request, returned) = (rich_request(), rich_return());
    let (journal, empty, _) = Journal::open(&place.path(), &options()).expect("a new journal");
    let meta = Meta {
        id: empty.meta.id,
        namespace: Some(PodUid::from_bytes([5; 16])),
        adopted_journals: vec![JournalId([1; 8]), JournalId([2; 8])],
        alive_at: 1_700_001_000,
    };
    let mut changes = accepted(&request);
    changes.extend(machine_changes(&request));
    changes.extend(return_changes(&returned));
    changes.push(Change::Meta(meta.clone()));
    journal.commit(changes, false).await.expect("the commit");
    journal.close().await;

    let (_, restored, manifests) = place.open().expect("it opens again");
    assert_eq!(restored.meta, meta);
    assert_eq!(restored.requests, [request]);
    assert_eq!(restored.returns, [returned]);
    assert_eq!(manifests.get(&MANIFEST).map(|body| &**body), Some("{\"kind\":\"Pod\"}"));
}

#[test]
fn a_new_journal_has_an_id_of_its_own_that_stays() {
    let (place, other) = (Place::new(), Place::new());
    let first = place.restored().meta;
    assert_eq!(place.restored().meta, first);
    assert_ne!(other.restored().meta.id, first.id);
    assert!(first.namespace.is_none() && first.adopted_journals.is_empty());
}

#[test]
fn machines_without_a_row_have_no_facts_and_those_beyond_the_limit_their_verdict() {
    let place = Place::new();
    let mut request = plain_request(1, 4);
    (request.granted, request.limit) = (2, Some("maxNumber 2 reached, 2 in use".into()));
    place.store().commit(&accepted(&request), false).expect("the commit");
    request.fail_beyond_limit();
    assert_eq!(place.restored().requests, [request]);
}

#[test]
fn an_adopted_request_needs_no_manifest() {
    let place = Place::new();
    let request = MachineRequest { manifest: [0; 32], origin: Origin::Adopted, ..plain_request(1, 1) };
    place.store().commit(&[Change::Request(Arc::new(request.clone()))], false).expect("the commit");
    assert_eq!(place.restored().requests, [request]);
}

#[test]
fn the_latest_value_of_a_thing_wins() {
    let place = Place::new();
    let mut store = place.store();
    let mut request = plain_request(1, 2);
    store.commit(&accepted(&request), false).expect("the request");
    for at in 0..3 {
        request.polled = true;
        request.machines[1].first_ready = Some(at);
        let machine = Change::Machine(name(1, 1), request.machines[1].clone());
        store.commit(&[Change::Request(Arc::new(request.clone())), machine], false).expect("an update");
    }
    drop(store);
    assert_eq!(place.restored().requests, [request]);
}

#[test]
fn forgetting_takes_all_that_belongs_to_it_and_the_manifest_that_nobody_needs() {
    let place = Place::new();
    let mut store = place.store();
    let (one, two) = (plain_request(1, 2), plain_request(3, 2));
    let mut changes = accepted(&one);
    changes.extend(accepted(&two));
    changes.extend(machine_changes(&one));
    changes.extend(return_changes(&rich_return()));
    store.commit(&changes, false).expect("the commit");
    store.commit(&[Change::Forget(one.id), Change::Forget(id(2))], false).expect("the first is forgotten");
    drop(store);
    let (mut store, restored, manifests) = place.open().expect("it opens");
    assert_eq!((restored.requests, restored.returns), (vec![two.clone()], vec![]));
    assert_eq!(manifests.len(), 1);

    store.commit(&[Change::Forget(two.id)], false).expect("the second is forgotten");
    drop(store);
    let (_, restored, manifests) = place.open().expect("it opens");
    assert!(restored.requests.is_empty() && manifests.is_empty());
}

#[test]
fn a_manifest_stays_when_one_request_goes_and_another_comes_in_the_same_batch() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&accepted(&plain_request(1, 1)), false).expect("the first");
    let next = plain_request(2, 1);
    let changes = [Change::Forget(id(1)), Change::Request(Arc::new(next.clone()))];
    store.commit(&changes, false).expect("the second, with the same manifest");
    drop(store);
    assert_eq!(place.restored().requests, [next]);
}

#[test]
fn a_batch_that_fails_in_the_middle_leaves_nothing_and_ends_all_writing() {
    let place = Place::new();
    let mut store = place.store();
    let request = plain_request(1, 2);
    let mut changes = accepted(&request);
    changes.push(Change::Machine(name(8, 0), Machine::default()));
    changes.push(Change::Machine(name(1, 0), Machine::default()));
    assert!(matches!(store.commit(&changes, false), Err(CommitError::Fatal(_))));
    assert!(matches!(store.commit(&accepted(&request), false), Err(CommitError::Fatal(_))));
    let status = store.facts().status();
    assert_eq!((status.writable, status.commits), (false, 0));
    assert!(status.last_error.is_some_and(|error| error.contains("FOREIGN KEY")));
    drop(store);
    assert!(place.restored().requests.is_empty());
}

#[test]
fn a_request_whose_manifest_nobody_wrote_is_not_accepted() {
    let place = Place::new();
    let changes = [Change::Request(Arc::new(plain_request(1, 1)))];
    assert!(matches!(place.store().commit(&changes, false), Err(CommitError::Fatal(_))));
    assert!(place.restored().requests.is_empty());
}

#[test]
fn a_full_disk_rolls_the_batch_back_and_the_next_one_may_succeed() {
    let place = Place::new();
    let mut store = place.store();
    let request = plain_request(1, 5000);
    store.connection().pragma_update(None, "max_page_count", 20).expect("the pragma");
    let mut changes = accepted(&request);
    changes.extend(machine_changes(&request));
    assert!(matches!(store.commit(&changes, false), Err(CommitError::Full(_))));
    let status = store.facts().status();
    assert_eq!((status.writable, status.reserve_bytes), (false, 64 << 10));
    assert!(matches!(store.commit(&changes, true), Err(CommitError::Full(_))));
    assert_eq!(store.facts().status().reserve_bytes, 0, "it was given up for a batch that may use it");

    store.connection().pragma_update(None, "max_page_count", 1 << 20).expect("the pragma");
    store.commit(&changes, false).expect("there is room again");
    assert!(store.facts().status().writable);
    drop(store);
    assert_eq!(place.restored().requests, [request]);
}

#[test]
fn a_killed_daemon_loses_nothing_that_was_committed() {
    let place = Place::new();
    let mut store = place.store();
    let mut requests = Vec::new();
    for number in 1..=50 {
        let request = plain_request(number, 3);
        store.commit(&accepted(&request), false).expect("the commit");
        requests.push(request);
        assert_eq!(place.as_after_a_kill().restored().requests.len(), requests.len());
    }
    let killed = place.as_after_a_kill();
    assert_eq!(killed.restored().requests, requests);
    assert_eq!(killed.0.path().join("journal.db-wal").metadata().map_or(0, |log| log.len()), 0, "settled at start");
    assert_eq!(killed.restored().requests, requests);
}

#[test]
fn a_torn_end_of_the_log_costs_only_whole_commits_from_the_end() {
    let place = Place::new();
    let mut store = place.store();
    let mut ends = vec![0];
    for number in 1..=5 {
        store.commit(&accepted(&plain_request(number, 2)), false).expect("the commit");
        ends.push(store.facts().status().log_bytes);
    }
    for cut in (0..=ends[5]).step_by(611) {
        let torn = place.as_after_a_kill();
        let log = fs::OpenOptions::new().write(true).open(torn.0.path().join("journal.db-wal")).expect("the log");
        log.set_len(cut).expect("the cut");
        // What a disk may leave beyond the last thing that it wrote.
        log.write_all_at(&[0xaa; 100], cut).expect("the garbage");
        let whole = ends.iter().filter(|&&end| end > 0 && end <= cut).count();
        assert_eq!(torn.restored().requests.len(), whole, "cut at {cut}");
    }
}

#[test]
fn a_checkpoint_empties_the_log_and_keeps_everything() {
    let place = Place::new();
    let mut store = place.store();
    let request = plain_request(1, 3);
    store.commit(&accepted(&request), false).expect("the commit");
    assert!(store.facts().status().log_bytes > 0);
    store.checkpoint();
    assert_eq!(store.facts().status().log_bytes, 0);
    assert_eq!(place.as_after_a_kill().restored().requests, [request]);
}

#[test]
fn the_logs_index_is_no_file_that_a_full_disk_could_break() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&accepted(&plain_request(1, 1)), false).expect("the commit");
    let present = |place: &Place, name: &str| place.0.path().join(name).exists();
    assert!(present(&place, "journal.db-wal") && !present(&place, "journal.db-shm"));
    let killed = place.as_after_a_kill();
    let (_store, ..) = killed.open().expect("it opens with a log");
    assert!(!present(&killed, "journal.db-shm"));
}

#[tokio::test]
async fn the_log_and_the_file_stay_bounded_under_churn() {
    let place = Place::new();
    let (journal, ..) = Journal::open(&place.path(), &options()).expect("a new journal");
    let request = plain_request(1, 1000);
    let mut peak = 0;
    for round in 0..60 {
        let mut changes = accepted(&request);
        changes.extend(machine_changes(&request));
        journal.commit(changes, false).await.expect("the commit");
        journal.commit(vec![Change::Forget(request.id)], false).await.expect("the end");
        let status = journal.status();
        if round == 10 {
            peak = status.database_bytes + (17 << 20);
        }
        assert!(round < 10 || status.database_bytes + status.log_bytes <= peak, "{status:?}");
    }
}

#[test]
fn a_long_log_is_copied_into_the_database_and_started_over_by_the_next_commit() {
    let place = Place::new();
    let mut store = place.store();
    let request = plain_request(1, 1000);
    let mut changes = accepted(&request);
    changes.extend(machine_changes(&request));
    let log = |store: &Store| store.facts().status().log_bytes;
    let database = |store: &Store| store.facts().status().database_bytes;
    let long = 17 << 20;
    while log(&store) < long {
        store.commit(&changes, false).expect("the commit");
    }
    let before = database(&store);
    store.shorten_log();
    store.commit(&[Change::Forget(request.id)], false).expect("the commit");
    assert!(database(&store) > before, "it has what the log had");
    let grown = log(&store);
    for _ in 0..3 {
        store.commit(&changes, false).expect("the commit");
    }
    assert_eq!(log(&store), grown, "its room is used again");
    assert_eq!(place.as_after_a_kill().restored().requests, [request]);
}

/// lifecycle.md 11: a reserve keeps room for returns.
#[test]
fn the_log_is_not_copied_into_the_room_that_is_kept_for_returns() {
    let place = Place::new();
    // No disk has as much, so it is missing, and all that is free is kept.
    let options = Options { reserve_bytes: 1 << 60, ..options() };
    let (mut store, ..) = Store::open(&place.path(), &options).expect("a new journal");
    let request = plain_request(1, 1000);
    let mut changes = accepted(&request);
    changes.extend(machine_changes(&request));
    store.commit(&changes, true).expect("the commit");
    let before = store.facts().status();
    store.checkpoint();
    let after = store.facts().status();
    assert_eq!((after.database_bytes, after.log_bytes), (before.database_bytes, before.log_bytes));
    assert!(after.log_bytes > 0 && after.writable);
    let killed = place.as_after_a_kill();
    let (again, restored, _) = Store::open(&killed.path(), &options).expect("the journal of before");
    let started = again.facts().status();
    assert_eq!(
        (started.database_bytes, started.log_bytes),
        (before.database_bytes, before.log_bytes),
        "nor at a start"
    );
    assert_eq!(restored.requests, [request]);
}

/// The log of an idle journal is emptied after a while, but on a full disk something is always tried anew.
#[test]
fn without_the_reserve_a_log_that_takes_no_room_to_copy_is_emptied_for_it() {
    let place = Place::new();
    let (mut store, Restored { meta, .. }, _) = place.open().expect("a new journal");
    store.commit(&accepted(&plain_request(1, 2)), false).expect("the commit");
    store.checkpoint();
    drop(store);
    let options = Options { reserve_bytes: 1 << 60, ..options() };
    let (mut store, ..) = Store::open(&place.path(), &options).expect("the journal of before");
    let later = Meta { alive_at: meta.alive_at + 1, ..meta };
    store.commit(&[Change::Meta(later)], true).expect("the commit");
    assert!(store.facts().status().log_bytes > 0);
    store.restore_reserve();
    assert!(store.facts().status().log_bytes > 0, "the pause has not passed");
    store.reserve_mut().let_the_pause_pass();
    store.restore_reserve();
    assert_eq!(store.facts().status().log_bytes, 0);
}

/// What the disk says to be free may be taken by somebody else, or beyond a quota.
#[test]
fn a_log_that_finds_no_room_after_all_stays_and_is_not_tried_again_at_once() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&accepted(&plain_request(1, 2)), false).expect("the commit");
    let full = || rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None);
    assert!(!store.copy_log(|_| Err(full())));
    assert!(!store.copy_log(|_| unreachable!("it is too soon")));
    let facts = store.facts().status();
    assert!(facts.writable && facts.log_bytes > 0, "commits are well, and only they tell");
    store.commit(&accepted(&plain_request(2, 2)), false).expect("the commit");
}

#[test]
fn another_programs_file_is_refused_and_left_alone() {
    let place = Place::new();
    let text = "not a database, but long enough to have a header, ".repeat(10);
    fs::write(place.path(), &text).expect("a file");
    assert!(matches!(place.refused(), OpenError::Foreign { .. }));
    assert_eq!(fs::read_to_string(place.path()).expect("the file"), text);

    let place = Place::new();
    let other = rusqlite::Connection::open(place.path()).expect("a database");
    other.execute_batch("CREATE TABLE cookies (id)").expect("a table");
    drop(other);
    assert!(matches!(place.refused(), OpenError::Foreign { what: "another program's database", .. }));

    let place = Place::new();
    fs::create_dir(place.path()).expect("a directory");
    assert!(matches!(place.refused(), OpenError::Foreign { what: "not a file", .. }));
}

#[test]
fn an_empty_or_cut_file_is_damage_and_not_a_first_start() {
    for bytes in [0, 50, 4096] {
        let place = Place::new();
        drop(place.store());
        let file = fs::OpenOptions::new().write(true).open(place.path()).expect("the file");
        file.set_len(bytes).expect("the cut");
        let error = place.refused();
        assert!(matches!(error, OpenError::Damaged { .. }), "{bytes} bytes: {error}");
        assert!(error.to_string().contains("rebuild --from-cluster"), "{error}");
    }
}

#[test]
fn a_log_without_its_database_is_not_a_first_start() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&accepted(&plain_request(1, 1)), false).expect("the commit");
    drop(store);
    fs::remove_file(place.path()).expect("the database");
    assert!(matches!(place.refused(), OpenError::Missing { .. }));
    assert!(!place.path().exists());
}

#[test]
fn a_start_that_was_cut_short_while_making_the_journal_is_begun_again() {
    let place = Place::new();
    fs::write(place.0.path().join("journal.db.new"), "half").expect("a leftover");
    fs::write(place.0.path().join("journal.db.new-journal"), "half").expect("a leftover");
    assert!(place.restored().requests.is_empty());
    assert!(!place.0.path().join("journal.db.new").exists());
}

#[test]
fn a_damaged_page_is_refused_and_the_file_left_as_it_was() {
    let place = Place::new();
    let mut store = place.store();
    let request = plain_request(1, 2000);
    let mut changes = accepted(&request);
    changes.extend(machine_changes(&request));
    store.commit(&changes, false).expect("the commit");
    store.checkpoint();
    let pages = store.facts().status().database_bytes / 4096;
    drop(store);
    let whole = fs::read(place.path()).expect("the file");
    // The first page is the header's, and damage there has many faces; every other one belongs to a table.
    for page in 1..pages {
        place.overwrite("journal.db", page * 4096, &[0xff; 64]);
        let damaged = fs::read(place.path()).expect("the file");
        let error = place.refused();
        assert!(matches!(error, OpenError::Damaged { .. }), "page {page}: {error}");
        assert!(fs::read(place.path()).expect("the file") == damaged, "page {page} was touched");
        fs::write(place.path(), &whole).expect("the repair");
    }
    assert_eq!(place.restored().requests, [request]);
}

#[test]
fn a_row_that_makes_no_sense_is_damage() {
    for (sql, words) in [
        ("UPDATE requests SET template = 'no/template'", "template id"),
        ("UPDATE requests SET count = 11", "belongs to no request"),
        ("UPDATE requests SET granted = 99", "99 granted"),
        ("UPDATE requests SET caller_uid = -1", "out of range"),
        ("DELETE FROM manifests", "manifest of request"),
        ("DELETE FROM requests", "belongs to no request"),
        ("UPDATE machines SET uid = x'00'", "16"),
        ("UPDATE machines SET verdict = 7", "7"),
        ("UPDATE machines SET ip = x'0000000000'", "16"),
        ("DELETE FROM return_entries WHERE position = 1", "out of place"),
        ("DELETE FROM return_entries WHERE position = 2", "2 of 3 entries"),
        ("UPDATE meta SET journal = x''", "8"),
        ("UPDATE meta SET adopted_journals = x'00'", "1 bytes"),
        ("DELETE FROM meta", "own facts"),
        ("DROP TABLE returns", "no such table"),
    ] {
        let place = Place::new();
        let mut store = place.store();
        let mut changes = accepted(&rich_request());
        changes.extend(machine_changes(&rich_request()));
        changes.extend(return_changes(&rich_return()));
        store.commit(&changes, false).expect("the commit");
        let raw = store.connection();
        raw.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").expect("the pragmas");
        raw.execute_batch(sql).expect("the damage");
        // Reading must find it alone: a large journal's structure is not checked before.
        let error = load::load(raw, &place.path()).expect_err(sql);
        assert!(error.to_string().contains(words), "{sql}: {error}");
        drop(store);
        let error = place.refused();
        assert!(matches!(error, OpenError::Damaged { .. }), "{sql}: {error:?}");
    }
}

#[test]
fn a_journal_without_a_schema_version_is_damage() {
    let place = Place::new();
    let store = place.store();
    store.connection().pragma_update(None, "user_version", 0).expect("the pragma");
    drop(store);
    assert!(matches!(place.refused(), OpenError::Damaged { damage, .. } if damage.contains("version is 0")));
}

#[test]
fn a_newer_schema_is_refused_unless_it_says_that_this_version_can_use_it() {
    let place = Place::new();
    let raise = |version: i64, oldest_reader: i64| {
        let store = place.store();
        store.connection().pragma_update(None, "user_version", version).expect("the pragma");
        let sql = "UPDATE meta SET oldest_reader = ?1";
        store.connection().execute(sql, [oldest_reader]).expect("the update");
    };
    raise(schema::VERSION + 1, schema::VERSION);
    let mut store = place.store();
    store.commit(&accepted(&plain_request(1, 1)), false).expect("the version before can go on with it");
    let version: i64 =
        store.connection().pragma_query_value(None, "user_version", |row| row.get(0)).expect("the pragma");
    assert_eq!(version, schema::VERSION + 1);
    drop(store);

    raise(schema::VERSION + 2, schema::VERSION + 1);
    let error = place.refused();
    assert!(matches!(error, OpenError::Newer { .. }), "{error}");
    assert!(error.to_string().contains("start the newer hfd"), "{error}");
}

#[test]
fn a_second_opener_is_refused_while_the_first_lives() {
    let place = Place::new();
    let (first, ..) = place.open().expect("the first");
    assert!(matches!(place.refused(), OpenError::InUse { .. }));
    drop(first);
}

#[test]
fn ten_thousand_machines_fit_one_commit() {
    let place = Place::new();
    let mut store = place.store();
    let mut request = plain_request(1, 10_000);
    for machine in &mut request.machines {
        machine.uid = Some(PodUid::from_bytes([4; 16]));
        machine.ip = Some(Ipv4Addr::LOCALHOST.into());
        machine.first_ready = Some(1_700_000_200);
    }
    let mut changes = accepted(&request);
    changes.extend(machine_changes(&request));
    store.commit(&changes, false).expect("one commit");
    drop(store);
    assert_eq!(place.restored().requests, [request]);
}

#[tokio::test]
async fn an_empty_batch_tells_that_the_thread_lives_and_writes_nothing() {
    let place = Place::new();
    let (journal, ..) = Journal::open(&place.path(), &options()).expect("a new journal");
    let before = journal.status();
    assert_eq!(journal.commit(Vec::new(), false).await, Ok(()));
    assert_eq!(journal.status(), before);
    journal.commit(accepted(&plain_request(1, 1)), false).await.expect("the commit");
    let after = journal.status();
    assert_eq!((after.commits, after.changes, after.path), (1, 2, place.path()));
    assert!(after.database_bytes > 0 && after.log_bytes > 0 && after.last_commit > Duration::ZERO);
    journal.close().await;
    assert_eq!(place.0.path().join("journal.db-wal").metadata().expect("the log").len(), 0);
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_made_all_the_same() {
    let place = Place::new();
    let request = plain_request(1, 1);
    let (journal, ..) = Journal::open(&place.path(), &options()).expect("a new journal");
    {
        let mut commit = std::pin::pin!(journal.commit(accepted(&request), false));
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(commit.as_mut().poll(context)));
        assert!(polled.await.is_pending());
    }
    journal.close().await;
    assert_eq!(place.restored().requests, [request]);
}

#[tokio::test]
async fn an_idle_journal_empties_its_log_by_itself() {
    let place = Place::new();
    let options = Options { idle_checkpoint: Duration::from_millis(1), ..options() };
    let (journal, ..) = Journal::open(&place.path(), &options).expect("a new journal");
    journal.commit(accepted(&plain_request(1, 1)), false).await.expect("the commit");
    while journal.status().log_bytes > 0 {
        tokio::task::yield_now().await;
    }
    journal.commit(Vec::new(), false).await.expect("it still serves");
}
