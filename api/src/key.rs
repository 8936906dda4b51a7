//! The keys under which objects are stored: `/registry/{group or core}/{plural}/{namespace}/{name}`.
//!
//! Every part but the last ends in a slash, so that the prefix of a resource or a namespace holds that and nothing else,
//! and objects are listed in the order of namespace and name.

use bytes::Bytes;

use crate::kind::Kind;

const ROOT: &str = "/registry/";

/// The prefix of all objects of a kind.
#[must_use]
pub fn of_kind(kind: &Kind) -> Bytes {
    text_of_kind(kind).into()
}

/// The prefix of the objects of a kind in a namespace.
#[must_use]
pub fn of_namespace(kind: &Kind, namespace: &str) -> Bytes {
    let mut key = text_of_kind(kind);
    if kind.namespaced() {
        key.push_str(namespace);
        key.push('/');
    }
    key.into()
}

/// The key of one object. The namespace of a kind that lives in none is not looked at.
#[must_use]
pub fn of_object(kind: &Kind, namespace: &str, name: &str) -> Bytes {
    let mut key = text_of_kind(kind);
    if kind.namespaced() {
        key.push_str(namespace);
        key.push('/');
    }
    key.push_str(name);
    key.into()
}

fn text_of_kind(kind: &Kind) -> String {
    let group = if kind.storage.0.is_empty() { "core" } else { &kind.storage.0 };
    let mut key = String::with_capacity(ROOT.len() + group.len() + kind.plural.len() + 80);
    for part in [ROOT, group, "/", &kind.plural, "/"] {
        key.push_str(part);
    }
    key
}

/// Takes a key of this kind apart into namespace (empty where there is none) and name.
#[must_use]
pub fn parse<'k>(kind: &Kind, key: &'k [u8]) -> Option<(&'k str, &'k str)> {
    let rest = key.strip_prefix(text_of_kind(kind).as_bytes())?;
    let rest = std::str::from_utf8(rest).ok()?;
    if kind.namespaced() { rest.split_once('/') } else { Some(("", rest)) }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{core::v1 as core, events::v1 as events};

    use super::*;
    use crate::kinds;

    #[test]
    fn keys_nest() {
        let pods = kinds::of::<core::Pod>();
        let key = of_object(pods, "ns", "p");
        assert_eq!(key, "/registry/core/pods/ns/p");
        assert!(key.starts_with(&of_namespace(pods, "ns")) && key.starts_with(&of_kind(pods)));
        assert!(!key.starts_with(&of_namespace(pods, "n")));
        assert_eq!(parse(pods, &key), Some(("ns", "p")));
        let nodes = kinds::of::<core::Node>();
        assert_eq!(parse(nodes, &of_object(nodes, "ignored", "n")), Some(("", "n")));
    }

    #[test]
    fn both_kinds_of_events_are_stored_together() {
        assert_eq!(of_kind(kinds::of::<core::Event>()), of_kind(kinds::of::<events::Event>()));
    }
}
