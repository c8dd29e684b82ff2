//! Death at each named point (`reliability.md`, "Process"), with each verb under way that passes it.

use std::{fs, process::Command};

use tests::{
    bins,
    proof::points::{POINTS, die_at, rebuild},
};

#[track_caller]
fn survives(name: &str) {
    let point = POINTS.iter().find(|point| point.name.split(':').next() == Some(name)).expect("the table has it");
    let deaths = die_at(*point, 1).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(deaths, point.verbs.len() as u64);
}

macro_rules! points {
    ($($sentence:ident: $name:literal,)*) => {
        $(#[test] fn $sentence() { survives($name); })*

        /// The tests above are for all that there are.
        #[test]
        fn no_point_is_left_out() {
            let tested = [$($name),*];
            assert!(POINTS.iter().all(|point| tested.contains(&point.name.split(':').next().unwrap_or_default())));
            assert_eq!(tested.len(), POINTS.len());
        }
    };
}

points! {
    killed_after_it_decided_it_ends_right: "after-decide",
    killed_inside_the_journals_transaction_it_ends_right: "in-journal",
    killed_when_durable_and_not_published_it_ends_right: "after-journal",
    killed_before_its_reply_it_ends_right: "before-reply",
    killed_after_its_reply_it_ends_right: "after-reply",
    killed_with_an_answer_made_and_not_sent_it_ends_right: "before-answer",
    killed_when_an_answer_has_left_it_ends_right: "after-answer",
    killed_between_creates_it_ends_right: "between-creates",
    killed_between_deletes_it_ends_right: "between-deletes",
    killed_with_half_of_its_journal_read_it_ends_right: "during-replay",
    killed_before_a_checkpoint_it_ends_right: "before-checkpoint",
    killed_after_a_checkpoint_it_ends_right: "after-checkpoint",
    killed_when_the_cluster_is_listed_and_nothing_is_judged_it_ends_right: "after-sync",
}

#[test]
fn killed_in_a_rebuild_the_next_rebuild_adopts_the_same_and_touches_nothing() {
    rebuild(1).unwrap_or_else(|error| panic!("{error:?}"));
}

/// The file with the hooks compiled as a release build does it has no trace of them; the debug binary has all.
#[test]
fn a_release_build_has_neither_the_points_nor_the_variables() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let object = dir.path().join("hooks.o");
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "--crate-type", "lib", "-C", "debug-assertions=off", "--emit", "obj", "-o"])
        .arg(&object)
        .arg(bins::source_root().join("daemon/src/crash_point.rs"))
        .output()
        .expect("rustc is there where cargo is");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let (release, debug) = (fs::read(object).expect("just made"), fs::read(bins::hfd()).expect("built"));
    let has = |binary: &[u8], text: &str| binary.windows(text.len()).any(|part| part == text.as_bytes());
    let points = POINTS.iter().filter_map(|point| point.name.split(':').next());
    for text in points.chain(["during-rebuild", "HFD_CRASH_POINT", "HFD_TEST_SYNCHRONOUS", "HFD_TEST_KEEP"]) {
        assert!(has(&debug, text), "{text} is not what the hooks are called");
        assert!(!has(&release, text), "{text} is in a release build");
    }
}
