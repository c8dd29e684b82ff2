//! kill -9 at random moments under load (`reliability.md`, "Promises" 1 to 6).

use tests::proof::kill::Plan;

/// What was acknowledged ends right, nothing is doubled, nothing orphaned, nothing unsaid: with keys and without,
/// through `hfctl` and the scripts.
#[test]
fn killed_two_hundred_times_under_load_it_loses_doubles_orphans_and_unsays_nothing() {
    let plan = Plan { kills: 200, callers: 10, seed: 1 };
    let report = plan.run(&|line| eprintln!("{line}")).unwrap_or_else(|error| panic!("{}: {error:?}", plan.again()));
    assert_eq!(report.outcome.strikes, 200);
    // A proof in which one of these never happened would have proven less than it says.
    assert!(report.while_starting > 0 && report.while_starting < report.outcome.strikes, "{report:?}");
    assert!(report.in_slow_commits > 0, "{report:?}");
    assert!(report.outcome.judged.acknowledged > 200, "{report:?}");
    assert!(report.outcome.tally.same_key > 0 && report.outcome.tally.other_body > 0, "{report:?}");
    assert!(report.outcome.tally.failed.values().sum::<u64>() > 0, "no call failed: {report:?}");
}
