//! The events that wait for one watcher. The cache puts them in and never waits; the watcher's stream takes them out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::object::{Event, Shown};
use crate::limits;

/// An event with what it is to the watcher.
pub(crate) struct Delivery {
    pub(crate) event: Arc<Event>,
    pub(crate) shown: Shown,
}

/// A bounded queue with one reader. An idle one holds no memory beyond itself.
#[derive(Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Delivery>,
    reader: Option<Waker>,
    /// Nothing comes any more: the reader was too slow, or the cache starts anew.
    closed: bool,
}

impl Mailbox {
    /// Puts one in. When there are too many already, all are dropped and the reader is cut off.
    pub(super) fn put(&self, delivery: Delivery) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if state.queue.len() >= limits::EVENTS_PER_WATCHER_MAX {
            state.closed = true;
            state.queue = VecDeque::new();
        } else {
            state.queue.push_back(delivery);
        }
        Self::wake(state);
    }

    /// Ends it: what is in it can still be read.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        Self::wake(state);
    }

    /// Moves everything that waits in place of `taken`, which has been read. Ready with `false` at the end.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>, taken: &mut VecDeque<Delivery>) -> Poll<bool> {
        let mut state = self.lock();
        if !state.queue.is_empty() {
            // The queue leaves with its memory, so that an idle watcher holds none.
            *taken = std::mem::take(&mut state.queue);
            return Poll::Ready(true);
        }
        if state.closed {
            return Poll::Ready(false);
        }
        match &mut state.reader {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().queue.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a mailbox")
    }

    fn wake(mut state: MutexGuard<'_, State>) {
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}
