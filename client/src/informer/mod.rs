//! Caches of whole kinds that follow the server: read without asking it, told of every change, in order.
//!
//! There is one informer a kind (and selection) in a process, shared by all who ask for it, started on first use. A
//! task reads the server's list and watch ([`reflector`]), applies it to the [`cache`] and calls the handlers. It
//! survives everything a server can do; when it panics, it takes its process down through the shutdown token rather
//! than leave components to act upon a cache that has stopped.

mod cache;
mod dispatch;
mod metadata;
mod packed;
mod reflector;
#[cfg(test)]
mod simulation;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use coracle_api::Object;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::dispatch::Dispatch;
pub(crate) use self::metadata::metadata_of;
pub use self::metadata::{MetadataChange, follow_metadata, follow_object};
use self::packed::Held;
pub use self::packed::Packed;
use self::reflector::Reflector;
use crate::{Client, Key, path};

/// A change of one object in a cache. Handlers see these after the cache holds them.
#[derive(Clone, Debug)]
pub enum Delta<K> {
    Added(Arc<K>),
    Updated {
        old: Arc<K>,
        new: Arc<K>,
    },
    /// With the object as it was last known.
    Deleted(Arc<K>),
}

impl<K: Object> Delta<K> {
    /// The object as it is now, or as it last was.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Updated { new: object, .. } | Self::Deleted(object) => object,
        }
    }

    pub fn key(&self) -> Key {
        Key::of(&**self.object())
    }
}

/// Which objects of a kind an informer holds, and how; all by default, and open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    pub namespace: Option<String>,
    pub label_selector: Option<String>,
    pub field_selector: Option<String>,
    /// Whether they are kept [`Packed`] once somebody is done with them: to read one then costs time instead of memory.
    pub is_packed: bool,
}

/// The informers of a process, as one identity. Cheap to clone.
#[derive(Clone)]
pub struct Informers {
    shared: Arc<Registry>,
}

struct Registry {
    client: Client,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    started: Mutex<HashMap<(TypeId, Selection), Box<dyn Any + Send + Sync>>>,
}

impl Informers {
    /// Informers that run until `shutdown`.
    pub fn new(client: Client, shutdown: CancellationToken) -> Self {
        let registry = Registry { client, shutdown, tasks: TaskTracker::new(), started: Mutex::default() };
        Self { shared: Arc::new(registry) }
    }

    /// The informer of all objects of a kind. Must be called within a tokio runtime.
    pub fn get<K: Object>(&self) -> Informer<K> {
        self.selected(Selection::default())
    }

    /// The informer of the pods that are bound to a node: all that a kubelet may see. They are many and seldom looked at:
    /// the kubelet packs those that only run.
    pub fn pods_on_node(&self, node: &str) -> Informer<Pod> {
        let field_selector = Some(format!("spec.nodeName={node}"));
        self.selected(Selection { field_selector, is_packed: true, ..Selection::default() })
    }

    /// The informer of the selected objects of a kind.
    pub fn selected<K: Object>(&self, selection: Selection) -> Informer<K> {
        let mut started = self.shared.started.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (TypeId::of::<K>(), selection);
        if let Some(informer) = started.get(&id).and_then(|informer| informer.downcast_ref::<Informer<K>>()) {
            return informer.clone();
        }
        let informer = self.start(&id.1);
        started.insert(id, Box::new(informer.clone()));
        informer
    }

    /// Waits until every informer has stopped, which begins with the shutdown token.
    pub async fn stopped(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    fn start<K: Object>(&self, selection: &Selection) -> Informer<K> {
        let informer = Informer { dispatch: Arc::new(Dispatch::new(selection.is_packed)) };
        let path = path::collection::<K>(selection.namespace.as_deref());
        let reflector = Reflector::new(self.shared.client.clone(), path, selection);
        let dispatch = Arc::clone(&informer.dispatch);
        let shutdown = self.shared.shutdown.clone();
        self.shared.tasks.spawn(async move {
            let alive = Alive(shutdown.clone());
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = dispatch.follow(reflector) => {}
            }
            drop(alive);
        });
        informer
    }
}

/// Cancels the process's token when its informer ends before it is asked to.
struct Alive(CancellationToken);

impl Drop for Alive {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("an informer panicked: shutting down");
            self.0.cancel();
        }
    }
}

/// A cache of the objects of one kind. Cheap to clone.
pub struct Informer<K> {
    dispatch: Arc<Dispatch<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { dispatch: Arc::clone(&self.dispatch) }
    }
}

impl<K: Object> Informer<K> {
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.dispatch.read(|cache| cache.get(key))
    }

    /// An object in the form in which a packed cache holds it.
    pub fn packed(&self, key: &Key) -> Option<Packed<K>> {
        self.dispatch.read(|cache| cache.packed(key))
    }

    /// All objects, by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.dispatch.read(|cache| cache.iter().collect())
    }

    pub fn len(&self) -> usize {
        self.dispatch.read(cache::Cache::len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects by what `values` says of them; kept as the cache changes. An index that exists by this name is
    /// given again, so that a name stands for one meaning in the process.
    pub fn index(&self, name: &'static str, values: fn(&K) -> Vec<String>) -> Index<K> {
        self.dispatch.write(|cache| cache.add_index(name, values));
        Index { name, informer: self.clone() }
    }

    /// Calls `handler` with [`Delta::Added`] for every object present, before this returns, and then with every change,
    /// in the informer's task and in order. It must be quick (enqueue a key), and must not add handlers itself.
    pub fn on_change(&self, handler: impl Fn(&Delta<K>) + Send + Sync + 'static) {
        self.dispatch.subscribe(Box::new(handler));
    }

    /// Whether the cache has held all that the server had when it began.
    pub fn is_synced(&self) -> bool {
        *self.synced_flag().borrow()
    }

    /// Waits until the first list is in the cache and the handlers have seen it. (Forever, when shutdown comes first.)
    pub async fn synced(&self) {
        if self.synced_flag().wait_for(|synced| *synced).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn synced_flag(&self) -> watch::Receiver<bool> {
        self.dispatch.synced()
    }
}

/// The objects of an informer by a value that is taken from them.
pub struct Index<K> {
    name: &'static str,
    informer: Informer<K>,
}

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self { name: self.name, informer: self.informer.clone() }
    }
}

impl<K: Object> Index<K> {
    /// The objects with `value`, by namespace and name.
    pub fn get(&self, value: &str) -> Vec<Arc<K>> {
        self.informer.dispatch.read(|cache| cache.indexed(self.name, value).map(Held::open).collect())
    }

    pub fn count(&self, value: &str) -> usize {
        self.informer.dispatch.read(|cache| cache.indexed(self.name, value).count())
    }
}
