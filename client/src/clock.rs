//! The one source of time: a monotonic side that tests pause, and a wall side that goes into objects.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use tokio::time::Instant;

/// Where a component reads the time. Cheap to copy.
///
/// [`Clock::system`] is the machine's; [`Clock::simulated`] ties the wall to tokio's clock, so that a test with paused
/// time moves both at once and writes the same timestamps on every run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    simulated: Option<Anchor>,
}

/// What the wall showed at one instant of tokio's clock.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    instant: Instant,
    wall: Timestamp,
}

impl Clock {
    pub fn system() -> Self {
        Self::default()
    }

    /// A wall that shows `start` now and moves with tokio's clock.
    pub fn simulated(start: Timestamp) -> Self {
        Self { simulated: Some(Anchor { instant: Instant::now(), wall: start }) }
    }

    /// The monotonic time, for measuring and for deadlines.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// The time of day.
    pub fn wall(&self) -> Timestamp {
        match self.simulated {
            None => Timestamp::now(),
            Some(anchor) => anchor.wall + anchor.instant.elapsed(),
        }
    }

    /// The time of day as metadata and conditions write it: whole seconds.
    pub fn time(&self) -> Time {
        let wall = self.wall();
        Time(Timestamp::from_second(wall.as_second()).unwrap_or(wall))
    }

    /// The time of day as leases and event series write it: microseconds.
    pub fn micro_time(&self) -> MicroTime {
        let wall = self.wall();
        MicroTime(Timestamp::from_microsecond(wall.as_microsecond()).unwrap_or(wall))
    }

    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_wall_moves_with_paused_time() {
        let clock = Clock::simulated("2026-01-01T00:00:00Z".parse().expect("a timestamp"));
        clock.sleep(Duration::from_secs(90)).await;
        assert_eq!(clock.time().0.to_string(), "2026-01-01T00:01:30Z");
    }
}
