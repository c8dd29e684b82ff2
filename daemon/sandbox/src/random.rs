//! Seeded pseudo-randomness: the same seed gives the same delays, identifiers and generated names.
//!
//! Every value is a function of the seed and of what it is for, never of how many values were drawn before. So the
//! delays and the UID of a pod follow from its name, in whatever order requests arrive.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The characters Kubernetes draws generated names from: no vowels and nothing that looks like another character.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A source of values that depend on the seed and on a purpose only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random {
    seed: u64,
}

impl Random {
    /// A source for this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// 64 bits for this purpose.
    pub(crate) fn bits(self, purpose: &str) -> u64 {
        // FNV-1a over the purpose, then the finaliser of splitmix64
        let hash = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        mix(hash ^ mix(self.seed))
    }

    /// A number in `0..bound`; 0 if the bound is 0.
    pub(crate) fn below(self, purpose: &str, bound: u64) -> u64 {
        self.bits(purpose).checked_rem(bound).unwrap_or(0)
    }

    /// A delay between half and one and a half times `mean`.
    pub(crate) fn around(self, purpose: &str, mean: Duration) -> Duration {
        let thousandths = u32::try_from(500 + self.below(purpose, 1001)).unwrap_or(1000);
        mean * thousandths / 1000
    }

    /// A UUID with the layout of version 4.
    pub(crate) fn uuid(self, purpose: &str) -> String {
        let high = self.bits(purpose);
        let low = mix(high);
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    /// The five characters that are added to a `generateName`.
    pub(crate) fn name_suffix(self, purpose: &str) -> String {
        let mut bits = self.bits(purpose);
        let base = NAME_ALPHABET.len() as u64;
        (0..5)
            .map(|_| {
                let index = usize::try_from(bits % base).unwrap_or(0);
                bits /= base;
                char::from(NAME_ALPHABET[index])
            })
            .collect()
    }
}

/// A bearer token nobody can guess: 128 bits from the keys the standard library seeds its hashers with.
pub(crate) fn unguessable_token() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_depend_on_seed_and_purpose_only() {
        let random = Random::new(7);
        assert_eq!(random.uuid("a"), Random::new(7).uuid("a"));
        assert_ne!(random.uuid("a"), random.uuid("b"));
        assert_ne!(random.uuid("a"), Random::new(8).uuid("a"));
    }

    #[test]
    fn delays_stay_within_half_of_their_mean() {
        let mean = Duration::from_secs(2);
        for pod in 0..1000 {
            let delay = Random::new(1).around(&format!("pod {pod}"), mean);
            assert!((mean / 2..=mean * 3 / 2).contains(&delay), "{delay:?}");
        }
    }

    #[test]
    fn identifiers_have_the_layout_of_version_4() {
        let uuid = Random::new(3).uuid("x");
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
    }
}
