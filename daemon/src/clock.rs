//! The one place that reads the clocks for the core, which never reads any.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hfd_core::clock::Now;

/// This instant, in a life that began at `started`.
#[must_use]
pub(crate) fn now(started: Instant) -> Now {
    Now { mono: started.elapsed(), wall: wall() }
}

/// Epoch seconds, UTC. Never 0, which HostFactory's arithmetic does not survive: a clock before the epoch reads as 1.
#[must_use]
pub(crate) fn wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}
