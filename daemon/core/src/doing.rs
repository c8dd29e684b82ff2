//! What is in flight for a machine. Volatile: a restart forgets it, and the rules make up for that
//! (`lifecycle.md` 5: creates of earlier lives count as unsettled).

use std::{sync::Arc, time::Duration};

use crate::id::PodUid;

/// State of a machine's create.
///
/// ```text
/// Idle ─> InFlight ─> Exists(uid) ─> Idle      (the watch shows that UID)
///            │            └────────> Absent    (known gone without ever having been seen)
///            ├─> Conflict ─look─> Exists | Idle | failed
///            └─> Ambiguous ─look, after the server's time-out─> Exists | Idle
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Create {
    /// Nothing is under way.
    #[default]
    Idle,
    /// A POST is unanswered.
    InFlight,
    /// A pod exists by 201 or by a look, and the watch has not shown it yet.
    Exists {
        uid: PodUid,
        /// Monotonic time of the answer, or of the last look that confirmed it.
        since: Duration,
        /// A 201 that was in our hands before the LIST under way began: its absence from that LIST counts.
        before_list: bool,
        /// Known by 201; what a look found never counts against a LIST.
        by_201: bool,
    },
    /// 409: some pod has the name.
    Conflict,
    /// Given up on: it may have landed, or may still.
    Ambiguous {
        /// From when on it can't land any more and a look settles it (monotonic).
        dead_at: Duration,
    },
    /// It existed and is known to be gone; nothing durable knows its UID.
    Absent,
}

/// State of a machine's delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Delete {
    /// Nothing is under way.
    #[default]
    Idle,
    /// A DELETE of this UID is unanswered.
    InFlight(PodUid),
    /// The server took it; the watch will show it. Sent again if it does not until then (monotonic).
    Accepted { uid: PodUid, again_at: Duration },
}

/// All that is in flight for one machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doing {
    pub(crate) create: Create,
    pub(crate) delete: Delete,
    /// A look is unanswered; sent at that time (monotonic).
    pub(crate) looking: Option<Duration>,
    /// It stands in a queue.
    pub(crate) queued: bool,
    /// It wakes up at that time (monotonic).
    pub(crate) wake_at: Option<Duration>,
    /// Nothing is tried before that time (monotonic): back-off of a call that failed.
    pub(crate) not_before: Option<Duration>,
    /// The same for looks alone: what may not be looked at may be deletable.
    pub(crate) look_not_before: Option<Duration>,
    /// Looks that failed in a row.
    pub(crate) look_attempts: u32,
    /// Creates and deletes that failed in a row.
    pub(crate) attempts: u32,
    /// What the last one said.
    pub(crate) last_error: Option<Arc<str>>,
    /// A pod that was seen after its machine was returned: no UID of it is recorded.
    pub(crate) seen_returned: Option<PodUid>,
    /// Crash looping after it was ready since then (monotonic).
    pub(crate) crashing_since: Option<Duration>,
}

impl Doing {
    /// Nothing is left to remember, once no further call is wanted.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.create, Create::Idle | Create::Absent)
            && self.delete == Delete::Idle
            && self.looking.is_none()
            && !self.queued
            && self.crashing_since.is_none()
    }

    /// A create may still bring a pod that we have not seen.
    pub(crate) const fn is_create_unsettled(&self) -> bool {
        !matches!(self.create, Create::Idle | Create::Absent)
    }

    /// Remembers a create or a delete that failed and when to try again.
    pub(crate) fn back_off(&mut self, now: Duration, wait: Duration, why: &str) {
        self.attempts = self.attempts.saturating_add(1);
        self.last_error = Some(why.into());
        self.not_before = Some(now + wait);
    }

    /// Remembers a look that failed and when to look again.
    pub(crate) fn back_off_looking(&mut self, now: Duration, wait: Duration, why: &str) {
        self.look_attempts = self.look_attempts.saturating_add(1);
        self.last_error = Some(why.into());
        self.look_not_before = Some(now + wait);
    }

    /// Forgets failures after a call that went well.
    pub(crate) fn went_well(&mut self) {
        self.attempts = 0;
        self.not_before = None;
        self.last_error = None;
    }
}

/// Wait before attempt `attempts + 1`: 200 ms doubling to 30 s, spread by `seed` to between one half and the whole.
pub(crate) fn back_off_time(attempts: u32, seed: u64, retry_after: Option<Duration>) -> Duration {
    const FIRST: Duration = Duration::from_millis(200);
    const LAST: Duration = Duration::from_secs(30);
    let whole = FIRST.saturating_mul(1 << attempts.min(10)).min(LAST);
    // A fixed odd multiplier (Knuth's 2^64 / golden ratio) spreads seeds that differ little.
    let spread = seed.wrapping_add(u64::from(attempts)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
    let half = whole / 2;
    let jittered = half + half.mul_f64(f64::from(u32::try_from(spread).unwrap_or(0)) / 1024.0);
    retry_after.map_or(jittered, |least| least + jittered / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_to_a_bound_and_never_undercuts_retry_after() {
        for seed in 0..200 {
            assert!((100..=200).contains(&back_off_time(0, seed, None).as_millis()));
            assert!((15_000..=30_000).contains(&back_off_time(40, seed, None).as_millis()));
            assert!(back_off_time(0, seed, Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        }
    }
}
