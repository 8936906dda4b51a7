//! What one served kind is called and can do: a row of the [table of kinds](crate::kinds).
//!
//! Routes, discovery, OpenAPI and the command line are made of rows and know no kind by name. The fields are `Cow`, so
//! that a custom resource definition makes rows while the server runs.

use std::borrow::Cow;
use std::sync::Arc;

use crate::any::AnyObject;
use crate::custom::CustomModel;
use crate::object::DecodeError;
use crate::schema::TypeId;

/// A text that is fixed for built-in kinds and owned for custom ones.
pub type Name = Cow<'static, str>;

/// One served kind.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Empty for the core group.
    pub group: Name,
    pub version: Name,
    /// `Deployment`.
    pub kind: Name,
    /// `deployments`, as in URLs.
    pub plural: Name,
    pub singular: Name,
    pub short_names: Cow<'static, [Name]>,
    pub categories: Cow<'static, [Name]>,
    pub scope: Scope,
    pub verbs: Verbs,
    pub subresources: Cow<'static, [Subresource]>,
    /// The fields that field selectors know, beyond `metadata.name` and `metadata.namespace`.
    pub selectable: Cow<'static, [Name]>,
    /// The group and version in which objects are stored: of kinds that show the same objects, one stores them.
    pub storage: (Name, Name),
    pub model: Model,
}

/// How objects of the kind are read, and their type.
#[derive(Clone, Debug)]
pub enum Model {
    /// They are of a type of this program.
    Typed { decode: fn(&[u8]) -> Result<AnyObject, DecodeError>, schema: fn() -> TypeId },
    /// They are as a custom resource definition says.
    Custom(Arc<CustomModel>),
}

impl Model {
    /// Reads one object.
    ///
    /// # Errors
    /// When `json` is not JSON, or not of this kind.
    pub fn decode(&self, json: &[u8]) -> Result<AnyObject, DecodeError> {
        match self {
            Self::Typed { decode, .. } => decode(json),
            Self::Custom(model) => model.decode(json),
        }
    }

    /// The type in the type graph, which custom kinds have none in.
    #[must_use]
    pub fn schema(&self) -> Option<TypeId> {
        match self {
            Self::Typed { schema, .. } => Some(schema()),
            Self::Custom(_) => None,
        }
    }

    /// What a definition says, of a custom kind.
    #[must_use]
    pub fn custom(&self) -> Option<&Arc<CustomModel>> {
        match self {
            Self::Typed { .. } => None,
            Self::Custom(model) => Some(model),
        }
    }
}

/// A part of an object with a URL of its own, or an action on it.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// `status`, `scale`, `binding`.
    pub name: Name,
    /// The kind of what is sent and answered.
    pub kind: Name,
    /// Its group and version, where they are not the resource's own.
    pub group_version: Option<(Name, Name)>,
    pub verbs: Verbs,
}

/// Whether objects live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    Cluster,
    Namespaced,
}

/// What can be asked of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// In the order in which discovery lists them.
    pub const ALL: [Verb; 8] = [
        Verb::Create,
        Verb::Delete,
        Verb::DeleteCollection,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Patch => "patch",
            Verb::Update => "update",
            Verb::Watch => "watch",
        }
    }
}

/// A set of [`Verb`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verbs(u8);

impl Verbs {
    /// Every verb, as most kinds have.
    pub const ALL: Verbs = Verbs(0xff);

    /// The set of these.
    #[must_use]
    pub const fn of(verbs: &[Verb]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < verbs.len() {
            bits |= 1 << verbs[i] as u8;
            i += 1;
        }
        Self(bits)
    }

    /// The set without this one.
    #[must_use]
    pub const fn without(self, verb: Verb) -> Self {
        Self(self.0 & !(1 << verb as u8))
    }

    #[must_use]
    pub const fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u8) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |v| self.contains(*v))
    }
}

impl Kind {
    /// `apps/v1`, or `v1` in the core group.
    #[must_use]
    pub fn api_version(&self) -> Name {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version).into() }
    }

    /// `DeploymentList`.
    #[must_use]
    pub fn list_kind(&self) -> String {
        self.model.custom().map_or_else(|| format!("{}List", self.kind), |model| model.list_kind.clone())
    }

    /// Whether objects of the kind are stored as objects of another.
    #[must_use]
    pub fn is_view(&self) -> bool {
        self.storage.0 != self.group || self.storage.1 != self.version
    }

    #[must_use]
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The subresource of this name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether `word` is one of the names by which people call it: plural, singular, short or the kind itself.
    #[must_use]
    pub fn is_called(&self, word: &str) -> bool {
        self.plural == word
            || self.singular == word
            || self.short_names.iter().any(|s| s == word)
            || self.kind.eq_ignore_ascii_case(word)
    }

    /// Whether field selectors may name this field.
    #[must_use]
    pub fn selects_by(&self, field: &str) -> bool {
        field == "metadata.name"
            || (field == "metadata.namespace" && (self.namespaced() || self.selects_by_no_namespace()))
            || self.selectable.iter().any(|f| f == field)
    }

    /// Whether objects that live in no namespace can be asked for by that, as most can.
    fn selects_by_no_namespace(&self) -> bool {
        self.model.custom().is_none()
            && !matches!(&*self.plural, "nodes" | "namespaces" | "certificatesigningrequests" | "resourceslices")
    }
}
