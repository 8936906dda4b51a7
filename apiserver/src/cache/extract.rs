//! What selectors look at, read from an object's JSON once, when it is committed.
//!
//! A pass over the text skips everything but the labels and the fields that the kind says can be selected by.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Labels by name, sorted.
pub(crate) type Labels = Box<[(Box<str>, Box<str>)]>;

/// What selectors look at in one object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extracted {
    pub(crate) labels: Labels,
    /// The values of the kind's fields, in their order.
    pub(crate) fields: Box<[Box<str>]>,
}

/// Reads the labels and fields of one kind.
#[derive(Debug)]
pub(crate) struct Extractor {
    root: Node,
    /// What a field is when the object does not say.
    defaults: Box<[Box<str>]>,
    /// Fields that take the value of another one when they have none.
    otherwise: Box<[(usize, usize)]>,
}

/// Where a field stands in an object.
#[derive(Clone, Debug)]
pub(crate) struct FieldSource<'a> {
    /// `spec.nodeName`
    pub(crate) path: &'a str,
    /// Its value when the object does not say.
    pub(crate) default: &'a str,
    /// The field, by its place, that is taken when this one is empty.
    pub(crate) otherwise: Option<usize>,
}

/// A place in the object: what is wanted here, and below.
#[derive(Debug, Default)]
struct Node {
    field: Option<usize>,
    labels: bool,
    children: Vec<(Box<str>, Node)>,
}

impl Extractor {
    /// Reads labels and these fields.
    pub(crate) fn new(fields: &[FieldSource<'_>]) -> Self {
        let mut root = Node::default();
        root.at("metadata.labels").labels = true;
        for (index, field) in fields.iter().enumerate() {
            root.at(field.path).field = Some(index);
        }
        let otherwise = fields.iter().enumerate().filter_map(|(index, field)| Some((index, field.otherwise?)));
        let (defaults, otherwise) = (fields.iter().map(|field| field.default.into()).collect(), otherwise.collect());
        Self { root, defaults, otherwise }
    }

    /// What `json` says. Text that cannot be read says nothing: what is stored was encoded by us.
    pub(crate) fn extract(&self, json: &[u8]) -> Extracted {
        let mut found = Found { labels: Vec::new(), fields: self.defaults.clone() };
        let mut reader = serde_json::Deserializer::from_slice(json);
        if let Err(error) = (Walk { node: &self.root, found: &mut found }).deserialize(&mut reader) {
            tracing::error!(%error, "a stored object cannot be read");
        }
        found.labels.sort_unstable();
        for (field, other) in &self.otherwise {
            if found.fields[*field].is_empty() {
                found.fields[*field] = found.fields[*other].clone();
            }
        }
        Extracted { labels: found.labels.into(), fields: found.fields }
    }
}

impl Node {
    /// The node at a dotted path, made if it is not there.
    fn at(&mut self, path: &str) -> &mut Self {
        path.split('.').fold(self, |node, part| {
            let index = node.children.iter().position(|(name, _)| &**name == part).unwrap_or_else(|| {
                node.children.push((part.into(), Node::default()));
                node.children.len() - 1
            });
            &mut node.children[index].1
        })
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|(child, _)| &**child == name).map(|(_, node)| node)
    }
}

struct Found {
    labels: Vec<(Box<str>, Box<str>)>,
    fields: Box<[Box<str>]>,
}

struct Walk<'a> {
    node: &'a Node,
    found: &'a mut Found,
}

impl Walk<'_> {
    fn set(&mut self, value: &str) {
        if let Some(index) = self.node.field {
            self.found.fields[index] = value.into();
        }
    }
}

/// Finds a member's name among the children of a node, without keeping it.
struct Key<'a>(&'a Node);

impl<'a, 'de> DeserializeSeed<'de> for Key<'a> {
    type Value = Option<&'a Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Option<&'a Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.child(name))
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.node.labels {
            while let Some((name, value)) = map.next_entry::<Box<str>, Box<str>>()? {
                self.found.labels.push((name, value));
            }
            return Ok(());
        }
        while let Some(child) = map.next_key_seed(Key(self.node))? {
            match child {
                Some(node) => map.next_value_seed(Walk { node, found: &mut *self.found })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        IgnoredAny::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map(|_| ())
    }

    fn visit_str<E>(mut self, value: &str) -> Result<(), E> {
        self.set(value);
        Ok(())
    }

    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        self.set(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E>(mut self, value: i64) -> Result<(), E> {
        self.set(&value.to_string());
        Ok(())
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        self.set(&value.to_string());
        Ok(())
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        self.set(&value.to_string());
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_fields() {
        let field = |path, default, otherwise| FieldSource { path, default, otherwise };
        let extractor = Extractor::new(&[
            field("spec.nodeName", "", None),
            field("spec.hostNetwork", "false", None),
            field("status.replicas", "0", None),
            field("source.component", "", Some(0)),
        ]);
        let json = br#"{"kind":"Pod","metadata":{"name":"p","labels":{"b":"2","a":"1"},"finalizers":["x"]},
            "spec":{"containers":[{"nodeName":"not here"}],"nodeName":"n\u0031"},"status":{"replicas":3}}"#;
        let found = extractor.extract(json);
        assert_eq!(*found.labels, [("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert_eq!(*found.fields, ["n1".into(), "false".into(), "3".into(), "n1".into()]);
    }

    #[test]
    fn what_is_not_there_is_as_the_kind_says() {
        let field = FieldSource { path: "spec.unschedulable", default: "false", otherwise: None };
        let found = Extractor::new(&[field]).extract(br#"{"spec":null,"metadata":{}}"#);
        assert_eq!(*found.fields, ["false".into()]);
        assert!(found.labels.is_empty());
    }
}
