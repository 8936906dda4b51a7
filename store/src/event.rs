//! What a watcher is told.

use bytes::Bytes;

use crate::{Change, Record, Revision, Write};

/// One committed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was given a value.
    Put {
        /// The key as it is now; the event's revision is `record.modified`.
        record: Record,
        /// The key as it was before, `None` when it was created.
        previous: Option<Record>,
    },
    /// A key was taken out.
    Delete {
        /// The key as it was before.
        previous: Record,
        /// The revision that the deletion took.
        revision: Revision,
    },
}

impl Event {
    /// The event of a write that goes ahead over `previous` and takes `revision`.
    ///
    /// The write must apply: see [`Write::applies_to`].
    pub(crate) fn of(write: Write, previous: Option<Record>, revision: Revision) -> Self {
        match (write.change, previous) {
            (Change::Delete, Some(previous)) => Self::Delete { previous, revision },
            (Change::Delete, None) => unreachable!("a deletion of nothing is refused before it becomes an event"),
            (Change::Put(value), previous) => {
                let created = previous.as_ref().map_or(revision, |previous| previous.created);
                Self::Put { record: Record { key: write.key, value, created, modified: revision }, previous }
            }
        }
    }

    /// The revision that the write took.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put { record, .. } => record.modified,
            Self::Delete { revision, .. } => *revision,
        }
    }

    /// The key that was written.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { record, .. } => &record.key,
            Self::Delete { previous, .. } => &previous.key,
        }
    }

    /// The key as it was before the write.
    pub fn previous(&self) -> Option<&Record> {
        match self {
            Self::Put { previous, .. } => previous.as_ref(),
            Self::Delete { previous, .. } => Some(previous),
        }
    }

    /// The key as the write left it: `None` when it is gone.
    pub fn current(&self) -> Option<&Record> {
        match self {
            Self::Put { record, .. } => Some(record),
            Self::Delete { .. } => None,
        }
    }

    /// What the event holds in memory, about.
    pub(crate) fn size_bytes(&self) -> usize {
        let values = [self.current(), self.previous()].into_iter().flatten().map(|record| record.value.len());
        size_of::<Self>() + self.key().len() + values.sum::<usize>()
    }
}

/// What a watch yields: the next events of its range, and how far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The events, in the order of their revisions. Empty when only the progress is news.
    pub events: Vec<Event>,
    /// The progress: every event of the range up to and including this revision has now been delivered. It grows from
    /// batch to batch, and is where a new watch goes on without gap or repetition.
    pub revision: Revision,
}
