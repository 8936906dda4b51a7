//! The pods without a node. Pure: the time is passed in.
//!
//! A pod is *active* (to be tried as soon as possible: by priority, then in the order of becoming active), *backing off*
//! (to be tried once its delay has passed), *unschedulable* (to be tried when something happens that could help, or
//! after [`UNSCHEDULABLE_MAX`] anyway), *gated* (not to be tried), or *in flight* (being decided about or bound).
//!
//! A pod that an event has woken need not wait out its delay while nothing is active: the delay is there so that others
//! come first. One that could not be bound does wait, since it is the server that needs a rest.
//!
//! Source: `SchedulingQueue` with queueing hints and `SchedulerPopFromBackoffQ`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Backoff, Key};
use tokio::time::Instant;

use crate::event::ClusterEvent;
use crate::filter::{FilterSet, Help};
use crate::pod::PodInfo;

/// Source: `podInitialBackoffSeconds`, `podMaxBackoffSeconds`.
pub const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(10) };

/// After this an unschedulable pod is tried again without a reason. Source: `DefaultPodMaxInUnschedulablePodsDuration`.
pub const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(5 * 60);

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<Key, Entry>,
    active: BTreeMap<Rank, Key>,
    /// When those that wait become active, helped or not.
    due: BTreeSet<(Instant, Key)>,
    /// Those that back off and may be tried before, if nothing is active.
    idle: BTreeSet<(Instant, Key)>,
    /// The unschedulable ones, which events are checked against.
    unschedulable: BTreeSet<Key>,
    sequence: u64,
    /// How many events there were: a decision that was made while one happened may be out of date.
    events: u64,
}

/// The order of active pods: the lowest first.
type Rank = (Reverse<i32>, u64);

#[derive(Debug)]
struct Entry {
    pod: Arc<PodInfo>,
    place: Place,
    /// How often in a row it was tried in vain.
    attempts: u32,
    /// When its delay after the last attempt has passed.
    ready_at: Option<Instant>,
    /// Whether it must wait for that in any case.
    unbound: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active(Rank),
    BackingOff(Instant),
    Unschedulable { until: Instant, filters: FilterSet },
    Gated,
    InFlight { events: u64 },
}

impl Queue {
    /// A pod has no node and wants one, or has changed. A change of what decisions depend upon makes it active.
    pub fn upsert(&mut self, pod: PodInfo, now: Instant) {
        let (key, pod) = (pod.key.clone(), Arc::new(pod));
        let Some(entry) = self.pods.get_mut(&key) else {
            self.insert(key, pod, now);
            return;
        };
        if entry.pod.uid != pod.uid {
            self.remove(&key);
            self.insert(key, pod, now);
            return;
        }
        if entry.pod == pod {
            return;
        }
        entry.pod = pod;
        match entry.place {
            Place::Active(_) | Place::Unschedulable { .. } | Place::Gated => self.activate(&key, now),
            Place::BackingOff(_) | Place::InFlight { .. } => {}
        }
    }

    /// A pod needs no node any more: it has one, or is gone.
    pub fn remove(&mut self, key: &Key) {
        self.leave(key);
        self.pods.remove(key);
    }

    /// The pod to be tried next, which is in flight from then on.
    pub fn pop(&mut self, now: Instant) -> Option<Arc<PodInfo>> {
        self.flush(now);
        let (_, key) = match self.active.pop_first() {
            Some(first) => first,
            None => {
                let (_, woken) = self.idle.first().cloned()?;
                self.leave(&woken);
                (Rank::default(), woken)
            }
        };
        let entry = self.pods.get_mut(&key)?;
        entry.place = Place::InFlight { events: self.events };
        Some(Arc::clone(&entry.pod))
    }

    /// A pod in flight fits nowhere, for these filters. It waits for an event that could help; if there was any
    /// meanwhile, or the pod has changed, only as long as its delay.
    pub fn park(&mut self, tried: &Arc<PodInfo>, filters: FilterSet, now: Instant) {
        let Some(entry) = self.pods.get_mut(&tried.key) else { return };
        let Place::InFlight { events } = entry.place else { return };
        entry.failed(now, false);
        if events != self.events || !Arc::ptr_eq(&entry.pod, tried) {
            return self.activate(&tried.key, now);
        }
        let until = now + UNSCHEDULABLE_MAX;
        entry.place = Place::Unschedulable { until, filters };
        self.due.insert((until, tried.key.clone()));
        self.unschedulable.insert(tried.key.clone());
    }

    /// A pod in flight could not be bound: it is tried again after its delay.
    pub fn retry(&mut self, key: &Key, now: Instant) {
        let Some(entry) = self.pods.get_mut(key) else { return };
        if let Place::InFlight { .. } = entry.place {
            entry.failed(now, true);
            self.activate(key, now);
        }
    }

    /// Something happened. Wakes the pods that it could help.
    pub fn wake(&mut self, event: &ClusterEvent<'_>, now: Instant) {
        self.events += 1;
        let mut woken: Vec<Key> = Vec::new();
        for key in &self.unschedulable {
            let Some(Entry { pod, place: Place::Unschedulable { filters, .. }, .. }) = self.pods.get_mut(key) else {
                continue;
            };
            match filters.help(pod, event) {
                Help::None => {}
                Help::Fits => woken.push(key.clone()),
                Help::Shifted(others) => *filters = others,
            }
        }
        woken.iter().for_each(|key| self.activate(key, now));
    }

    /// When a waiting pod becomes active without an event.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    fn insert(&mut self, key: Key, pod: Arc<PodInfo>, now: Instant) {
        self.pods.insert(key.clone(), Entry { pod, place: Place::Gated, attempts: 0, ready_at: None, unbound: false });
        self.activate(&key, now);
    }

    fn flush(&mut self, now: Instant) {
        while let Some((_, key)) = self.due.first().filter(|(due, _)| *due <= now).cloned() {
            self.activate(&key, now);
        }
    }

    /// To be tried, as soon as its delay and its gates allow.
    fn activate(&mut self, key: &Key, now: Instant) {
        self.leave(key);
        let Some(entry) = self.pods.get_mut(key) else { return };
        entry.place = match entry.ready_at {
            _ if entry.pod.gated => Place::Gated,
            Some(at) if at > now => {
                self.due.insert((at, key.clone()));
                if !entry.unbound {
                    self.idle.insert((at, key.clone()));
                }
                Place::BackingOff(at)
            }
            _ => {
                self.sequence += 1;
                let rank = (Reverse(entry.pod.priority), self.sequence);
                self.active.insert(rank, key.clone());
                Place::Active(rank)
            }
        };
    }

    /// Takes a pod out of what its place keeps of it.
    fn leave(&mut self, key: &Key) {
        match self.pods.get(key).map(|entry| entry.place) {
            Some(Place::Active(rank)) => drop(self.active.remove(&rank)),
            Some(Place::BackingOff(due)) => {
                let at = (due, key.clone());
                self.due.remove(&at);
                self.idle.remove(&at);
            }
            Some(Place::Unschedulable { until, .. }) => {
                self.due.remove(&(until, key.clone()));
                self.unschedulable.remove(key);
            }
            Some(Place::Gated | Place::InFlight { .. }) | None => {}
        }
    }
}

impl Entry {
    fn failed(&mut self, now: Instant, unbound: bool) {
        self.unbound = unbound;
        self.ready_at = Some(now + BACKOFF.delay(self.attempts));
        self.attempts = self.attempts.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::node::{NodeInfo, Offer};
    use crate::resources::Resources;

    const SECOND: Duration = Duration::from_secs(1);

    fn pod(name: &str) -> PodInfo {
        let requests = Resources { cpu_milli: 500, ..Resources::default() };
        PodInfo { key: Key::new("default", name), uid: name.into(), requests, ..PodInfo::default() }
    }

    fn node(cpu_milli: i64) -> NodeInfo {
        let allocatable = Resources { cpu_milli, ..Resources::default() };
        NodeInfo {
            offer: Offer { name: "a".into(), allocatable, pods_max: 10, ..Offer::default() },
            ..NodeInfo::default()
        }
    }

    fn fit() -> FilterSet {
        let mut set = FilterSet::default();
        set.insert(Filter::Fit);
        set
    }

    fn names(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(now)).map(|pod| pod.key.name.clone()).collect()
    }

    /// A queue with one pod that did not fit, and when.
    fn parked() -> (Queue, Instant) {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.upsert(pod("web"), now);
        let web = queue.pop(now).expect("it is active");
        queue.park(&web, fit(), now);
        (queue, now)
    }

    #[test]
    fn the_more_important_goes_first_then_the_earlier() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.upsert(pod("first"), now);
        queue.upsert(pod("second"), now);
        queue.upsert(PodInfo { priority: 10, ..pod("important") }, now);
        queue.upsert(pod("first"), now);
        assert_eq!(names(&mut queue, now), ["important", "first", "second"]);
    }

    #[test]
    fn only_what_could_help_wakes_a_pod() {
        let (small, large) = (node(100), node(1000));
        let cases = [
            (ClusterEvent::NodeAdded(&small), false),
            (ClusterEvent::NodeAdded(&large), true),
            (ClusterEvent::NodeChanged { old: &small.offer, new: &large }, true),
            (ClusterEvent::NodeChanged { old: &large.offer, new: &large }, false),
            (ClusterEvent::PodGone(&pod("another")), true),
        ];
        for (event, expected) in cases {
            let (mut queue, now) = parked();
            queue.wake(&event, now);
            assert_eq!(names(&mut queue, now + SECOND), vec!["web"; usize::from(expected)], "{event:?}");
        }
    }

    /// A node that lost its taint before it said what it has was passed over for good: the first event pleased who had
    /// rejected it, the second one somebody who was not asked.
    #[test]
    fn a_node_that_becomes_fit_in_two_steps_is_not_missed() {
        use crate::filter::taints::{Effect, Taint};
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.upsert(pod("web"), now);
        let web = queue.pop(now).expect("it is active");
        let mut tainted = FilterSet::default();
        tainted.insert(Filter::Taints);
        queue.park(&web, tainted, now);

        let (empty, whole) = (node(0), node(1000));
        let mut old = empty.offer.clone();
        old.taints.push(Taint { key: "not-ready".into(), value: String::new(), effect: Effect::NoSchedule });
        queue.wake(&ClusterEvent::NodeChanged { old: &old, new: &empty }, now);
        assert_eq!(names(&mut queue, now), [""; 0]);
        queue.wake(&ClusterEvent::NodeChanged { old: &empty.offer, new: &whole }, now);
        assert_eq!(names(&mut queue, now), ["web"]);
    }

    #[test]
    fn a_pod_that_was_not_bound_waits_longer_each_time() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.upsert(pod("web"), now);
        for delay in [1, 2, 4, 8, 10, 10] {
            let web = queue.pop(now).expect("its delay has passed");
            queue.retry(&web.key, now);
            assert_eq!((queue.pop(now), queue.next_due()), (None, Some(now + delay * SECOND)));
            now += delay * SECOND;
        }
    }

    #[test]
    fn a_woken_pod_goes_at_once_but_after_all_others() {
        let (mut queue, now) = parked();
        queue.wake(&ClusterEvent::NodeAdded(&node(1000)), now);
        queue.upsert(PodInfo { priority: -1, ..pod("other") }, now);
        assert_eq!(names(&mut queue, now), ["other", "web"]);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn an_event_during_the_decision_is_not_missed() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.upsert(pod("web"), now);
        let web = queue.pop(now).expect("it is active");
        queue.wake(&ClusterEvent::NodeAdded(&node(1000)), now);
        queue.park(&web, fit(), now);
        assert_eq!(names(&mut queue, now), ["web"]);
    }

    #[test]
    fn a_change_of_the_pod_wakes_it_and_one_of_its_status_does_not() {
        let (mut queue, now) = parked();
        queue.upsert(pod("web"), now);
        assert_eq!(names(&mut queue, now + 2 * SECOND), [""; 0]);
        queue.upsert(PodInfo { requests: Resources::default(), ..pod("web") }, now);
        assert_eq!(names(&mut queue, now + 2 * SECOND), ["web"]);
    }

    #[test]
    fn nothing_waits_for_ever() {
        let (mut queue, now) = parked();
        assert_eq!(names(&mut queue, now + UNSCHEDULABLE_MAX - SECOND), [""; 0]);
        assert_eq!(names(&mut queue, now + UNSCHEDULABLE_MAX), ["web"]);
    }

    #[test]
    fn gates_hold_a_pod_until_they_are_gone() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.upsert(PodInfo { gated: true, ..pod("web") }, now);
        assert_eq!((names(&mut queue, now + UNSCHEDULABLE_MAX), queue.next_due()), (vec![], None));
        queue.upsert(pod("web"), now);
        assert_eq!(names(&mut queue, now), ["web"]);
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let (mut queue, now) = parked();
        queue.upsert(pod("active"), now);
        ["web", "active"].into_iter().for_each(|name| queue.remove(&pod(name).key));
        assert!(queue.pods.is_empty() && queue.active.is_empty() && queue.due.is_empty());
        assert!(queue.idle.is_empty() && queue.unschedulable.is_empty());
    }
}
