//! Work by key: an item that is added many times before it is taken is taken once, and an item that is being worked on
//! is not given to a second worker but again afterwards.
//!
//! Source: client-go's `workqueue`. There is no timer task: whoever waits for an item also waits for the earliest
//! delayed one, and whoever leaves with an item wakes another to keep that watch.

use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::Backoff;

/// What an item of a queue must be; every such type is one.
pub trait Item: Clone + Eq + Hash + Send + 'static {}

impl<T: Clone + Eq + Hash + Send + 'static> Item for T {}

/// A queue of distinct items. Cheap to clone. It holds an item at most once ready and once delayed, so it is bounded by
/// the number of objects that there are.
pub struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    backoff: Backoff,
}

struct State<T> {
    ready: VecDeque<T>,
    /// Everything that waits to be worked on: what is ready, and what was added while it is worked on.
    dirty: HashSet<T>,
    processing: HashSet<T>,
    delayed: BinaryHeap<Delayed<T>>,
    /// When each delayed item is due; an entry of `delayed` with another time is void.
    due: HashMap<T, Instant>,
    failures: HashMap<T, u32>,
    /// Orders delayed items that are due at one instant.
    sequence: u64,
    closed: bool,
}

struct Delayed<T> {
    due: Instant,
    sequence: u64,
    item: T,
}

impl<T: Item> Default for WorkQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Item> WorkQueue<T> {
    /// A queue with the delays of a reconciler ([`Backoff::RECONCILE`]).
    pub fn new() -> Self {
        Self::with_backoff(Backoff::RECONCILE)
    }

    pub fn with_backoff(backoff: Backoff) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            delayed: BinaryHeap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
            closed: false,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new(), backoff }) }
    }

    /// Asks for work on an item.
    pub fn add(&self, item: T) {
        if self.state().add(item) {
            self.shared.changed.notify_one();
        }
    }

    /// Asks for work on an item, later; of several such times the earliest counts.
    pub fn add_after(&self, item: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(item);
        }
        if self.state().add_at(item, Instant::now() + delay) {
            self.shared.changed.notify_one();
        }
    }

    /// Asks for work on an item that has failed, later with every failure until it is forgotten.
    pub fn add_rate_limited(&self, item: T) {
        let delay = {
            let mut state = self.state();
            let failures = state.failures.entry(item.clone()).or_default();
            *failures += 1;
            self.shared.backoff.delay(*failures - 1)
        };
        self.add_after(item, delay);
    }

    /// Forgets the failures of an item, as it has succeeded.
    pub fn forget(&self, item: &T) {
        self.state().failures.remove(item);
    }

    /// How often an item has failed in a row.
    pub fn failures(&self, item: &T) -> u32 {
        self.state().failures.get(item).copied().unwrap_or_default()
    }

    /// The next item, once there is one; [`WorkQueue::done`] must follow. `None` once the queue is closed.
    ///
    /// # Cancel safety
    /// No item is lost when the future is dropped.
    pub async fn get(&self) -> Option<T> {
        loop {
            let changed = self.shared.changed.notified();
            let due = {
                let mut state = self.state();
                if state.closed {
                    return None;
                }
                state.take_due(Instant::now());
                if let Some(item) = state.take() {
                    if !state.ready.is_empty() || !state.delayed.is_empty() {
                        self.shared.changed.notify_one();
                    }
                    return Some(item);
                }
                state.delayed.peek().map(|delayed| delayed.due)
            };
            match due {
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(due) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Says that the work on an item has ended, well or not. If it was added meanwhile it is ready again.
    pub fn done(&self, item: &T) {
        let mut state = self.state();
        state.processing.remove(item);
        if state.dirty.contains(item) {
            state.ready.push_back(item.clone());
            self.shared.changed.notify_one();
        }
    }

    /// How many items are ready.
    pub fn len(&self) -> usize {
        self.state().ready.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the queue: nothing more is given out, nor taken.
    pub fn close(&self) {
        self.state().closed = true;
        self.shared.changed.notify_waiters();
        self.shared.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Item> State<T> {
    /// Whether the item became ready.
    fn add(&mut self, item: T) -> bool {
        if self.closed || !self.dirty.insert(item.clone()) || self.processing.contains(&item) {
            return false;
        }
        self.ready.push_back(item);
        true
    }

    /// Whether the earliest time may have changed.
    fn add_at(&mut self, item: T, due: Instant) -> bool {
        if self.closed || self.due.get(&item).is_some_and(|earlier| *earlier <= due) {
            return false;
        }
        self.due.insert(item.clone(), due);
        self.sequence += 1;
        self.delayed.push(Delayed { due, sequence: self.sequence, item });
        true
    }

    fn take(&mut self) -> Option<T> {
        let item = self.ready.pop_front()?;
        self.dirty.remove(&item);
        self.processing.insert(item.clone());
        Some(item)
    }

    fn take_due(&mut self, now: Instant) {
        while let Some(delayed) = self.delayed.peek()
            && (delayed.due <= now || self.due.get(&delayed.item) != Some(&delayed.due))
        {
            let Some(delayed) = self.delayed.pop() else { return };
            if self.due.get(&delayed.item) == Some(&delayed.due) {
                self.due.remove(&delayed.item);
                self.add(delayed.item);
            }
        }
    }
}

/// The greatest is the earliest, as [`BinaryHeap`] gives the greatest first.
impl<T> Ord for Delayed<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.sequence).cmp(&(self.due, self.sequence))
    }
}

impl<T> PartialOrd for Delayed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Delayed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Delayed<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn take(queue: &WorkQueue<&'static str>) -> Option<&'static str> {
        tokio::time::timeout(Duration::from_secs(3600), queue.get()).await.ok().flatten()
    }

    #[tokio::test(start_paused = true)]
    async fn an_item_added_twice_is_taken_once() {
        let queue = WorkQueue::new();
        ["a", "b", "a"].into_iter().for_each(|item| queue.add(item));
        assert_eq!((take(&queue).await, take(&queue).await, take(&queue).await), (Some("a"), Some("b"), None));
    }

    #[tokio::test(start_paused = true)]
    async fn an_item_added_during_its_work_is_taken_after_it() {
        let queue = WorkQueue::new();
        queue.add("a");
        assert_eq!(take(&queue).await, Some("a"));
        queue.add("a");
        assert_eq!(take(&queue).await, None);
        queue.done(&"a");
        assert_eq!(take(&queue).await, Some("a"));
        queue.done(&"a");
        assert_eq!(take(&queue).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn delayed_items_come_in_time_and_the_earliest_time_counts() {
        let queue = WorkQueue::new();
        let start = Instant::now();
        queue.add_after("late", 9 * SECOND);
        queue.add_after("twice", 5 * SECOND);
        queue.add_after("twice", 3 * SECOND);
        queue.add_after("twice", 7 * SECOND);
        assert_eq!((take(&queue).await, start.elapsed()), (Some("twice"), 3 * SECOND));
        queue.done(&"twice");
        assert_eq!((take(&queue).await, start.elapsed()), (Some("late"), 9 * SECOND));
        assert_eq!(take(&queue).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_worker_takes_no_delayed_item_along() {
        // A worker that knew of the delayed item and left with another used to leave nobody waiting for it.
        let queue = WorkQueue::new();
        let (first, second) = (
            tokio::spawn({
                let q = queue.clone();
                async move { q.get().await }
            }),
            tokio::spawn({
                let q = queue.clone();
                async move { q.get().await }
            }),
        );
        tokio::task::yield_now().await;
        queue.add_after("delayed", SECOND);
        tokio::task::yield_now().await;
        queue.add("now");
        let mut taken = [first.await.ok().flatten(), second.await.ok().flatten()];
        taken.sort();
        assert_eq!(taken, [Some("delayed"), Some("now")]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_delay_until_forgotten() {
        let queue = WorkQueue::new();
        for delay_ms in [5, 10, 20] {
            let start = Instant::now();
            queue.add_rate_limited("a");
            assert_eq!(take(&queue).await, Some("a"));
            assert_eq!(start.elapsed().as_millis(), delay_ms);
            queue.done(&"a");
        }
        queue.forget(&"a");
        assert_eq!(queue.failures(&"a"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_releases_all_workers() {
        let queue = WorkQueue::<&str>::new();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                tokio::spawn({
                    let q = queue.clone();
                    async move { q.get().await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.close();
        for worker in workers {
            assert_eq!(worker.await.ok(), Some(None));
        }
        queue.add("late");
        assert_eq!(queue.get().await, None);
    }
}
