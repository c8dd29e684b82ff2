//! Whether what the watch last showed may still be believed. Pure; time comes in.
//!
//! Fresh begins with a complete list and ends with the next list, an error, or a silence. After an error it comes back
//! with the first event, or, since a quiet cluster sends none, when bytes came and a check later no error had followed
//! them (a watch that is refused begins with bytes too).

use std::time::Duration;

use tokio::time::Instant;

/// The state of our view.
#[derive(Debug)]
pub(super) struct Freshness {
    within: Duration,
    listed: bool,
    fresh: bool,
    /// The last error, or the list's end: only bytes after it count.
    since: Instant,
    /// Bytes came after `since`, as of the last check.
    hopeful: bool,
}

impl Freshness {
    pub(super) fn new(within: Duration, now: Instant) -> Self {
        Self { within, listed: false, fresh: false, since: now, hopeful: false }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// A list begins: until it is complete, the view is a mixture.
    pub(super) fn list_began(&mut self) {
        self.listed = false;
        self.fresh = false;
    }

    pub(super) fn list_done(&mut self, now: Instant) {
        self.listed = true;
        self.event(now);
    }

    /// The watch showed a pod.
    pub(super) fn event(&mut self, now: Instant) {
        if self.listed {
            self.fresh = true;
            self.since = now;
        }
    }

    pub(super) fn error(&mut self, now: Instant) {
        self.fresh = false;
        self.hopeful = false;
        self.since = now;
    }

    /// To be called regularly, with the time of the last bytes.
    pub(super) fn check(&mut self, last_bytes: Option<Instant>, now: Instant) {
        let bytes_since = last_bytes.filter(|&bytes| bytes > self.since);
        let last = bytes_since.unwrap_or(self.since);
        if now.duration_since(last) >= self.within {
            self.fresh = false;
            self.hopeful = false;
        } else if !self.fresh && self.listed && bytes_since.is_some() {
            self.fresh = self.hopeful;
            self.hopeful = !self.fresh;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn listed(start: Instant) -> Freshness {
        let mut view = Freshness::new(90 * SECOND, start);
        view.list_began();
        view.list_done(start);
        view
    }

    #[test]
    fn a_view_is_fresh_from_a_complete_list_until_ninety_silent_seconds() {
        let start = Instant::now();
        let mut view = Freshness::new(90 * SECOND, start);
        assert!(!view.is_fresh());
        view.list_began();
        view.check(Some(start + SECOND), start + 2 * SECOND);
        view.check(Some(start + SECOND), start + 3 * SECOND);
        assert!(!view.is_fresh(), "bytes without a list say nothing");
        view.list_done(start + 3 * SECOND);
        assert!(view.is_fresh());
        view.check(None, start + 92 * SECOND);
        assert!(view.is_fresh());
        view.check(None, start + 93 * SECOND);
        assert!(!view.is_fresh());
    }

    #[test]
    fn bookmarks_keep_a_quiet_view_fresh() {
        let start = Instant::now();
        let mut view = listed(start);
        for minute in 1..10 {
            let now = start + minute * 60 * SECOND;
            view.check(Some(now), now + 29 * SECOND);
            assert!(view.is_fresh());
        }
    }

    #[test]
    fn after_an_error_the_next_event_makes_it_fresh_again() {
        let start = Instant::now();
        let mut view = listed(start);
        view.error(start + SECOND);
        assert!(!view.is_fresh());
        view.event(start + 2 * SECOND);
        assert!(view.is_fresh());
    }

    #[test]
    fn after_an_error_bytes_that_no_error_follows_make_it_fresh_again() {
        let start = Instant::now();
        let mut view = listed(start);
        view.error(start + SECOND);
        view.check(Some(start), start + 2 * SECOND);
        view.check(Some(start), start + 3 * SECOND);
        assert!(!view.is_fresh(), "bytes before the error");
        view.check(Some(start + 3 * SECOND), start + 4 * SECOND);
        assert!(!view.is_fresh(), "not yet: an error may follow");
        view.error(start + 4 * SECOND);
        view.check(Some(start + 5 * SECOND), start + 6 * SECOND);
        assert!(!view.is_fresh());
        view.check(Some(start + 6 * SECOND), start + 7 * SECOND);
        assert!(view.is_fresh());
    }

    #[test]
    fn a_new_list_is_not_fresh_before_its_end_whatever_arrives() {
        let start = Instant::now();
        let mut view = listed(start);
        view.list_began();
        view.event(start + SECOND);
        view.check(Some(start + SECOND), start + 2 * SECOND);
        view.check(Some(start + SECOND), start + 3 * SECOND);
        assert!(!view.is_fresh());
        view.list_done(start + 4 * SECOND);
        assert!(view.is_fresh());
    }
}
