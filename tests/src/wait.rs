//! Waiting, as HostFactory does it: ask again until the answer is there, within a bound. Never a bare pause that stands
//! for something having happened.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Pause between two looks: short beside anything measured, long beside one call.
const STEP: Duration = Duration::from_millis(20);

/// Asks until `look` has an answer and gives it back.
///
/// # Panics
/// When `within` has passed without one; `what` says what was awaited.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(STEP);
    }
}

/// Asks over and over for `span` and fails as soon as `look` no longer holds: for things that must *not* happen.
///
/// # Panics
/// When `look` is false once.
#[track_caller]
pub fn holds_for(what: &str, span: Duration, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < span {
        assert!(look(), "no longer holds after {:?}: {what}", begun.elapsed());
        thread::sleep(STEP);
    }
}
