//! The store without a disk: for tests, and for clusters that are thrown away.
//!
//! The records are a `BTreeMap`, and the feed is the whole history. A read in the past starts from the present and
//! takes back what has happened since, which for a short-lived cluster is little.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use bytes::Bytes;

use crate::feed::Feed;
use crate::follow::{Log, follow};
use crate::limits::{MEMORY_HISTORY_BYTES_MAX, REMAINING_COUNTED_MAX};
use crate::{Batch, Error, Event, Page, Range, Record, Revision, Store, Usage, Watch, Write};

/// A store in memory, gone when it is dropped.
///
/// It keeps 64 MiB of history; what is older is compacted.
pub struct MemoryStore {
    records: RwLock<Records>,
    feed: Arc<Feed>,
}

#[derive(Default)]
struct Records {
    by_key: BTreeMap<Bytes, Record>,
    bytes: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { records: RwLock::default(), feed: Arc::new(Feed::new(Revision::ZERO, MEMORY_HISTORY_BYTES_MAX)) }
    }

    // No change is left half-way by a panic, so a poisoned lock is as good as any. The feed is only published to while
    // this lock is held, which makes the two agree for whoever holds it.
    fn read(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Records> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn write(&self, write: Write) -> Result<Revision, Error> {
        Error::unless_fits(&write)?;
        let mut records = self.change();
        let current = records.by_key.get(&write.key);
        if !write.applies_to(current) {
            return Err(Error::Conflict { current: current.cloned(), key: write.key });
        }
        let revision = self.feed.head().next();
        let event = Event::of(write, current.cloned(), revision);
        records.apply(&event);
        self.feed.publish(vec![event]);
        Ok(revision)
    }

    async fn get(&self, key: &[u8]) -> Result<(Option<Record>, Revision), Error> {
        let records = self.read();
        Ok((records.by_key.get(key).cloned(), self.feed.head()))
    }

    async fn range(&self, range: Range, at: Option<Revision>, limit: Option<usize>) -> Result<Page, Error> {
        let records = self.read();
        let (oldest, newest) = self.feed.span();
        let revision = at.unwrap_or(newest);
        Error::unless_readable(revision, oldest, newest)?;
        if range.is_empty() {
            return Ok(Page { records: Vec::new(), revision, more: false, remaining: Some(0) });
        }
        if revision == newest {
            return Ok(page(
                records.by_key.range::<[u8], _>(range.bounds()).map(|(_, record)| record),
                revision,
                limit,
            ));
        }
        let past = records.before(&self.feed, &range, revision);
        Ok(page(past.values(), revision, limit))
    }

    async fn watch(&self, range: Range, after: Revision) -> Result<Watch, Error> {
        let (oldest, newest) = self.feed.span();
        Error::unless_readable(after, oldest, newest)?;
        let log = Arc::new(NoLog(Arc::clone(&self.feed)));
        Ok(follow(Arc::clone(&self.feed), log, range, after))
    }

    async fn revision(&self) -> Result<Revision, Error> {
        let newest = self.feed.head();
        self.feed.announce(newest);
        Ok(newest)
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        let current = self.feed.head();
        if before > current {
            return Err(Error::Future { requested: before, current });
        }
        self.feed.forget(before);
        Ok(())
    }

    async fn usage(&self) -> Result<Usage, Error> {
        let records = self.read();
        let (oldest, newest) = self.feed.span();
        let (history_events, history_bytes) = self.feed.size();
        Ok(Usage {
            disk_bytes: 0,
            is_full: false,
            records: records.by_key.len() as u64,
            record_bytes: records.bytes,
            history_events,
            history_bytes,
            oldest,
            newest,
        })
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.feed.close();
    }
}

impl Records {
    fn apply(&mut self, event: &Event) {
        self.bytes -= event.previous().map_or(0, Record::size_bytes);
        self.bytes += event.current().map_or(0, Record::size_bytes);
        match event.current() {
            Some(record) => self.by_key.insert(record.key.clone(), record.clone()),
            None => self.by_key.remove(event.key()),
        };
    }

    /// The records of the range as they were at `revision`.
    fn before(&self, feed: &Feed, range: &Range, revision: Revision) -> BTreeMap<Bytes, Record> {
        // The first change of a key after the revision knows what the revision knew.
        let mut changed: BTreeMap<Bytes, Option<Record>> = BTreeMap::new();
        feed.visit(range, revision, |event| {
            changed.entry(event.key().clone()).or_insert_with(|| event.previous().cloned());
        });
        let unchanged = self.by_key.range::<[u8], _>(range.bounds()).filter(|(key, _)| !changed.contains_key(*key));
        let mut past: BTreeMap<_, _> = unchanged.map(|(key, record)| (key.clone(), record.clone())).collect();
        past.extend(changed.into_iter().filter_map(|(key, record)| Some((key, record?))));
        past
    }
}

fn page<'a>(mut records: impl Iterator<Item = &'a Record>, revision: Revision, limit: Option<usize>) -> Page {
    let first = records.by_ref().take(limit.unwrap_or(usize::MAX)).cloned().collect();
    let left = records.take(REMAINING_COUNTED_MAX as usize + 1).count() as u64;
    let remaining = (left <= REMAINING_COUNTED_MAX).then_some(left);
    Page { records: first, revision, more: left > 0, remaining }
}

/// The feed is all the history that there is.
struct NoLog(Arc<Feed>);

impl Log for NoLog {
    fn replay(&self, _: &Range, after: Revision) -> Result<Batch, Error> {
        let (oldest, _) = self.0.span();
        Err(Error::Compacted { requested: after, oldest })
    }
}
