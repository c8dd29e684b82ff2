//! How many calls may be in flight: as many as the API server takes, between a floor and what is configured.
//!
//! Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does it. It starts at the configured maximum;
//! an answer 429 halves it, and so does one that took far longer than answers did; each window of good answers, as many
//! as may be in flight, adds one. Calls that were sent before a cut tell of the load before it and cut no second time.
//! Slowness alone never takes more than half of what is configured: a webhook that always takes seconds looks like load
//! beside deletes that take none.

use std::time::Duration;

/// Calls that may always be in flight, where as many are configured.
const LEAST: usize = 4;
/// An answer within this time is no sign of load, however quick others were.
const NEVER_SLOW: Duration = Duration::from_secs(2);
/// An answer that takes this many times as long as the quickest of late is a sign of load.
const SLOW: u32 = 8;
/// With each answer the quickest one counts this part less quick: what was once is forgotten after some hundreds.
const FORGET: u32 = 128;

/// What a call's end says about the API server's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// It did what it was asked for.
    Taken,
    /// It answered what costs it little: a read, or that there is nothing to do.
    Answered,
    /// It asks for less (429).
    TooMuch,
    /// Nothing: refused for another reason, lost, not sent.
    Unknown,
}

/// The limit.
#[derive(Debug)]
pub(crate) struct Limit {
    most: usize,
    now: usize,
    /// Good answers in the window under way.
    taken: usize,
    /// When it was cut last (monotonic).
    cut_at: Option<Duration>,
    quickest: Option<Duration>,
}

impl Limit {
    /// Starts at `most`, and never exceeds it.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, now: most, taken: 0, cut_at: None, quickest: None }
    }

    /// Calls that may be in flight now.
    pub(crate) const fn now(&self) -> usize {
        self.now
    }

    /// Calls that may ever be in flight.
    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    /// Takes the end of a call that was sent at `sent` and ended at `now` (monotonic).
    pub(crate) fn ended(&mut self, sent: Duration, now: Duration, load: Load) {
        let took = now.saturating_sub(sent);
        let (too_much, least) = match load {
            Load::Taken => (self.is_slow(took), (self.most / 2).max(LEAST)),
            Load::Answered => (false, LEAST),
            Load::TooMuch => (true, LEAST),
            Load::Unknown => return,
        };
        if load == Load::Taken {
            self.quickest = Some(self.quickest.map_or(took, |quickest| took.min(quickest + quickest / FORGET)));
        }
        if !too_much {
            self.taken += 1;
            if self.taken >= self.now {
                self.now = (self.now + 1).min(self.most);
                self.taken = 0;
            }
        } else if self.cut_at.is_none_or(|cut_at| sent >= cut_at) {
            self.now = (self.now / 2).max(least.min(self.now)).min(self.most);
            self.taken = 0;
            self.cut_at = Some(now);
        }
    }

    fn is_slow(&self, took: Duration) -> bool {
        took > NEVER_SLOW && self.quickest.is_some_and(|quickest| took > quickest * SLOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(10);

    /// Ends so many calls, one after the other, each sent when the one before it had ended.
    fn ends(limit: &mut Limit, now: &mut Duration, count: usize, took: Duration, load: Load) {
        for _ in 0..count {
            let sent = *now;
            *now += took;
            limit.ended(sent, *now, load);
        }
    }

    #[test]
    fn it_starts_at_what_is_configured_and_stays_there_while_all_goes_well() {
        let (mut limit, mut now) = (Limit::new(64), Duration::ZERO);
        assert_eq!(limit.now(), 64);
        ends(&mut limit, &mut now, 1000, QUICK, Load::Taken);
        assert_eq!(limit.now(), 64);
    }

    #[test]
    fn it_halves_on_429_and_never_falls_below_the_floor() {
        let (mut limit, mut now) = (Limit::new(64), Duration::ZERO);
        let mut seen = Vec::new();
        for _ in 0..6 {
            ends(&mut limit, &mut now, 1, QUICK, Load::TooMuch);
            seen.push(limit.now());
        }
        assert_eq!(seen, [32, 16, 8, LEAST, LEAST, LEAST]);
        let mut small = Limit::new(2);
        ends(&mut small, &mut now, 1, QUICK, Load::TooMuch);
        assert_eq!(small.now(), 2, "less than the floor was configured");
    }

    #[test]
    fn calls_that_were_in_flight_together_halve_it_once() {
        let mut limit = Limit::new(64);
        for ended in 10..30 {
            limit.ended(Duration::ZERO, Duration::from_millis(ended), Load::TooMuch);
        }
        assert_eq!(limit.now(), 32);
        limit.ended(Duration::from_millis(10), Duration::from_millis(40), Load::TooMuch);
        assert_eq!(limit.now(), 16, "this one was sent after the cut");
    }

    #[test]
    fn it_grows_by_one_with_each_window_of_good_answers_up_to_what_is_configured() {
        let (mut limit, mut now) = (Limit::new(10), Duration::ZERO);
        ends(&mut limit, &mut now, 1, QUICK, Load::TooMuch);
        assert_eq!(limit.now(), 5);
        ends(&mut limit, &mut now, 4, QUICK, Load::Taken);
        assert_eq!(limit.now(), 5);
        ends(&mut limit, &mut now, 1, QUICK, Load::Taken);
        assert_eq!(limit.now(), 6);
        ends(&mut limit, &mut now, 6 + 7 + 8 + 9 + 1000, QUICK, Load::Taken);
        assert_eq!(limit.now(), 10);
    }

    #[test]
    fn a_429_begins_the_window_anew() {
        let (mut limit, mut now) = (Limit::new(8), Duration::ZERO);
        ends(&mut limit, &mut now, 7, QUICK, Load::Taken);
        ends(&mut limit, &mut now, 1, QUICK, Load::TooMuch);
        ends(&mut limit, &mut now, 3, QUICK, Load::Taken);
        assert_eq!(limit.now(), 4);
        ends(&mut limit, &mut now, 1, QUICK, Load::Taken);
        assert_eq!(limit.now(), 5);
    }

    #[test]
    fn answers_that_take_far_longer_than_they_did_halve_it() {
        let (mut limit, mut now) = (Limit::new(64), Duration::ZERO);
        ends(&mut limit, &mut now, 10, QUICK, Load::Taken);
        ends(&mut limit, &mut now, 10, NEVER_SLOW, Load::Taken);
        assert_eq!(limit.now(), 64, "so short a time is no sign of load");
        ends(&mut limit, &mut now, 1, NEVER_SLOW + QUICK, Load::Taken);
        assert_eq!(limit.now(), 32);
    }

    #[test]
    fn slowness_alone_never_takes_more_than_half() {
        let (mut limit, mut now) = (Limit::new(64), Duration::ZERO);
        for _ in 0..100 {
            ends(&mut limit, &mut now, 1, QUICK, Load::Taken); // a delete
            ends(&mut limit, &mut now, 1, NEVER_SLOW * 2, Load::Taken); // a create behind a slow webhook
        }
        assert_eq!(limit.now(), 32);
        ends(&mut limit, &mut now, 1, QUICK, Load::TooMuch);
        assert_eq!(limit.now(), 16);
        ends(&mut limit, &mut now, 1, NEVER_SLOW * 2, Load::Taken);
        assert_eq!(limit.now(), 16, "and never raises it");
    }

    #[test]
    fn looks_that_are_answered_let_it_grow_again() {
        let (mut limit, mut now) = (Limit::new(64), Duration::ZERO);
        ends(&mut limit, &mut now, 4, QUICK, Load::TooMuch);
        assert_eq!(limit.now(), LEAST);
        ends(&mut limit, &mut now, 4 + 5, NEVER_SLOW * 20, Load::Answered);
        assert_eq!(limit.now(), LEAST + 2, "however long they take");
    }

    #[test]
    fn a_server_that_is_always_slow_is_not_taken_for_a_loaded_one() {
        let (mut limit, mut now) = (Limit::new(64), Duration::ZERO);
        ends(&mut limit, &mut now, 100, NEVER_SLOW * 2, Load::Taken);
        assert_eq!(limit.now(), 64);
        // One that was quick and is slow from now on is loaded until its slowness is the rule.
        let mut limit = Limit::new(64);
        ends(&mut limit, &mut now, 100, Duration::from_secs(1), Load::Taken);
        ends(&mut limit, &mut now, 1, Duration::from_secs(9), Load::Taken);
        assert_eq!(limit.now(), 32);
        ends(&mut limit, &mut now, 64 * 64, Duration::from_secs(9), Load::Taken);
        assert_eq!(limit.now(), 64);
    }

    #[test]
    fn ends_that_tell_nothing_of_load_change_nothing() {
        let (mut limit, mut now) = (Limit::new(64), Duration::ZERO);
        ends(&mut limit, &mut now, 1, QUICK, Load::TooMuch);
        ends(&mut limit, &mut now, 1000, NEVER_SLOW * 20, Load::Unknown);
        assert_eq!(limit.now(), 32);
    }
}
