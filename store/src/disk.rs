//! What the embedded store stands on: one growing array of bytes that can be synced.
//!
//! A [`FileDisk`] is a file, a [`SimulatedDisk`] one that tests can fail, fill and cut the power of.

mod file;
mod simulated;

use std::fmt;
use std::io;

pub use file::FileDisk;
pub use simulated::{DiskFault, SimulatedDisk};

/// An array of bytes that survives what the last [`sync`](Disk::sync) came before.
///
/// Until a sync has returned, any part of what was written since the one before may be lost in a crash, in any order.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Bytes on the disk. A disk without any is one that holds no store yet.
    ///
    /// # Errors
    ///
    /// When the disk cannot say.
    fn len(&self) -> io::Result<u64>;

    /// Whether the disk holds no store yet.
    ///
    /// # Errors
    ///
    /// When the disk cannot say.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `offset`.
    ///
    /// # Errors
    ///
    /// When the disk fails, or ends before.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes at `offset`, within the length.
    ///
    /// # Errors
    ///
    /// When the disk fails or is full. Part of the bytes may have been written.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts the disk, or extends it with zeros. An extension need not take room yet.
    ///
    /// # Errors
    ///
    /// When the disk fails or is full.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes everything durable that was written before.
    ///
    /// # Errors
    ///
    /// When the disk fails. What was not durable may then be lost although a later sync succeeds.
    fn sync(&self) -> io::Result<()>;

    /// Room that is left on the disk, if it knows.
    fn available(&self) -> Option<u64> {
        None
    }

    /// Called once when a new store is whole and synced: from now on, it is there.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    fn settle(&self) -> io::Result<()> {
        Ok(())
    }
}
