//! The run's clocks: one that only goes forward, for what came before what, and the wall's, for `launchtime`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An instant of the run: time since its start.
pub type Moment = Duration;

/// Where the run began.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// Starts the run's time.
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// Time since the start.
    pub fn now(&self) -> Moment {
        self.began.elapsed()
    }

    /// The wall's time in whole seconds since 1970, rounded down as the provider must.
    pub fn wall() -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        i64::try_from(since).unwrap_or(i64::MAX)
    }
}

/// The time in which something was found out: the truth that an answer shows is that of an instant in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When the question was put.
    pub begun: Moment,
    /// When its answer was there.
    pub ended: Moment,
}

impl Span {
    /// Whether all of this lies before all of the other.
    pub fn before(&self, other: &Self) -> bool {
        self.ended < other.begun
    }
}
