//! Discovery in one answer: every group, version and resource. Source: `apidiscovery.k8s.io/v2`.

use coracle_api::kind::{Kind, Subresource};
use serde_json::{Map, Value, json};

use super::{kinds_of, verbs, verbs_of_part};
use crate::resource::Catalog;
use crate::usage;

/// The core group alone (`/api`), or all others (`/apis`).
pub(super) fn groups(resources: &Catalog, core: bool) -> Value {
    let groups = if core { vec![("", vec!["v1"])] } else { resources.groups() };
    let mut items: Vec<Value> =
        groups.iter().map(|(group, versions)| group_value(resources, group, versions)).collect();
    if !core && !resources.has_group(usage::GROUP) {
        items.push(usage::aggregated());
    }
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn group_value(resources: &Catalog, group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions.iter().map(|one| version(resources, group, one)).collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions})
}

/// A version of a group with its resources.
pub(super) fn version(resources: &Catalog, group: &str, version: &str) -> Value {
    let mut kinds: Vec<&Kind> = kinds_of(resources, group, version).collect();
    kinds.sort_by(|a, b| a.plural.cmp(&b.plural));
    let all: Vec<Value> = kinds.into_iter().map(resource).collect();
    json!({"version": version, "resources": all, "freshness": "Current"})
}

fn resource(kind: &Kind) -> Value {
    let mut value = Map::new();
    value.insert("resource".into(), (*kind.plural).into());
    value.insert("responseKind".into(), response_kind(&kind.group, &kind.version, &kind.kind));
    value.insert("scope".into(), if kind.namespaced() { "Namespaced" } else { "Cluster" }.into());
    value.insert("singularResource".into(), (*kind.singular).into());
    value.insert("verbs".into(), verbs(kind).into());
    for (name, list) in [("shortNames", &kind.short_names), ("categories", &kind.categories)] {
        if !list.is_empty() {
            value.insert(name.into(), list.iter().map(|word| &**word).collect());
        }
    }
    if !kind.subresources.is_empty() {
        let all: Vec<Value> = kind.subresources.iter().map(|sub| subresource(kind, sub)).collect();
        value.insert("subresources".into(), all.into());
    }
    value.into()
}

fn subresource(kind: &Kind, sub: &Subresource) -> Value {
    let (group, version) = sub.group_version.as_ref().unwrap_or(&(kind.group.clone(), kind.version.clone())).clone();
    json!({
        "subresource": &*sub.name,
        "responseKind": response_kind(&group, &version, &sub.kind),
        "verbs": verbs_of_part(sub),
    })
}

fn response_kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}
