//! Time as the core sees it: handed in, never read.

use std::time::Duration;

/// One instant, read once by the engine and passed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the daemon started. All waiting inside one life of the process uses this.
    pub mono: Duration,
    /// Wall clock, whole seconds since the epoch, UTC. Only for what people and HostFactory read, and for what must
    /// survive a restart.
    pub wall: i64,
}

/// Accumulates the time during which our view of the cluster was synced and fresh ("sighted" time).
///
/// Deadlines of machines are measured on this clock, so that blind time extends them (`lifecycle.md` 3).
#[derive(Debug, Clone, Copy, Default)]
pub struct SightClock {
    elapsed: Duration,
    sighted_since: Option<Duration>,
}

impl SightClock {
    /// Tells the clock whether the view is synced and fresh from `now` on.
    pub fn set_sighted(&mut self, sighted: bool, now: Now) {
        match (sighted, self.sighted_since) {
            (true, None) => self.sighted_since = Some(now.mono),
            (false, Some(since)) => {
                self.elapsed += now.mono.saturating_sub(since);
                self.sighted_since = None;
            }
            _ => {}
        }
    }

    /// Whether the view is synced and fresh.
    #[must_use]
    pub fn is_sighted(&self) -> bool {
        self.sighted_since.is_some()
    }

    /// Sighted time since the process started.
    #[must_use]
    pub fn read(&self, now: Now) -> Duration {
        self.elapsed + self.sighted_since.map_or(Duration::ZERO, |since| now.mono.saturating_sub(since))
    }
}
