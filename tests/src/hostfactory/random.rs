//! The run's dice: small, seeded, and the same on every machine. Each loop throws its own, derived from the run's seed
//! and the loop's name, so that one loop's pace does not change another's choices.

use std::ops::RangeInclusive;

/// A stream of random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of one loop.
    pub fn of(seed: u64, name: &str) -> Self {
        // FNV-1a of the name keeps streams of one seed apart.
        let mixed = name
            .bytes()
            .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { state: mixed }
    }

    /// Sixty-four random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of the range, each as likely as another (the bias of the remainder does not matter here).
    pub fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        let (low, high) = range.into_inner();
        let span = (high - low) as u64 + 1;
        low + usize::try_from(self.bits() % span).unwrap_or(0)
    }

    /// True `of_thousand` times in a thousand.
    pub fn chance(&mut self, of_thousand: usize) -> bool {
        self.within(0..=999) < of_thousand
    }

    /// One of them, or none of nothing.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.within(0..=all.len() - 1)) }
    }

    /// Any order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.within(0..=last));
        }
    }

    /// A word of the request ids' form.
    pub fn word(&mut self, length: usize) -> String {
        const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        (0..length).map(|_| char::from(LETTERS[self.within(0..=31)])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_name_give_the_same_numbers_again_and_another_name_gives_others() {
        let numbers = |name: &str| {
            let mut random = Random::of(7, name);
            (0..8).map(|_| random.bits()).collect::<Vec<_>>()
        };
        assert_eq!(numbers("demand"), numbers("demand"));
        assert_ne!(numbers("demand"), numbers("status"));
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_both_ends() {
        let mut random = Random::of(1, "range");
        let thrown: Vec<usize> = (0..200).map(|_| random.within(3..=5)).collect();
        assert!(thrown.iter().all(|number| (3..=5).contains(number)));
        assert!(thrown.contains(&3) && thrown.contains(&5));
    }
}
