//! How long to wait before the next try. Pure.

use std::time::Duration;

/// After the first failure; most are conflicts that are over at once.
const FIRST: Duration = Duration::from_millis(5);
/// Longest wait, so that a cure is noticed within minutes.
const CAP: Duration = Duration::from_secs(5 * 60);
/// Part of the wait that is random, so that what failed together does not come back together.
const JITTER: f64 = 0.2;

/// Wait after `failures` failures in a row: 5 ms, doubling, at most 5 min, less up to a fifth by `random` (0 to 1).
pub(crate) fn delay(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let full = FIRST.saturating_mul(1 << doublings).min(CAP);
    full.mul_f64(1.0 - JITTER * random.clamp(0.0, 1.0))
}

/// When the `index`th of many that are triggered together gets its turn: a burst at once, then ten a second.
pub(crate) fn spread(index: usize) -> Duration {
    const BURST: usize = 100;
    const INTERVAL: Duration = Duration::from_millis(100);
    let late = u32::try_from(index.saturating_sub(BURST)).unwrap_or(u32::MAX);
    INTERVAL.saturating_mul(late)
}

/// A random number from 0 to 1. Good enough to spread load, and for nothing else.
pub(crate) fn random() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_doubles_up_to_the_cap() {
        let millis = |failures| delay(failures, 0.0).as_millis();
        assert_eq!([1, 2, 3, 4, 11].map(millis), [5, 10, 20, 40, 5120]);
        assert_eq!(delay(17, 0.0), CAP);
        assert_eq!(delay(u32::MAX, 0.0), CAP);
        assert_eq!(delay(0, 0.0), FIRST);
        assert_eq!(delay(u32::MAX, 1.0), CAP.mul_f64(0.8));
    }

    #[test]
    fn a_crowd_is_spread() {
        assert_eq!(spread(0), Duration::ZERO);
        assert_eq!(spread(100), Duration::ZERO);
        assert_eq!(spread(110), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn jitter_only_shortens_and_by_a_fifth_at_most(failures: u32, random in -1.0..2.0_f64) {
            let (with, without) = (delay(failures, random), delay(failures, 0.0));
            prop_assert!(with <= without && with >= without.mul_f64(0.799));
        }
    }
}
