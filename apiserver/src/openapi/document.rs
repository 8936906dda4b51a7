//! A whole document, written piece by piece: what it is about is small, what it says of it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use bytes::Bytes;
use coracle_api::kind::Kind;
use serde_json::{Map, Value, json};

use super::operations::{self, Answer, Body, Names, Path};
use super::protobuf::{bytes, field, message, named};
use super::schemas::{self, Version};
use super::text::{Definition, Definitions, Property};
use super::{custom, messages_v2, messages_v3, names, text, v2, v3};

/// One kind that a document tells of.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) kind: Kind,
    /// The definition of a custom kind, in JSON.
    pub(crate) definition: Option<Bytes>,
}

/// How a document is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Encoding {
    Json,
    Protobuf,
}

/// What a document tells of: kinds, and paths that belong to none.
pub(super) struct Subject {
    pub(super) served: Vec<Served>,
    pub(super) paths: Vec<Path>,
}

/// Writes a document.
///
/// # Errors
/// Those of `out`.
pub(super) fn write(subject: Subject, version: Version, encoding: Encoding, out: &mut impl Write) -> io::Result<()> {
    let text = text::unpack()?;
    let all = Definitions::parse(&text);
    let document = Document::new(subject, version, &all);
    match encoding {
        Encoding::Json => document.write_json(out),
        Encoding::Protobuf => document.write_protobuf(out),
    }
}

struct Document<'a> {
    version: Version,
    all: &'a Definitions<'a>,
    head: Map<String, Value>,
    paths: Vec<Path>,
    /// Every type that is referred to, by its name.
    types: BTreeMap<String, Type<'a>>,
}

/// What a type is made of.
enum Type<'a> {
    BuiltIn(&'a Definition<'a>),
    Custom(Box<Served>),
    /// Lists of another type, of this group, version and kind, where the text has none of them.
    List(String, (String, String, String)),
}

/// The names of the types of one kind.
struct NamesOf<'a> {
    all: &'a Definitions<'a>,
    served: &'a Served,
}

impl Names for NamesOf<'_> {
    fn of_kind(&self, group: &str, version: &str, kind: &str) -> Option<String> {
        let own = &self.served.kind;
        if self.is_custom() && (group, version, kind) == (&*own.group, &*own.version, &*own.kind) {
            return Some(names::custom_definition(own));
        }
        self.all.of_kind(group, version, kind).map(|definition| definition.name.to_owned())
    }

    fn is_custom(&self) -> bool {
        self.served.definition.is_some()
    }
}

impl<'a> Document<'a> {
    fn new(subject: Subject, version: Version, all: &'a Definitions<'a>) -> Self {
        let info = json!({"title": "Kubernetes", "version": crate::describe::VERSION});
        let head = match version {
            Version::V2 => v2::head(&info),
            Version::V3 => v3::head(&info),
        };
        let (mut paths, mut types) = (subject.paths, BTreeMap::new());
        for served in subject.served {
            let names = NamesOf { all, served: &served };
            let kind = &served.kind;
            paths.extend(operations::of_kind(kind, &names));
            if let Some(name) = names.of_kind(&kind.group, &kind.version, &kind.kind) {
                let of = (kind.group.to_string(), kind.version.to_string(), kind.kind.to_string());
                let list = format!("{name}List");
                if all.named(&list).is_none() {
                    types.insert(list, Type::List(name.clone(), of));
                }
                if served.definition.is_some() {
                    types.insert(name, Type::Custom(Box::new(served)));
                }
            }
        }
        paths.sort_by(|a, b| a.url.cmp(&b.url));
        let mut document = Self { version, all, head, paths, types };
        document.collect_types();
        document
    }

    /// Finds what the paths refer to, and what that refers to; forgets the lists that nobody asks for.
    fn collect_types(&mut self) {
        let mut wanted: Vec<String> = self.paths.iter().flat_map(referred).collect();
        let mut found = BTreeSet::new();
        while let Some(name) = wanted.pop() {
            if !found.insert(name.clone()) {
                continue;
            }
            match self.types.get(&name) {
                Some(Type::List(of, _)) => wanted.extend([of.clone(), LIST_META.to_owned()]),
                Some(Type::Custom(_)) => wanted.extend(custom::REFERRED.map(str::to_owned)),
                _ => {
                    let Some(definition) = self.all.named(&name) else { continue };
                    let names = definition.properties.iter().filter_map(Property::reference);
                    wanted.extend(names.filter_map(|name| Some(self.all.get(name)?.name.to_owned())));
                    self.types.insert(name, Type::BuiltIn(definition));
                }
            }
        }
        self.types.retain(|name, _| found.contains(name));
    }

    fn schema(&self, kind: &Type<'_>) -> Value {
        match kind {
            Type::BuiltIn(definition) => schemas::definition(definition, self.all, self.version),
            Type::List(name, (group, version, kind)) => {
                schemas::list(name, (group, version, kind), self.all, self.version)
            }
            Type::Custom(served) => {
                let definition = served.definition.as_deref().unwrap_or_default();
                let schema = custom::schema(definition, &served.kind.version);
                custom::definition(&served.kind, &schema, self.all, self.version)
            }
        }
    }

    fn path(&self, path: &Path) -> Value {
        match self.version {
            Version::V2 => v2::path(path),
            Version::V3 => v3::path(path),
        }
    }

    fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let paths = || self.paths.iter().map(|path| (path.url.as_str(), self.path(path)));
        let schemas = || self.types.iter().map(|(name, kind)| (name.as_str(), self.schema(kind)));
        out.write_all(b"{")?;
        for (key, value) in &self.head {
            write!(out, "{}:{value},", Value::from(key.as_str()))?;
        }
        match self.version {
            Version::V2 => {
                out.write_all(b"\"definitions\":")?;
                write_object(out, schemas())?;
            }
            Version::V3 => {
                out.write_all(b"\"components\":{\"schemas\":")?;
                write_object(out, schemas())?;
                write!(out, ",\"securitySchemes\":{}}}", v3::security_schemes())?;
            }
        }
        out.write_all(b",\"paths\":")?;
        write_object(out, paths())?;
        out.write_all(b"}")
    }

    /// A message may be written in parts, each with some of its fields: no more than a path or a type is held at once.
    fn write_protobuf(&self, out: &mut impl Write) -> io::Result<()> {
        let (head, paths, path_item) = match self.version {
            Version::V2 => (&messages_v2::DOCUMENT, messages_v2::PATHS, &messages_v2::PATH_ITEM),
            Version::V3 => (&messages_v3::DOCUMENT, messages_v3::PATHS, &messages_v3::PATH_ITEM),
        };
        out.write_all(&message(head, &Value::Object(self.head.clone())))?;
        let mut part = Vec::new();
        let mut entry = Vec::new();
        for path in &self.paths {
            let shape = super::protobuf::Shape::Message(path_item);
            entry.clear();
            named(&mut entry, paths.1, &path.url, &shape, &self.path(path));
            part.clear();
            bytes(&mut part, paths.0, &entry);
            out.write_all(&part)?;
        }
        for (name, kind) in &self.types {
            entry.clear();
            part.clear();
            match self.version {
                Version::V2 => {
                    let shape = super::protobuf::Shape::Message(&messages_v2::SCHEMA);
                    named(&mut entry, messages_v2::DEFINITIONS.1, name, &shape, &self.schema(kind));
                    bytes(&mut part, messages_v2::DEFINITIONS.0, &entry);
                }
                Version::V3 => {
                    let (schemas, repeated) = messages_v3::SCHEMAS;
                    named(&mut entry, repeated, name, &messages_v3::SCHEMA_OR_REFERENCE, &self.schema(kind));
                    let mut components = Vec::new();
                    bytes(&mut components, schemas, &entry);
                    bytes(&mut part, messages_v3::COMPONENTS, &components);
                }
            }
            out.write_all(&part)?;
        }
        if self.version == Version::V3 {
            let (number, shape) = messages_v3::SECURITY_SCHEMES;
            entry.clear();
            part.clear();
            field(&mut entry, number, &shape, &v3::security_schemes());
            bytes(&mut part, messages_v3::COMPONENTS, &entry);
            out.write_all(&part)?;
        }
        Ok(())
    }
}

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// The types that a path names.
fn referred(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for operation in &path.operations {
        names.extend(operation.answers.iter().filter_map(|(_, answer)| match answer {
            Answer::Object(name) => Some(name.clone()),
            Answer::Text | Answer::TextOf(_) => None,
        }));
        match &operation.body {
            Some(Body::Required(name) | Body::Optional(name)) => names.push(name.clone()),
            Some(Body::Patch) => names.push(operations::PATCH.to_owned()),
            None => {}
        }
    }
    names
}

fn write_object<'v>(out: &mut impl Write, entries: impl Iterator<Item = (&'v str, Value)>) -> io::Result<()> {
    out.write_all(b"{")?;
    for (i, (name, value)) in entries.enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(out, "{comma}{}:{value}", Value::from(name))?;
    }
    out.write_all(b"}")
}
