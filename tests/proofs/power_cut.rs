//! Power cuts and failing disks under load (`reliability.md`, "Disk"; `lifecycle.md` 2 and 11), on a disk that loses what
//! was not synced.

use tests::proof::{
    lossy::Fault,
    power_cut::{Plan, Weakness, control, faults},
};

#[test]
fn forty_power_cuts_under_load_lose_double_orphan_and_unsay_nothing() {
    let plan = Plan { cuts: 40, callers: 8, seed: 1 };
    let report = plan.run(&|line| eprintln!("{line}")).unwrap_or_else(|error| panic!("{}: {error:?}", plan.again()));
    assert_eq!(report.outcome.strikes, 40);
    // A proof in which one of these never happened would have proven less than it says.
    assert!(report.while_starting > 0 && report.while_starting < report.outcome.strikes, "{report:?}");
    assert!(report.with_unsynced > 0, "no cut met anything unsynced: {report:?}");
    assert!(report.outcome.judged.acknowledged > 100, "{report:?}");
}

/// The proof can see loss: without an fsync at each commit acknowledged ids are lost.
#[test]
fn power_cuts_of_a_journal_that_does_not_sync_its_commits_are_seen_to_lose() {
    let seen = control(Weakness::Normal, 5, 1).unwrap_or_else(|error| panic!("{error:?}"));
    assert!(seen.lost > 0 && seen.acknowledged > 0, "{seen:?}");
}

/// The same when the disk is at fault.
#[test]
fn power_cuts_of_a_disk_whose_fsync_lies_are_seen_to_lose() {
    let seen = control(Weakness::LyingFsync, 5, 1).unwrap_or_else(|error| panic!("{error:?}"));
    assert!(seen.lost > 0 && seen.acknowledged > 0, "{seen:?}");
}

#[test]
fn a_failed_fsync_ends_hfd_and_a_power_cut_after_it_loses_nothing_acknowledged() {
    io_error(|nth| Fault::Sync { nth }, faults::Then::PowerCut);
}

#[test]
fn a_failed_fsync_ends_hfd_and_what_the_next_life_answers_from_is_on_the_disk() {
    io_error(|nth| Fault::Sync { nth }, faults::Then::Restart);
}

#[test]
fn a_failed_write_ends_hfd_and_a_power_cut_after_it_loses_nothing_acknowledged() {
    io_error(|nth| Fault::Write { nth }, faults::Then::PowerCut);
}

#[test]
fn a_failed_write_ends_hfd_and_what_the_next_life_answers_from_is_on_the_disk() {
    io_error(|nth| Fault::Write { nth }, faults::Then::Restart);
}

#[track_caller]
fn io_error(fault: fn(u64) -> Fault, then: faults::Then) {
    for seed in 1..=3 {
        faults::io_error(fault, then, seed).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    }
}

#[test]
fn a_disk_that_fills_up_under_load_loses_nothing_takes_returns_and_recovers() {
    faults::no_room(1).unwrap_or_else(|error| panic!("{error:?}"));
}

#[test]
fn a_power_cut_at_any_step_of_the_first_start_leaves_what_the_next_one_can_start_from() {
    let cuts = faults::first_start(1).unwrap_or_else(|error| panic!("{error:?}"));
    assert!(cuts > 20, "the first start makes more changes than {cuts}");
}
