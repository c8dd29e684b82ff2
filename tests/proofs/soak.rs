//! Memory and size stay flat (`lifecycle.md` 10), shown by churn with a retention of seconds.

use std::time::Duration;

use tests::proof::soak::Plan;

/// A week's churn: a machine every two seconds, day and night.
const A_WEEK: u64 = 7 * 24 * 3600 / 2;
/// What its journal may take.
const BOUND: u64 = 512 << 20;

#[test]
fn memory_descriptors_threads_and_journal_stay_flat_under_churn() {
    let plan = Plan { duration: Duration::from_secs(150), callers: 6, seed: 1, forgets: true };
    let report = plan.run(&|line| eprintln!("{line}")).unwrap_or_else(|error| panic!("{}: {error:?}", plan.again()));
    assert_eq!(report.growing(), Vec::<String>::new(), "{:#?}", report.rows());
    assert!(report.cycles > 100, "{:#?}", report.rows());
}

/// The control of the one above, and the bound on what a remembered machine costs.
#[test]
fn what_is_kept_for_a_week_grows_and_is_seen_to_and_a_weeks_churn_stays_within_its_bound() {
    let plan = Plan { duration: Duration::from_secs(100), callers: 6, seed: 2, forgets: false };
    let report = plan.run(&|line| eprintln!("{line}")).unwrap_or_else(|error| panic!("{}: {error:?}", plan.again()));
    let growing = report.growing();
    assert!(growing.iter().any(|what| what.starts_with("requests known")), "{growing:?} {:#?}", report.rows());
    let week = report.bytes_a_cycle() * A_WEEK;
    eprintln!("{} bytes a machine, {} MiB a week", report.bytes_a_cycle(), week >> 20);
    assert!(week <= BOUND, "{} bytes a machine: {week} a week", report.bytes_a_cycle());
}
