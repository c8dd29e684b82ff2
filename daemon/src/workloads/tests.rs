//! Each does what it says, in every run of the tests and not only when it is counted.

use super::{NAMES, run};

#[test]
fn every_workload_does_its_work_at_each_size() {
    for name in NAMES {
        for size in [1, 3, 600] {
            assert!(run(name, size, 3), "{name} {size}");
        }
    }
}

#[test]
fn a_workload_of_another_name_is_refused() {
    assert!(!run("statuses", 1, 1));
}
