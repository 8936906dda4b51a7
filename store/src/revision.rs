//! The store's clock: a number that each committed write moves by one.

use std::fmt;

/// A point in the history of a store.
///
/// Each committed write takes the next revision, so a revision names both a change and the state that it left behind.
/// [`Revision::ZERO`] is the state before any write. Revisions are the store's own and never go back, not over a
/// restart either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The empty store: no write has happened yet.
    pub const ZERO: Self = Self(0);

    /// The revision of the write after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for Revision {
    fn from(number: u64) -> Self {
        Self(number)
    }
}
