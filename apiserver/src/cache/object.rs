//! One object as it is served, and one change of it as watchers are told.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

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
}

impl Cached {
    pub(crate) fn new(key: Bytes, scope_at: usize, revision: u64, body: Bytes, extracted: Extracted) -> Self {
        let Extracted { labels, fields } = extracted;
        Self { key, scope_at, revision, body, labels, fields }
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
/// Its frames are encoded when the first watcher needs them, and shared by all.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) change: Change,
    added: OnceLock<Bytes>,
    modified: OnceLock<Bytes>,
    deleted: OnceLock<Bytes>,
}

#[derive(Debug)]
pub(crate) enum Change {
    Put {
        object: Arc<Cached>,
        /// What it replaced, with the revision of this change: so it is shown to whom it has left.
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

impl Event {
    pub(crate) fn new(revision: u64, change: Change) -> Self {
        Self { revision, change, added: OnceLock::new(), modified: OnceLock::new(), deleted: OnceLock::new() }
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

    /// The object that goes with `shown`.
    pub(crate) fn shown_object(&self, shown: Shown) -> &Arc<Cached> {
        match (&self.change, shown) {
            (Change::Put { previous: Some(previous), .. }, Shown::Deleted) => previous,
            _ => self.object(),
        }
    }

    /// The line that a watcher is sent.
    pub(crate) fn frame(&self, shown: Shown) -> Bytes {
        let cell = match shown {
            Shown::Added => &self.added,
            Shown::Modified => &self.modified,
            Shown::Deleted => &self.deleted,
        };
        cell.get_or_init(|| {
            let body = &self.shown_object(shown).body;
            let mut frame = Vec::with_capacity(body.len() + FRAME_OVERHEAD);
            write_frame(&mut frame, shown.as_str(), body);
            frame.into()
        })
        .clone()
    }
}

/// Bytes of a frame around its object, at most.
const FRAME_OVERHEAD: usize = 40;

/// Appends the line that says `kind` of `object`.
pub(crate) fn write_frame(out: &mut Vec<u8>, kind: &str, object: &[u8]) {
    out.reserve(object.len() + FRAME_OVERHEAD);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
}
