//! The one thread that commits.
//!
//! It takes what is waiting in the queue, however much or little that is, makes one transaction of it, and answers
//! each write after the transaction's fsync. While it waits for the disk the next batch gathers, so batches grow with
//! the load, and a single write waits for nobody. In between it removes what has been compacted, a piece at a time.
//!
//! After a failure nobody guesses: the database is reopened on what is durable, and its head says whether the batch is.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::draft::Draft;
use super::engine::{Engine, Failure};
use super::layout::Head;
use crate::feed::Feed;
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_WRITES_MAX, RECLAIM_BYTES_MIN, RECLAIM_RATIO, RESTORE_INTERVAL, SPACE_FOR_DELETES_BYTES,
    SPACE_FOR_PUTS_BYTES, SWEEP_EVENTS_MAX,
};
use crate::{Change, Error, Event, Revision, Write};

/// What the thread is asked to do.
pub(super) enum Command {
    Write(Pending),
    Compact { before: Revision, answer: oneshot::Sender<Result<(), Error>> },
}

/// A write, and who waits for it.
pub(super) struct Pending {
    pub(super) write: Write,
    pub(super) answer: oneshot::Sender<Result<Revision, Error>>,
}

/// The running thread. It ends when the queue is closed; dropping this waits for that.
pub(super) struct Thread(Option<JoinHandle<()>>);

impl Thread {
    pub(super) fn start(
        engine: Arc<Engine>,
        feed: Arc<Feed>,
        head: Head,
        queue: mpsc::Receiver<Command>,
    ) -> Result<Self, Error> {
        let writer = Writer {
            engine,
            feed,
            head,
            queue,
            put_off: None,
            sweepers: Vec::new(),
            sweep_failed: false,
            refused: None,
            packed_bytes: 0,
        };
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            let _guard = AbortOnPanic;
            writer.run();
        })?;
        Ok(Self(Some(thread)))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // It cannot have panicked: that ends the process.
            let _ = thread.join();
        }
    }
}

/// A store without its writer would look alive and never answer.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the store's writer panicked");
            std::process::abort();
        }
    }
}

struct Writer {
    engine: Arc<Engine>,
    feed: Arc<Feed>,
    head: Head,
    queue: mpsc::Receiver<Command>,
    /// Taken from the queue when it did not fit the batch.
    put_off: Option<Command>,
    /// Who waits for the compaction that is being swept.
    sweepers: Vec<oneshot::Sender<Result<(), Error>>>,
    /// Sweeping rests until something else succeeds.
    sweep_failed: bool,
    refused: Option<Refused>,
    /// The size of the file after it was packed last.
    packed_bytes: u64,
}

/// Since when the disk takes no writes.
#[derive(Clone, Copy)]
struct Refused {
    at: Instant,
    available_bytes: Option<u64>,
}

impl Writer {
    fn run(mut self) {
        while let Some(command) = self.next() {
            match command {
                Some(Command::Write(first)) => self.write(first),
                Some(Command::Compact { before, answer }) => self.compact(before, answer),
                None => self.sweep(),
            }
        }
        self.feed.close();
        self.engine.close();
    }

    /// The next command; `Some(None)` when there is none, but something to sweep; `None` at the end.
    fn next(&mut self) -> Option<Option<Command>> {
        if let Some(command) = self.put_off.take() {
            return Some(Some(command));
        }
        if !self.is_sweeping() {
            return self.queue.blocking_recv().map(Some);
        }
        match self.queue.try_recv() {
            Ok(command) => Some(Some(command)),
            Err(mpsc::error::TryRecvError::Empty) => Some(None),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
        }
    }

    fn write(&mut self, first: Pending) {
        let batch = self.gather(first);
        let (batch, refused) = self.admit(batch);
        for (pending, error) in refused {
            reply(pending.answer, Err(error));
        }
        if !batch.is_empty() {
            self.commit(batch);
        }
        // Under an endless load the queue is never empty, and what was compacted must go all the same.
        self.sweep();
    }

    /// What is waiting now, as far as it fits one batch.
    fn gather(&mut self, first: Pending) -> Vec<Pending> {
        let mut bytes = first.write.size_bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH_WRITES_MAX {
            match self.queue.try_recv() {
                Ok(Command::Write(next)) if bytes + next.write.size_bytes() <= BATCH_BYTES_MAX => {
                    bytes += next.write.size_bytes();
                    batch.push(next);
                }
                Ok(other) => {
                    self.put_off = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        batch
    }

    /// Tells the writes that there is room for from those that there is not.
    ///
    /// A transaction that runs out of room half-way is undone, but that is a detour: a little is always left free.
    fn admit(&mut self, batch: Vec<Pending>) -> (Vec<Pending>, Vec<(Pending, Error)>) {
        if let Err(error) = self.ready() {
            return (Vec::new(), batch.into_iter().map(|pending| (pending, error.clone())).collect());
        }
        let available = self.engine.available_bytes().unwrap_or(u64::MAX);
        let (admitted, refused): (Vec<_>, Vec<_>) = batch.into_iter().partition(|pending| {
            let needed = match pending.write.change {
                Change::Put(_) => SPACE_FOR_PUTS_BYTES,
                Change::Delete => SPACE_FOR_DELETES_BYTES,
            };
            available >= needed
        });
        (admitted, refused.into_iter().map(|pending| (pending, Error::Full)).collect())
    }

    /// Makes sure that the database can be written to, if it can.
    fn ready(&mut self) -> Result<(), Error> {
        let Some(reason) = self.engine.refusal() else {
            self.refused = None;
            return Ok(());
        };
        let available_bytes = self.engine.available_bytes();
        let now = Refused { at: Instant::now(), available_bytes };
        let since = *self.refused.get_or_insert(Refused { at: now.at, available_bytes: Some(0) });
        let has_more_room = available_bytes > since.available_bytes;
        if !has_more_room && since.at.elapsed() < RESTORE_INTERVAL {
            return Err(reason);
        }
        self.refused = Some(now);
        self.engine.restore()?;
        self.refused = None;
        self.resume();
        tracing::info!("the store's disk takes writes again");
        Ok(())
    }

    /// Takes the head from the reopened database, and tells the watchers of what they have not heard.
    fn resume(&mut self) {
        if let Ok(head) = self.engine.read(|snapshot| Ok(snapshot.head())) {
            self.head = head;
            self.engine.set_head(head);
            self.feed.skip_to(head.revision);
        }
    }

    fn commit(&mut self, batch: Vec<Pending>) {
        let (writes, waiting): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|pending| (pending.write, pending.answer)).unzip();
        let mut drawn: Vec<Result<Event, Error>> = Vec::with_capacity(writes.len());
        let committed = self.engine.transact(self.head, |draft| {
            for write in writes {
                drawn.push(draft.write(write)?);
            }
            Ok(())
        });
        match self.outcome(committed, &drawn) {
            Ok(head) => self.publish(head, drawn, waiting),
            Err(error) => waiting.into_iter().for_each(|answer| reply(answer, Err(error.clone()))),
        }
    }

    /// The head that is durable if the batch is, or why it is not.
    fn outcome(&mut self, committed: Result<Head, Error>, drawn: &[Result<Event, Error>]) -> Result<Head, Error> {
        let error = match committed {
            Ok(head) => return Ok(head),
            Err(error) => error,
        };
        let is_certain = self.engine.is_certain();
        tracing::warn!(error = &error as &dyn std::error::Error, is_certain, "a commit failed");
        let last = drawn.iter().rev().find_map(|event| Some(event.as_ref().ok()?.revision()));
        match self.engine.read(|snapshot| Ok(snapshot.head())) {
            // It failed after it had become durable: nothing else can be read.
            Ok(head) if Some(head.revision) == last => Ok(head),
            Ok(_) if is_certain => Err(error),
            _ => Err(uncertain(error)),
        }
    }

    /// Lets everybody know: first the watchers, then those who wrote, who may expect that the watchers know.
    fn publish(
        &mut self,
        head: Head,
        drawn: Vec<Result<Event, Error>>,
        waiting: Vec<oneshot::Sender<Result<Revision, Error>>>,
    ) {
        self.head = head;
        self.engine.set_head(head);
        self.sweep_failed = false;
        let mut events = Vec::with_capacity(drawn.len());
        let mut answers = Vec::with_capacity(drawn.len());
        for drawn in drawn {
            answers.push(drawn.map(|event| {
                let revision = event.revision();
                events.push(event);
                revision
            }));
        }
        self.feed.publish(events);
        waiting.into_iter().zip(answers).for_each(|(waiting, answer)| reply(waiting, answer));
    }

    fn compact(&mut self, before: Revision, answer: oneshot::Sender<Result<(), Error>>) {
        if before > self.head.revision {
            return reply(answer, Err(Error::Future { requested: before, current: self.head.revision }));
        }
        if before > self.head.compacted
            && let Err(error) = self.change(|draft| {
                draft.compact(before);
                draft.sweep(SWEEP_EVENTS_MAX)
            })
        {
            return reply(answer, Err(error));
        }
        self.sweep_failed = false;
        self.sweepers.push(answer);
        self.finish_sweep();
    }

    fn is_sweeping(&self) -> bool {
        self.head.swept < self.head.compacted && !self.sweep_failed
    }

    /// Removes a piece of what has been compacted.
    fn sweep(&mut self) {
        if !self.is_sweeping() {
            return;
        }
        if let Err(error) = self.change(|draft| draft.sweep(SWEEP_EVENTS_MAX)) {
            self.sweep_failed = true;
            for sweeper in self.sweepers.drain(..) {
                reply(sweeper, Err(error.clone()));
            }
        }
        self.finish_sweep();
    }

    fn finish_sweep(&mut self) {
        if self.head.swept < self.head.compacted {
            return;
        }
        self.pack_if_sparse();
        for sweeper in self.sweepers.drain(..) {
            reply(sweeper, Ok(()));
        }
    }

    /// Commits a change that is not a write.
    fn change(&mut self, change: impl FnOnce(&mut Draft<'_>) -> Result<(), Failure>) -> Result<(), Error> {
        self.ready()?;
        if self.engine.available_bytes().is_some_and(|available| available < SPACE_FOR_DELETES_BYTES) {
            return Err(Error::Full);
        }
        match self.engine.transact(self.head, change) {
            Ok(head) => {
                self.head = head;
                self.engine.set_head(head);
                Ok(())
            }
            Err(error) => {
                self.resume();
                Err(error)
            }
        }
    }

    /// Packs the file if most of it is free, and if it has grown since that was last tried; on a full disk, if that could
    /// make room for a put.
    fn pack_if_sparse(&mut self) {
        let Ok(disk_bytes) = self.engine.disk_bytes() else { return };
        let stored_bytes = self.head.record_bytes + self.head.history_bytes;
        let floor = match self.engine.is_full() {
            true => stored_bytes + SPACE_FOR_PUTS_BYTES,
            false => RECLAIM_BYTES_MIN.max(stored_bytes * RECLAIM_RATIO).max(self.packed_bytes * 2),
        };
        if disk_bytes <= floor {
            return;
        }
        let began = Instant::now();
        if let Err(error) = self.engine.pack() {
            tracing::warn!(error = &error as &dyn std::error::Error, "the store's file was not packed");
            self.resume();
        }
        self.packed_bytes = self.engine.disk_bytes().unwrap_or(disk_bytes);
        tracing::info!(before = disk_bytes, after = self.packed_bytes, elapsed = ?began.elapsed(), "packed the store's file");
    }
}

/// The error for a write of which nobody can say whether it happened.
fn uncertain(error: Error) -> Error {
    match error {
        Error::Io(_) => error,
        other => Error::Io(Arc::new(io::Error::other(other))),
    }
}

/// Answers somebody who may have gone.
fn reply<T>(answer: oneshot::Sender<T>, value: T) {
    let _ = answer.send(value);
}
