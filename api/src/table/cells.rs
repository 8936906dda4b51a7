//! What cells of several kinds have in common.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

pub(super) const NONE: &str = "<none>";
pub(super) const UNKNOWN: &str = "<unknown>";
pub(super) const UNSET: &str = "<unset>";

/// How many elements of a list are shown before the rest are counted.
const SHOWN_MAX: usize = 3;

pub(crate) fn text(value: Option<&String>) -> &str {
    value.map(String::as_str).unwrap_or_default()
}

/// A text, or a word for there being none.
pub(super) fn text_or<'t>(value: Option<&'t String>, none: &'t str) -> &'t str {
    value.map(String::as_str).filter(|t| !t.is_empty()).unwrap_or(none)
}

pub(super) fn len<K, V>(map: Option<&BTreeMap<K, V>>) -> usize {
    map.map_or(0, BTreeMap::len)
}

/// `a=1,b=2`
pub(super) fn labels(labels: Option<&BTreeMap<String, String>>) -> String {
    let pairs: Vec<String> = labels.into_iter().flatten().map(|(k, v)| format!("{k}={v}")).collect();
    joined_or(pairs, NONE)
}

pub(super) fn joined_or(parts: Vec<String>, none: &str) -> String {
    if parts.is_empty() { none.to_owned() } else { parts.join(",") }
}

/// `a,b,c + 2 more...`
pub(super) fn shortened(mut parts: Vec<String>, none: &str) -> String {
    let more = parts.len().saturating_sub(SHOWN_MAX);
    parts.truncate(SHOWN_MAX);
    match (parts.join(","), more) {
        (shown, 1..) => format!("{shown} + {more} more..."),
        (shown, 0) if shown.is_empty() => none.to_owned(),
        (shown, 0) => shown,
    }
}

/// The names and the images of a template's containers.
pub(super) fn containers(spec: Option<&PodSpec>) -> (String, String) {
    let containers = spec.map(|s| s.containers.as_slice()).unwrap_or_default();
    let names: Vec<&str> = containers.iter().map(|c| c.name.as_str()).collect();
    let images: Vec<&str> = containers.iter().map(|c| text(c.image.as_ref())).collect();
    (names.join(","), images.join(","))
}

/// `statefulset.apps/name`
pub(super) fn qualified(owner: &OwnerReference) -> String {
    let kind = owner.kind.to_lowercase();
    match owner.api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", owner.name),
        None => format!("{kind}/{}", owner.name),
    }
}
