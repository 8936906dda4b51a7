//! What field ownership asks of a type: what a value may be, how a list or a map merges, and the types of what is inside.
//!
//! A type is one of the graph of built-in kinds, one that a [`Schema`] tells (that of a custom resource), or nothing is
//! known of it and the value itself says what it is.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/schema`, and how `k8s.io/kube-openapi/pkg/schemaconv` makes one.

use serde_json::Value;

use super::step::{Number, Scalar};
use super::tree::Form;
use crate::schema::{self, ListType, Merge, Presence, Shape, TypeId};

/// The type of a value.
#[derive(Clone, Copy, Debug)]
pub enum Type<'t> {
    /// Of the type graph, with what the field that holds it says of merging.
    Graph(Shape, &'static Merge),
    /// Of a schema; of one that is a whole object the metadata is as everywhere.
    Custom { schema: &'t dyn Schema, is_object: bool },
    /// Anything. Maps are merged, lists are not.
    Deduced,
    /// Anything, owned as a whole.
    Opaque,
}

/// What a schema of its own says of a value: one node of the structural schema of a custom resource.
pub trait Schema: std::fmt::Debug + Sync {
    /// What the value is; `None` when nothing is said, so that it may be anything.
    fn kind(&self) -> Option<Kind>;
    /// Of an object: the schema of a property that is named.
    fn property(&self, name: &str) -> Option<&dyn Schema>;
    /// Of a list: the schema of its items. Of an object: that of its other properties.
    fn element(&self) -> Option<&dyn Schema>;
    /// Of an object: whether it may have properties of which nothing is said.
    fn is_open(&self) -> bool;
    /// Of an object: whether it has the metadata of one.
    fn is_embedded_object(&self) -> bool;
    /// How a list is merged.
    fn list_type(&self) -> ListType;
    /// By which properties the items of a list are told apart.
    fn list_keys(&self) -> &[String];
    /// Whether an object is owned as a whole.
    fn is_atomic_map(&self) -> bool;
    /// What the value is when nobody says.
    fn default(&self) -> Option<&Value>;
}

/// What a value of a schema is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Scalar(Primitive),
    List,
    Object,
}

/// What a scalar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Primitive {
    String,
    Number,
    Bool,
    /// Any of them.
    Any,
}

/// What a value of a type may be: most often one of the three.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Atom<'t> {
    pub(super) scalar: Option<Primitive>,
    pub(super) list: Option<List<'t>>,
    pub(super) map: Option<Map<'t>>,
}

/// As which of the three a value is taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Taken<'t> {
    Scalar(Primitive),
    List(List<'t>),
    Map(Map<'t>),
}

/// How a list merges.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<'t> {
    pub(super) list_type: ListType,
    keys: Keys<'t>,
    pub(super) element: Type<'t>,
}

#[derive(Clone, Copy, Debug)]
enum Keys<'t> {
    Graph(&'static Merge),
    Custom(&'t [String]),
}

/// How an object or a map merges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map<'t> {
    pub(super) is_atomic: bool,
    entries: Entries<'t>,
}

#[derive(Clone, Copy, Debug)]
enum Entries<'t> {
    Struct(&'static schema::Type),
    Custom {
        schema: &'t dyn Schema,
        is_object: bool,
    },
    /// All of one type.
    Of(&'t Type<'t>),
    OfShape(Shape),
}

/// Of what no field says how to merge it.
static PLAIN: Merge = Merge::PLAIN;

static DEDUCED: Type<'static> = Type::Deduced;
static OPAQUE: Type<'static> = Type::Opaque;

/// Keys that have a value even when nobody says it. Source: the `+default` tags of Kubernetes' Go types.
const KEY_DEFAULTS: [(&str, &str, &str); 3] = [
    ("core.v1.ContainerPort", "protocol", "TCP"),
    ("core.v1.LocalObjectReference", "name", ""),
    ("core.v1.ServicePort", "protocol", "TCP"),
];

impl Type<'static> {
    /// A type of the graph.
    #[must_use]
    pub fn of(id: TypeId) -> Self {
        Type::Graph(Shape::Object(id), &PLAIN)
    }

    fn text() -> Self {
        Type::Graph(Shape::String, &PLAIN)
    }
}

impl<'t> Type<'t> {
    /// The type of the objects of a schema.
    #[must_use]
    pub fn custom(schema: &'t dyn Schema) -> Self {
        Type::Custom { schema, is_object: true }
    }

    pub(super) fn atom(self) -> Atom<'t> {
        match self {
            Type::Graph(shape, merge) => graph_atom(shape, merge),
            Type::Custom { schema, is_object } => custom_atom(schema, is_object),
            Type::Deduced => Atom {
                scalar: Some(Primitive::Any),
                list: Some(List { list_type: ListType::Atomic, keys: Keys::Custom(&[]), element: Type::Opaque }),
                map: Some(Map { is_atomic: false, entries: Entries::Of(&DEDUCED) }),
            },
            Type::Opaque => Atom {
                scalar: Some(Primitive::Any),
                list: Some(List { list_type: ListType::Atomic, keys: Keys::Custom(&[]), element: Type::Opaque }),
                map: Some(Map { is_atomic: true, entries: Entries::Of(&OPAQUE) }),
            },
        }
    }

    /// Whether what is of this type is owned as a whole.
    pub(super) fn is_atomic(self) -> bool {
        match self {
            Type::Deduced | Type::Opaque => false,
            known => match known.atom() {
                Atom { map: Some(map), .. } => map.is_atomic,
                Atom { scalar: Some(_), .. } => false,
                Atom { list, .. } => list.is_some_and(|list| list.list_type == ListType::Atomic),
            },
        }
    }
}

impl<'t> Atom<'t> {
    /// As what a value is taken. One that doesn't fit is taken as what the type first allows.
    pub(super) fn taken(&self, form: Option<Form>) -> Option<Taken<'t>> {
        match form {
            Some(Form::Scalar) if self.scalar.is_some() => self.scalar.map(Taken::Scalar),
            Some(Form::List) if self.list.is_some() => self.list.map(Taken::List),
            Some(Form::Map) if self.map.is_some() => self.map.map(Taken::Map),
            _ => self
                .map
                .map(Taken::Map)
                .or_else(|| self.scalar.map(Taken::Scalar))
                .or_else(|| self.list.map(Taken::List)),
        }
    }
}

fn graph_atom(shape: Shape, merge: &'static Merge) -> Atom<'static> {
    let scalar = |primitive| Atom { scalar: Some(primitive), ..Atom::default() };
    match shape {
        Shape::String | Shape::Bytes | Shape::Time | Shape::MicroTime => scalar(Primitive::String),
        Shape::Bool => scalar(Primitive::Bool),
        Shape::Int32 | Shape::Int64 | Shape::Float => scalar(Primitive::Number),
        Shape::Quantity | Shape::IntOrString => scalar(Primitive::Any),
        Shape::Any => Type::Deduced.atom(),
        Shape::Object(id) => {
            let type_ = id.get();
            let is_atomic = merge.map_atomic || (type_.atomic && !merge.map_granular);
            Atom { map: Some(Map { is_atomic, entries: Entries::Struct(type_) }), ..Atom::default() }
        }
        Shape::List(element) => {
            let element = Type::Graph(*element, &PLAIN);
            Atom { list: Some(List { list_type: merge.list, keys: Keys::Graph(merge), element }), ..Atom::default() }
        }
        Shape::Map(entry) => Atom {
            map: Some(Map { is_atomic: merge.map_atomic, entries: Entries::OfShape(*entry) }),
            ..Atom::default()
        },
    }
}

fn custom_atom(schema: &dyn Schema, is_object: bool) -> Atom<'_> {
    match schema.kind() {
        None => Type::Deduced.atom(),
        Some(Kind::Scalar(primitive)) => Atom { scalar: Some(primitive), ..Atom::default() },
        Some(Kind::List) => {
            let element = schema.element().map_or(Type::Deduced, |schema| Type::Custom { schema, is_object: false });
            let keys = Keys::Custom(schema.list_keys());
            Atom { list: Some(List { list_type: schema.list_type(), keys, element }), ..Atom::default() }
        }
        Some(Kind::Object) => {
            let is_object = is_object || schema.is_embedded_object();
            let entries = Entries::Custom { schema, is_object };
            Atom { map: Some(Map { is_atomic: schema.is_atomic_map(), entries }), ..Atom::default() }
        }
    }
}

impl<'t> Map<'t> {
    /// The type of a field that is named.
    pub(super) fn field(&self, name: &str) -> Option<Type<'t>> {
        match self.entries {
            Entries::Struct(type_) => type_.field(name).map(|field| Type::Graph(field.shape, &field.merge)),
            Entries::Custom { schema, is_object } => match name {
                "apiVersion" | "kind" if is_object => Some(Type::text()),
                "metadata" if is_object => schema::find("meta.v1.ObjectMeta").map(Type::of),
                name => schema.property(name).map(|schema| Type::Custom { schema, is_object: false }),
            },
            Entries::Of(_) | Entries::OfShape(_) => None,
        }
    }

    /// The type of what is under a name, whether it is a field or an entry; `None` when there can be nothing.
    pub(super) fn child(&self, name: &str) -> Option<Type<'t>> {
        self.field(name).or_else(|| match self.entries {
            Entries::Struct(_) => None,
            Entries::Of(element) => Some(*element),
            Entries::OfShape(shape) => Some(Type::Graph(shape, &PLAIN)),
            Entries::Custom { schema, .. } => match schema.element() {
                Some(schema) => Some(Type::Custom { schema, is_object: false }),
                None => schema.is_open().then_some(Type::Deduced),
            },
        })
    }

    /// As [`Map::child`], where names come in the order of the fields: `at` is the field after the last that was found.
    pub(super) fn child_from(&self, name: &str, at: &mut usize) -> Option<Type<'t>> {
        let Entries::Struct(type_) = self.entries else { return self.child(name) };
        let found = type_.fields[*at..].iter().position(|field| field.name == name).map(|ahead| *at + ahead);
        let found = found.or_else(|| type_.fields[..*at].iter().position(|field| field.name == name))?;
        *at = found + 1;
        let field = &type_.fields[found];
        Some(Type::Graph(field.shape, &field.merge))
    }

    /// What a key is of an element that doesn't say it.
    fn key_default(&self, name: &str) -> Option<Scalar<'t>> {
        match self.entries {
            Entries::Struct(type_) => {
                if let Some((.., value)) = KEY_DEFAULTS.iter().find(|(t, n, _)| *t == type_.name && *n == name) {
                    return Some(Scalar::String((*value).into()));
                }
                // A field that Go always writes is zero when nobody sets it.
                let field = type_.field(name).filter(|field| field.presence == Presence::Always)?;
                match field.shape {
                    Shape::String => Some(Scalar::String("".into())),
                    Shape::Int32 | Shape::Int64 => Some(Scalar::Number(Number::Whole(0))),
                    Shape::Bool => Some(Scalar::Bool(false)),
                    _ => None,
                }
            }
            Entries::Custom { schema, .. } => schema.property(name).and_then(Schema::default).and_then(Scalar::of),
            Entries::Of(_) | Entries::OfShape(_) => None,
        }
    }
}

impl<'t> List<'t> {
    /// The names of the keys, in the type's order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'t str> {
        let (graph, custom) = match self.keys {
            Keys::Graph(merge) => (Some(merge.keys().map(|key| -> &'t str { key })), None),
            Keys::Custom(keys) => (None, Some(keys.iter().map(String::as_str))),
        };
        graph.into_iter().flatten().chain(custom.into_iter().flatten())
    }

    /// What a key is of an element that doesn't say it.
    pub(super) fn key_default(&self, name: &str) -> Option<Scalar<'t>> {
        self.element.atom().map?.key_default(name)
    }
}
