//! The newest events in memory, and the watchers that wait for the next ones.
//!
//! A backend publishes what it commits; every watcher has a place in the same feed and reads from it at its own pace,
//! so an event is kept once however many watch, and a slow watcher costs nothing but its own time. The feed holds a
//! limited number of bytes: who falls behind it is sent to the backend's log instead (`follow.rs`).
//!
//! Publishing wakes only those whose range is hit. The others learn that revisions passed without them a moment later,
//! all together, so that a burst of small commits does not wake every watcher for each.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::limits::{PROGRESS_DELAY, WATCH_EVENTS_MAX, WATCH_SCAN_MAX};
use crate::{Batch, Event, Range, Revision};

/// The newest events, shared by all watchers of a store.
pub(crate) struct Feed {
    state: Mutex<State>,
    /// Somebody waits who has not heard of the newest revision.
    behind: Arc<Notify>,
    ticker: OnceLock<AbortOnDropHandle<()>>,
}

struct State {
    /// One event a revision without gaps: the event of revision `floor + 1 + i` is at `i`.
    events: VecDeque<Event>,
    bytes: usize,
    bytes_max: usize,
    /// Events up to this one are not here (any more).
    floor: Revision,
    head: Revision,
    /// Everybody is to hear of this revision as soon as it is here.
    announced: Revision,
    places: HashMap<u64, Place>,
    places_given: u64,
    closed: bool,
}

/// A watcher, while it waits.
struct Place {
    range: Range,
    /// How far the watcher had come when it began to wait.
    seen: Revision,
    /// `None` when it is not waiting.
    waker: Option<Waker>,
}

/// What the feed has for a watcher.
#[derive(Debug)]
pub(crate) enum Next {
    /// The next events of its range, or the news that there are none up to a revision.
    Batch(Batch),
    /// It is further behind than the feed reaches.
    Forgotten,
    /// The store is closed, and everything has been said.
    Closed,
}

impl Feed {
    /// A feed that goes on from `head` and keeps about `bytes_max` of events.
    pub(crate) fn new(head: Revision, bytes_max: usize) -> Self {
        let state = State {
            events: VecDeque::new(),
            bytes: 0,
            bytes_max,
            floor: head,
            head,
            announced: head,
            places: HashMap::new(),
            places_given: 0,
            closed: false,
        };
        Self { state: Mutex::new(state), behind: Arc::default(), ticker: OnceLock::new() }
    }

    /// Appends committed events, which go on from the head without a gap, and wakes whom they concern.
    pub(crate) fn publish(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let (wakers, all_heard) = {
            let mut state = self.lock();
            let awaited = state.head < state.announced;
            let concerns = |place: &Place| events.iter().any(|event| place.range.contains(event.key()));
            let wakers = state.wakers(|place| awaited || concerns(place));
            state.append(events);
            (wakers, state.places.values().all(|place| place.waker.is_none()))
        };
        wakers.into_iter().for_each(Waker::wake);
        if !all_heard {
            self.behind.notify_one();
        }
    }

    /// Goes on from `head` with the events up to there left out: the log has them, and watchers will find them there.
    pub(crate) fn skip_to(&self, head: Revision) {
        let wakers = {
            let mut state = self.lock();
            if head <= state.head {
                return;
            }
            state.events.clear();
            state.bytes = 0;
            state.floor = head;
            state.head = head;
            state.wakers(|_| true)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Drops the events up to `floor`.
    pub(crate) fn forget(&self, floor: Revision) {
        self.lock().forget(floor);
    }

    /// Ends every watch, once it has been told what is here.
    pub(crate) fn close(&self) {
        let wakers = {
            let mut state = self.lock();
            state.closed = true;
            state.wakers(|_| true)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The newest revision.
    pub(crate) fn head(&self) -> Revision {
        self.lock().head
    }

    /// The revisions that the feed can be followed from: the oldest, and the newest.
    pub(crate) fn span(&self) -> (Revision, Revision) {
        let state = self.lock();
        (state.floor, state.head)
    }

    /// Events and bytes held.
    pub(crate) fn size(&self) -> (u64, u64) {
        let state = self.lock();
        (state.events.len() as u64, state.bytes as u64)
    }

    /// Lets every watcher hear that `revision` has been, at once or as soon as it is published.
    pub(crate) fn announce(&self, revision: Revision) {
        let wakers = {
            let mut state = self.lock();
            state.announced = state.announced.max(revision);
            let head = state.head;
            state.wakers(|place| place.seen < head)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Calls `visit` with every event over `after` that is in the range, oldest first.
    pub(crate) fn visit(&self, range: &Range, after: Revision, mut visit: impl FnMut(&Event)) {
        let state = self.lock();
        state.since(after).filter(|event| range.contains(event.key())).for_each(&mut visit);
    }

    /// Takes a place for a watcher of `range`.
    pub(crate) fn join(self: Arc<Self>, range: Range) -> Seat {
        self.start_ticker();
        let place = Place { range: range.clone(), seen: Revision::ZERO, waker: None };
        let mut state = self.lock();
        state.places_given += 1;
        let number = state.places_given;
        state.places.insert(number, place);
        drop(state);
        Seat { feed: self, range, number }
    }

    /// Starts the task that tells watchers of progress outside of their ranges. It ends with the feed.
    fn start_ticker(self: &Arc<Self>) {
        self.ticker.get_or_init(|| {
            let task = announce_when_behind(Arc::downgrade(self), Arc::clone(&self.behind));
            AbortOnDropHandle::new(tokio::spawn(task))
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn announce_when_behind(feed: Weak<Feed>, behind: Arc<Notify>) {
    loop {
        behind.notified().await;
        tokio::time::sleep(PROGRESS_DELAY).await;
        let Some(feed) = feed.upgrade() else { return };
        feed.announce(Revision::ZERO);
    }
}

impl State {
    fn append(&mut self, events: Vec<Event>) {
        for event in events {
            debug_assert_eq!(event.revision(), self.head.next(), "revisions have no gaps");
            self.head = event.revision();
            self.bytes += event.size_bytes();
            self.events.push_back(event);
        }
        while self.bytes > self.bytes_max {
            self.forget(self.floor.next());
        }
    }

    fn forget(&mut self, floor: Revision) {
        while self.floor < floor {
            let Some(event) = self.events.pop_front() else { return };
            self.bytes -= event.size_bytes();
            self.floor = event.revision();
        }
    }

    fn since(&self, after: Revision) -> impl Iterator<Item = &Event> {
        let skipped = after.0.saturating_sub(self.floor.0) as usize;
        self.events.range(skipped.min(self.events.len())..)
    }

    fn batch(&self, range: &Range, after: Revision) -> Batch {
        let mut batch = Batch { events: Vec::new(), revision: after };
        for event in self.since(after).take(WATCH_SCAN_MAX) {
            if batch.events.len() == WATCH_EVENTS_MAX {
                break;
            }
            batch.revision = event.revision();
            if range.contains(event.key()) {
                batch.events.push(event.clone());
            }
        }
        batch
    }

    /// Takes the wakers of the waiting places that `pick` picks, to be woken without the lock.
    fn wakers(&mut self, pick: impl Fn(&Place) -> bool) -> Vec<Waker> {
        let waiting = self.places.values_mut().filter(|place| place.waker.is_some());
        waiting.filter(|place| pick(place)).filter_map(|place| place.waker.take()).collect()
    }
}

/// A watcher's place in the feed, given up on drop.
pub(crate) struct Seat {
    feed: Arc<Feed>,
    range: Range,
    number: u64,
}

impl Seat {
    /// What the watcher watches.
    pub(crate) fn range(&self) -> &Range {
        &self.range
    }

    /// What comes after `after`; waits until there is something.
    ///
    /// # Cancel safety
    ///
    /// Nothing is taken out of the feed, so nothing is lost.
    pub(crate) async fn next(&self, after: Revision) -> Next {
        std::future::poll_fn(|context| self.poll_next(after, context)).await
    }

    fn poll_next(&self, after: Revision, context: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.feed.lock();
        if after < state.floor {
            return Poll::Ready(Next::Forgotten);
        }
        if after < state.head {
            return Poll::Ready(Next::Batch(state.batch(&self.range, after)));
        }
        if state.closed {
            return Poll::Ready(Next::Closed);
        }
        let place = state.places.get_mut(&self.number).expect("a place is kept until its seat is dropped");
        place.seen = after;
        place.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.feed.lock().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::FutureExt;

    use super::*;
    use crate::Write;

    fn event(key: &'static str, revision: u64) -> Event {
        Event::of(Write::create(key, "value"), None, Revision(revision))
    }

    fn revisions(next: Next) -> (Vec<u64>, u64) {
        match next {
            Next::Batch(batch) => (batch.events.iter().map(|event| event.revision().0).collect(), batch.revision.0),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_watcher_sees_its_range_and_the_progress_of_all() {
        let feed = Arc::new(Feed::new(Revision(7), usize::MAX));
        let seat = Arc::clone(&feed).join(Range::prefix("a"));
        assert!(seat.next(Revision(7)).now_or_never().is_none());
        feed.publish(vec![event("a1", 8), event("b1", 9), event("a2", 10), event("b2", 11)]);
        assert_eq!(revisions(seat.next(Revision(7)).await), (vec![8, 10], 11));
        assert_eq!(revisions(seat.next(Revision(8)).await), (vec![10], 11));
        assert_eq!(revisions(seat.next(Revision(10)).await), (vec![], 11));
    }

    #[tokio::test]
    async fn what_does_not_fit_is_forgotten_from_the_oldest() {
        let size = event("a", 1).size_bytes();
        let feed = Arc::new(Feed::new(Revision(0), 2 * size));
        let seat = Arc::clone(&feed).join(Range::all());
        feed.publish((1..=5).map(|revision| event("a", revision)).collect());
        assert!(matches!(seat.next(Revision(2)).await, Next::Forgotten));
        assert_eq!(revisions(seat.next(Revision(3)).await), (vec![4, 5], 5));
        assert_eq!(feed.size(), (2, 2 * size as u64));
    }

    #[tokio::test]
    async fn an_announcement_reaches_those_that_are_behind() {
        let feed = Arc::new(Feed::new(Revision(0), usize::MAX));
        let seat = Arc::clone(&feed).join(Range::prefix("quiet"));
        let waiting = tokio::spawn(async move { revisions(seat.next(Revision(0)).await) });
        tokio::task::yield_now().await;
        feed.publish(vec![event("loud", 1)]);
        feed.announce(Revision(1));
        assert_eq!(waiting.await.unwrap(), (vec![], 1));
    }

    #[tokio::test]
    async fn an_announcement_may_come_before_the_revision() {
        let feed = Arc::new(Feed::new(Revision(0), usize::MAX));
        let seat = Arc::clone(&feed).join(Range::prefix("quiet"));
        let next = seat.next(Revision(0));
        futures::pin_mut!(next);
        assert!(futures::poll!(&mut next).is_pending());
        feed.announce(Revision(1));
        feed.publish(vec![event("loud", 1)]);
        assert!(feed.lock().places.values().all(|place| place.waker.is_none()), "it was woken");
        assert_eq!(revisions(next.await), (vec![], 1));
    }

    #[tokio::test]
    async fn a_quiet_range_hears_of_progress_by_itself() {
        let feed = Arc::new(Feed::new(Revision(0), usize::MAX));
        let seat = Arc::clone(&feed).join(Range::prefix("quiet"));
        let waiting = tokio::spawn(async move { revisions(seat.next(Revision(0)).await) });
        tokio::task::yield_now().await;
        feed.publish(vec![event("loud", 1)]);
        assert_eq!(waiting.await.unwrap(), (vec![], 1));
    }

    #[tokio::test]
    async fn a_closed_feed_ends_after_the_last_event() {
        let feed = Arc::new(Feed::new(Revision(0), usize::MAX));
        let seat = Arc::clone(&feed).join(Range::all());
        feed.publish(vec![event("a", 1)]);
        feed.close();
        assert_eq!(revisions(seat.next(Revision(0)).await), (vec![1], 1));
        assert!(matches!(seat.next(Revision(1)).await, Next::Closed));
    }

    #[tokio::test]
    async fn a_seat_given_up_leaves_nothing_behind() {
        let feed = Arc::new(Feed::new(Revision(0), usize::MAX));
        drop(Arc::clone(&feed).join(Range::all()));
        assert!(feed.lock().places.is_empty());
    }
}
