//! A journal whose values somebody or something changed.
//!
//! The bytes are lines, each a change of the journal of `sample.rs`:
//!
//! ```text
//! requests.accepted_at=-5         every row's column; also `null`, `x'00ff'`, or any text
//! delete machines                 every row of a table
//! version=2                       PRAGMA user_version
//! ```

use std::{
    cell::OnceCell,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use hfd_core::{
    change::{Change, Restored},
    clock::Now,
    id::JournalId,
    ledger::Ledger,
    policy::Policy,
    view::Ctx,
};
use rusqlite::{Connection, params_from_iter, types::Value};

use super::{Options, load::load, store::Store};
use crate::{
    cache::PodCache,
    fuzzing::{Taken, assert_tells, sample},
    kube::{PodManifests, RequestIdentity},
    published::Published,
};

const TABLES: [&str; 6] = ["meta", "manifests", "requests", "machines", "returns", "return_entries"];
/// Enough to bring columns into conflict with one another.
const CHANGES_MAX: usize = 16;

/// Makes the changes that the bytes say to a good journal, and starts on it.
#[must_use]
pub fn journal_rows(data: &[u8]) -> Taken {
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = place.path().join("journal.db");
    fs::write(&path, good_journal()).expect("a file");
    change(&path, &String::from_utf8_lossy(data)).expect("SQLite opens and closes");

    let before = fs::read(&path).expect("a file");
    let taken = match Store::open(&path, &options()) {
        Err(error) => {
            assert_tells(&error.to_string(), 2000 + data.len());
            assert!(fs::read(&path).expect("a file") == before, "a refused journal was changed: {error}");
            Taken::Refused
        }
        Ok((mut store, restored, manifests)) => {
            for body in manifests.values() {
                manifest(body);
            }
            let known = (restored.requests.clone(), restored.returns.clone());
            let written = live(restored, |changes| store.commit(changes, true).expect("hfd can go on with it"));
            drop(store);
            let (_, again, _) = Store::open(&path, &options()).expect("what was opened once opens again");
            assert!(written || (again.requests, again.returns) == known, "the same journal reads differently");
            Taken::Accepted
        }
    };
    // Of a large journal SQLite checks no constraint at the start: then only our own reading stands before a bad row.
    fs::write(&path, before).expect("a file");
    let connection = Connection::open(&path).expect("SQLite opens it");
    match load(&connection, &path) {
        Ok((restored, _)) => drop(live(restored, |_| ())),
        Err(error) => assert_tells(&error.to_string(), 2000 + data.len()),
    }
    taken
}

fn options() -> Options {
    Options { reserve_bytes: 0, allow_network_file_system: true, ..Options::default() }
}

/// The bytes of the sample's journal; made once, because it is a hundred times the work of a case.
fn good_journal() -> Vec<u8> {
    thread_local! {
        static MADE: OnceCell<Vec<u8>> = const { OnceCell::new() };
    }
    let make = || {
        let place = tempfile::tempdir().expect("a temporary directory");
        let path = place.path().join("journal.db");
        let (mut store, ..) = Store::open(&path, &options()).expect("a new journal");
        store.commit(&sample::changes(), false).expect("the sample is committed");
        store.checkpoint();
        drop(store);
        fs::read(&path).expect("a file")
    };
    MADE.with(|made| made.get_or_init(make).clone())
}

fn change(path: &Path, lines: &str) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    for pragma in ["synchronous = OFF", "foreign_keys = OFF", "ignore_check_constraints = ON"] {
        connection.execute_batch(&format!("PRAGMA {pragma}"))?;
    }
    for line in lines.lines().take(CHANGES_MAX) {
        // What SQLite does not do (a text in a column of numbers, a key twice) is not done.
        let _refused = apply(&connection, line);
    }
    connection.close().map_err(|(_, error)| error)
}

/// `None` for a line that says nothing.
fn apply(connection: &Connection, line: &str) -> Option<rusqlite::Result<usize>> {
    if let Some(table) = line.strip_prefix("delete ").filter(|table| TABLES.contains(table)) {
        return Some(connection.execute(&format!("DELETE FROM {table}"), []));
    }
    let (place, value) = line.split_once('=')?;
    if place == "version" {
        let version: i32 = value.parse().ok()?;
        return Some(connection.pragma_update(None, "user_version", version).map(|()| 0));
    }
    let (table, column) = place.split_once('.').filter(|(table, _)| TABLES.contains(table))?;
    let is_name = column.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (is_name && !column.is_empty())
        .then(|| connection.execute(&format!("UPDATE {table} SET {column} = ?1"), params_from_iter([written(value)])))
}

fn written(text: &str) -> Value {
    if text == "null" {
        return Value::Null;
    }
    let hex = text.strip_prefix("x'").and_then(|text| text.strip_suffix('\''));
    if let Some(hex) = hex {
        let (pairs, _) = hex.as_bytes().as_chunks::<2>();
        let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap_or(0)).unwrap_or(0);
        return Value::Blob(pairs.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect());
    }
    text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Integer)
}

/// A life that begins with `restored`: two days of it, with the answers that are asked for. Says whether it committed
/// anything.
fn live(restored: Restored, mut commit: impl FnMut(&[Change])) -> bool {
    let cache = PodCache::new();
    let at =
        |seconds: u64| Now { mono: Duration::from_secs(seconds), wall: sample::NOW.saturating_add_unsigned(seconds) };
    let ctx = |seconds| Ctx { now: at(seconds), pods: &cache };
    let names: Vec<_> = restored.requests.iter().flat_map(|request| request.named_machines()).collect();
    let names: Vec<_> = names.into_iter().map(|(name, _)| name).take(100).collect();
    let mut ledger = Ledger::new(restored, Policy::default(), at(0));
    ledger.resume(ctx(0));
    let published = Published::new(Instant::now());
    let (requests, returns) = ledger.all_committed();
    published.publish_all(requests, returns);
    let mut wrote = false;
    for second in [0, 1, 100, 4000, 200_000] {
        ledger.tick(ctx(second), Some(Duration::from_secs(second)));
        while ledger.next_call(ctx(second)).is_some() {}
        let batch = ledger.take_batch();
        commit(&batch.changes);
        wrote |= !batch.is_empty();
        published.publish(&batch);
        ledger.committed(ctx(second), &batch);
        published.publish_at_risk(ledger.take_at_risk_changes());
        sample::answers(&published, at(second).wall);
        for name in &names {
            drop(ledger.machine_report(ctx(second), *name));
        }
    }
    wrote
}

/// What the actuator makes of a stored manifest: pods, or a failure that is told; nothing else.
fn manifest(body: &str) {
    let Ok(manifest) = serde_json::from_str(body) else { return };
    let request = sample::open_request();
    let identity = RequestIdentity {
        request: request.id,
        namespace: "symphony".to_owned(),
        instance: "k8s-hf".to_owned(),
        template: request.template,
        count: 1,
        accepted_at: 1,
        journal: JournalId([1; 8]),
    };
    let pod = PodManifests::new(&manifest, &identity).pod(0);
    serde_json::from_slice::<serde_json::Value>(&pod).expect("a pod is JSON");
}
