//! Exponential delays between attempts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The delays after consecutive failures: `first`, doubled each time, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub max: Duration,
}

impl Backoff {
    /// What a reconciler's item waits after an error. Source: client-go's default controller rate limiter.
    pub const RECONCILE: Self = Self { first: Duration::from_millis(5), max: Duration::from_secs(1000) };

    /// What a reader of the API waits before it connects again.
    pub const RECONNECT: Self = Self { first: Duration::from_millis(50), max: Duration::from_secs(30) };

    /// The delay after `failures` earlier failures in a row (0: the first delay).
    pub fn delay(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }
}

/// `delay` plus up to a half of it, at random, so that the clients of a restarted server do not return at one instant.
pub(crate) fn jittered(delay: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    delay + delay.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64 / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_maximum() {
        let delays = [0, 1, 2, 17, 18, 31, 32, 4000].map(|n| Backoff::RECONCILE.delay(n).as_millis());
        assert_eq!(delays, [5, 10, 20, 655_360, 1_000_000, 1_000_000, 1_000_000, 1_000_000]);
    }

    #[test]
    fn jitter_adds_at_most_a_half() {
        let second = Duration::from_secs(1);
        assert!((0..100).map(|_| jittered(second)).all(|d| d >= second && d <= second.mul_f64(1.5)));
    }
}
