//! The one reader of the store's watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_store::{Batch, Error, Event as StoreEvent, Page, Range, Revision, Store, Watch};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::object::{Change, Event, Shown, line};
use super::{Addition, Cache, CacheError, KindCache, Kinds, cached, serve};
use crate::limits;

/// Everything that is served lies under this.
const ROOT: &[u8] = b"/registry/";

/// How long after a failure the store is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

pub(super) struct Feed {
    cache: Arc<Cache>,
    store: Arc<dyn Store>,
    watch: Watch,
    added: mpsc::Receiver<Addition>,
}

impl Feed {
    /// Fills the cache and begins to watch from there.
    pub(super) async fn open(
        cache: Arc<Cache>,
        store: Arc<dyn Store>,
        added: mpsc::Receiver<Addition>,
    ) -> Result<Self, CacheError> {
        let watch = fill(&cache, &*store, recent(&*store).await?).await?;
        Ok(Self { cache, store, watch, added })
    }

    /// Takes in what the store tells until `shutdown`. Ends with an error when the store is closed.
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), CacheError> {
        loop {
            let batch = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(addition) = self.added.recv() => {
                    add(&self.cache, &*self.store, addition).await;
                    continue;
                }
                batch = self.watch.next() => batch,
            };
            match batch {
                Some(Ok(batch)) => self.take(batch),
                Some(Err(Error::Closed)) => return Err(Error::Closed.into()),
                Some(Err(error)) => {
                    tracing::warn!(%error, "the watch of the store broke; reading everything anew");
                    self.refill(&shutdown).await?;
                }
                None => self.refill(&shutdown).await?,
            }
        }
    }

    fn take(&self, batch: Batch) {
        for event in &batch.events {
            if let Some(kind) = self.cache.kind_of_key(event.key()) {
                kind.apply(told(&kind, event));
            }
        }
        self.cache.progress.advance(batch.revision.0);
    }

    async fn refill(&mut self, shutdown: &CancellationToken) -> Result<(), CacheError> {
        loop {
            let filled = async { fill(&self.cache, &*self.store, present(&*self.store).await?).await };
            match filled.await {
                Ok(watch) => {
                    self.watch = watch;
                    return Ok(());
                }
                Err(CacheError::Store(Error::Closed)) => return Err(Error::Closed.into()),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot fill the watch cache"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
    }
}

/// A store's event as the cache keeps it.
fn told(kind: &KindCache, event: &StoreEvent) -> Event {
    match event {
        StoreEvent::Put { record, previous } => {
            let shown = if previous.is_some() { Shown::Modified } else { Shown::Added };
            let revision = record.modified.0;
            let formed = kind.layout.form(&record.value);
            let (line, body) = line(shown, formed.as_ref().unwrap_or(&record.value), revision);
            let object = Arc::new(cached(&kind.layout, record, revision, body, formed.is_some()));
            // The cache has what the store says was there: it was told of every change before this one.
            let previous = previous.as_ref().and_then(|_| kind.current(&record.key));
            Event::new(revision, Change::Put { object, previous }, line)
        }
        StoreEvent::Delete { previous, revision } => {
            let formed = kind.layout.form(&previous.value);
            let (line, body) = line(Shown::Deleted, formed.as_ref().unwrap_or(&previous.value), revision.0);
            let previous = Arc::new(cached(&kind.layout, previous, revision.0, body, formed.is_some()));
            Event::new(revision.0, Change::Delete { previous }, line)
        }
    }
}

/// Fills the cache of one more kind. What the watch has yet to tell of the time before is skipped there.
async fn add(cache: &Cache, store: &dyn Store, Addition { kind, done }: Addition) {
    let page = match store.range(Range::prefix(kind.layout.prefix.clone()), None, None).await {
        Ok(page) => page,
        // Who asked hears that it has not happened, and asks again.
        Err(error) => return tracing::warn!(%error, "cannot fill the cache of a kind"),
    };
    let objects = page.records.iter().map(|record| Arc::new(serve(&kind.layout, record))).collect();
    kind.replace(objects, page.revision.0);
    let before = cache.kind(&kind.layout.prefix);
    cache.kinds.rcu(|kinds| {
        let mut kinds = Kinds::clone(kinds);
        kinds.insert(kind.layout.prefix.clone(), kind.clone());
        kinds
    });
    if let Some(before) = before {
        before.close();
    }
    let _ = done.send(());
}

/// Puts everything that the store held at a revision in place of what is cached, and watches from there.
async fn fill(cache: &Cache, store: &dyn Store, page: Page) -> Result<Watch, CacheError> {
    let mut objects: HashMap<_, Vec<_>> = HashMap::new();
    for record in &page.records {
        if let Some(kind) = cache.kind_of_key(&record.key) {
            objects.entry(kind.layout.prefix.clone()).or_default().push(Arc::new(serve(&kind.layout, record)));
        }
    }
    for kind in cache.kinds().values() {
        kind.replace(objects.remove(&kind.layout.prefix).unwrap_or_default(), page.revision.0);
    }
    cache.progress.advance(page.revision.0);
    Ok(store.watch(Range::prefix(ROOT), Revision(page.revision.0)).await?)
}

/// Everything as it is now.
async fn present(store: &dyn Store) -> Result<Page, Error> {
    store.range(Range::prefix(ROOT), None, None).await
}

/// Everything as it was [`limits::REPLAYED_EVENTS`] ago, if that is not forgotten: what has happened since can then be
/// replayed, so that watches outlive a server that is started again.
async fn recent(store: &dyn Store) -> Result<Page, Error> {
    let newest = store.revision().await?;
    let before = Revision(newest.0.saturating_sub(limits::REPLAYED_EVENTS));
    match store.range(Range::prefix(ROOT), Some(before), None).await {
        Err(Error::Compacted { .. }) => present(store).await,
        page => page,
    }
}
