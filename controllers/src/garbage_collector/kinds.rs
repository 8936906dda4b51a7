//! The kinds whose objects are watched: all that discovery names and that can be deleted, listed and watched, custom
//! ones too; but events, which own nothing and pass by themselves. Only metadata is asked for and kept.
//!
//! Discovery is read again when a definition of a custom kind changes, and now and then in any case. A discovery that
//! is not whole ends no watch.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use coracle_client::{Client, MetadataChange, follow_metadata};
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::graph::Meta;
use crate::discovery::{Discovered, discover};
use crate::resource::Resource;

/// How often discovery is read where nothing says that it has changed. Source: upstream's garbage collector.
const RECHECK: Duration = Duration::from_secs(30);

/// How often it is read until it has been whole once.
const RECHECK_FAILED: Duration = Duration::from_secs(1);

/// How long a change of a definition takes to be seen in discovery, at most of times; and changes come in groups.
const SETTLING: Duration = Duration::from_millis(100);

/// How long the first lists are waited for. Without one of them, owners are asked for instead of known.
const SYNC_MAX: Duration = Duration::from_secs(30);

/// Who is told of objects of any kind.
pub trait Watcher: Send + Sync + 'static {
    fn seen(&self, object: Arc<dyn Meta>);
    fn gone(&self, uid: &str);
    /// These are all objects of a kind.
    fn replaced(&self, group: &str, kind: &str, objects: Vec<Arc<dyn Meta>>);
    /// Nothing is told of the objects of a kind any more.
    fn vanished(&self, group: &str, kind: &str);
}

/// An object of any kind, by its metadata.
#[derive(Debug)]
struct Partial {
    kind: Arc<Kind>,
    meta: ObjectMeta,
}

#[derive(Debug)]
struct Kind {
    resource: Resource,
    api_version: String,
}

impl Meta for Partial {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn api_version(&self) -> &str {
        &self.kind.api_version
    }

    fn kind(&self) -> &str {
        &self.kind.resource.kind
    }
}

/// Group and plural name.
type Id = (String, String);

/// How much is known yet.
#[derive(Debug, Default)]
struct Progress {
    /// Whether a discovery was whole.
    discovered: bool,
    /// How many kinds have yet to be listed.
    unlisted: usize,
}

/// The watches.
pub struct Kinds<W> {
    client: Client,
    watcher: Arc<W>,
    definitions_changed: Arc<Notify>,
    progress: Arc<watch::Sender<Progress>>,
    watched: RwLock<BTreeMap<Id, (Arc<Kind>, CancellationToken)>>,
}

impl<W: Watcher> Kinds<W> {
    pub fn new(client: &Client, watcher: Arc<W>) -> Self {
        Self {
            client: client.clone(),
            watcher,
            definitions_changed: Arc::default(),
            progress: Arc::default(),
            watched: RwLock::default(),
        }
    }

    /// Waits until the watcher has been told of all that there were, within bounds.
    pub fn synced(&self) -> impl Future<Output = ()> + Send + use<W> {
        let mut progress = self.progress.subscribe();
        async move {
            let all = progress.wait_for(|now| now.discovered && now.unlisted == 0);
            if timeout(SYNC_MAX, all).await.is_err() {
                tracing::warn!("not every kind could be listed: objects are collected without");
            }
        }
    }

    /// Tells the watcher of all objects, for ever.
    pub async fn follow(&self) {
        let (sender, mut discoveries) = mpsc::channel(1);
        let discovering = self.discover(sender);
        let following = async {
            let mut running = FuturesUnordered::new();
            loop {
                tokio::select! {
                    found = discoveries.recv() => match found {
                        Some(found) => running.extend(self.take(&found)),
                        None => return,
                    },
                    Some(()) = running.next(), if !running.is_empty() => {}
                }
            }
        };
        tokio::join!(discovering, following);
    }

    async fn discover(&self, discoveries: mpsc::Sender<Discovered>) {
        loop {
            let found = discover(&self.client).await;
            let pause = if found.failures.is_empty() { RECHECK } else { RECHECK_FAILED };
            if discoveries.send(found).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.definitions_changed.notified() => sleep(SETTLING).await,
            }
        }
    }

    /// Ends the watches of what is no longer there, and gives those of what is new.
    fn take(&self, found: &Discovered) -> Vec<BoxFuture<'static, ()>> {
        let mut watched = self.watched.write().unwrap_or_else(PoisonError::into_inner);
        let resources = || found.resources.iter().filter(|resource| is_collected(resource));
        if found.failures.is_empty() {
            watched.retain(|own, (kind, stop)| {
                let is_served = resources().any(|resource| *resource == kind.resource);
                if !is_served {
                    stop.cancel();
                }
                // What is served in another way is listed anew.
                if !is_served && resources().all(|resource| id(resource) != *own) {
                    self.watcher.vanished(&kind.resource.group, &kind.resource.kind);
                }
                is_served
            });
        }
        let new: Vec<_> = resources().filter(|resource| !watched.contains_key(&id(resource))).collect();
        self.progress.send_modify(|now| {
            now.discovered |= found.failures.is_empty();
            now.unlisted += new.len();
        });
        let start = |resource: &Resource| {
            let (kind, stop) = (Arc::new(Kind::of(resource)), CancellationToken::new());
            watched.insert(id(resource), (kind.clone(), stop.clone()));
            self.follow_kind(kind, stop)
        };
        new.into_iter().map(start).collect()
    }

    fn follow_kind(&self, kind: Arc<Kind>, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let (watcher, progress) = (self.watcher.clone(), self.progress.clone());
        let definitions = is_definitions(&kind.resource).then(|| self.definitions_changed.clone());
        let mut is_first = true;
        let following = follow_metadata(self.client.clone(), kind.resource.path(""), move |change| {
            let of = |meta| Arc::new(Partial { kind: kind.clone(), meta });
            match change {
                MetadataChange::Applied(meta) => watcher.seen(of(meta)),
                MetadataChange::Deleted(meta) => watcher.gone(meta.uid.as_deref().unwrap_or_default()),
                MetadataChange::Replaced(all) => {
                    let all = all.into_iter().map(|meta| of(meta) as Arc<dyn Meta>).collect();
                    watcher.replaced(&kind.resource.group, &kind.resource.kind, all);
                    if std::mem::take(&mut is_first) {
                        progress.send_modify(|now| now.unlisted = now.unlisted.saturating_sub(1));
                    }
                }
            }
            if let Some(changed) = &definitions {
                changed.notify_one();
            }
        });
        async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = following => {}
            }
        }
        .boxed()
    }
}

impl Kind {
    fn of(resource: &Resource) -> Self {
        Self { api_version: resource.api_version(), resource: resource.clone() }
    }
}

fn id(resource: &Resource) -> Id {
    (resource.group.clone(), resource.plural.clone())
}

fn is_definitions(resource: &Resource) -> bool {
    resource.group == "apiextensions.k8s.io" && resource.plural == "customresourcedefinitions"
}

fn is_collected(resource: &Resource) -> bool {
    let is_event = resource.plural == "events" && ["", "events.k8s.io"].contains(&resource.group.as_str());
    !is_event && ["delete", "list", "watch"].iter().all(|verb| resource.has(verb))
}
