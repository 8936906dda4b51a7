//! What is kept under a key, and what a writer asks for.

use bytes::Bytes;

use crate::Revision;

/// A key with its value, as some revision left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key, at most [`limits::KEY_BYTES_MAX`](crate::limits::KEY_BYTES_MAX) long.
    pub key: Bytes,
    /// The value: exactly the bytes that were written.
    pub value: Bytes,
    /// The write that put the key where there was none. A key that is deleted and put again is created anew.
    pub created: Revision,
    /// The write that gave the key this value.
    pub modified: Revision,
}

impl Record {
    /// The bytes of key and value: what [`Usage`](crate::Usage) counts.
    pub(crate) fn size_bytes(&self) -> u64 {
        (self.key.len() + self.value.len()) as u64
    }
}

/// What the writer believes of a key. The write happens only if it is so at commit.
///
/// Source: the compare of an etcd transaction, on a key's modification revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key is not there.
    Absent,
    /// The key is there, and this write was the last to touch it.
    At(Revision),
}

impl Expect {
    /// Whether the belief holds for what is there.
    pub(crate) fn holds(self, current: Option<&Record>) -> bool {
        match (self, current) {
            (Self::Absent, None) => true,
            (Self::At(revision), Some(record)) => record.modified == revision,
            _ => false,
        }
    }
}

/// What becomes of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is given this value.
    Put(Bytes),
    /// It is taken out. This too takes a revision.
    Delete,
}

/// One write: a change of one key, made if the expectation holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key to change.
    pub key: Bytes,
    /// What must be so for the change to be made.
    pub expect: Expect,
    /// The change.
    pub change: Change,
}

impl Write {
    /// Puts a key that must not be there yet.
    pub fn create(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), expect: Expect::Absent, change: Change::Put(value.into()) }
    }

    /// Gives a key, last touched at `at`, a new value.
    pub fn update(key: impl Into<Bytes>, at: Revision, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), expect: Expect::At(at), change: Change::Put(value.into()) }
    }

    /// Takes out a key last touched at `at`.
    pub fn delete(key: impl Into<Bytes>, at: Revision) -> Self {
        Self { key: key.into(), expect: Expect::At(at), change: Change::Delete }
    }

    /// Whether the write can go ahead over what is there. Taking out what is not there never can.
    pub(crate) fn applies_to(&self, current: Option<&Record>) -> bool {
        let deletes_nothing = self.change == Change::Delete && current.is_none();
        self.expect.holds(current) && !deletes_nothing
    }

    /// The bytes that the write brings: what it costs a queue or a batch.
    pub(crate) fn size_bytes(&self) -> usize {
        let value = match &self.change {
            Change::Put(value) => value.len(),
            Change::Delete => 0,
        };
        self.key.len() + value
    }
}
