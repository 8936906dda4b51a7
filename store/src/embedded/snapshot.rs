//! Reading: everything that one snapshot of the database can be asked.
//!
//! A snapshot is redb's: it shows one committed state while the writer goes on, and holds on to the pages of it, so it
//! is used within one call and never kept.

use std::ops::Bound;

use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase};

use super::engine::Failure;
use super::layout::{
    CURRENT, Entry, HISTORY, Head, Kind, LOG, META, META_HEAD, Malformed, Version, decode_current, decode_history,
};
use crate::limits::{REMAINING_COUNTED_MAX, WATCH_BYTES_MAX, WATCH_EVENTS_MAX, WATCH_SCAN_MAX};
use crate::{Batch, Error, Event, Page, Range, Record, Revision};

type Current = ReadOnlyTable<&'static [u8], &'static [u8]>;
type History = ReadOnlyTable<Version, &'static [u8]>;

/// One committed state.
pub(super) struct Snapshot {
    transaction: ReadTransaction,
    head: Head,
}

impl Snapshot {
    pub(super) fn of(database: &Database) -> Result<Self, Failure> {
        let transaction = database.begin_read()?;
        let head = {
            let meta = transaction.open_table(META)?;
            let head = meta.get(META_HEAD)?.ok_or(Malformed("meta"))?;
            Head::decode(head.value())?
        };
        Ok(Self { transaction, head })
    }

    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// The record under a key, and the revision of this state.
    pub(super) fn get(&self, key: &[u8]) -> Result<(Option<Record>, Revision), Failure> {
        let current = self.transaction.open_table(CURRENT)?;
        let record = match current.get(key)? {
            Some(bytes) => Some(decode_current(key, bytes.value())?),
            None => None,
        };
        Ok((record, self.head.revision))
    }

    /// A page of a range, now or at a revision.
    pub(super) fn range(&self, range: &Range, at: Option<Revision>, limit: Option<usize>) -> Result<Page, Failure> {
        let revision = at.unwrap_or(self.head.revision);
        Error::unless_readable(revision, self.head.compacted, self.head.revision)?;
        let mut page = PageOf::new(revision, limit);
        if range.is_empty() {
            return Ok(page.finish());
        }
        let current = self.transaction.open_table(CURRENT)?;
        if revision == self.head.revision {
            for entry in current.range::<&[u8]>(range.bounds())? {
                let (key, bytes) = entry?;
                if !page.add(|| Ok(decode_current(key.value(), bytes.value())?))? {
                    break;
                }
            }
        } else {
            let history = self.transaction.open_table(HISTORY)?;
            let mut past = Past { current, history, revision };
            past.visit(range, |record| page.add(|| Ok(record)))?;
        }
        Ok(page.finish())
    }

    /// The next events of a range over `after`, from the log.
    pub(super) fn replay(&self, range: &Range, after: Revision) -> Result<Batch, Failure> {
        Error::unless_readable(after, self.head.compacted, self.head.revision)?;
        let log = self.transaction.open_table(LOG)?;
        let records =
            Records { current: self.transaction.open_table(CURRENT)?, history: self.transaction.open_table(HISTORY)? };
        let mut batch = Batch { events: Vec::new(), revision: after };
        let mut bytes = 0;
        for entry in log.range(after.next().0..)?.take(WATCH_SCAN_MAX) {
            let (revision, entry) = entry?;
            let (revision, entry) = (Revision(revision.value()), Entry::decode(entry.value())?);
            if revision != batch.revision.next() {
                return Err(Malformed("log").into());
            }
            if range.contains(entry.key) {
                let event = records.event(entry, revision)?;
                bytes += event.size_bytes();
                batch.events.push(event);
            }
            batch.revision = revision;
            if batch.events.len() == WATCH_EVENTS_MAX || bytes >= WATCH_BYTES_MAX {
                break;
            }
        }
        Ok(batch)
    }
}

/// Where the bytes of the events are.
struct Records {
    current: Current,
    history: History,
}

impl Records {
    fn event(&self, entry: Entry<'_>, revision: Revision) -> Result<Event, Failure> {
        let previous = match entry.previous {
            Some(previous) => Some(self.superseded(entry.key, previous)?.ok_or(Malformed("history"))?),
            None => None,
        };
        match (entry.kind, previous) {
            (Kind::Put, previous) => Ok(Event::Put { record: self.written(entry.key, revision)?, previous }),
            (Kind::Delete, Some(previous)) => Ok(Event::Delete { previous, revision }),
            (Kind::Delete, None) => Err(Malformed("log").into()),
        }
    }

    /// The record that `revision` wrote: still there, or superseded since.
    fn written(&self, key: &[u8], revision: Revision) -> Result<Record, Failure> {
        if let Some(bytes) = self.current.get(key)? {
            let record = decode_current(key, bytes.value())?;
            if record.modified == revision {
                return Ok(record);
            }
        }
        Ok(self.superseded(key, revision)?.ok_or(Malformed("history"))?)
    }

    fn superseded(&self, key: &[u8], modified: Revision) -> Result<Option<Record>, Failure> {
        let Some(bytes) = self.history.get((key, modified.0))? else { return Ok(None) };
        let (record, _) = decode_history(key, modified.0, bytes.value())?;
        Ok(Some(record))
    }
}

/// The records as they were at a revision.
///
/// The keys of then are among those that are there now and those that the history knows. Each is looked up by a seek,
/// so a key with a long history costs no more than another.
struct Past {
    current: Current,
    history: History,
    revision: Revision,
}

impl Past {
    /// Calls `visit` with each record of the range in the order of keys, until it says that it has enough.
    fn visit(&mut self, range: &Range, mut visit: impl FnMut(Record) -> Result<bool, Failure>) -> Result<(), Failure> {
        let mut present = self.current.range::<&[u8]>(range.bounds())?;
        let mut now = present.next().transpose()?;
        let mut then = self.next_historic(Bound::Included((&range.start, 0)), range)?;
        loop {
            let now_key = now.as_ref().map(|(key, _)| key.value());
            let is_present = match (now_key, then.as_deref()) {
                (None, None) => return Ok(()),
                (Some(now), Some(then)) => now <= then,
                (now, _) => now.is_some(),
            };
            let (key, record) = match (&now, &then) {
                (Some((key, bytes)), _) if is_present => {
                    (key.value(), Some(decode_current(key.value(), bytes.value())?))
                }
                (_, then) => (then.as_deref().unwrap_or_default(), None),
            };
            let found = match record.filter(|record| record.modified <= self.revision) {
                Some(record) => Some(record),
                None => self.historic(key)?,
            };
            let beyond = (then.as_deref() == Some(key))
                .then(|| self.next_historic(Bound::Excluded((key, u64::MAX)), range))
                .transpose()?;
            if let Some(record) = found
                && !visit(record)?
            {
                return Ok(());
            }
            if is_present {
                now = present.next().transpose()?;
            }
            if let Some(beyond) = beyond {
                then = beyond;
            }
        }
    }

    /// The record that the history has for the key at the revision, if the key was there then.
    fn historic(&self, key: &[u8]) -> Result<Option<Record>, Failure> {
        let newest = self.history.range((key, 0)..=(key, self.revision.0))?.next_back();
        let Some((version, bytes)) = newest.transpose()? else { return Ok(None) };
        let (key, modified) = version.value();
        let (record, superseded) = decode_history(key, modified, bytes.value())?;
        Ok((superseded > self.revision).then_some(record))
    }

    /// The first key of the range that the history has from `from` on.
    fn next_historic(&self, from: Bound<(&[u8], u64)>, range: &Range) -> Result<Option<Vec<u8>>, Failure> {
        let mut later = self.history.range::<(&[u8], u64)>((from, Bound::Unbounded))?;
        let Some((version, _)) = later.next().transpose()? else { return Ok(None) };
        let (key, _) = version.value();
        Ok(range.contains(key).then(|| key.to_vec()))
    }
}

/// A page that is being filled.
struct PageOf {
    page: Page,
    room: usize,
    left: u64,
}

impl PageOf {
    fn new(revision: Revision, limit: Option<usize>) -> Self {
        let page = Page { records: Vec::new(), revision, more: false, remaining: None };
        Self { page, room: limit.unwrap_or(usize::MAX), left: 0 }
    }

    /// Takes a record, or counts it if the page is full. Says whether to go on.
    fn add(&mut self, record: impl FnOnce() -> Result<Record, Failure>) -> Result<bool, Failure> {
        if self.page.records.len() < self.room {
            self.page.records.push(record()?);
        } else {
            self.left += 1;
        }
        Ok(self.left <= REMAINING_COUNTED_MAX)
    }

    fn finish(mut self) -> Page {
        self.page.more = self.left > 0;
        self.page.remaining = (self.left <= REMAINING_COUNTED_MAX).then_some(self.left);
        self.page
    }
}
