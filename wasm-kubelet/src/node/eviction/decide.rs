//! What the node does about what it observes. Pure, but for what it remembers between two looks: since when thresholds
//! are met, and when conditions were last observed. Source: kubelet, `managerImpl.synchronize`.

use tokio::time::Instant;

use super::signal::{Observations, Pressures, Resource};
use super::threshold::{Eviction, Threshold};

/// Watches a node's thresholds.
#[derive(Clone, Debug)]
pub struct Watch {
    settings: Eviction,
    /// For each threshold.
    seen: Vec<Seen>,
    /// When each condition was last observed.
    memory: Option<Instant>,
    disk: Option<Instant>,
    pid: Option<Instant>,
}

/// What is remembered of a threshold.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Since when it is met.
    since: Option<Instant>,
    /// It was met for as long as it has to be, and that is not resolved yet.
    is_due: bool,
}

/// What a look comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub pressures: Pressures,
    /// The thresholds that something is to be done for, the most urgent first.
    pub due: Vec<Threshold>,
}

impl Watch {
    /// Nothing was observed yet.
    pub fn new(settings: Eviction) -> Self {
        let seen = vec![Seen::default(); settings.thresholds.len()];
        Self { settings, seen, memory: None, disk: None, pid: None }
    }

    /// What it watches for.
    pub fn settings(&self) -> &Eviction {
        &self.settings
    }

    /// Judges a look at the machine.
    pub fn look(&mut self, observed: &Observations, now: Instant) -> Verdict {
        let mut pressed = Pressures::default();
        let mut due = Vec::new();
        for (threshold, seen) in self.settings.thresholds.iter().zip(&mut self.seen) {
            *seen = seen.next(threshold, observed, now);
            if seen.since.is_some() {
                pressed.add(threshold.signal.resource());
            }
            if seen.is_due {
                due.push(*threshold);
            }
        }
        // Memory goes first: who waits for it may be killed by the machine.
        due.sort_by_key(|threshold| threshold.signal.resource() != Resource::Memory);
        Verdict { pressures: self.hold(pressed, now), due }
    }

    /// Whether all is well again after the node has given back what it could itself: pods need not go.
    pub fn is_resolved(&self, observed: &Observations) -> bool {
        let is_unresolved =
            |threshold: &Threshold| observed.of(threshold.signal).is_some_and(|level| threshold.is_unresolved(level));
        !self.settings.thresholds.iter().any(is_unresolved)
    }

    /// What was observed now, and what was observed not long ago.
    fn hold(&mut self, pressed: Pressures, now: Instant) -> Pressures {
        let period = self.settings.pressure_transition;
        let hold = |last: &mut Option<Instant>, is_pressed: bool| {
            if is_pressed {
                *last = Some(now);
            }
            is_pressed || last.is_some_and(|last| now.duration_since(last) < period)
        };
        Pressures {
            memory: hold(&mut self.memory, pressed.memory),
            disk: hold(&mut self.disk, pressed.disk),
            pid: hold(&mut self.pid, pressed.pid),
        }
    }
}

impl Seen {
    fn next(self, threshold: &Threshold, observed: &Observations, now: Instant) -> Self {
        let Some(level) = observed.of(threshold.signal) else { return Self::default() };
        let is_met = threshold.is_met(level) || self.is_due && threshold.is_unresolved(level);
        if !is_met {
            return Self::default();
        }
        let since = self.since.unwrap_or(now);
        let grace = threshold.grace.unwrap_or_default();
        Self { since: Some(since), is_due: now.duration_since(since) >= grace }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::node::eviction::signal::{Level, Signal};
    use crate::node::eviction::threshold::{Limit, thresholds};

    const MIB: u64 = 1 << 20;

    fn watch(hard: &[&str], soft: &[&str], grace: u64, reclaims: &[&str]) -> Watch {
        let limits = |texts: &[&str]| texts.iter().map(|it| it.parse().unwrap()).collect::<Vec<Limit>>();
        let soft = limits(soft);
        let graces: Vec<_> = soft.iter().map(|it| (it.signal, Duration::from_secs(grace))).collect();
        let reclaims: Vec<Limit> = reclaims.iter().map(|it| Limit::reclaim(it).unwrap()).collect();
        let thresholds = thresholds(&limits(hard), &soft, &graces, &reclaims).unwrap();
        Watch::new(Eviction { thresholds, pressure_transition: Duration::from_secs(60), ..Eviction::default() })
    }

    fn observed(memory_mib: u64, disk_mib: u64) -> Observations {
        let level = |available| Level { available: available * MIB, capacity: 1000 * MIB };
        Observations { memory: level(memory_mib), disk: level(disk_mib), inodes: Level::default() }
    }

    /// `M` and `D` for the conditions, and the signals that are due.
    fn said(verdict: &Verdict) -> String {
        let Pressures { memory, disk, pid } = verdict.pressures;
        let kinds: String = [('M', memory), ('D', disk), ('P', pid)].iter().filter(|it| it.1).map(|it| it.0).collect();
        let due: Vec<&str> = verdict.due.iter().map(|it| it.signal.as_str()).collect();
        format!("{kinds} {}", due.join(" "))
    }

    #[tokio::test(start_paused = true)]
    async fn a_hard_threshold_is_acted_on_at_once_and_its_condition_stays_for_a_while() {
        let mut watch = watch(&["nodefs.available<10%", "memory.available<100Mi"], &[], 0, &[]);
        let start = Instant::now();
        let mut look =
            |memory, disk, seconds| said(&watch.look(&observed(memory, disk), start + Duration::from_secs(seconds)));
        assert_eq!(look(500, 500, 0), " ");
        assert_eq!(look(99, 500, 10), "M memory.available");
        assert_eq!(look(99, 99, 20), "MD memory.available nodefs.available", "memory goes first");
        assert_eq!(look(100, 100, 30), "MD ", "nothing is done any more, and nobody is sent here yet");
        assert_eq!(look(500, 99, 79), "MD nodefs.available");
        assert_eq!(look(500, 500, 80), "D ");
        assert_eq!(look(500, 500, 139), " ");
    }

    #[tokio::test(start_paused = true)]
    async fn a_soft_threshold_has_to_be_met_for_its_grace_period() {
        let mut watch = watch(&["memory.available<100Mi"], &["memory.available<300Mi"], 30, &[]);
        let start = Instant::now();
        let mut look = |memory, seconds| {
            let verdict = watch.look(&observed(memory, 500), start + Duration::from_secs(seconds));
            verdict.due.iter().map(|it| if it.grace.is_some() { "soft " } else { "hard " }).collect::<String>()
        };
        assert_eq!(look(200, 0), "");
        assert_eq!(look(200, 29), "");
        assert_eq!(look(400, 30), "", "it begins anew");
        assert_eq!(look(200, 40), "");
        assert_eq!(look(200, 70), "soft ");
        assert_eq!(look(50, 80), "hard soft ", "the hard one is the more urgent");
    }

    #[tokio::test(start_paused = true)]
    async fn more_is_won_back_than_was_lacking() {
        let mut watch = watch(&["memory.available<100Mi"], &[], 0, &["memory.available=200Mi"]);
        let now = Instant::now();
        let mut look = |memory| said(&watch.look(&observed(memory, 500), now));
        assert_eq!(look(150), " ", "it was never met");
        assert_eq!(look(50), "M memory.available");
        assert_eq!(look(299), "M memory.available");
        assert_eq!(look(300), "M ");
        assert_eq!(look(299), "M ");
        assert!(!watch.is_resolved(&observed(299, 500)) && watch.is_resolved(&observed(300, 500)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_seen_is_not_short() {
        let mut watch = watch(&["memory.available<100Mi", "pid.available<10%", "nodefs.inodesFree<5%"], &[], 0, &[]);
        assert_eq!(said(&watch.look(&Observations::default(), Instant::now())), " ");
        let inodes = Level { available: 4, capacity: 100 };
        let verdict = watch.look(&Observations { inodes, ..Observations::default() }, Instant::now());
        assert_eq!(said(&verdict), "D nodefs.inodesFree");
        assert_eq!(verdict.due[0].signal, Signal::NodeFsInodesFree);
    }
}
