//! When something that failed may be tried again: at once, then after 10 s, 20 s, … 5 min; forgotten after 10 min of
//! peace. Source: client-go's `flowcontrol.Backoff` as the kubelet uses it for containers and images.

use jiff::{SignedDuration, Timestamp};

use crate::limits::{RESTART_BACKOFF, RESTART_BACKOFF_MAX, RESTART_BACKOFF_RESET};

/// The back-off of one container's restarts, or of its image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    last: Option<Attempt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempt {
    at: Timestamp,
    delay_seconds: u32,
}

const FIRST_SECONDS: u32 = RESTART_BACKOFF.as_secs() as u32;
const MAX_SECONDS: u32 = RESTART_BACKOFF_MAX.as_secs() as u32;

impl Backoff {
    /// The delay that a failure at `failed` has to wait out: none if nothing was tried lately.
    pub fn delay_seconds(&self, failed: Timestamp) -> u32 {
        match self.last {
            Some(last) if !last.is_forgotten(failed) => last.delay_seconds,
            _ => 0,
        }
    }

    /// When the next attempt is due after a failure at `failed`.
    pub fn due(&self, failed: Timestamp) -> Timestamp {
        failed.saturating_add(SignedDuration::from_secs(self.delay_seconds(failed).into())).unwrap_or(Timestamp::MAX)
    }

    /// Notes an attempt: the next failure waits twice as long as the one before.
    pub fn attempted(&mut self, now: Timestamp) {
        let delay_seconds = match self.last {
            Some(last) if !last.is_forgotten(now) => (last.delay_seconds * 2).min(MAX_SECONDS),
            _ => FIRST_SECONDS,
        };
        self.last = Some(Attempt { at: now, delay_seconds });
    }

    /// All is well: the next failure is the first.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

impl Attempt {
    fn is_forgotten(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) > SignedDuration::try_from(RESTART_BACKOFF_RESET).unwrap_or(SignedDuration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_five_minutes_and_are_forgotten_after_ten() {
        let mut now = Timestamp::UNIX_EPOCH;
        let mut backoff = Backoff::default();
        let mut delays = Vec::new();
        for _ in 0..8 {
            delays.push(backoff.delay_seconds(now));
            now = backoff.due(now);
            backoff.attempted(now);
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
        let after = |seconds| now + SignedDuration::from_secs(seconds);
        assert_eq!(backoff.delay_seconds(after(600)), 300);
        assert_eq!(backoff.delay_seconds(after(601)), 0, "it ran for more than ten minutes");
        backoff.attempted(after(601));
        assert_eq!(backoff.delay_seconds(after(602)), 10);
    }
}
