//! How long to wait before the next try. Pure.

use std::time::Duration;

/// Waits that grow from failure to failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// Wait after the first failure.
    pub(crate) first: Duration,
    /// Each wait is so many times the one before.
    pub(crate) factor: u32,
    /// Longest wait.
    pub(crate) cap: Duration,
}

/// Part of a wait that is random, so that what failed together does not come back together.
const JITTER: f64 = 0.2;

impl Backoff {
    /// Wait after `failures` failures in a row, less up to a fifth by `random` (0 to 1).
    pub(crate) fn delay(self, failures: u32, random: f64) -> Duration {
        let full = match self.factor.checked_pow(failures.saturating_sub(1)) {
            Some(times) => self.first.saturating_mul(times).min(self.cap),
            None => self.cap,
        };
        full.mul_f64(1.0 - JITTER * random.clamp(0.0, 1.0))
    }
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

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(5), factor: 2, cap: Duration::from_secs(300) };

    #[test]
    fn wait_is_multiplied_up_to_the_cap() {
        let millis = |failures| BACKOFF.delay(failures, 0.0).as_millis();
        assert_eq!([1, 2, 3, 4, 11].map(millis), [5, 10, 20, 40, 5120]);
        assert_eq!(BACKOFF.delay(17, 0.0), BACKOFF.cap);
        assert_eq!(BACKOFF.delay(u32::MAX, 0.0), BACKOFF.cap);
        assert_eq!(BACKOFF.delay(0, 0.0), BACKOFF.first);
        assert_eq!(BACKOFF.delay(u32::MAX, 1.0), BACKOFF.cap.mul_f64(0.8));
        let steep = Backoff { factor: 64, ..BACKOFF };
        assert_eq!([1, 2, 3].map(|failures| steep.delay(failures, 0.0).as_millis()), [5, 320, 20_480]);
    }

    #[test]
    fn many_triggered_together_are_spread() {
        assert_eq!(spread(0), Duration::ZERO);
        assert_eq!(spread(100), Duration::ZERO);
        assert_eq!(spread(110), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn jitter_shortens_a_wait_by_a_fifth_at_most(failures: u32, random in -1.0..2.0_f64) {
            let (with, without) = (BACKOFF.delay(failures, random), BACKOFF.delay(failures, 0.0));
            prop_assert!(with <= without && with >= without.mul_f64(0.799));
        }
    }
}
