//! A disk in memory that behaves as badly as disks are allowed to.
//!
//! It keeps apart what has been written and what is durable. When the power is cut, of what was written since the last
//! sync each sector of 512 bytes is durable or not by the draw of a seeded lot, in no order: pages are lost, torn and
//! reordered. When a sync fails, the same happens without the power going, and the kernel's cache keeps showing the
//! new bytes as if nothing were wrong: what Linux does.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Disk;

/// What is written whole or not at all.
const SECTOR_BYTES: usize = 512;
/// What room is given out in.
const BLOCK_BYTES: u64 = 4096;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// This many operations in a row fail; of a write, a part may have been made.
    Errors(u32),
    /// The power goes, and everything fails until [`SimulatedDisk::restart`].
    PowerCut,
}

/// A disk in memory, for tests. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    /// What a reader sees: the kernel's cache.
    content: Vec<u8>,
    /// What is there after a power cut.
    durable: Vec<u8>,
    unsynced: Vec<Operation>,
    lots: Lots,
    /// Operations until the fault.
    countdown: Option<(u64, DiskFault)>,
    errors_left: u32,
    read_errors_left: u32,
    powered: bool,
    syncs: u64,
    blocks: BTreeSet<u64>,
    capacity_bytes: u64,
}

#[derive(Debug)]
enum Operation {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

impl SimulatedDisk {
    /// An empty disk without faults. `seed` draws what a fault leaves behind.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            content: Vec::new(),
            durable: Vec::new(),
            unsynced: Vec::new(),
            lots: Lots(seed),
            countdown: None,
            errors_left: 0,
            read_errors_left: 0,
            powered: true,
            syncs: 0,
            blocks: BTreeSet::new(),
            capacity_bytes: u64::MAX,
        })))
    }

    /// Lets `fault` happen after this many more writes, syncs and changes of length.
    pub fn fail_after(&self, operations: u64, fault: DiskFault) {
        self.platter().countdown = Some((operations, fault));
    }

    /// Lets the next reads fail.
    pub fn fail_reads(&self, reads: u32) {
        self.platter().read_errors_left = reads;
    }

    /// Takes back the faults that have not happened yet.
    pub fn heal(&self) {
        self.platter().heal();
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.platter().cut_power();
    }

    /// Brings the power back. Only what is durable is still there.
    pub fn restart(&self) {
        let mut platter = self.platter();
        if platter.powered {
            platter.cut_power();
        }
        platter.powered = true;
        platter.heal();
        platter.content = platter.durable.clone();
    }

    /// Gives the disk room for this many bytes in all.
    pub fn set_capacity(&self, bytes: u64) {
        self.platter().capacity_bytes = bytes;
    }

    /// What of the room is taken. Zeros that were never written take none, as in a sparse file.
    pub fn used_bytes(&self) -> u64 {
        self.platter().used_bytes()
    }

    /// Syncs that have succeeded.
    pub fn syncs(&self) -> u64 {
        self.platter().syncs
    }

    /// Turns over one bit of what is on the disk.
    pub fn damage(&self, offset: u64, bit: u8) {
        let platter = &mut *self.platter();
        for bytes in [&mut platter.content, &mut platter.durable] {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platter {
    /// Counts an operation, and says whether it fails.
    fn operate(&mut self) -> io::Result<()> {
        if let Some((left, fault)) = self.countdown.take() {
            match (left, fault) {
                (0, DiskFault::PowerCut) => self.cut_power(),
                (0, DiskFault::Errors(errors)) => self.errors_left = errors,
                _ => self.countdown = Some((left - 1, fault)),
            }
        }
        self.check_power()?;
        match self.errors_left {
            0 => Ok(()),
            _ => {
                self.errors_left -= 1;
                Err(io::Error::other("a simulated fault"))
            }
        }
    }

    fn heal(&mut self) {
        self.countdown = None;
        self.errors_left = 0;
        self.read_errors_left = 0;
    }

    fn check_power(&self) -> io::Result<()> {
        if self.powered { Ok(()) } else { Err(io::Error::other("the power is cut")) }
    }

    fn cut_power(&mut self) {
        self.powered = false;
        for operation in std::mem::take(&mut self.unsynced) {
            match operation {
                Operation::Length(len) => {
                    if self.lots.draw() {
                        self.durable.resize(len, 0);
                    }
                }
                Operation::Write { offset, data } => self.persist_some(offset, &data),
            }
        }
    }

    /// A sync that fails: data that was not durable may never become so, while lengths still can.
    fn forget_unsynced(&mut self) {
        for operation in std::mem::take(&mut self.unsynced) {
            match operation {
                Operation::Write { offset, data } => self.persist_some(offset, &data),
                length @ Operation::Length(_) => self.unsynced.push(length),
            }
        }
    }

    fn persist_some(&mut self, offset: usize, data: &[u8]) {
        for (at, sector) in sectors(offset, data) {
            if self.lots.draw() {
                put(&mut self.durable, at, sector);
            }
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        put(&mut self.content, offset, data);
        self.unsynced.push(Operation::Write { offset, data: data.to_vec() });
    }

    /// Takes the room that a write needs.
    fn occupy(&mut self, offset: u64, len: usize) -> io::Result<()> {
        let blocks = offset / BLOCK_BYTES..(offset + len as u64).div_ceil(BLOCK_BYTES);
        for block in blocks {
            if self.blocks.contains(&block) {
                continue;
            }
            if self.used_bytes() + BLOCK_BYTES > self.capacity_bytes {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.blocks.insert(block);
        }
        Ok(())
    }

    fn used_bytes(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK_BYTES
    }
}

impl Disk for SimulatedDisk {
    fn len(&self) -> io::Result<u64> {
        let platter = self.platter();
        platter.check_power()?;
        Ok(platter.content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut platter = self.platter();
        platter.check_power()?;
        if platter.read_errors_left > 0 {
            platter.read_errors_left -= 1;
            return Err(io::Error::other("a simulated fault"));
        }
        let start = offset as usize;
        let found = platter.content.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        if let Err(error) = platter.operate() {
            if platter.powered {
                let whole_sectors = data.len() / SECTOR_BYTES / 2 * SECTOR_BYTES;
                platter.write(offset as usize, &data[..whole_sectors]);
            }
            return Err(error);
        }
        platter.occupy(offset, data.len())?;
        platter.write(offset as usize, data);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.platter();
        platter.operate()?;
        platter.content.resize(len as usize, 0);
        platter.blocks.split_off(&len.div_ceil(BLOCK_BYTES));
        platter.unsynced.push(Operation::Length(len as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = self.platter();
        if let Err(error) = platter.operate() {
            if platter.powered {
                platter.forget_unsynced();
            }
            return Err(error);
        }
        platter.syncs += 1;
        for operation in std::mem::take(&mut platter.unsynced) {
            match operation {
                Operation::Write { offset, data } => put(&mut platter.durable, offset, &data),
                Operation::Length(len) => platter.durable.resize(len, 0),
            }
        }
        Ok(())
    }

    fn available(&self) -> Option<u64> {
        let platter = self.platter();
        Some(platter.capacity_bytes.saturating_sub(platter.used_bytes()))
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

/// The parts of a write that fall into different sectors.
fn sectors(offset: usize, data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = data.get(at..).filter(|rest| !rest.is_empty())?;
        let len = (SECTOR_BYTES - (offset + at) % SECTOR_BYTES).min(rest.len());
        let part = (offset + at, &rest[..len]);
        at += len;
        Some(part)
    })
}

/// Seeded coin tosses (splitmix64).
#[derive(Debug)]
struct Lots(u64);

impl Lots {
    fn draw(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn content(disk: &SimulatedDisk) -> Vec<u8> {
        let mut bytes = vec![0; disk.len().unwrap() as usize];
        disk.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_power_cut_keeps_what_was_synced_and_some_of_the_rest() {
        let disk = SimulatedDisk::new(1);
        disk.write(0, &[1; 64 * SECTOR_BYTES]).unwrap();
        disk.sync().unwrap();
        disk.write(0, &[2; 64 * SECTOR_BYTES]).unwrap();
        disk.cut_power();
        assert!(disk.len().is_err() && disk.sync().is_err());
        disk.restart();
        let bytes = content(&disk);
        let whole = bytes.chunks(SECTOR_BYTES).all(|sector| sector.iter().all(|byte| *byte == sector[0]));
        assert!(whole && bytes.contains(&1) && bytes.contains(&2));
    }

    #[test]
    fn a_failed_sync_loses_data_that_no_later_sync_brings_back() {
        let disk = SimulatedDisk::new(1);
        disk.fail_after(1, DiskFault::Errors(1));
        disk.write(0, &[1; 64 * SECTOR_BYTES]).unwrap();
        assert!(disk.sync().is_err());
        assert_eq!(content(&disk), [1; 64 * SECTOR_BYTES], "the cache shows what the disk does not have");
        disk.sync().unwrap();
        disk.restart();
        assert!(content(&disk).contains(&0));
    }

    #[test]
    fn a_full_disk_takes_overwrites_but_nothing_new() {
        let disk = SimulatedDisk::new(1);
        disk.set_capacity(2 * BLOCK_BYTES);
        disk.set_len(100 * BLOCK_BYTES).unwrap();
        assert_eq!(disk.available(), Some(2 * BLOCK_BYTES));
        disk.write(0, &[1; 2 * BLOCK_BYTES as usize]).unwrap();
        assert_eq!(disk.write(2 * BLOCK_BYTES, &[1]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.write(BLOCK_BYTES, &[2]).unwrap();
        disk.set_len(BLOCK_BYTES).unwrap();
        assert_eq!(disk.available(), Some(BLOCK_BYTES));
    }
}
