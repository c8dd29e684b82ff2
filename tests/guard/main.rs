//! What each piece of work costs, counted and not timed, so that nothing grows unnoticed: times differ from run to run
//! and from machine to machine, counts do not. `cargo test --workspace --test guard -- --nocapture`.
//!
//! | file | what is counted | by |
//! |---|---|---|
//! | `poll.rs` | instructions of one call of the released `hfctl` | valgrind |
//! | `daemon.rs` | instructions of what hfd does again and again, for each item | valgrind |
//! | `syncs.rs` | fsyncs and batches of hfd, which are as many | a disk in user space (root, `/dev/fuse`) |
//!
//! How many calls go to the API server is asserted exactly in `it/scale.rs`. What is missing for a count is said in one
//! line, and nothing of that kind is checked then.
//!
//! The instructions are held against `instructions/ARCHITECTURE`; `GUARD_WRITE=1` writes that file anew. Another
//! compiler changes them, within the tolerance or with a commit.

mod callgrind;
mod daemon;
mod golden;
mod poll;
mod syncs;

use std::process::{Command, Stdio};

use self::golden::Counts;

/// One test, because all counts share a file.
#[test]
fn what_is_done_again_and_again_takes_as_many_instructions_as_it_did() {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: valgrind is not installed, so instructions cannot be counted");
        return;
    }
    let mut counts = Counts::new();
    counts.insert("a status call of hfctl".to_owned(), poll::count());
    daemon::count(&mut counts);
    golden::hold_against(&counts);
    daemon::assert_no_growth(&counts);
}
