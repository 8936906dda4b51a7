//! The open database, for as long as there is a disk: examined before it is opened, reopened when redb gives it up
//! after a failed read or write, read-only while the disk takes no writes, packed when little of the file is used.
//!
//! Everybody who uses the database shares it for the length of one call. Replacing it takes it alone: that waits for
//! the calls that are under way, which are short.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use redb::{Builder, CompactionError, Database, DatabaseError, ReadableDatabase, StorageError, TableHandle};

use super::draft::Draft;
use super::layout::{CURRENT, FORMAT, HISTORY, Head, LOG, META, META_FORMAT, Malformed};
use super::medium::{Direct, Fence, Header, Overlay, SharedHeader, lock};
use super::snapshot::Snapshot;
use crate::Error;
use crate::disk::Disk;
use crate::limits::SPACE_FOR_PUTS_BYTES;

/// The database on its disk.
#[derive(Debug)]
pub(super) struct Engine {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    cache_bytes: usize,
    header: SharedHeader,
    slot: RwLock<Slot>,
    /// The head that was committed and published last.
    head: Mutex<Head>,
}

#[derive(Debug)]
struct Slot {
    state: State,
    /// Grows when the database is replaced, so that of several who saw it fail, one replaces it.
    generation: u64,
}

#[derive(Debug)]
enum State {
    /// As it should be.
    Open { database: Database, fence: Fence },
    /// The disk takes no writes, for this reason. What is durable is read through an overlay.
    ReadOnly { database: Database, reason: Error },
    /// The disk cannot be read either.
    Failed(Error),
    /// For good.
    Closed,
}

/// Why a call of the database did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// An answer like any other: the database is well.
    Answer(Error),
    /// The database said so. It may have to be reopened.
    Database(redb::Error),
    /// The tables hold what was never written there.
    Malformed(Malformed),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl<E: IntoDatabaseError> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// redb's errors, of which there is one for each kind of call.
trait IntoDatabaseError: Into<redb::Error> {}
impl IntoDatabaseError for StorageError {}
impl IntoDatabaseError for redb::TableError {}
impl IntoDatabaseError for redb::TransactionError {}
impl IntoDatabaseError for redb::CommitError {}
impl IntoDatabaseError for DatabaseError {}
impl IntoDatabaseError for CompactionError {}

impl Engine {
    /// Opens the database on the disk, or makes a new one if the disk is empty.
    pub(super) fn open(disk: Arc<dyn Disk>, path: PathBuf, cache_bytes: usize) -> Result<(Self, Head), Error> {
        let is_new = disk.is_empty()?;
        let header = Arc::new(Mutex::new(Header::read(&*disk)?));
        let slot = RwLock::new(Slot { state: State::Closed, generation: 0 });
        let engine = Self { disk, path, cache_bytes, header, slot, head: Mutex::default() };
        let state = if is_new { engine.create()? } else { engine.examine().and_then(|()| engine.start())? };
        engine.change_slot().state = state;
        let head = engine.read(|snapshot| Ok(snapshot.head()))?;
        engine.set_head(head);
        Ok((engine, head))
    }

    /// Makes a new database, which is there once it is whole.
    fn create(&self) -> Result<State, Error> {
        let (database, fence) = self.open_disk().map_err(|failure| self.explain(failure))?;
        lay_out(&database).map_err(|failure| self.explain(failure))?;
        self.disk.settle()?;
        Ok(State::Open { database, fence })
    }

    /// Makes sure that the disk holds a whole store of this format, without changing it.
    ///
    /// After a crash redb checks every page as it repairs the file; after an orderly end it would trust the file, and
    /// so is asked to check it.
    fn examine(&self) -> Result<(), Error> {
        let examined = catch_unwind(AssertUnwindSafe(|| {
            let (mut database, repaired) = self.open_overlay()?;
            let is_whole = repaired || database.check_integrity()?;
            if !is_whole {
                return Err(Failure::Database(redb::Error::Corrupted("its pages do not match their checksums".into())));
            }
            check_tables(&database)?;
            Snapshot::of(&database).map(|_| ())
        }));
        match examined {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(self.explain(failure)),
            Err(_) => Err(self.corrupt("its pages make no sense")),
        }
    }

    /// Opens the disk for writing, or for reading only if it takes no writes.
    fn start(&self) -> Result<State, Error> {
        match self.undo().and_then(|()| self.open_disk()) {
            Ok((database, fence)) => Ok(State::Open { database, fence }),
            Err(failure) => {
                let reason = self.explain(failure);
                let (database, _) = self.open_overlay().map_err(|failure| self.explain(failure))?;
                tracing::error!(error = &reason as &dyn std::error::Error, "the store's disk takes no writes");
                Ok(State::ReadOnly { database, reason })
            }
        }
    }

    /// Takes back what a failed commit may have left.
    fn undo(&self) -> Result<(), Failure> {
        lock(&self.header).roll_back(&*self.disk).map_err(Failure::from)
    }

    fn open_disk(&self) -> Result<(Database, Fence), Failure> {
        let fence = Fence::default();
        let direct = Direct { disk: Arc::clone(&self.disk), header: Arc::clone(&self.header), fence: fence.clone() };
        let database = Builder::new().set_cache_size(self.cache_bytes).create_with_backend(direct)?;
        Ok((database, fence))
    }

    /// The database over the disk as it was synced, and whether it had to be repaired.
    fn open_overlay(&self) -> Result<(Database, bool), Failure> {
        let overlay = Overlay::over(Arc::clone(&self.disk), &lock(&self.header))?;
        let repaired = Arc::new(AtomicBool::new(false));
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache_bytes).set_repair_callback({
            let repaired = Arc::clone(&repaired);
            move |_| repaired.store(true, Ordering::Relaxed)
        });
        let database = builder.create_with_backend(overlay)?;
        Ok((database, repaired.load(Ordering::Relaxed)))
    }

    /// Reads a snapshot. If the database fails, it is reopened and read once more. May wait for the disk.
    pub(super) fn read<T>(&self, read: impl Fn(&Snapshot) -> Result<T, Failure>) -> Result<T, Error> {
        let (failed_generation, failure) = {
            let slot = self.share_slot();
            match slot.state.database().and_then(|database| Snapshot::of(database).and_then(|it| read(&it))) {
                Err(failure @ Failure::Database(_)) => (slot.generation, failure),
                result => return result.map_err(|failure| self.explain(failure)),
            }
        };
        tracing::warn!(?failure, "a read failed; reopening the store");
        self.reopen(failed_generation)?;
        let slot = self.share_slot();
        let again = slot.state.database().and_then(|database| Snapshot::of(database).and_then(|it| read(&it)));
        again.map_err(|failure| self.explain(failure))
    }

    /// Reads a snapshot if that needs no waiting for other than pages; `None` for a database that has to be reopened
    /// or is being so.
    pub(super) fn try_read<T>(&self, read: impl Fn(&Snapshot) -> Result<T, Failure>) -> Option<Result<T, Error>> {
        let slot = match self.slot.try_read() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        match slot.state.database().and_then(|database| Snapshot::of(database).and_then(|it| read(&it))) {
            Err(Failure::Database(_)) => None,
            result => Some(result.map_err(|failure| self.explain(failure))),
        }
    }

    /// Commits what `change` makes of the tables after `head`, durably, and returns the new head. If it makes nothing
    /// of them, nothing is committed. After a failure the database is reopened on what is durable.
    pub(super) fn transact(
        &self,
        head: Head,
        change: impl FnOnce(&mut Draft<'_>) -> Result<(), Failure>,
    ) -> Result<Head, Error> {
        let (failed_generation, failure) = {
            let slot = self.share_slot();
            let committed = slot.state.writable().and_then(|database| commit(database, head, change));
            match committed {
                Ok(head) => return Ok(head),
                Err(failure) => (slot.generation, failure),
            }
        };
        let is_answer = matches!(failure, Failure::Answer(_));
        let error = self.explain(failure);
        if !is_answer && let Err(error) = self.reopen(failed_generation) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the store is read-only for now");
        }
        Err(error)
    }

    /// Whether the disk is known to hold what can be read now, and no more. If not, a transaction that failed may yet be
    /// found there after a crash.
    pub(super) fn is_certain(&self) -> bool {
        !lock(&self.header).is_unsettled()
    }

    /// Replaces a database that failed, unless somebody else has since. An error if it cannot be written to.
    pub(super) fn reopen(&self, failed_generation: u64) -> Result<(), Error> {
        let mut slot = self.change_slot();
        if slot.generation == failed_generation {
            self.replace(&mut slot);
        }
        match &slot.state {
            State::Open { .. } => Ok(()),
            State::ReadOnly { reason, .. } | State::Failed(reason) => Err(reason.clone()),
            State::Closed => Err(Error::Closed),
        }
    }

    fn replace(&self, slot: &mut Slot) {
        match std::mem::replace(&mut slot.state, State::Failed(Error::Closed)) {
            State::Closed => {
                slot.state = State::Closed;
                return;
            }
            // Given up before it is dropped, so that it leaves the disk as it is.
            State::Open { fence, .. } => fence.close(),
            State::ReadOnly { .. } | State::Failed(_) => {}
        }
        slot.generation += 1;
        slot.state = self.start().unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the store's disk cannot be read");
            State::Failed(error)
        });
    }

    /// Why nothing can be written, while that is so.
    pub(super) fn refusal(&self) -> Option<Error> {
        match &self.share_slot().state {
            State::Open { .. } => None,
            State::ReadOnly { reason, .. } | State::Failed(reason) => Some(reason.clone()),
            State::Closed => Some(Error::Closed),
        }
    }

    /// Tries to write to the disk again that refused it.
    pub(super) fn restore(&self) -> Result<(), Error> {
        let generation = self.share_slot().generation;
        self.reopen(generation)
    }

    /// Gives back the room in the file that is free. Reads wait until it is done.
    pub(super) fn pack(&self) -> Result<(), Error> {
        let (generation, failure) = {
            let mut slot = self.change_slot();
            let State::Open { database, .. } = &mut slot.state else { return Ok(()) };
            match database.compact() {
                Ok(_) => return Ok(()),
                Err(error) => (slot.generation, Failure::from(error)),
            }
        };
        let error = self.explain(failure);
        self.reopen(generation).and(Err(error))
    }

    /// Closes the file in order: the next start finds it as it is now, and need not repair it.
    pub(super) fn close(&self) {
        self.change_slot().state = State::Closed;
    }

    pub(super) fn disk_bytes(&self) -> Result<u64, Error> {
        Ok(self.disk.len()?)
    }

    /// Room on the disk, if it knows.
    pub(super) fn available_bytes(&self) -> Option<u64> {
        self.disk.available()
    }

    /// Whether there is too little room for puts.
    pub(super) fn is_full(&self) -> bool {
        self.available_bytes().is_some_and(|available| available < SPACE_FOR_PUTS_BYTES)
    }

    /// The head that was published last.
    pub(super) fn head(&self) -> Head {
        *self.lock_head()
    }

    pub(super) fn set_head(&self, head: Head) {
        *self.lock_head() = head;
    }

    fn lock_head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // A panic while the slot is held alone is the writer's, and ends the process.
    fn share_slot(&self) -> RwLockReadGuard<'_, Slot> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_slot(&self) -> RwLockWriteGuard<'_, Slot> {
        self.slot.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn explain(&self, failure: Failure) -> Error {
        match failure {
            Failure::Answer(error) => error,
            Failure::Malformed(malformed) => self.corrupt(&malformed.to_string()),
            Failure::Database(redb::Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                self.corrupt(&error.to_string())
            }
            Failure::Database(redb::Error::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.corrupt("it is cut short")
            }
            Failure::Database(redb::Error::Io(error)) => error.into(),
            Failure::Database(redb::Error::Corrupted(detail)) => self.corrupt(&detail),
            Failure::Database(error @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed)) => {
                Error::Io(Arc::new(io::Error::other(error)))
            }
            Failure::Database(error) => self.corrupt(&error.to_string()),
        }
    }

    fn corrupt(&self, detail: &str) -> Error {
        Error::Corrupt { path: self.path.clone(), detail: detail.to_owned() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Database(redb::Error::Io(error))
    }
}

impl State {
    /// The database, to read.
    fn database(&self) -> Result<&Database, Failure> {
        match self {
            Self::Open { database, .. } | Self::ReadOnly { database, .. } => Ok(database),
            Self::Failed(reason) => Err(Failure::Answer(reason.clone())),
            Self::Closed => Err(Failure::Answer(Error::Closed)),
        }
    }

    /// The database, to write.
    fn writable(&self) -> Result<&Database, Failure> {
        match self {
            Self::Open { database, .. } => Ok(database),
            Self::ReadOnly { reason, .. } | Self::Failed(reason) => Err(Failure::Answer(reason.clone())),
            Self::Closed => Err(Failure::Answer(Error::Closed)),
        }
    }
}

/// One transaction, one fsync.
fn commit(
    database: &Database,
    head: Head,
    change: impl FnOnce(&mut Draft<'_>) -> Result<(), Failure>,
) -> Result<Head, Failure> {
    let transaction = database.begin_write()?;
    let mut draft = Draft::open(&transaction, head)?;
    change(&mut draft)?;
    let next = draft.finish()?;
    if next == head {
        transaction.abort()?;
    } else {
        transaction.commit()?;
    }
    Ok(next)
}

/// Makes the tables of an empty store.
fn lay_out(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    let mut draft = Draft::open(&transaction, Head::default())?;
    draft.begin()?;
    draft.finish()?;
    Ok(transaction.commit()?)
}

/// Makes sure that the tables are those of this format.
fn check_tables(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_read()?;
    let there: Vec<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
    for table in [CURRENT.name(), HISTORY.name(), LOG.name(), META.name()] {
        if !there.iter().any(|name| name == table) {
            return Err(Failure::Database(redb::Error::Corrupted(format!("it has no table {table:?}"))));
        }
    }
    let meta = transaction.open_table(META)?;
    let format = meta.get(META_FORMAT)?.ok_or(Malformed("meta"))?;
    let format = u64::from_le_bytes(format.value().try_into().map_err(|_| Malformed("meta"))?);
    if format != FORMAT {
        let detail = format!("it is of format {format}, and this program knows format {FORMAT} only");
        return Err(Failure::Database(redb::Error::Corrupted(detail)));
    }
    transaction.open_table(CURRENT)?;
    transaction.open_table(HISTORY)?;
    transaction.open_table(LOG)?;
    Ok(())
}
