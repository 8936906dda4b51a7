//! The watch cache: every object as it is served, kept current by one watch of the store.
//!
//! It is fed by the store's watch alone, never by the handler that wrote, because the writer may be another API server.
//! A handler that has written waits until the cache has seen its revision ([`Cache::committed`]), and so reads its own
//! write. The revision is put into an object's bytes once, here; those bytes are then the answer to the writer, the
//! entry in a list, and the frame of every watcher.

mod extract;
mod feed;
mod kind;
mod mailbox;
mod object;
mod progress;
mod select;
mod watch;

pub(crate) use extract::{Extractor, FieldSource};
pub(crate) use kind::{Beginning, KindCache, Layout, Snapshot, Start};
pub(crate) use object::{Cached, Change, Shown, write_frame};
pub(crate) use select::{FieldTerm, NamePart, NameTerm, Scope, Selection};
pub(crate) use watch::{Item, WatchStream};

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use coracle_store::{Record, Revision, Store};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::limits;
use progress::Progress;

/// The caches of all kinds, and how far they have seen.
pub(crate) struct Cache {
    /// By the prefixes of their keys.
    kinds: ArcSwap<Kinds>,
    progress: Progress,
    additions: mpsc::Sender<Addition>,
}

type Kinds = HashMap<Bytes, Arc<KindCache>>;

/// A kind to be cached from now on, and who is told when it is.
struct Addition {
    kind: Arc<KindCache>,
    done: oneshot::Sender<()>,
}

/// Additions that may wait; who has a further one waits with it.
const ADDITIONS_MAX: usize = 64;

/// The cache could not be filled, or has lost its store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("the store does not let itself be read or watched")]
    Store(#[from] coracle_store::Error),
}

impl Cache {
    /// Fills a cache with what the store holds, and keeps it current until `shutdown`.
    ///
    /// The future that is returned beside it does the keeping; it ends early when the store is gone for good.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        layouts: Vec<Layout>,
        shutdown: CancellationToken,
    ) -> Result<(Arc<Self>, impl Future<Output = Result<(), CacheError>> + Send), CacheError> {
        let kinds: Kinds =
            layouts.into_iter().map(|layout| (layout.prefix.clone(), Arc::new(KindCache::new(layout)))).collect();
        let (additions, added) = mpsc::channel(ADDITIONS_MAX);
        let cache = Arc::new(Self { kinds: ArcSwap::from_pointee(kinds), progress: Progress::default(), additions });
        let feed = feed::Feed::open(cache.clone(), store, added).await?;
        Ok((cache, feed.run(shutdown)))
    }

    /// The cache of the kind whose keys begin with `prefix`.
    pub(crate) fn kind(&self, prefix: &[u8]) -> Option<Arc<KindCache>> {
        self.kinds.load().get(prefix).cloned()
    }

    /// Caches a kind from now on, in place of one with the same prefix; `None` when the store cannot be read, or the
    /// server stops.
    pub(crate) async fn add(&self, layout: Layout) -> Option<Arc<KindCache>> {
        let kind = Arc::new(KindCache::new(layout));
        let (done, added) = oneshot::channel();
        self.additions.send(Addition { kind: kind.clone(), done }).await.ok()?;
        added.await.ok().map(|()| kind)
    }

    /// Caches a kind no more. Its watchers are cut off.
    pub(crate) fn drop_kind(&self, kind: &Arc<KindCache>) {
        self.kinds.rcu(|kinds| {
            let mut kinds = Kinds::clone(kinds);
            if kinds.get(&kind.layout.prefix).is_some_and(|cached| Arc::ptr_eq(cached, kind)) {
                kinds.remove(&kind.layout.prefix);
            }
            kinds
        });
        kind.close();
    }

    /// The revision up to which everything is in the cache.
    pub(crate) fn seen(&self) -> u64 {
        self.progress.seen()
    }

    /// Waits until everything up to `revision` is in the cache; `false` when that takes too long.
    pub(crate) async fn reach(&self, revision: u64) -> bool {
        self.progress.reach(revision, limits::FRESHNESS_TIMEOUT).await
    }

    /// The object as the write at `revision` made it, once the cache has seen it; `None` when it has not in time, or
    /// so much has happened since that it is no longer known.
    pub(crate) async fn committed(&self, kind: &KindCache, key: &[u8], revision: Revision) -> Option<Arc<Cached>> {
        if !self.reach(revision.0).await {
            return None;
        }
        kind.committed(key, revision.0)
    }

    fn kinds(&self) -> Arc<Kinds> {
        self.kinds.load_full()
    }

    /// The cache that an object belongs to by its key: `/registry/GROUP/PLURAL/…`.
    fn kind_of_key(&self, key: &[u8]) -> Option<Arc<KindCache>> {
        let third_slash = key.iter().enumerate().filter(|(_, byte)| **byte == b'/').nth(3)?.0;
        self.kind(&key[..=third_slash])
    }
}

/// A stored record as it is served.
pub(crate) fn serve(layout: &Layout, record: &Record) -> Cached {
    let revision = record.modified.0;
    let formed = layout.form(&record.value);
    let body = coracle_api::codec::splice(formed.as_ref().unwrap_or(&record.value), revision);
    cached(layout, record, revision, body, formed.is_some())
}

/// A stored record whose bytes at `revision` are `body`: its own revision, or that of its deletion.
fn cached(layout: &Layout, record: &Record, revision: u64, body: Bytes, is_formed: bool) -> Cached {
    let extracted = layout.extractor.extract(&body);
    let mut cached = Cached::new(record.key.clone(), layout.prefix.len(), revision, body, extracted);
    cached.is_formed = is_formed;
    cached
}
