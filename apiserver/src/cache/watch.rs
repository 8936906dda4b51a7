//! What one watcher is told, as a stream. It needs no task: it is polled by the connection that sends it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::time::{Instant, Sleep};

use super::Cache;
use super::kind::{Beginning, Subscription};
use super::mailbox::Delivery;
use super::object::{Cached, Event, Shown};
use crate::limits;

/// One thing that a watcher is told.
pub(crate) enum Item {
    /// An object that was there when the watch began.
    Present(Arc<Cached>),
    /// A change, and what it is to the watcher.
    Changed(Arc<Event>, Shown),
    /// Everything up to this revision has been told.
    Bookmark { revision: u64, initial_events_end: bool },
}

/// What a watcher is told, from its beginning to its deadline, or until it is cut off for being slow.
pub(crate) struct WatchStream {
    cache: Arc<Cache>,
    subscription: Subscription,
    present: std::vec::IntoIter<Arc<Cached>>,
    waiting: VecDeque<Delivery>,
    /// What is at or before this has been told, or is not to be.
    after: u64,
    initial_end: Option<u64>,
    bookmarks: bool,
    next: Pin<Box<Sleep>>,
    deadline: Instant,
    finished: bool,
}

impl WatchStream {
    /// A stream from `beginning` to `deadline`.
    ///
    /// `after` is the revision that the client said it knows (0 when none); with `bookmarks` it is told now and then
    /// how far it has seen, and with `initial_end` also when everything that was present has been told.
    pub(crate) fn new(
        cache: Arc<Cache>,
        beginning: Beginning,
        after: u64,
        bookmarks: bool,
        initial_end: bool,
        deadline: Instant,
    ) -> Self {
        let Beginning { subscription, present, missed, revision } = beginning;
        let first = next_wake(bookmarks, deadline);
        Self {
            cache,
            subscription,
            present: present.into_iter(),
            waiting: missed,
            after,
            initial_end: initial_end.then_some(revision),
            bookmarks,
            next: Box::pin(tokio::time::sleep_until(first)),
            deadline,
            finished: false,
        }
    }

    /// The next thing that is known already, without waiting.
    fn ready(&mut self) -> Option<Item> {
        if let Some(object) = self.present.next() {
            return Some(Item::Present(object));
        }
        if let Some(revision) = self.initial_end.take() {
            // What is listed is not kept while the watch goes on.
            self.present = Vec::new().into_iter();
            return Some(Item::Bookmark { revision, initial_events_end: true });
        }
        while let Some(Delivery { event, shown }) = self.waiting.pop_front() {
            if event.revision > self.after {
                return Some(Item::Changed(event, shown));
            }
        }
        None
    }

    /// A bookmark, when everything that the cache has seen has been told.
    fn bookmark(&self) -> Option<Item> {
        let revision = self.cache.seen();
        // Read after `seen`: all events up to it are in the mailbox already.
        let told = self.waiting.is_empty() && self.subscription.mailbox.is_empty();
        (self.bookmarks && told)
            .then_some(Item::Bookmark { revision: revision.max(self.after), initial_events_end: false })
    }
}

impl Stream for WatchStream {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let this = &mut *self;
        while !this.finished {
            if let Some(item) = this.ready() {
                return Poll::Ready(Some(item));
            }
            match this.subscription.mailbox.poll_take(cx, &mut this.waiting) {
                Poll::Ready(true) => continue,
                Poll::Ready(false) => break,
                Poll::Pending => {}
            }
            if this.next.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= this.deadline {
                break;
            }
            this.next.as_mut().reset(next_wake(this.bookmarks, this.deadline));
            if let Some(item) = this.bookmark() {
                return Poll::Ready(Some(item));
            }
        }
        this.finished = true;
        Poll::Ready(None)
    }
}

/// When a stream that has nothing to tell looks up: for a bookmark, or to end.
fn next_wake(bookmarks: bool, deadline: Instant) -> Instant {
    if !bookmarks {
        return deadline;
    }
    let now = Instant::now();
    let regular = now + limits::BOOKMARK_INTERVAL;
    match deadline.checked_sub(limits::BOOKMARK_BEFORE_END).filter(|last| *last > now) {
        Some(last) => regular.min(last),
        None => deadline,
    }
}
