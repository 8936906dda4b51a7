//! One object as it is served, and one change of it as watchers are told.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use coracle_api::codec;

use super::extract::{Extracted, Labels};

/// An object at one revision: the very bytes that every reader is sent.
#[derive(Debug)]
pub(crate) struct Cached {
    pub(crate) key: Bytes,
    /// Where the object's own part of the key begins: `namespace/name`, or `name`.
    scope_at: usize,
    pub(crate) revision: u64,
    /// JSON with the revision in its metadata.
    pub(crate) body: Bytes,
    pub(crate) labels: Labels,
    pub(crate) fields: Box<[Box<str>]>,
    /// Whether the store has it in an older form, so that writing the same is a change.
    pub(crate) is_formed: bool,
}

impl Cached {
    pub(crate) fn new(key: Bytes, scope_at: usize, revision: u64, body: Bytes, extracted: Extracted) -> Self {
        let Extracted { labels, fields } = extracted;
        Self { key, scope_at, revision, body, labels, fields, is_formed: false }
    }

    /// Something to be shown that nobody stores or selects.
    pub(crate) fn bare(prefix: Bytes, revision: u64, body: Bytes) -> Self {
        let scope_at = prefix.len();
        Self::new(prefix, scope_at, revision, body, Extracted::default())
    }

    /// The same object as of another revision.
    fn at(&self, revision: u64) -> Self {
        Self {
            key: self.key.clone(),
            scope_at: self.scope_at,
            revision,
            body: codec::resplice(&self.body, revision),
            labels: self.labels.clone(),
            fields: self.fields.clone(),
            is_formed: self.is_formed,
        }
    }

    /// The namespace, for an object that is in one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.path().split_once('/').map(|(namespace, _)| namespace)
    }

    pub(crate) fn name(&self) -> &str {
        let path = self.path();
        path.split_once('/').map_or(path, |(_, name)| name)
    }

    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        let index = self.labels.binary_search_by(|(label, _)| (**label).cmp(name)).ok()?;
        Some(&self.labels[index].1)
    }

    /// `namespace/name`, or `name`.
    pub(crate) fn path(&self) -> &str {
        std::str::from_utf8(&self.key[self.scope_at..]).expect("keys are made of checked names")
    }
}

impl AsRef<Self> for Cached {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// A committed change of one object.
///
/// What watchers are sent is encoded once and shared by all.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) change: Change,
    /// What most watchers are told; the object's bytes are a part of it.
    line: Bytes,
    /// What those are told to whom the object came, or from whom it went, by what they select.
    others: [OnceLock<Bytes>; 3],
}

#[derive(Debug)]
pub(crate) enum Change {
    Put {
        object: Arc<Cached>,
        /// What it replaced.
        previous: Option<Arc<Cached>>,
    },
    Delete {
        /// What was deleted, with the revision of the deletion.
        previous: Arc<Cached>,
    },
}

/// What an event is to one watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Added,
    Modified,
    Deleted,
}

impl Shown {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// A stored value at `revision` as the line that tells a watcher of it, and the object's bytes within that line: an
/// object is held once, however it is sent.
pub(crate) fn line(shown: Shown, value: &[u8], revision: u64) -> (Bytes, Bytes) {
    let mut line = BytesMut::with_capacity(value.len() + codec::SPLICED_BYTES_MAX + FRAME_OVERHEAD);
    open_frame(&mut line, shown.as_str());
    let start = line.len();
    codec::splice_into(&mut line, value, revision);
    let end = line.len();
    line.extend_from_slice(FRAME_END);
    let line = line.freeze();
    let body = line.slice(start..end);
    (line, body)
}

impl Event {
    /// `line` is what [`line`] made for the event's [`Event::usual`] form.
    pub(crate) fn new(revision: u64, change: Change, line: Bytes) -> Self {
        Self { revision, change, line, others: Default::default() }
    }

    /// What the event is to a watcher of everything.
    pub(crate) fn usual(&self) -> Shown {
        match &self.change {
            Change::Put { previous: None, .. } => Shown::Added,
            Change::Put { previous: Some(_), .. } => Shown::Modified,
            Change::Delete { .. } => Shown::Deleted,
        }
    }

    /// Bytes that the event keeps alive, beyond those of objects that are there anyway.
    pub(crate) fn bytes(&self) -> usize {
        self.line.len()
    }

    /// The object after the change, or what was deleted.
    pub(crate) fn object(&self) -> &Arc<Cached> {
        match &self.change {
            Change::Put { object, .. } => object,
            Change::Delete { previous } => previous,
        }
    }

    /// What the event is to a watcher of the objects that `wanted` says; `None` when it is nothing to it.
    ///
    /// An object that comes to be wanted is added, and one that is wanted no more is deleted.
    pub(crate) fn shown(&self, wanted: impl Fn(&Cached) -> bool) -> Option<Shown> {
        let (before, after) = match &self.change {
            Change::Put { object, previous } => {
                (previous.as_ref().is_some_and(|object| wanted(object)), wanted(object))
            }
            Change::Delete { previous } => (wanted(previous), false),
        };
        match (before, after) {
            (false, true) => Some(Shown::Added),
            (true, true) => Some(Shown::Modified),
            (true, false) => Some(Shown::Deleted),
            (false, false) => None,
        }
    }

    /// The object that goes with `shown`: one that goes from a watcher is as it was, at the revision of its going.
    pub(crate) fn shown_object(&self, shown: Shown) -> Arc<Cached> {
        match (&self.change, shown) {
            (Change::Put { previous: Some(previous), .. }, Shown::Deleted) => Arc::new(previous.at(self.revision)),
            _ => self.object().clone(),
        }
    }

    /// The line that a watcher is sent.
    pub(crate) fn frame(&self, shown: Shown) -> Bytes {
        if shown == self.usual() {
            return self.line.clone();
        }
        let frame = || {
            let mut frame = Vec::new();
            write_frame(&mut frame, shown.as_str(), &self.shown_object(shown).body);
            frame.into()
        };
        self.others[shown as usize].get_or_init(frame).clone()
    }
}

/// Bytes of a frame around its object, at most.
const FRAME_OVERHEAD: usize = 40;

const FRAME_END: &[u8] = b"}\n";

fn open_frame(out: &mut impl BufMut, kind: &str) {
    for part in ["{\"type\":\"", kind, "\",\"object\":"] {
        out.put_slice(part.as_bytes());
    }
}

/// Appends the line that says `kind` of `object`.
pub(crate) fn write_frame(out: &mut Vec<u8>, kind: &str, object: &[u8]) {
    out.reserve(object.len() + FRAME_OVERHEAD);
    open_frame(out, kind);
    out.extend_from_slice(object);
    out.extend_from_slice(FRAME_END);
}
