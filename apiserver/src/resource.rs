//! A served resource: a row of the table of kinds with the strategy and the cache that go with it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use coracle_api::any::AnyObject;
use coracle_api::custom::kinds::by_preference;
use coracle_api::kind::{Kind, Model, Name, Verb as KindVerb};
use coracle_api::kinds;
use coracle_api::status::ApiError;
use coracle_api::{convert, key};

use crate::cache::{Cache, Cached, KindCache};
use crate::route::{Subresource, Verb};
use crate::strategy::Strategy;

/// One resource as it is served.
pub(crate) struct Resource {
    pub(crate) kind: Arc<Kind>,
    pub(crate) strategy: &'static dyn Strategy,
    pub(crate) cache: Arc<KindCache>,
    /// `v1`, `apps/v1`.
    pub(crate) api_version: String,
    /// For metrics.
    pub(crate) group: Arc<str>,
    pub(crate) plural: Arc<str>,
    /// How every object's JSON begins, up to its metadata: entries of a list leave it out.
    head: Bytes,
    /// Whether it shows objects that another kind stores, and the kind that stores them: often itself.
    pub(crate) is_view: bool,
    pub(crate) stored: Arc<Kind>,
    /// The versions of a custom kind that are served.
    pub(crate) versions: Arc<[Arc<Kind>]>,
    /// The definition of a custom kind, as it is stored.
    pub(crate) definition: Option<Arc<Cached>>,
}

impl Resource {
    /// Joins a kind with its rules, with the kind that stores its objects, and with their cache.
    pub(crate) fn new(kind: Arc<Kind>, stored: Arc<Kind>, cache: Arc<KindCache>) -> Self {
        let api_version = kind.api_version().into_owned();
        let head = match kind.model {
            Model::Typed { .. } => format!("{{\"apiVersion\":\"{api_version}\",\"kind\":\"{}\",", kind.kind),
            // Lists of custom objects say of each what it is.
            Model::Custom(_) => "{".to_owned(),
        };
        Self {
            strategy: crate::strategy::of(&kind),
            cache,
            group: (*kind.group).into(),
            plural: (*kind.plural).into(),
            head: head.into(),
            is_view: kind.is_view(),
            api_version,
            stored,
            versions: Arc::default(),
            definition: None,
            kind,
        }
    }

    fn joined_name(&self) -> String {
        joined(&self.kind.group, &self.kind.version, &self.kind.plural)
    }

    pub(crate) fn namespaced(&self) -> bool {
        self.kind.namespaced()
    }

    pub(crate) fn has_subresource(&self, name: &str) -> bool {
        self.kind.subresource(name).is_some()
    }

    /// Whether it only takes and answers: nothing of it is stored.
    pub(crate) fn only_answers(&self) -> bool {
        self.kind.verbs.contains(KindVerb::Create) && !self.kind.verbs.contains(KindVerb::Get)
    }

    /// Whether it tells of the control plane, of which nothing is stored.
    pub(crate) fn is_component_statuses(&self) -> bool {
        self.kind.group.is_empty() && self.kind.plural == "componentstatuses"
    }

    /// Whether its objects become those that are stored, and the other way, by asking a webhook.
    pub(crate) fn asks_webhook(&self) -> bool {
        self.is_view && self.kind.model.custom().is_some_and(|model| model.converts_by_webhook)
    }

    /// The refusal of what would have to be asked of a webhook: an object of the kind `from` in another version.
    pub(crate) fn unconverted(&self, from: &Kind) -> ApiError {
        let of = format!("{}, Kind={}", from.api_version(), from.kind);
        ApiError::Unclassified(format!(
            "conversion webhook for {of} failed: this server does not call conversion webhooks"
        ))
    }

    /// Whether `verb` is served of the resource, or of its subresource.
    pub(crate) fn serves(&self, verb: Verb, subresource: Option<Subresource>) -> bool {
        let verbs = match subresource {
            None => Some(self.kind.verbs),
            Some(subresource) => self.kind.subresource(subresource.as_str()).map(|served| served.verbs),
        };
        verbs.is_some_and(|verbs| verbs.contains(verb.in_table()))
    }

    /// The storage key of an object.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> Bytes {
        key::of_object(&self.kind, namespace, name)
    }

    /// A cached object as an object of this kind.
    ///
    /// # Errors
    /// When what is stored cannot be read, which is a fault of ours.
    pub(crate) fn load(&self, cached: &Cached) -> Result<AnyObject, ApiError> {
        let stored = self.stored.model.decode(&cached.body).map_err(|error| {
            tracing::error!(
                path = cached.path(),
                error = &error as &dyn std::error::Error,
                "a stored object cannot be read"
            );
            ApiError::Internal(format!("the stored {} {} cannot be read", self.kind.singular, cached.path()))
        })?;
        Ok(convert::to_served(stored, &self.kind))
    }

    /// An object as it is stored, without its revision.
    pub(crate) fn encode(&self, object: &AnyObject) -> Bytes {
        if self.is_view { convert::to_stored(object.clone(), &self.stored).encode() } else { object.encode() }
    }

    /// A cached object as this kind shows it.
    ///
    /// # Errors
    /// As [`Resource::load`].
    pub(crate) fn body(&self, cached: &Cached) -> Result<Bytes, ApiError> {
        if self.is_view { Ok(self.load(cached)?.encode()) } else { Ok(cached.body.clone()) }
    }

    /// An object that has nothing but a revision, as bookmarks show it; and, where one ends what was present, the word
    /// that says so.
    ///
    /// # Errors
    /// As [`Resource::load`].
    pub(crate) fn nothing_at(&self, revision: u64, ends_initial_events: bool) -> Result<Cached, ApiError> {
        let mut object = serde_json::json!({
            "apiVersion": self.stored.api_version(),
            "kind": &*self.stored.kind,
            "metadata": {"resourceVersion": revision.to_string()},
        });
        if ends_initial_events {
            object["metadata"]["annotations"] = serde_json::json!({"k8s.io/initial-events-end": "true"});
        }
        let body = match self.stored.model.custom() {
            Some(_) => object.to_string().into(),
            None => {
                let typed = self.stored.model.decode(object.to_string().as_bytes());
                typed.map_err(|error| ApiError::Internal(error.to_string()))?.encode()
            }
        };
        Ok(Cached::bare(self.cache.layout.prefix.clone(), revision, body))
    }

    /// What an object's JSON is in a list, which says once for all what kind they are: the part after `apiVersion` and
    /// `kind`, to stand after a `{`.
    pub(crate) fn list_entry<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body.strip_prefix(&*self.head).unwrap_or_else(|| &body[1..])
    }
}

impl Verb {
    fn in_table(self) -> KindVerb {
        match self {
            Self::Get => KindVerb::Get,
            Self::List => KindVerb::List,
            Self::Watch => KindVerb::Watch,
            Self::Create => KindVerb::Create,
            Self::Update => KindVerb::Update,
            Self::Patch => KindVerb::Patch,
            Self::Delete => KindVerb::Delete,
            Self::DeleteCollection => KindVerb::DeleteCollection,
        }
    }
}

/// The name of a resource among all: none of its parts has a slash.
fn joined(group: &str, version: &str, plural: &str) -> String {
    [group, version, plural].join("/")
}

/// Everything that is served: what the table of kinds has, and what custom resource definitions add while the server
/// runs. A request sees one state of it, whole.
pub(crate) struct Resources {
    builtin: Catalog,
    current: ArcSwap<Catalog>,
}

/// What is served at one time: the kinds of the table in its order, and then the custom ones.
#[derive(Clone)]
pub(crate) struct Catalog {
    all: Vec<Arc<Resource>>,
    /// By group, version and plural, joined: see [`joined`].
    by_name: HashMap<String, Arc<Resource>>,
    /// The versions of all groups, the preferred one first.
    versions: HashMap<Name, Vec<Name>>,
    /// The groups in the order of discovery.
    groups: Vec<Name>,
}

impl Resources {
    /// Joins the rows of the table with their strategies and caches.
    pub(crate) fn new(kinds: &'static [Kind], cache: &Cache) -> Self {
        let all = kinds.iter().filter_map(|kind| {
            let cache = cache.kind(&key::of_kind(kind))?;
            let stored = kinds::find(&kind.storage.0, &kind.storage.1, &kind.plural).unwrap_or(kind);
            Some(Arc::new(Resource::new(Arc::new(kind.clone()), Arc::new(stored.clone()), cache)))
        });
        let builtin = Catalog::new(all.collect());
        Self { current: ArcSwap::from_pointee(builtin.clone()), builtin }
    }

    /// What is served now.
    pub(crate) fn current(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// Serves these beside the kinds of the table from now on. A name that the table has stays the table's.
    pub(crate) fn serve_custom(&self, custom: impl IntoIterator<Item = Arc<Resource>>) {
        let is_free = |resource: &Arc<Resource>| !self.builtin.by_name.contains_key(&resource.joined_name());
        let mut custom: Vec<_> = custom.into_iter().filter(is_free).collect();
        custom.sort_by(|one, other| {
            let (one, other) = (&one.kind, &other.kind);
            let by_version = by_preference(&one.version, &other.version);
            one.group.cmp(&other.group).then(by_version).then_with(|| one.plural.cmp(&other.plural))
        });
        let mut all = self.builtin.all.clone();
        all.extend(custom);
        self.current.store(Arc::new(Catalog::new(all)));
    }

    /// A resource that the server itself needs.
    pub(crate) fn core(&self, plural: &str) -> &Arc<Resource> {
        self.builtin.find("", "v1", plural).expect("the table of kinds has the core kinds")
    }

    /// A resource of the table of kinds.
    pub(crate) fn builtin(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.builtin.find(group, version, plural)
    }
}

impl Catalog {
    fn new(all: Vec<Arc<Resource>>) -> Self {
        let by_name = all.iter().map(|resource| (resource.joined_name(), resource.clone())).collect();
        let (mut versions, mut groups) = (HashMap::<Name, Vec<Name>>::new(), Vec::new());
        for kind in all.iter().map(|resource| &resource.kind) {
            let of_group = versions.entry(kind.group.clone()).or_insert_with(|| {
                groups.push(kind.group.clone());
                Vec::new()
            });
            if !of_group.contains(&kind.version) {
                of_group.push(kind.version.clone());
            }
        }
        Self { all, by_name, versions, groups }
    }

    pub(crate) fn all(&self) -> &[Arc<Resource>] {
        &self.all
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_name.get(&joined(group, version, plural))
    }

    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.versions.contains_key(group)
    }

    /// Whether the table of kinds has a group, and not definitions alone.
    pub(crate) fn is_built_in(&self, group: &str) -> bool {
        self.all.iter().any(|resource| resource.kind.group == group && resource.kind.model.custom().is_none())
    }

    pub(crate) fn has_version(&self, group: &str, version: &str) -> bool {
        self.versions.get(group).is_some_and(|versions| versions.iter().any(|one| one == version))
    }

    /// Groups but the core one, each with its versions, in the order of discovery.
    pub(crate) fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let named = self.groups.iter().filter(|group| !group.is_empty());
        named.map(|group| (&**group, self.versions[group].iter().map(|version| &**version).collect())).collect()
    }
}
