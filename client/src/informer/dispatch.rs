//! Applies what a reflector reads to the cache, and tells the handlers, in one order.
//!
//! Two locks. `handlers` is held while a change is applied and told, so that a handler that is added meanwhile sees
//! each object exactly once; `cache` only while it is read or written, so that a handler may read it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};

use bytes::Bytes;
use coracle_api::Object;
use tokio::sync::watch;

use super::Delta;
use super::cache::Cache;
use super::reflector::{Reading, Reflector};
use crate::Key;

pub(super) type Handler<K> = Box<dyn Fn(&Delta<K>) + Send + Sync>;

pub(super) struct Dispatch<K> {
    cache: RwLock<Cache<K>>,
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

impl<K: Object> Dispatch<K> {
    /// A cache that holds nothing yet, and whose objects may be packed.
    pub(super) fn new(is_packed: bool) -> Self {
        let cache = RwLock::new(Cache::new(is_packed));
        Self { cache, handlers: Mutex::default(), synced: watch::Sender::new(false) }
    }

    pub(super) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&Cache<K>) -> T) -> T {
        look(&self.cache.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn write<T>(&self, change: impl FnOnce(&mut Cache<K>) -> T) -> T {
        change(&mut self.cache.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn subscribe(&self, handler: Handler<K>) {
        let mut handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let present: Vec<_> = self.read(|cache| cache.iter().collect());
        present.into_iter().for_each(|object| handler(&Delta::Added(object)));
        handlers.push(handler);
    }

    /// Follows the server for ever.
    pub(super) async fn follow(&self, mut reflector: Reflector) {
        let mut listing = BTreeMap::new();
        loop {
            match reflector.next().await {
                Reading::Restarted => listing.clear(),
                Reading::Page(page) => match K::decode_list(&page) {
                    Ok((metadata, items)) => {
                        listing.extend(items.into_iter().map(|object| (Key::of(&object), trimmed(object))));
                        reflector.paged(metadata);
                    }
                    Err(error) => reflector.failed(&error),
                },
                Reading::Listed(object) => {
                    if let Some(object) = decoded::<K>(&object) {
                        listing.insert(Key::of(&object), object);
                    }
                }
                Reading::Unlisted(object) => {
                    if let Some(object) = decoded::<K>(&object) {
                        listing.remove(&Key::of(&object));
                    }
                }
                Reading::ListEnd => {
                    let listed = std::mem::take(&mut listing);
                    self.change(|cache| cache.replace(listed));
                    self.synced.send_replace(true);
                }
                Reading::Applied(object) => {
                    if let Some(object) = decoded::<K>(&object) {
                        reflector.reached(object.metadata());
                        self.change(|cache| cache.apply(object));
                    }
                }
                Reading::Deleted(object) => {
                    if let Some(object) = decoded::<K>(&object) {
                        reflector.reached(object.metadata());
                        self.change(|cache| cache.remove(object).into_iter().collect());
                    }
                }
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Cache<K>) -> Vec<Delta<K>>) {
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        for delta in self.write(change) {
            handlers.iter().for_each(|handler| handler(&delta));
        }
    }
}

/// The object, or nothing when it cannot be read: one bad object must not hide all others.
fn decoded<K: Object>(json: &Bytes) -> Option<K> {
    match K::decode(json) {
        Ok(object) => Some(trimmed(object)),
        Err(error) => {
            tracing::error!(kind = K::KIND, error = &error as &dyn std::error::Error, "ignored an unreadable object");
            None
        }
    }
}

/// Without what no component reads, and what is often half of an object.
fn trimmed<K: Object>(mut object: K) -> K {
    object.metadata_mut().managed_fields = None;
    object
}
