//! Percentiles over everything that was measured: exact, not estimated.

use std::time::Duration;

use serde::Serialize;

/// Durations, in the order of their measurement.
#[derive(Debug, Default)]
pub struct Latencies(Vec<Duration>);

/// What a result says of them, in milliseconds.
#[derive(Debug, PartialEq, Serialize)]
pub struct Summary {
    pub count: usize,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latencies {
    pub fn record(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The percentiles; nothing when nothing was measured.
    pub fn summary(mut self) -> Option<Summary> {
        self.0.sort_unstable();
        let largest = self.0.last()?;
        let total: Duration = self.0.iter().sum();
        Some(Summary {
            count: self.0.len(),
            mean_ms: millis(total / u32::try_from(self.0.len()).unwrap_or(u32::MAX)),
            p50_ms: self.percentile(50),
            p90_ms: self.percentile(90),
            p99_ms: self.percentile(99),
            max_ms: millis(*largest),
        })
    }

    /// The smallest duration that so many percent do not exceed.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        millis(self.0[rank - 1])
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        Self(durations.into_iter().collect())
    }
}

/// Milliseconds, to the microsecond.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let summary = (1..=200).map(Duration::from_millis).collect::<Latencies>().summary().expect("two hundred");
        let expected =
            Summary { count: 200, mean_ms: 100.5, p50_ms: 100.0, p90_ms: 180.0, p99_ms: 198.0, max_ms: 200.0 };
        assert_eq!(summary, expected);
        assert_eq!(Latencies::default().summary(), None);
        let one = Latencies::from_iter([Duration::from_micros(1500)]).summary().expect("one");
        assert_eq!((one.p50_ms, one.p99_ms), (1.5, 1.5));
    }
}
