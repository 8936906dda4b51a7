//! Why a store could not do what it was asked.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::{Change, Record, Revision, Write};

/// Why a store could not do what it was asked.
///
/// Only [`Error::Io`] leaves open whether a write happened; with every other error it did not.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The key is not as the writer believed, or was to be deleted and is not there.
    #[error("the key {} is not as the writer expected", .key.escape_ascii())]
    Conflict {
        /// The key of the write.
        key: Bytes,
        /// What is there instead.
        current: Option<Record>,
    },
    /// The history that was asked for has been compacted away.
    #[error("revision {requested} is compacted; the oldest that can be read is {oldest}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest revision that still can be.
        oldest: Revision,
    },
    /// The revision has not happened yet.
    #[error("revision {requested} has not happened yet; the newest is {current}")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest revision there is.
        current: Revision,
    },
    /// The key or the value is too long.
    #[error("a {what} of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// "key" or "value".
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit that it passes.
        bytes_max: usize,
    },
    /// There is no room on the disk. Nothing was written; reads go on, and writes do once there is room again.
    #[error("the disk is full")]
    Full,
    /// Another process has the store open.
    #[error("the store {} is in use by another process", .path.display())]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is not a store, or is damaged. It is left as it was found.
    #[error("the store {} is damaged: {detail}", .path.display())]
    Corrupt {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The disk failed. A write that is answered so may or may not have happened: read to find out.
    #[error("the store's disk failed")]
    Io(#[source] Arc<io::Error>),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::Full,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

impl Error {
    /// Refuses a write whose key or value is over its limit.
    pub(crate) fn unless_fits(write: &Write) -> Result<(), Self> {
        let value = match &write.change {
            Change::Put(value) => value.len(),
            Change::Delete => 0,
        };
        for (what, bytes, bytes_max) in [("key", write.key.len(), KEY_BYTES_MAX), ("value", value, VALUE_BYTES_MAX)] {
            if bytes > bytes_max {
                return Err(Self::TooLarge { what, bytes, bytes_max });
            }
        }
        Ok(())
    }

    /// Refuses a revision outside of `oldest..=current`.
    pub(crate) fn unless_readable(requested: Revision, oldest: Revision, current: Revision) -> Result<(), Self> {
        if requested > current {
            Err(Self::Future { requested, current })
        } else if requested < oldest {
            Err(Self::Compacted { requested, oldest })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let table = [
            (io::ErrorKind::StorageFull, true),
            (io::ErrorKind::QuotaExceeded, true),
            (io::ErrorKind::FileTooLarge, true),
            (io::ErrorKind::PermissionDenied, false),
            (io::ErrorKind::Other, false),
        ];
        for (kind, full) in table {
            assert_eq!(matches!(Error::from(io::Error::from(kind)), Error::Full), full, "{kind:?}");
        }
    }

    #[test]
    fn revisions_are_readable_from_the_oldest_to_the_newest() {
        let table = [(4, "compacted"), (5, "readable"), (9, "readable"), (10, "future")];
        for (requested, expected) in table {
            let answer = match Error::unless_readable(Revision(requested), Revision(5), Revision(9)) {
                Ok(()) => "readable",
                Err(Error::Compacted { .. }) => "compacted",
                Err(Error::Future { .. }) => "future",
                Err(other) => panic!("{other}"),
            };
            assert_eq!(answer, expected, "{requested}");
        }
    }
}
