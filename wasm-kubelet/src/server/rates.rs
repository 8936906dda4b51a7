//! How fast containers use the CPU: what they have used is looked at every [`USAGE_INTERVAL`], and two looks make a rate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, interval};

use super::metrics::{Used, used};
use crate::limits::USAGE_INTERVAL;
use crate::pod::Workers;

/// The rates of a node's containers.
#[derive(Default)]
pub struct Rates {
    known: Mutex<HashMap<Id, Look>>,
}

/// A container of a pod, by the pod's uid.
type Id = (String, Arc<str>);

struct Look {
    at: Instant,
    cpu_time: Duration,
    nano_cores: Option<u64>,
}

impl Rates {
    /// Billionths of a core that a container has used lately, once it was looked at twice.
    pub(super) fn of(&self, used: &Used) -> Option<u64> {
        self.known().get(&(used.uid.clone(), used.container.clone()))?.nano_cores
    }

    fn look(&self, all: &[Used], now: Instant) {
        let mut known = self.known();
        let looks = all.iter().map(|used| {
            let id = (used.uid.clone(), used.container.clone());
            let cpu_time = used.usage.cpu_time;
            let nano_cores = known.get(&id).and_then(|before| rate(before, cpu_time, now));
            (id, Look { at: now, cpu_time, nano_cores })
        });
        *known = looks.collect();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Id, Look>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None for a container that has been restarted in between.
fn rate(before: &Look, cpu_time: Duration, now: Instant) -> Option<u64> {
    let spent = cpu_time.checked_sub(before.cpu_time)?;
    let passed = now.duration_since(before.at).as_nanos().max(1);
    u64::try_from(spent.as_nanos() * 1_000_000_000 / passed).ok()
}

/// Looks at what is used, again and again.
///
/// # Cancel safety
/// May be dropped.
pub async fn watch(workers: Arc<Workers>) {
    let mut ticks = interval(USAGE_INTERVAL);
    loop {
        ticks.tick().await;
        workers.host().rates.look(&used(&workers), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Usage;

    #[tokio::test(start_paused = true)]
    async fn two_looks_make_a_rate() {
        let of = |uid: &str, millis| Used {
            namespace: "n".into(),
            pod: "p".into(),
            uid: uid.into(),
            container: "c".into(),
            usage: Usage { cpu_time: Duration::from_millis(millis), ..Usage::default() },
        };
        let rates = Rates::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        rates.look(&[of("a", 100), of("b", 5)], start);
        assert_eq!(rates.of(&of("a", 0)), None);
        rates.look(&[of("a", 2100)], after(10));
        assert_eq!(rates.of(&of("a", 0)), Some(200_000_000));
        assert_eq!(rates.of(&of("b", 0)), None, "it has gone");
        rates.look(&[of("a", 50)], after(20));
        assert_eq!(rates.of(&of("a", 0)), None, "it was restarted");
        rates.look(&[of("a", 50)], after(30));
        assert_eq!(rates.of(&of("a", 0)), Some(0));
    }
}
