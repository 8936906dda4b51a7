//! The embedded backend: one file, kept by redb.
//!
//! | file | owns |
//! |---|---|
//! | `layout.rs` | the tables, and the bytes in them |
//! | `snapshot.rs` | reading: one key, a range now or in the past, the events after a revision |
//! | `draft.rs` | writing: one transaction's changes to the tables |
//! | `writer.rs` | the one thread that commits: draws up batches, answers them after the fsync, compacts |
//! | `engine.rs` | the open database: reopened after a failure, read-only while the disk refuses writes |
//! | `medium.rs` | a [`Disk`] as redb takes it: the real one, or one whose changes stay in memory |
//!
//! Reads are redb's snapshots and never wait for the writer. `docs/store.md` draws all this.

mod draft;
mod engine;
mod layout;
mod medium;
mod snapshot;
mod writer;

use std::path::Path;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::disk::{Disk, FileDisk};
use crate::embedded::engine::Engine;
use crate::embedded::snapshot::Snapshot;
use crate::embedded::writer::{Command, Pending, Thread};
use crate::feed::Feed;
use crate::follow::{Log, blocking, follow};
use crate::limits::{CACHE_BYTES_DEFAULT, FEED_BYTES_MAX, QUEUE_WRITES_MAX};
use crate::{Batch, Error, Page, Range, Record, Revision, Store, Usage, Watch, Write};

/// How a [`RedbStore`] is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedbConfig {
    /// Memory for pages of the file, read and written together. The kernel caches the file too, so little is enough.
    pub cache_bytes: usize,
    /// Memory for the newest events; watchers further behind read them from the file.
    pub feed_bytes: usize,
}

impl Default for RedbConfig {
    /// 4 MiB of pages and 2 MiB of events.
    fn default() -> Self {
        Self { cache_bytes: CACHE_BYTES_DEFAULT, feed_bytes: FEED_BYTES_MAX }
    }
}

/// A store in one file, for a cluster on one machine.
///
/// One thread commits: whatever writes are waiting go into one transaction with one fsync, and each is answered after
/// it. Nothing waits for a batch to fill: a single write is committed at once.
///
/// Dropping the store waits for the write that is being committed, a few milliseconds, and closes the file.
pub struct RedbStore {
    engine: Arc<Engine>,
    feed: Arc<Feed>,
    // Dropped in this order: a closed queue is what ends the thread.
    queue: mpsc::Sender<Command>,
    _thread: Thread,
}

impl RedbStore {
    /// Opens the store in the file at `path`, or makes a new one there. Blocks while the file is read through once: a
    /// damaged one is refused as it is, and never replaced or emptied.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::Corrupt`], [`Error::Full`] or [`Error::Io`].
    pub fn open(path: impl AsRef<Path>, config: RedbConfig) -> Result<Self, Error> {
        let path = path.as_ref();
        let disk = FileDisk::open(path)?;
        Self::open_on(Arc::new(disk), path, config)
    }

    /// Opens the store on `disk`, or makes a new one if the disk is empty. `path` is what errors call it.
    ///
    /// # Errors
    ///
    /// Those of [`RedbStore::open`], but for [`Error::Locked`].
    pub fn open_on(disk: Arc<dyn Disk>, path: impl AsRef<Path>, config: RedbConfig) -> Result<Self, Error> {
        let (engine, head) = Engine::open(disk, path.as_ref().to_owned(), config.cache_bytes)?;
        let engine = Arc::new(engine);
        let feed = Arc::new(Feed::new(head.revision, config.feed_bytes));
        let (queue, commands) = mpsc::channel(QUEUE_WRITES_MAX);
        let thread = Thread::start(Arc::clone(&engine), Arc::clone(&feed), head, commands)?;
        Ok(Self { engine, feed, queue, _thread: thread })
    }

    /// Reads on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&Snapshot) -> Result<T, engine::Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = Arc::clone(&self.engine);
        blocking(move || engine.read(read)).await
    }

    /// The newest revision that a read can show.
    async fn newest(&self) -> Result<Revision, Error> {
        let newest = |snapshot: &Snapshot| Ok(snapshot.head().revision);
        match self.engine.try_read(newest) {
            Some(read) => read,
            None => self.read(newest).await,
        }
    }

    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(command(answer)).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn write(&self, write: Write) -> Result<Revision, Error> {
        Error::unless_fits(&write)?;
        self.command(|answer| Command::Write(Pending { write, answer })).await
    }

    async fn get(&self, key: &[u8]) -> Result<(Option<Record>, Revision), Error> {
        // A few pages, mostly cached: not worth another thread, unless the database is being replaced.
        if let Some(read) = self.engine.try_read(|snapshot| snapshot.get(key)) {
            return read;
        }
        let key = key.to_owned();
        self.read(move |snapshot| snapshot.get(&key)).await
    }

    async fn range(&self, range: Range, at: Option<Revision>, limit: Option<usize>) -> Result<Page, Error> {
        self.read(move |snapshot| snapshot.range(&range, at, limit)).await
    }

    async fn watch(&self, range: Range, after: Revision) -> Result<Watch, Error> {
        // A revision that a read has shown may be published a moment later.
        if after > self.feed.head() {
            Error::unless_readable(after, Revision::ZERO, self.newest().await?)?;
        }
        Error::unless_readable(after, self.engine.head().compacted, after)?;
        let log = EngineLog(Arc::downgrade(&self.engine));
        Ok(follow(Arc::clone(&self.feed), Arc::new(log), range, after))
    }

    async fn revision(&self) -> Result<Revision, Error> {
        let newest = self.newest().await?;
        self.feed.announce(newest);
        Ok(newest)
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        self.command(|answer| Command::Compact { before, answer }).await
    }

    async fn usage(&self) -> Result<Usage, Error> {
        let head = self.engine.head();
        Ok(Usage {
            disk_bytes: self.engine.disk_bytes()?,
            is_full: self.engine.is_full(),
            records: head.records,
            record_bytes: head.record_bytes,
            history_events: head.revision.0 - head.compacted.0,
            history_bytes: head.history_bytes,
            oldest: head.compacted,
            newest: head.revision,
        })
    }
}

/// The log of an engine, which a watch does not keep open: when the store is dropped, its file is free again.
struct EngineLog(Weak<Engine>);

impl Log for EngineLog {
    fn replay(&self, range: &Range, after: Revision) -> Result<Batch, Error> {
        let engine = self.0.upgrade().ok_or(Error::Closed)?;
        engine.read(|snapshot| snapshot.replay(range, after))
    }
}
