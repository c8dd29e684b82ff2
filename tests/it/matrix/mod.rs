//! The fault matrix of `reliability.md` (`table.md`): each fault with the tests that show it. Here it is held against the
//! page's faults and against the sources, so that it can't rot.

use std::{collections::BTreeSet, fs, path::Path};

use tests::bins;

/// The table.
const TABLE: &str = include_str!("table.md");

/// The faults that the page lists, group by group.
const FAULTS: [(&str, &[&str]); 5] = [
    (
        "Process",
        &[
            "kill -9 at any point",
            "SIGTERM under load",
            "out of memory (the kernel sends SIGKILL)",
            "frozen",
            "restart loop",
            "two daemons on one state directory",
            "upgrade and downgrade by one version",
        ],
    ),
    (
        "Disk",
        &[
            "full",
            "read-only",
            "EIO on fsync",
            "torn last write",
            "corrupt file",
            "state directory deleted",
            "restored from an old backup",
            "another host's hfd still writing",
            "the wrong cluster",
            "a recreated namespace",
            "power cut",
        ],
    ),
    (
        "API server",
        &[
            "down at start",
            "down for long",
            "restarted",
            "410 in the stream",
            "a pod created while a relist is under way",
            "expired continue token",
            "watch silent (half-open)",
            "cut mid-frame",
            "slow",
            "answers lost",
            "429 with and without Retry-After",
            "500, 502, 503",
            "504 after having created",
            "409 of ours and of somebody else",
            "403 by RBAC",
            "403 by quota",
            "403 by admission",
            "422",
            "401 then refreshed credential",
            "undecodable pod",
            "duplicate and reordered events",
            "relist with missing pods",
            "namespace deleted",
            "clock jumps",
        ],
    ),
    (
        "Cluster",
        &[
            "unschedulable",
            "image pull failure",
            "crash loop",
            "exit 0",
            "OOMKilled",
            "eviction",
            "preemption",
            "drain",
            "node lost",
            "pod deleted by hand",
            "pod stuck Terminating",
            "name already taken",
        ],
    ),
    (
        "Caller",
        &[
            "garbage bytes, empty file, deep nesting",
            "missing file, directory",
            "100 MB file",
            "wrong types",
            "unknown ids",
            "path-like names",
            "duplicate ids",
            "10,000 ids in one call",
            "SIGKILL of script or hfctl",
            "500 callers at once",
            "slow-loris connections",
            "a caller without permission",
        ],
    ),
];

/// Where tests are looked for.
const ROOTS: [&str; 6] =
    ["tests/it", "tests/proofs", "tests/control_plane", "tests/real_node", "daemon/src", "daemon/core/src"];

/// A row of the table.
#[derive(Debug)]
struct Row {
    group: &'static str,
    fault: &'static str,
    tests: Vec<&'static str>,
}

fn rows() -> Vec<Row> {
    let (mut group, mut rows) = ("", Vec::<Row>::new());
    for line in TABLE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            group = title;
        } else if let Some(fault) = line.strip_prefix("* ") {
            rows.push(Row { group, fault, tests: Vec::new() });
        } else if let Some(test) = line.strip_prefix("  * ") {
            rows.last_mut().expect("a test stands below its fault").tests.push(test.trim_matches('`'));
        }
    }
    rows
}

/// `module::function` of every test there is.
fn all_tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in ROOTS {
        walk(&bins::source_root().join(root), &mut found);
    }
    found
}

fn walk(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read(&path, found);
        }
    }
}

/// The functions below a `#[test]` or `#[tokio::test]`.
fn read(path: &Path, found: &mut BTreeSet<String>) {
    let text = fs::read_to_string(path).expect("a source is text");
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let module = if matches!(stem, "mod" | "tests") {
        path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default()
    } else {
        stem
    };
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.insert(format!("{module}::{name}"));
            is_test = false;
        }
    }
}

#[test]
fn every_test_that_the_fault_matrix_names_exists() {
    let there = all_tests();
    assert!(there.len() > 300, "only {} tests were found", there.len());
    let rows = rows();
    let missing: Vec<&&str> = rows.iter().flat_map(|row| &row.tests).filter(|test| !there.contains(**test)).collect();
    assert!(missing.is_empty(), "the matrix names tests that are not there: {missing:#?}");
}

#[test]
fn no_row_of_the_fault_matrix_is_empty_and_each_group_has_its_rows() {
    let rows = rows();
    for (group, faults) in FAULTS {
        let there: Vec<&str> = rows.iter().filter(|row| row.group == group).map(|row| row.fault).collect();
        assert_eq!(there, faults, "{group}: a row is missing, superfluous or out of order");
    }
    let empty: Vec<&str> = rows.iter().filter(|row| row.tests.is_empty()).map(|row| row.fault).collect();
    assert!(empty.is_empty(), "without a test: {empty:?}");
}

/// Each test that puts its fault against the verbs itself belongs to a row.
#[test]
fn every_test_of_the_faults_is_in_the_matrix() {
    let mut there = BTreeSet::new();
    walk(&bins::source_root().join("tests/it/faults"), &mut there);
    let named: BTreeSet<String> = rows().iter().flat_map(|row| &row.tests).map(|test| (*test).to_owned()).collect();
    let unnamed: Vec<&String> = there.difference(&named).collect();
    assert!(unnamed.is_empty(), "in no row: {unnamed:#?}");
}
