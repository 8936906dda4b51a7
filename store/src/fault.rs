//! A store that fails on demand, around any other: for tests of what stands on a store.
//!
//! For faults below a store, of its disk, see [`disk::SimulatedDisk`](crate::disk::SimulatedDisk).

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::{Error, Page, Range, Record, Revision, Store, Usage, Watch, Write};

/// What goes wrong with an operation.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is answered so, and not carried out.
    Refuse(Error),
    /// It is carried out and then answered [`Error::Io`], as if the answer had been lost.
    LoseAnswer,
}

/// A store whose writes, reads and watches can be made to fail.
///
/// Faults are taken in the order in which they were asked for, one by each operation of its kind; without any left, it
/// does what the store inside does.
pub struct FaultStore<S> {
    inner: S,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    writes: VecDeque<Fault>,
    reads: VecDeque<Fault>,
    /// Cut to end the watches that are open now.
    watches: CancellationToken,
}

impl<S: Store> FaultStore<S> {
    /// The store `inner`, without a fault so far.
    pub fn new(inner: S) -> Self {
        Self { inner, plan: Mutex::default() }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Makes the next write (or compaction) go wrong that has no fault yet.
    pub fn fail_write(&self, fault: Fault) {
        self.with_plan(|plan| plan.writes.push_back(fault));
    }

    /// Makes the next read (or the opening of a watch) go wrong that has no fault yet.
    pub fn fail_read(&self, fault: Fault) {
        self.with_plan(|plan| plan.reads.push_back(fault));
    }

    /// Ends every watch that is open now with [`Error::Io`], as when the way to the store breaks.
    pub fn cut_watches(&self) {
        self.with_plan(|plan| std::mem::take(&mut plan.watches)).cancel();
    }

    /// Forgets the faults that have not come up yet.
    pub fn heal(&self) {
        self.with_plan(|plan| {
            plan.writes.clear();
            plan.reads.clear();
        });
    }

    fn with_plan<T>(&self, use_plan: impl FnOnce(&mut Plan) -> T) -> T {
        use_plan(&mut self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn written<T>(&self, operation: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        let fault = self.with_plan(|plan| plan.writes.pop_front());
        faulty(fault, operation).await
    }

    async fn read<T>(&self, operation: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        let fault = self.with_plan(|plan| plan.reads.pop_front());
        faulty(fault, operation).await
    }
}

async fn faulty<T>(fault: Option<Fault>, operation: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
    match fault {
        None => operation.await,
        Some(Fault::Refuse(error)) => Err(error),
        Some(Fault::LoseAnswer) => operation.await.and(Err(injected())),
    }
}

fn injected() -> Error {
    Error::Io(Arc::new(io::Error::other("an injected fault")))
}

#[async_trait]
impl<S: Store> Store for FaultStore<S> {
    async fn write(&self, write: Write) -> Result<Revision, Error> {
        self.written(self.inner.write(write)).await
    }

    async fn get(&self, key: &[u8]) -> Result<(Option<Record>, Revision), Error> {
        self.read(self.inner.get(key)).await
    }

    async fn range(&self, range: Range, at: Option<Revision>, limit: Option<usize>) -> Result<Page, Error> {
        self.read(self.inner.range(range, at, limit)).await
    }

    async fn watch(&self, range: Range, after: Revision) -> Result<Watch, Error> {
        let watch = self.read(self.inner.watch(range, after)).await?;
        let cut = self.with_plan(|plan| plan.watches.clone());
        let broken = futures::stream::once(async { Err(injected()) });
        let until_cut = watch.take_until(cut.clone().cancelled_owned());
        Ok(Watch::new(until_cut.chain(broken.filter(move |_| std::future::ready(cut.is_cancelled())))))
    }

    async fn revision(&self) -> Result<Revision, Error> {
        self.read(self.inner.revision()).await
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        self.written(self.inner.compact(before)).await
    }

    async fn usage(&self) -> Result<Usage, Error> {
        self.inner.usage().await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::MemoryStore;

    #[tokio::test]
    async fn a_refused_write_did_not_happen_and_a_lost_answer_did() {
        let store = FaultStore::new(MemoryStore::new());
        store.fail_write(Fault::Refuse(Error::Full));
        store.fail_write(Fault::LoseAnswer);
        assert!(matches!(store.write(Write::create("a", "1")).await, Err(Error::Full)));
        assert!(matches!(store.write(Write::create("b", "1")).await, Err(Error::Io(_))));
        assert_eq!(store.write(Write::create("c", "1")).await.unwrap(), Revision(2));
        assert!(store.get(b"a").await.unwrap().0.is_none());
        assert!(store.get(b"b").await.unwrap().0.is_some());
    }

    #[tokio::test]
    async fn a_cut_watch_ends_with_an_error_and_a_new_one_goes_on() {
        let store = FaultStore::new(MemoryStore::new());
        let mut watch = store.watch(Range::all(), Revision::ZERO).await.unwrap();
        store.cut_watches();
        assert!(matches!(watch.next().await, Some(Err(Error::Io(_)))));
        assert!(watch.next().await.is_none());
        let mut watch = store.watch(Range::all(), Revision::ZERO).await.unwrap();
        store.write(Write::create("a", "1")).await.unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap().revision, Revision(1));
    }
}
