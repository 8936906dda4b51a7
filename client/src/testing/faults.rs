//! What goes wrong, how often, and the seeded randomness that decides.

use std::time::Duration;

/// The faults of a server; none by default. Chances are from 0 to 1.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// That a request gets no answer.
    pub lost: f64,
    /// That a request is answered with an internal error.
    pub broken: f64,
    /// That a watch is told its revision is gone.
    pub gone: f64,
    /// The longest that a request is held up.
    pub delay_max: Duration,
    /// A watch breaks off after at most so many events; some in the middle of one.
    pub events_per_watch: Option<u64>,
    /// The server cannot begin a watch with a list.
    pub no_streaming_lists: bool,
}

impl Faults {
    pub(super) fn delay(&self, random: &mut Random) -> Duration {
        self.delay_max.mul_f64(random.unit())
    }
}

/// A small generator (splitmix64): the same numbers for the same seed, on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    #[expect(clippy::should_implement_trait, reason = "it never ends, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}
