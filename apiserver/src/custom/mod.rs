//! Custom kinds: what definitions define is served while they are there.
//!
//! [`Definitions`] follows the watch cache of `CustomResourceDefinition`, so that every API server over one store serves
//! the same, whichever of them a definition was written through. For each that comes or changes: [`names`] decides (pure)
//! which names it gets, [`serve`] opens a cache for its objects and makes its resources, the catalog is swapped as a
//! whole, and the [`status`] is written. One that is being deleted is [`cleanup`]'s.
//!
//! Source: the controllers of `k8s.io/apiextensions-apiserver/pkg/controller`: naming, establishing, finalizer.

mod cleanup;
mod names;
mod serve;
pub(crate) mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use coracle_api::any::AnyObject;
use coracle_api::status::ApiError;
use futures::{FutureExt as _, StreamExt as _, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::cache::{Cached, Item, Scope, Selection, Shown, Start, WatchStream};
use crate::handler::own;
use crate::resource::Resource;
use crate::strategy::Part;
use serve::Served;

/// Definitions that are taken in at once: those that came together are served together.
const BATCH_MAX: usize = 256;

/// Statuses that are written at once.
const AT_ONCE: usize = 32;

/// How long one watch of the definitions lasts; then another begins.
const WATCH_DURATION: Duration = Duration::from_secs(24 * 3600);

/// How long after a failure it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// All definitions, and what is served of them.
pub(crate) struct Definitions {
    api: Arc<Api>,
    resource: Arc<Resource>,
    known: BTreeMap<String, Known>,
    /// Those that have to be looked at.
    due: BTreeSet<String>,
    /// Those whose objects are being deleted, by their uids.
    leaving: BTreeSet<String>,
    /// How often in a row the objects of a definition could not all be deleted, by its uid.
    failures: BTreeMap<String, u32>,
    cleanups: JoinSet<(String, String, Result<(), ApiError>)>,
    watch: WatchStream,
}

/// A definition as it was last seen, without its schemas.
struct Known {
    definition: Arc<CustomResourceDefinition>,
    cached: Arc<Cached>,
    served: Option<Served>,
}

impl Definitions {
    /// Serves what is defined already.
    ///
    /// # Errors
    /// When the server has no definitions at all, as one cannot be.
    pub(crate) async fn open(api: Arc<Api>) -> Result<Self, ApiError> {
        let missing = || ApiError::Internal("the table of kinds has no custom resource definitions".to_owned());
        let found = api.resources.builtin("apiextensions.k8s.io", "v1", "customresourcedefinitions");
        let resource = found.ok_or_else(missing)?.clone();
        let watch = begin(&api, &resource).ok_or_else(missing)?;
        let mut definitions = Self {
            api,
            resource,
            known: BTreeMap::new(),
            due: BTreeSet::new(),
            leaving: BTreeSet::new(),
            failures: BTreeMap::new(),
            cleanups: JoinSet::new(),
            watch,
        };
        definitions.take_ready();
        definitions.reconcile().await;
        Ok(definitions)
    }

    /// Follows the definitions until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let retry = if self.due.is_empty() { WATCH_DURATION } else { RETRY_AFTER };
            tokio::select! {
                () = shutdown.cancelled() => return,
                item = self.watch.next() => match item {
                    Some(item) => self.take(item),
                    None => self.begin_anew(),
                },
                Some(ended) = self.cleanups.join_next() => self.cleaned(ended),
                () = tokio::time::sleep(retry) => {}
            }
            self.take_ready();
            self.reconcile().await;
        }
    }

    fn take_ready(&mut self) {
        for _ in 0..BATCH_MAX {
            match self.watch.next().now_or_never() {
                Some(Some(item)) => self.take(item),
                _ => return,
            }
        }
    }

    /// The watch was cut off: everything is looked at as if it were new, and what is there no more is forgotten.
    fn begin_anew(&mut self) {
        let Some(watch) = begin(&self.api, &self.resource) else { return };
        self.watch = watch;
        let there = self.api.list_all(&self.resource);
        let there: BTreeSet<&str> = there.iter().map(|cached| cached.name()).collect();
        let gone: Vec<String> = self.known.keys().filter(|name| !there.contains(name.as_str())).cloned().collect();
        gone.iter().for_each(|name| self.forget(name));
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Present(cached) => self.seen(cached),
            Item::Changed(event, Shown::Deleted) => self.forget(event.object().name()),
            Item::Changed(event, _) => self.seen(event.object().clone()),
            Item::Bookmark { .. } => {}
        }
    }

    fn seen(&mut self, cached: Arc<Cached>) {
        let Some(mut definition) = self.resource.load(&cached).ok().and_then(typed) else { return };
        // Schemas take much memory, and are read again where they are needed.
        definition.spec.versions.iter_mut().for_each(|version| version.schema = None);
        let (name, definition) = (cached.name().to_owned(), Arc::new(definition));
        self.look_at_refused(&definition.spec.group);
        let served = self.known.remove(&name).and_then(|known| known.served);
        self.known.insert(name.clone(), Known { definition, cached, served });
        self.due.insert(name);
    }

    fn forget(&mut self, name: &str) {
        if let Some(known) = self.known.remove(name) {
            // The name stays due, so that the catalog is made anew without it.
            self.due.insert(name.to_owned());
            self.look_at_refused(&known.definition.spec.group);
            if let Some(served) = known.served {
                self.api.cache.drop_kind(&served.cache);
            }
        }
    }

    /// Those of a group that did not get their names may get them now.
    fn look_at_refused(&mut self, group: &str) {
        let refused = self.known.iter().filter(|(_, known)| {
            known.definition.spec.group == group && !status::is_true(&known.definition, status::NAMES_ACCEPTED)
        });
        self.due.extend(refused.map(|(name, _)| name.clone()));
    }

    /// Does what is due: names, caches, the catalog, statuses.
    async fn reconcile(&mut self) {
        if self.due.is_empty() {
            return;
        }
        let due = std::mem::take(&mut self.due);
        let mut named = Vec::new();
        for name in &due {
            let Some(known) = self.known.get(name) else { continue };
            let taken = self.names_in_use(&known.definition.spec.group);
            let mut decided = CustomResourceDefinition::clone(&known.definition);
            names::decide(&mut decided, &taken);
            status::conform(&mut decided);
            if serve::is_wanted(&decided) && !self.serve(name, &decided).await {
                self.due.insert(name.clone());
                continue;
            }
            if status::establish(&mut decided) | (decided.status != known_status(&self.known, name)) {
                named.push((name.clone(), taken));
            }
            if let Some(known) = self.known.get_mut(name) {
                known.definition = Arc::new(decided);
            }
        }
        let served = self.known.values().filter_map(|known| known.served.as_ref());
        self.api.resources.serve_custom(served.flat_map(|served| served.resources.iter().cloned()));
        self.write_statuses(named).await;
        for name in &due {
            self.clean_up(name);
        }
    }

    /// Opens a cache for the objects of a definition, unless it has one, and makes its resources. `false`: not now.
    async fn serve(&mut self, name: &str, decided: &CustomResourceDefinition) -> bool {
        let Some(known) = self.known.get_mut(name) else { return true };
        let whole = || self.resource.load(&known.cached).ok().and_then(typed);
        let made = serve::make(&self.api, decided, whole, &known.cached, known.served.as_ref()).await;
        match made {
            Ok(Some(served)) => known.served = Some(served),
            Ok(None) => return false,
            Err(error) => tracing::error!(definition = name, %error, "a schema that was accepted cannot be used"),
        }
        true
    }

    /// The names that the definitions of a group have, each its own included: what it has been given as one name it is not
    /// given as another.
    fn names_in_use(&self, group: &str) -> names::Taken {
        names::Taken::of(self.known.values().map(|known| &*known.definition).filter(|one| one.spec.group == group))
    }

    async fn write_statuses(&mut self, named: Vec<(String, names::Taken)>) {
        let (api, resource) = (&self.api, &self.resource);
        let write = |(name, taken): (String, names::Taken)| async move {
            let decide = |old: &AnyObject| {
                let mut new = old.clone();
                if let Some(definition) = new.downcast_mut::<CustomResourceDefinition>() {
                    names::decide(definition, &taken);
                    status::conform(definition);
                    status::establish(definition);
                }
                new
            };
            let written = own::change(api, resource, &name, Part::Status, decide).await;
            match written {
                Ok(()) | Err(ApiError::NotFound { .. }) => None,
                Err(error) => {
                    tracing::warn!(definition = name, %error, "cannot write the status");
                    Some(name)
                }
            }
        };
        let again: Vec<Option<String>> = stream::iter(named).map(write).buffer_unordered(AT_ONCE).collect().await;
        self.due.extend(again.into_iter().flatten());
    }

    /// Begins to delete the objects of a definition that is being deleted.
    fn clean_up(&mut self, name: &str) {
        let Some(known) = self.known.get(name) else { return };
        let uid = known.definition.metadata.uid.clone().unwrap_or_default();
        if !cleanup::is_wanted(&known.definition) || !self.leaving.insert(uid.clone()) {
            return;
        }
        let (api, resource, name) = (self.api.clone(), self.resource.clone(), name.to_owned());
        let objects = known.served.as_ref().map(|served| served.stored.clone());
        let pause = cleanup::pause(self.failures.get(&uid).copied().unwrap_or_default());
        self.cleanups.spawn(async move {
            tokio::time::sleep(pause).await;
            let cleaned = cleanup::run(&api, &resource, &name, objects.as_ref()).await;
            (name, uid, cleaned)
        });
    }

    fn cleaned(&mut self, ended: Result<(String, String, Result<(), ApiError>), tokio::task::JoinError>) {
        let Ok((name, uid, cleaned)) = ended else { return };
        self.leaving.remove(&uid);
        let Err(error) = cleaned else {
            self.failures.remove(&uid);
            return;
        };
        tracing::warn!(definition = name, %error, "cannot delete all objects of a definition");
        if self.known.contains_key(&name) {
            *self.failures.entry(uid).or_default() += 1;
            self.due.insert(name);
        }
    }
}

fn begin(api: &Api, resource: &Resource) -> Option<WatchStream> {
    let selection = Arc::new(Selection::of(Scope::All));
    let beginning = resource.cache.watch(selection, Start::Present, api.cache.seen()).ok()?;
    Some(WatchStream::new(api.cache.clone(), beginning, 0, false, false, Instant::now() + WATCH_DURATION))
}

fn typed(object: AnyObject) -> Option<CustomResourceDefinition> {
    object.downcast().ok()
}

fn known_status(
    known: &BTreeMap<String, Known>,
    name: &str,
) -> Option<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionStatus> {
    known.get(name).and_then(|known| known.definition.status.clone())
}
