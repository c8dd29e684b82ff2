//! The guard against mass loss (`lifecycle.md` 6): a view that would newly report more than half of the known machines
//! (and at least a handful) at once is confirmed by one quorum LIST before anybody is told.

use std::{collections::VecDeque, time::Duration};

use crate::{id::MachineName, ordered::HashSet};

/// Losses that trickle in within this time count as "at once".
const WINDOW: Duration = Duration::from_secs(60);

/// How much is "many at once".
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// At least so many machines ...
    pub(crate) min: usize,
    /// ... and more than this part of the known ones.
    pub(crate) fraction: f64,
}

impl Bounds {
    #[expect(clippy::cast_precision_loss, reason = "counts of machines are far below 2^52")]
    fn are_passed_by(self, lost: usize, known: usize) -> bool {
        lost >= self.min && lost as f64 > known as f64 * self.fraction
    }
}

/// What the guard knows.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Losses reported lately, unconfirmed. A machine is in it once, however often its loss is seen (marked, ended, gone,
    /// and each of that again until it is durable).
    recent: VecDeque<(Duration, MachineName)>,
    /// Losses held back until a LIST confirms them.
    held: HashSet<MachineName>,
    /// Confirmed by a LIST: reported without asking again.
    confirmed: HashSet<MachineName>,
}

impl Guard {
    /// Takes the machines that a view would newly report; holds them when they are too many. `live` counts the known
    /// machines, the newly reported ones included; `is_live` says whether it has one that was reported lately. Returns
    /// whether a LIST is needed.
    pub(crate) fn admit(
        &mut self,
        newly: &[MachineName],
        live: usize,
        is_live: impl Fn(MachineName) -> bool,
        bounds: Bounds,
        now: Duration,
    ) -> bool {
        while self.recent.front().is_some_and(|(at, _)| *at + WINDOW < now) {
            self.recent.pop_front();
        }
        let lately: HashSet<_> = self.recent.iter().map(|(_, name)| *name).collect();
        let is_new = |name: &&MachineName| !self.confirmed.contains(name) && !lately.contains(name);
        let newly: HashSet<_> = newly.iter().filter(is_new).copied().collect();
        if newly.is_empty() {
            return false;
        }
        let lost = lately.len() + newly.union(&self.held).count();
        let known = || {
            let over = lately.iter().filter(|name| !is_live(**name)).count();
            // What a LIST confirmed and waits for its verdict is lost already.
            (live + over).saturating_sub(self.confirmed.len())
        };
        if self.held.is_empty() && !bounds.are_passed_by(lost, known()) {
            self.recent.extend(newly.into_iter().map(|name| (now, name)));
            return false;
        }
        let before = self.held.len();
        self.held.extend(newly);
        before == 0
    }

    /// The guard waits for a LIST.
    pub(crate) fn is_open(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether the loss of this machine must not be told yet.
    pub(crate) fn holds(&self, name: MachineName) -> bool {
        self.held.contains(&name)
    }

    /// Machines held back.
    pub(crate) fn held(&self) -> Vec<MachineName> {
        let mut held: Vec<_> = self.held.iter().copied().collect();
        held.sort_unstable();
        held
    }

    /// A LIST has answered: `is_lost` says which of the held machines it confirms. Returns all that were held, and
    /// whether the LIST contradicted the view for any.
    pub(crate) fn settle(&mut self, is_lost: impl Fn(MachineName) -> bool) -> (Vec<MachineName>, bool) {
        let held = self.held();
        self.held.clear();
        self.recent.clear();
        let mut contradicted = false;
        for &name in &held {
            if is_lost(name) {
                self.confirmed.insert(name);
            } else {
                contradicted = true;
            }
        }
        (held, contradicted)
    }

    /// The machine lives after all: its next loss is weighed anew.
    pub(crate) fn unconfirm(&mut self, name: MachineName) {
        self.confirmed.remove(&name);
    }

    /// Forgets a machine whose loss is durable or undone.
    pub(crate) fn forget(&mut self, name: MachineName) {
        self.confirmed.remove(&name);
        self.held.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RequestId;

    fn names(range: std::ops::Range<u32>) -> Vec<MachineName> {
        range.map(|ordinal| MachineName { request: RequestId::from_random([1; 10]), ordinal }).collect()
    }

    const BOUNDS: Bounds = Bounds { min: 5, fraction: 0.5 };
    const NOW: Duration = Duration::from_secs(1000);

    /// Those reported before have their verdicts.
    fn over(_: MachineName) -> bool {
        false
    }

    #[test]
    fn losses_that_wait_for_their_verdicts_are_not_counted_twice() {
        let mut guard = Guard::default();
        assert!(!guard.admit(&names(0..2), 10, |_| true, BOUNDS, NOW));
        assert!(!guard.admit(&names(2..5), 10, |_| true, BOUNDS, NOW));
        assert!(guard.admit(&names(5..6), 10, |_| true, BOUNDS, NOW));
    }

    #[test]
    fn more_than_half_and_at_least_five_at_once_are_held() {
        assert!(Guard::default().admit(&names(0..6), 10, over, BOUNDS, NOW));
        assert!(!Guard::default().admit(&names(0..5), 10, over, BOUNDS, NOW));
        assert!(!Guard::default().admit(&names(0..4), 4, over, BOUNDS, NOW));
    }

    #[test]
    fn losses_that_trickle_in_add_up() {
        let mut guard = Guard::default();
        assert!(!guard.admit(&names(0..4), 8, over, BOUNDS, NOW));
        assert!(guard.admit(&names(4..5), 4, over, BOUNDS, NOW + Duration::from_secs(1)));
        assert!(!guard.holds(names(0..1)[0]) && guard.holds(names(4..5)[0]));
    }

    #[test]
    fn a_loss_that_is_seen_again_before_it_is_durable_counts_once() {
        let mut guard = Guard::default();
        for later in 0..6 {
            assert!(!guard.admit(&names(0..2), 5, over, BOUNDS, NOW + Duration::from_secs(later)));
        }
        assert!(!guard.admit(&names(1..4), 5, over, BOUNDS, NOW + Duration::from_secs(7)));
        assert!(guard.admit(&names(3..5), 5, over, BOUNDS, NOW + Duration::from_secs(8)));
        assert_eq!(guard.held(), names(4..5));
    }

    #[test]
    fn old_losses_do_not_count() {
        let mut guard = Guard::default();
        assert!(!guard.admit(&names(0..4), 8, over, BOUNDS, NOW));
        assert!(!guard.admit(&names(4..6), 4, over, BOUNDS, NOW + Duration::from_secs(61)));
    }

    #[test]
    fn what_a_list_confirms_latches_and_the_rest_is_released() {
        let mut guard = Guard::default();
        assert!(guard.admit(&names(0..6), 6, over, BOUNDS, NOW));
        let (held, contradicted) = guard.settle(|name| name.ordinal != 3);
        assert!(held.len() == 6 && contradicted && !guard.is_open());
        assert!(!guard.admit(&names(0..3), 6, over, BOUNDS, NOW));
        assert!(!guard.is_open());
    }
}
