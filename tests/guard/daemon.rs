//! What hfd does again and again (`daemon/src/workloads`): instructions for each item, in the release profile.

use std::{path::Path, sync::Mutex, thread};

use crate::{callgrind, golden::Counts};

/// One workload at one size.
struct Work {
    /// What an item is.
    item: &'static str,
    workload: &'static str,
    size: u64,
    /// Times that the work is done in one run; in the other it is done twice as often.
    times: u64,
    /// Items of one time.
    items: u64,
}

const WORK: [Work; 12] = [
    Work { item: "a poll of 1 machine", workload: "status", size: 1, times: 100, items: 1 },
    Work { item: "a poll of 1000 machines, a machine", workload: "status", size: 1000, times: 10, items: 1000 },
    Work { item: "a poll of 4000 machines, a machine", workload: "status", size: 4000, times: 2, items: 4000 },
    Work { item: "a watch event with 100 pods", workload: "event", size: 100, times: 1000, items: 1 },
    Work { item: "a watch event with 1000 pods", workload: "event", size: 1000, times: 1000, items: 1 },
    Work { item: "a list of 500 pods, a pod", workload: "list", size: 500, times: 2, items: 500 },
    Work { item: "a list of 2000 pods, a pod", workload: "list", size: 2000, times: 1, items: 2000 },
    Work { item: "1000 machines come and go, a machine", workload: "lifecycle", size: 1000, times: 1, items: 1000 },
    Work {
        item: "10000 machines come and go, a machine",
        workload: "lifecycle",
        size: 10_000,
        times: 1,
        items: 10_000,
    },
    Work { item: "a commit of 1 machine", workload: "commit", size: 1, times: 100, items: 1 },
    Work { item: "a commit of 1000 machines, a machine", workload: "commit", size: 1000, times: 3, items: 1000 },
    Work { item: "a commit of 10000 machines, a machine", workload: "commit", size: 10_000, times: 1, items: 10_000 },
];

/// The same item among fewer and among more, which must not cost more than [`GROWTH_PERCENT`] says.
const NO_GROWTH: [[&str; 2]; 5] = [
    ["a poll of 1000 machines, a machine", "a poll of 4000 machines, a machine"],
    ["a watch event with 100 pods", "a watch event with 1000 pods"],
    ["a list of 500 pods, a pod", "a list of 2000 pods, a pod"],
    ["1000 machines come and go, a machine", "10000 machines come and go, a machine"],
    ["a commit of 1000 machines, a machine", "a commit of 10000 machines, a machine"],
];

/// How much more an item may cost among more of them: trees grow deeper, tables grow in steps. What looks at all of them
/// for each costs several times more.
const GROWTH_PERCENT: u64 = 30;

/// Counts all of it, as many at once as there are processors.
pub(crate) fn count(counts: &mut Counts) {
    // Of the release profile but with the features of the whole workspace, as everything else that the checks build: a
    // selection of its own would compile every library once more.
    let driver = callgrind::released(&["--workspace", "--bin", "workload", "--features", "hfd/workloads"]);
    let runs: Mutex<Vec<(&Work, u64)>> = Mutex::new(WORK.iter().flat_map(|work| [(work, 1), (work, 2)]).collect());
    let totals = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((work, fold)) = { runs.lock().expect("nobody panics with it").pop() } {
                    let total = total(&driver, work, fold * work.times);
                    totals.lock().expect("nobody panics with it").push((work.item, fold, total));
                }
            });
        }
    });
    let totals = totals.into_inner().expect("nobody panicked with it");
    let total = |item, fold| {
        totals.iter().find(|(of, times, _)| (*of, *times) == (item, fold)).map_or(0, |(_, _, total)| *total)
    };
    for work in &WORK {
        let all = total(work.item, 2).saturating_sub(total(work.item, 1));
        counts.insert(work.item.to_owned(), all / (work.times * work.items));
    }
}

/// Fails where an item costs more among more of them, whatever the golden counts say.
#[track_caller]
pub(crate) fn assert_no_growth(counts: &Counts) {
    for [few, many] in NO_GROWTH {
        let (few_count, many_count) = (counts[few], counts[many]);
        assert!(
            many_count * 100 <= few_count * (100 + GROWTH_PERCENT),
            "the work grows with the number of others: {few} takes {few_count} instructions, {many} {many_count}"
        );
    }
}

/// Instructions of a whole run.
fn total(driver: &Path, work: &Work, times: u64) -> u64 {
    let mut command = callgrind::before(driver);
    command.arg(work.workload).arg(work.size.to_string()).arg(times.to_string());
    callgrind::collected(&command.output().expect("valgrind can be started"))
}
