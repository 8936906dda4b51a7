//! Which keys are meant, and a page of what is under them.

use std::ops::Bound;

use bytes::Bytes;

use crate::{Record, Revision};

/// A span of keys, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first key of the span.
    pub start: Bytes,
    /// The key after the last; `None` when the span goes on to the end of the store.
    pub end: Option<Bytes>,
}

impl Range {
    /// Every key.
    pub fn all() -> Self {
        Self::from_key(Bytes::new())
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = after_prefix(&start);
        Self { start, end }
    }

    /// `key` and every key after it.
    pub fn from_key(key: impl Into<Bytes>) -> Self {
        Self { start: key.into(), end: None }
    }

    /// One key alone.
    pub fn key(key: impl Into<Bytes>) -> Self {
        let start = key.into();
        let end = Some(successor(&start));
        Self { start, end }
    }

    /// The part of the span that comes after `key`: how a page goes on where the last one ended.
    #[must_use]
    pub fn after(self, key: &[u8]) -> Self {
        let start = successor(key);
        Self { start: start.max(self.start), end: self.end }
    }

    /// Whether `key` is in the span.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_ref() && self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }

    /// Whether no key can be in the span.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// The span as the sorted maps of `std` and redb take it.
    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(self.start.as_ref()), end)
    }
}

/// The records of a range, or the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The records, in the order of their keys.
    pub records: Vec<Record>,
    /// The revision at which all of them were read. Passed back as `at`, it makes the next page fit this one.
    pub revision: Revision,
    /// Whether the range holds more than this page.
    pub more: bool,
    /// How many records of the range come after this page. `None` when there are more than are worth counting
    /// ([`limits::REMAINING_COUNTED_MAX`](crate::limits::REMAINING_COUNTED_MAX)).
    pub remaining: Option<u64>,
}

/// The first key after `key` itself.
fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

/// The first key after all that begin with `prefix`, `None` if there is none: the prefix without its trailing `0xff`,
/// and the last byte left raised by one.
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        let table: &[(&[u8], Option<&[u8]>)] = &[
            (b"", None),
            (b"/registry/pods/", Some(b"/registry/pods0")),
            (b"a\xff", Some(b"b")),
            (b"a\xff\xff", Some(b"b")),
            (b"\xff\xff", None),
        ];
        for (prefix, end) in table {
            assert_eq!(Range::prefix(*prefix).end.as_deref(), *end, "{}", prefix.escape_ascii());
        }
    }

    #[test]
    fn spans_hold_what_they_say() {
        let table: &[(Range, &[u8], bool)] = &[
            (Range::all(), b"", true),
            (Range::prefix("a/"), b"a/", true),
            (Range::prefix("a/"), b"a/\xff", true),
            (Range::prefix("a/"), b"a0", false),
            (Range::key("a"), b"a", true),
            (Range::key("a"), b"a\0", false),
            (Range::from_key("b"), b"a", false),
            (Range::from_key("b"), b"z", true),
            (Range::prefix("a/").after(b"a/1"), b"a/1", false),
            (Range::prefix("a/").after(b"a/1"), b"a/1\0", true),
            (Range::prefix("a/").after(b"0"), b"a/1", true),
            (Range::prefix("a/").after(b"0"), b"0x", false),
        ];
        for (range, key, inside) in table {
            assert_eq!(range.contains(key), *inside, "{} in {range:?}", key.escape_ascii());
        }
        assert!(Range::prefix("a").after(b"b").is_empty());
        assert!(!Range::prefix("a").is_empty());
    }
}
