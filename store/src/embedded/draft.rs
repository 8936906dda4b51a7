//! Writing: what one transaction changes in the tables, before it is committed.

use redb::{ReadableTable, Table, WriteTransaction};

use super::engine::Failure;
use super::layout::{
    CURRENT, Entry, FORMAT, HISTORY, Head, LOG, META, META_FORMAT, META_HEAD, Malformed, Version, decode_current,
    encode_current, encode_history,
};
use crate::{Error, Event, Record, Revision, Write};

/// The tables of a transaction, and the head that it will leave.
pub(super) struct Draft<'t> {
    head: Head,
    current: Table<'t, &'static [u8], &'static [u8]>,
    history: Table<'t, Version, &'static [u8]>,
    log: Table<'t, u64, &'static [u8]>,
    meta: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Draft<'t> {
    /// Goes on from `head`.
    pub(super) fn open(transaction: &'t WriteTransaction, head: Head) -> Result<Self, Failure> {
        Ok(Self {
            head,
            current: transaction.open_table(CURRENT)?,
            history: transaction.open_table(HISTORY)?,
            log: transaction.open_table(LOG)?,
            meta: transaction.open_table(META)?,
        })
    }

    /// Says which format the tables are in.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        self.meta.insert(META_FORMAT, FORMAT.to_le_bytes().as_slice())?;
        Ok(())
    }

    /// Makes the change, or says why not. The outer error is the database's.
    pub(super) fn write(&mut self, write: Write) -> Result<Result<Event, Error>, Failure> {
        let current = self.get(&write.key)?;
        if !write.applies_to(current.as_ref()) {
            return Ok(Err(Error::Conflict { key: write.key, current }));
        }
        let event = Event::of(write, current, self.head.revision.next());
        self.record(&event)?;
        self.head = self.head.after(&event);
        Ok(Ok(event))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, Failure> {
        let Some(bytes) = self.current.get(key)? else { return Ok(None) };
        Ok(Some(decode_current(key, bytes.value())?))
    }

    fn record(&mut self, event: &Event) -> Result<(), Failure> {
        let key = event.key().as_ref();
        if let Some(previous) = event.previous() {
            let superseded = encode_history(previous, event.revision());
            self.history.insert((key, previous.modified.0), superseded.as_slice())?;
        }
        match event.current() {
            Some(record) => self.current.insert(key, encode_current(record).as_slice())?,
            None => self.current.remove(key)?,
        };
        self.log.insert(event.revision().0, Entry::of(event).encode().as_slice())?;
        Ok(())
    }

    /// Makes `before` the oldest revision. What that leaves over is swept away after.
    pub(super) fn compact(&mut self, before: Revision) {
        self.head.compacted = before;
    }

    /// Removes up to `events_max` events that are compacted, with what only they needed.
    pub(super) fn sweep(&mut self, events_max: usize) -> Result<(), Failure> {
        let last = self.head.compacted.0.min(self.head.swept.0.saturating_add(events_max as u64));
        for revision in self.head.swept.next().0..=last {
            let removed = self.log.remove(revision)?.ok_or(Malformed("log"))?;
            let entry = Entry::decode(removed.value())?;
            self.head.history_bytes -= entry.key.len() as u64;
            if let Some(previous) = entry.previous {
                let record = self.history.remove((entry.key, previous.0))?.ok_or(Malformed("history"))?;
                let value_bytes = record.value().len() - size_of::<[u64; 2]>();
                self.head.history_bytes -= (entry.key.len() + value_bytes) as u64;
            }
        }
        self.head.swept = Revision(last);
        Ok(())
    }

    /// Puts the head in its place, and returns it: the transaction is ready to be committed.
    pub(super) fn finish(mut self) -> Result<Head, Failure> {
        self.meta.insert(META_HEAD, self.head.encode().as_slice())?;
        Ok(self.head)
    }
}
