//! A [`Disk`] as redb takes it.
//!
//! Two of them: [`Direct`] writes to the disk, and remembers the header that was last synced, so that a commit that
//! failed can be undone (see [`Header`]). [`Overlay`] keeps what is written in memory: over it a database can be
//! opened, repaired and read without a change to the disk, to examine a file before it is trusted, and to go on
//! reading while the disk takes no writes.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::disk::Disk;

/// The first sector, which holds redb's header: both commit slots, and the bit that says which one counts.
const HEADER_BYTES: usize = 512;
const PAGE_BYTES: usize = 4096;

/// The header as it was written, and as it was last synced.
///
/// redb never overwrites a page that the last durable commit uses, so that commit is whole for as long as its header
/// is. A commit whose write or sync failed may or may not have reached the disk with its header; putting the synced
/// header back in place makes it certain that it has not, whatever became of its pages.
#[derive(Debug)]
pub(super) struct Header {
    written: [u8; HEADER_BYTES],
    synced: [u8; HEADER_BYTES],
}

impl Header {
    /// The header of a disk that is as it was synced.
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        let there = usize::try_from(disk.len()?).unwrap_or(usize::MAX).min(HEADER_BYTES);
        disk.read(0, &mut header[..there])?;
        Ok(Self { written: header, synced: header })
    }

    /// Undoes a commit that failed: after this, the disk holds the last one that did not.
    pub(super) fn roll_back(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.is_unsettled() {
            disk.write(0, &self.synced)?;
            disk.sync()?;
            self.written = self.synced;
        }
        Ok(())
    }

    /// Whether a commit is on its way, or failed and has not been undone.
    pub(super) fn is_unsettled(&self) -> bool {
        self.written != self.synced
    }

    /// A write to the header is about to be tried: whether or not it is made, the header may now be another.
    fn writing(&mut self, offset: u64, data: &[u8]) {
        let Ok(offset) = usize::try_from(offset) else { return };
        let Some(header) = self.written.get_mut(offset..) else { return };
        let len = data.len().min(header.len());
        header[..len].copy_from_slice(&data[..len]);
    }
}

/// The header, shared with whoever undoes commits.
pub(super) type SharedHeader = Arc<Mutex<Header>>;

/// Locks the header. It is plain bytes, and a panic cannot leave them half-changed in a way that matters: the panic of
/// a writer ends the process.
pub(super) fn lock(header: &Mutex<Header>) -> MutexGuard<'_, Header> {
    header.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a database that has been given up from touching the disk ever again, also when it is dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Fence(Arc<AtomicBool>);

impl Fence {
    pub(super) fn close(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) { Err(io::Error::other("the database was reopened")) } else { Ok(()) }
    }
}

/// The disk itself.
#[derive(Debug)]
pub(super) struct Direct {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) header: SharedHeader,
    pub(super) fence: Fence,
}

// The disk is locked by whoever opened it, for longer than any one database on it: redb is offered no locks of its own.
impl StorageBackend for Direct {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fence.check()?;
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fence.check()?;
        self.disk.sync()?;
        let mut header = lock(&self.header);
        header.synced = header.written;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.fence.check()?;
        lock(&self.header).writing(offset, data);
        self.disk.write(offset, data)
    }
}

/// The disk as it was last synced, with every change since kept in memory.
#[derive(Debug)]
pub(super) struct Overlay {
    disk: Arc<dyn Disk>,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    len: u64,
    /// How much of the disk still shows: what was cut off once reads as zeros from then on.
    shown: u64,
    /// By number; whole pages.
    pages: HashMap<u64, Box<[u8; PAGE_BYTES]>>,
}

impl Overlay {
    pub(super) fn over(disk: Arc<dyn Disk>, header: &Header) -> io::Result<Self> {
        let len = disk.len()?;
        let overlay = Self { disk, changes: Mutex::new(Changes { len, shown: len, pages: HashMap::new() }) };
        let header_len = usize::try_from(len).unwrap_or(usize::MAX).min(HEADER_BYTES);
        overlay.write(0, &header.synced[..header_len])?;
        Ok(overlay)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page as it is on the disk, with zeros for what does not show.
    fn load(&self, page: u64, shown: u64) -> io::Result<Box<[u8; PAGE_BYTES]>> {
        let mut bytes = Box::new([0; PAGE_BYTES]);
        let start = page * PAGE_BYTES as u64;
        let there = shown.saturating_sub(start).min(PAGE_BYTES as u64) as usize;
        self.disk.read(start, &mut bytes[..there])?;
        Ok(bytes)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        if offset + out.len() as u64 > changes.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, within, at) in pages(offset, out.len()) {
            let out = &mut out[at..at + within.len()];
            match changes.pages.get(&page) {
                Some(bytes) => out.copy_from_slice(&bytes[within]),
                None => out.copy_from_slice(&self.load(page, changes.shown)?[within]),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.changes();
        changes.len = len;
        changes.shown = changes.shown.min(len);
        let end = len.div_ceil(PAGE_BYTES as u64);
        changes.pages.retain(|page, _| *page < end);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        for (page, within, at) in pages(offset, data.len()) {
            if !changes.pages.contains_key(&page) {
                let loaded = self.load(page, changes.shown)?;
                changes.pages.insert(page, loaded);
            }
            if let Some(bytes) = changes.pages.get_mut(&page) {
                let len = within.len();
                bytes[within].copy_from_slice(&data[at..at + len]);
            }
        }
        Ok(())
    }
}

/// The pages that a span touches: each with the part of it that is meant, and where in the span that begins.
fn pages(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % PAGE_BYTES as u64) as usize;
        let end = (start + len - done).min(PAGE_BYTES);
        let part = (at / PAGE_BYTES as u64, start..end, done);
        done += end - start;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::disk::{DiskFault, SimulatedDisk};

    fn disk(bytes: &[u8]) -> Arc<SimulatedDisk> {
        let disk = SimulatedDisk::new(0);
        disk.write(0, bytes).unwrap();
        disk.sync().unwrap();
        Arc::new(disk)
    }

    fn read(backend: &impl StorageBackend, offset: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        backend.read(offset, &mut out).unwrap();
        out
    }

    #[test]
    fn an_overlay_leaves_the_disk_alone() {
        let disk = disk(&[1; 3 * PAGE_BYTES]);
        let header = Header::read(&*disk).unwrap();
        let overlay = Overlay::over(Arc::clone(&disk) as _, &header).unwrap();
        overlay.write(PAGE_BYTES as u64 - 2, &[2; PAGE_BYTES + 4]).unwrap();
        overlay.set_len(4 * PAGE_BYTES as u64).unwrap();
        assert_eq!(read(&overlay, PAGE_BYTES as u64 - 3, 4), [1, 2, 2, 2]);
        assert_eq!(read(&overlay, 2 * PAGE_BYTES as u64, 4), [2, 2, 1, 1]);
        assert_eq!(read(&overlay, 3 * PAGE_BYTES as u64 - 1, 2), [1, 0]);
        assert!(overlay.read(4 * PAGE_BYTES as u64 - 1, &mut [0; 2]).is_err());
        let mut bytes = [0; 3 * PAGE_BYTES];
        disk.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [1; 3 * PAGE_BYTES]);
    }

    #[test]
    fn an_overlay_shows_the_header_that_was_synced() {
        let disk = disk(&[1; PAGE_BYTES]);
        let header = Arc::new(Mutex::new(Header::read(&*disk).unwrap()));
        let direct = Direct { disk: Arc::clone(&disk) as _, header: Arc::clone(&header), fence: Fence::default() };
        direct.write(0, &[2; 320]).unwrap();
        let overlay = Overlay::over(Arc::clone(&disk) as _, &lock(&header)).unwrap();
        assert_eq!(read(&overlay, 0, 320), [1; 320]);
        direct.sync_data().unwrap();
        let overlay = Overlay::over(disk, &lock(&header)).unwrap();
        assert_eq!(read(&overlay, 318, 4), [2, 2, 1, 1]);
    }

    #[test]
    fn a_header_whose_sync_failed_is_rolled_back() {
        let disk = disk(&[1; PAGE_BYTES]);
        let header = Arc::new(Mutex::new(Header::read(&*disk).unwrap()));
        let direct = Direct { disk: Arc::clone(&disk) as _, header: Arc::clone(&header), fence: Fence::default() };
        disk.fail_after(1, DiskFault::Errors(1));
        direct.write(0, &[2; 320]).unwrap();
        assert!(direct.sync_data().is_err());
        lock(&header).roll_back(&*disk).unwrap();
        disk.restart();
        assert_eq!(read(&direct, 0, PAGE_BYTES), [1; PAGE_BYTES]);
    }

    #[test]
    fn a_fenced_database_writes_no_more() {
        let disk = disk(&[1; PAGE_BYTES]);
        let header = Arc::new(Mutex::new(Header::read(&*disk).unwrap()));
        let direct = Direct { disk, header, fence: Fence::default() };
        direct.fence.close();
        assert!(direct.write(0, &[2]).is_err() && direct.set_len(0).is_err() && direct.sync_data().is_err());
        assert_eq!(read(&direct, 0, 1), [1]);
    }
}
