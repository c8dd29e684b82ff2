//! Batches of machines into the journal.

use hfd_core::{change::Change, machine::Machine};

use super::{Options, store::Store};
use crate::{
    fuzzing::sample,
    workloads::{machine, request, uid},
};

/// Machines that the journal holds, at least: a tree of some depth, as with a site at work.
const MACHINES: u32 = 1000;

/// Writes a row of each of `machines` in one batch, `times` times, each time with other values.
pub(crate) fn commits(machines: u32, times: u32) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let options = Options { reserve_bytes: 0, allow_network_file_system: true, ..Options::default() };
    let (mut store, ..) = Store::open(&place.path().join("journal.db"), &options).expect("a new journal");
    let all = machines.max(MACHINES);
    let row = |ordinal: u32, round: u32| {
        let ordinal = ordinal % all;
        let seen = sample::NOW + i64::from(round);
        let changed = Machine {
            uid: Some(uid(ordinal)),
            uid_recorded_at: seen,
            ip: Some([10, 0, 0, 1].into()),
            first_ready: Some(seen),
            ..Machine::default()
        };
        Change::Machine(machine(ordinal), changed)
    };
    let mut stage = sample::changes();
    debug_assert_eq!(sample::open_request().id, request());
    stage.extend((0..all).map(|ordinal| row(ordinal, 0)));
    store.commit(&stage, false).expect("the stage is set");
    for round in 0..times {
        let batch: Vec<Change> = (0..machines).map(|place| row(round * machines + place, round + 1)).collect();
        store.commit(&batch, false).expect("it is committed");
        store.shorten_log();
    }
    assert_eq!(store.facts().status().commits, u64::from(times) + 1);
}
