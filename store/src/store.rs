//! The contract that every backend keeps.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::Stream;
use futures::stream::BoxStream;

use crate::{Batch, Error, Page, Range, Record, Revision, Write};

/// A sorted map of bytes with a history.
///
/// # Order
///
/// There is one order of writes, and revisions number it without gaps: each write that is acknowledged took exactly one
/// revision, which the backend assigned when it committed. Reads and watches see that order and no other. What a caller
/// was told (by an answer to a write, a read or a batch) is included in every read that it begins afterwards.
///
/// # Durability
///
/// A write that is acknowledged is on disk, if the backend has one. Neither a read nor a watch ever shows a write that
/// a crash could still undo.
///
/// # History
///
/// Revisions from the compacted one to the newest can be read and watched from. Older ones are answered
/// [`Error::Compacted`], newer ones [`Error::Future`].
///
/// # Fitting etcd
///
/// No method asks a backend to know a revision before it commits, and [`Expect`](crate::Expect) is the compare of an
/// etcd transaction, so etcd needs no lock and no second round trip to stand behind this trait.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes one change if the key is as expected, and returns the revision that it took. Durable once it returns.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] with what is there instead; [`Error::TooLarge`]; [`Error::Full`]; [`Error::Io`], after which
    /// only a read can tell whether the write happened; [`Error::Closed`].
    ///
    /// # Cancel safety
    ///
    /// A write whose future is dropped happens wholly or not at all, and nobody is told which.
    async fn write(&self, write: Write) -> Result<Revision, Error>;

    /// The record under a key, if there is one, and the revision at which it was read.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    async fn get(&self, key: &[u8]) -> Result<(Option<Record>, Revision), Error>;

    /// The records of a range in the order of their keys, as they were at `at` (`None`: now), at most `limit` of them.
    ///
    /// All come from one revision. To read on, ask for [`Range::after`] the last key, at [`Page::revision`].
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] and [`Error::Future`] for an `at` that cannot be read; those of [`Store::get`].
    async fn range(&self, range: Range, at: Option<Revision>, limit: Option<usize>) -> Result<Page, Error>;

    /// Every change of a range with a revision over `after`, without end: first those that have happened, then each as
    /// it is committed.
    ///
    /// Each change comes exactly once and in the order of revisions. A watcher that is slow is not cut off and holds
    /// nobody up: it reads on from the history, and only if that has been compacted in the meantime does the stream
    /// end with [`Error::Compacted`].
    ///
    /// A batch says how far the watch has come. A quiet range is told of other ranges' progress too, a moment later
    /// than of its own events, or at once when anybody calls [`Store::revision`].
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] and [`Error::Future`] for an `after` that cannot be watched from. In the stream an error is
    /// the last item: [`Error::Compacted`], [`Error::Io`], [`Error::Closed`].
    async fn watch(&self, range: Range, after: Revision) -> Result<Watch, Error>;

    /// The revision of the newest write that can be read.
    ///
    /// Every watch is made to report that it has come at least this far: so a cache that is fed by a watch answers
    /// "as of now" by waiting for this revision.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Closed`].
    async fn revision(&self) -> Result<Revision, Error>;

    /// Forgets history: `before` becomes the oldest revision that can be read and watched from.
    ///
    /// Asked for what has been compacted already, it does nothing. Returns when the space can be used again.
    ///
    /// # Errors
    ///
    /// [`Error::Future`] if `before` has not happened yet; those of [`Store::write`] but for the conflict.
    ///
    /// # Cancel safety
    ///
    /// A compaction goes on when its future is dropped.
    async fn compact(&self, before: Revision) -> Result<(), Error>;

    /// What the store holds. Cheap: it is meant to be asked every few seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Closed`].
    async fn usage(&self) -> Result<Usage, Error>;
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What the store takes on disk, with the room inside of it that is free; 0 for a store without a disk.
    pub disk_bytes: u64,
    /// Whether puts are refused for want of room on the disk.
    pub is_full: bool,
    /// Keys that are there now.
    pub records: u64,
    /// Their keys and values together.
    pub record_bytes: u64,
    /// Events that can still be watched from.
    pub history_events: u64,
    /// The keys and values that are kept for the history alone.
    pub history_bytes: u64,
    /// The oldest revision that can be read and watched from.
    pub oldest: Revision,
    /// The newest revision.
    pub newest: Revision,
}

/// The events of a range as they come: see [`Store::watch`].
///
/// Dropping it ends the watch.
pub struct Watch(BoxStream<'static, Result<Batch, Error>>);

impl Watch {
    /// A watch over any stream that keeps the contract of [`Store::watch`].
    pub fn new(stream: impl Stream<Item = Result<Batch, Error>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl Stream for Watch {
    type Item = Result<Batch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
