//! The tables, and the bytes in them. Numbers are little-endian, but for the one in a key, which must sort.
//!
//! | table | key | value |
//! |---|---|---|
//! | `current` | key | created `u64`, modified `u64`, value |
//! | `history` | key, modified `u64` | created `u64`, superseded `u64`, value |
//! | `log` | revision `u64` | kind `u8`, previous `u64` (0: none), key |
//! | `meta` | `"format"` | `u64` |
//! | `meta` | `"head"` | six `u64`: see [`Head`] |
//!
//! A value is written once when it becomes current, and once more when the next one takes its place and moves it to the
//! history. The log says what happened, not with which bytes: those are in `current` or `history`, under the key and
//! revision that the log names. Every entry of the log after the compacted revision can be told in full from the other
//! two, and an entry that is compacted names the one record of the history that goes with it.

use std::cmp::Ordering;

use bytes::Bytes;
use redb::{Key, TableDefinition, TypeName, Value};

use crate::{Event, Record, Revision};

/// The layout written here. A file with another number is not touched.
pub(super) const FORMAT: u64 = 1;

pub(super) const CURRENT: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("current");
pub(super) const HISTORY: TableDefinition<'_, Version, &[u8]> = TableDefinition::new("history");
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

pub(super) const META_FORMAT: &str = "format";
pub(super) const META_HEAD: &str = "head";

/// Bytes that are not what this module writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of the table {0:?} is malformed")]
pub(super) struct Malformed(pub(super) &'static str);

/// A key at a revision: the key first, then the revision.
///
/// The bytes are the key's followed by the revision's, compared as the pair that they are, so that a key may hold any
/// bytes, and be the beginning of another.
#[derive(Debug)]
pub(super) struct Version;

impl Value for Version {
    type SelfType<'a> = (&'a [u8], u64);
    type AsBytes<'a> = Vec<u8>;

    fn fixed_width() -> Option<usize> {
        None
    }

    fn from_bytes<'a>(data: &'a [u8]) -> Self::SelfType<'a>
    where
        Self: 'a,
    {
        split_version(data)
    }

    fn as_bytes<'a, 'b: 'a>((key, revision): &'a Self::SelfType<'b>) -> Self::AsBytes<'a> {
        [*key, &revision.to_be_bytes()].concat()
    }

    fn type_name() -> TypeName {
        TypeName::new("coracle::Version")
    }
}

impl Key for Version {
    fn compare(left: &[u8], right: &[u8]) -> Ordering {
        split_version(left).cmp(&split_version(right))
    }
}

fn split_version(data: &[u8]) -> (&[u8], u64) {
    // Shorter is never written, and a checked page is never damaged; a revision of zero is never looked for.
    data.split_last_chunk().map_or((data, 0), |(key, revision)| (key, u64::from_be_bytes(*revision)))
}

/// Where the store has come to, committed with every transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The newest revision.
    pub(super) revision: Revision,
    /// The oldest revision that can be read.
    pub(super) compacted: Revision,
    /// The log is empty up to here: the compaction that has been promised is done when this reaches `compacted`.
    pub(super) swept: Revision,
    /// Keys, and the bytes of keys and values, in `current`.
    pub(super) records: u64,
    pub(super) record_bytes: u64,
    /// The bytes of keys and values in `history`, and of keys in `log`.
    pub(super) history_bytes: u64,
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        [self.revision.0, self.compacted.0, self.swept.0, self.records, self.record_bytes, self.history_bytes]
            .map(u64::to_le_bytes)
            .concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields { bytes, table: "meta" };
        let head = Self {
            revision: Revision(fields.number()?),
            compacted: Revision(fields.number()?),
            swept: Revision(fields.number()?),
            records: fields.number()?,
            record_bytes: fields.number()?,
            history_bytes: fields.number()?,
        };
        let in_order = head.swept <= head.compacted && head.compacted <= head.revision;
        if in_order && fields.bytes.is_empty() { Ok(head) } else { Err(Malformed("meta")) }
    }

    /// What is left when `event` has happened.
    pub(super) fn after(self, event: &Event) -> Self {
        let before = event.previous().map_or(0, Record::size_bytes);
        let now = event.current().map_or(0, Record::size_bytes);
        Self {
            revision: event.revision(),
            records: self.records + u64::from(event.current().is_some()) - u64::from(event.previous().is_some()),
            record_bytes: self.record_bytes + now - before,
            history_bytes: self.history_bytes + before + event.key().len() as u64,
            ..self
        }
    }
}

/// What `current` says under `key`.
pub(super) fn decode_current(key: &[u8], bytes: &[u8]) -> Result<Record, Malformed> {
    let mut fields = Fields { bytes, table: "current" };
    let (created, modified) = (Revision(fields.number()?), Revision(fields.number()?));
    Ok(record(key, fields.bytes, created, modified))
}

pub(super) fn encode_current(record: &Record) -> Vec<u8> {
    entry(record.created, record.modified, &record.value)
}

/// What `history` says under `key` and `modified`: the record, and the revision that superseded it.
pub(super) fn decode_history(key: &[u8], modified: u64, bytes: &[u8]) -> Result<(Record, Revision), Malformed> {
    let mut fields = Fields { bytes, table: "history" };
    let (created, superseded) = (Revision(fields.number()?), Revision(fields.number()?));
    Ok((record(key, fields.bytes, created, Revision(modified)), superseded))
}

pub(super) fn encode_history(record: &Record, superseded: Revision) -> Vec<u8> {
    entry(record.created, superseded, &record.value)
}

fn entry(first: Revision, second: Revision, value: &[u8]) -> Vec<u8> {
    [&first.0.to_le_bytes(), &second.0.to_le_bytes(), value].concat()
}

fn record(key: &[u8], value: &[u8], created: Revision, modified: Revision) -> Record {
    Record { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value), created, modified }
}

/// An entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) kind: Kind,
    /// The revision that had written the key before, if it was there.
    pub(super) previous: Option<Revision>,
    pub(super) key: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Delete,
}

impl<'a> Entry<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        let kind = if event.current().is_some() { Kind::Put } else { Kind::Delete };
        Self { kind, previous: event.previous().map(|record| record.modified), key: event.key() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Put => 0,
            Kind::Delete => 1,
        };
        let previous = self.previous.unwrap_or_default();
        [&[kind], previous.0.to_le_bytes().as_slice(), self.key].concat()
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (kind, bytes) = match bytes.split_first() {
            Some((0, rest)) => (Kind::Put, rest),
            Some((1, rest)) => (Kind::Delete, rest),
            _ => return Err(Malformed("log")),
        };
        let mut fields = Fields { bytes, table: "log" };
        let previous = Some(Revision(fields.number()?)).filter(|previous| *previous > Revision::ZERO);
        Ok(Self { kind, previous, key: fields.bytes })
    }
}

/// What is left to decode.
struct Fields<'a> {
    bytes: &'a [u8],
    table: &'static str,
}

impl Fields<'_> {
    fn number(&mut self) -> Result<u64, Malformed> {
        let (number, rest) = self.bytes.split_first_chunk().ok_or(Malformed(self.table))?;
        self.bytes = rest;
        Ok(u64::from_le_bytes(*number))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sample() -> Record {
        Record { key: "k".into(), value: "v".into(), created: Revision(2), modified: Revision(3) }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let record = sample();
        assert_eq!(decode_current(b"k", &encode_current(&record)).unwrap(), record);
        let superseded = encode_history(&record, Revision(9));
        assert_eq!(decode_history(b"k", 3, &superseded).unwrap(), (record, Revision(9)));
        for (kind, previous) in [(Kind::Put, None), (Kind::Put, Some(Revision(7))), (Kind::Delete, Some(Revision(1)))] {
            let entry = Entry { kind, previous, key: b"k" };
            assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry);
        }
        let head = Head {
            revision: Revision(9),
            compacted: Revision(5),
            swept: Revision(4),
            records: 1,
            record_bytes: 2,
            history_bytes: 3,
        };
        assert_eq!(Head::decode(&head.encode()).unwrap(), head);
    }

    #[test]
    fn the_bytes_are_these() {
        assert_eq!(encode_current(&sample()), b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0v");
        assert_eq!(encode_history(&sample(), Revision(4)), b"\x02\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0v");
        let entry = Entry { kind: Kind::Delete, previous: Some(Revision(3)), key: b"k" };
        assert_eq!(entry.encode(), b"\x01\x03\0\0\0\0\0\0\0k");
        assert_eq!(Version::as_bytes(&(b"k", 3)), b"k\0\0\0\0\0\0\0\x03");
    }

    #[test]
    fn malformed_bytes_are_told() {
        assert!(decode_current(b"k", b"short").is_err());
        assert!(decode_history(b"k", 1, b"").is_err());
        for bytes in [b"".as_slice(), b"\x02\0\0\0\0\0\0\0\0k", b"\0short"] {
            assert!(Entry::decode(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        let good = Head::default().encode();
        let backwards = Head { compacted: Revision(1), ..Head::default() }.encode();
        for bytes in [&good[1..], &[good.as_slice(), b"more"].concat(), &backwards] {
            assert!(Head::decode(bytes).is_err());
        }
    }

    #[test]
    fn versions_sort_by_key_and_then_by_revision() {
        let sorted: &[(&[u8], u64)] =
            &[(b"", 5), (b"a", 1), (b"a", 256), (b"a\0", 1), (b"a\0\0\0\0\0\0\0\0", 1), (b"ab", 0), (b"b", 0)];
        for pair in sorted.windows(2) {
            let bytes = [Version::as_bytes(&pair[0]), Version::as_bytes(&pair[1])];
            assert_eq!(Version::compare(&bytes[0], &bytes[1]), Ordering::Less, "{pair:?}");
        }
    }
}
