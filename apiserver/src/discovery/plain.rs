//! Discovery as it has always been: a document a group, and one a version.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_api::kind::{Kind, Subresource};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{kinds_of, verbs, verbs_of_part};
use crate::resource::Catalog;
use crate::usage;

/// `/api`.
pub(super) fn core_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    })
}

/// `/apis`.
pub(super) fn groups(resources: &Catalog) -> Value {
    let mut groups: Vec<Value> =
        resources.groups().iter().map(|(name, versions)| group_value(name, versions, false)).collect();
    if !resources.has_group(usage::GROUP) {
        groups.push(usage::group(false));
    }
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(super) fn group(resources: &Catalog, name: &str) -> Option<Value> {
    let groups = resources.groups();
    let found = groups.iter().find(|(group, _)| *group == name);
    let found = found.map(|(name, versions)| group_value(name, versions, true));
    found.or_else(|| (name == usage::GROUP).then(|| usage::group(true)))
}

fn group_value(name: &str, versions: &[&str], alone: bool) -> Value {
    let version = |version: &str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().map(|one| version(one)).collect();
    let mut group = json!({"name": name, "versions": all, "preferredVersion": all[0]});
    if alone {
        group["kind"] = "APIGroup".into();
        group["apiVersion"] = "v1".into();
    }
    group
}

/// `/api/v1`, `/apis/GROUP/VERSION`.
pub(super) fn resources(resources: &Catalog, group: &str, version: &str) -> Value {
    if group == usage::GROUP && !resources.has_group(group) {
        return usage::resources();
    }
    let mut all: Vec<(String, Value)> = Vec::new();
    for kind in kinds_of(resources, group, version) {
        all.push((kind.plural.to_string(), resource(kind)));
        for sub in kind.subresources.iter() {
            let name = format!("{}/{}", kind.plural, sub.name);
            all.push((name.clone(), subresource(kind, sub, &name)));
        }
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list = json!({"kind": "APIResourceList", "groupVersion": group_version});
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    list["resources"] = all.into_iter().map(|(_, value)| value).collect();
    list
}

fn resource(kind: &Kind) -> Value {
    let mut value = Map::new();
    value.insert("name".into(), (*kind.plural).into());
    value.insert("singularName".into(), (*kind.singular).into());
    value.insert("namespaced".into(), kind.namespaced().into());
    value.insert("kind".into(), (*kind.kind).into());
    value.insert("verbs".into(), verbs(kind).into());
    for (name, list) in [("shortNames", &kind.short_names), ("categories", &kind.categories)] {
        if !list.is_empty() {
            value.insert(name.into(), list.iter().map(|word| &**word).collect());
        }
    }
    // What can be listed but not watched is stored nowhere.
    if kind.verbs.contains(coracle_api::kind::Verb::Watch) {
        value.insert("storageVersionHash".into(), storage_version_hash(kind).into());
    }
    value.into()
}

fn subresource(kind: &Kind, sub: &Subresource, name: &str) -> Value {
    let mut value = Map::new();
    value.insert("name".into(), name.into());
    value.insert("singularName".into(), "".into());
    value.insert("namespaced".into(), kind.namespaced().into());
    if let Some((group, version)) = &sub.group_version {
        value.insert("group".into(), (**group).into());
        value.insert("version".into(), (**version).into());
    }
    value.insert("kind".into(), (*sub.kind).into());
    value.insert("verbs".into(), verbs_of_part(sub).into());
    value.into()
}

/// What Kubernetes v1.36 stores in an older version than it prefers: policies for v1.35 to read, definitions since the
/// older form is smaller.
/// Source: `NewStorageFactoryConfig`, and `CreateAPIExtensionsConfig` of kube-apiserver.
const STORED_AS_V1BETA1: [&str; 3] =
    ["CustomResourceDefinition", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"];

/// Changes when objects of the kind come to be stored differently. Source: upstream's `StorageVersionHash`.
fn storage_version_hash(kind: &Kind) -> String {
    let (group, version) = &kind.storage;
    let version = if STORED_AS_V1BETA1.contains(&&*kind.kind) { "v1beta1" } else { version };
    let stored = format!("{group}/{version}/{}", kind.kind);
    STANDARD.encode(&Sha256::digest(stored)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::kinds;

    #[test]
    fn hashes_are_those_of_kubernetes() {
        for (group, version, plural, hash) in [
            ("", "v1", "pods", "xPOwRZ+Yhw8="),
            ("", "v1", "events", "r2yiGXH7wu8="),
            ("events.k8s.io", "v1", "events", "r2yiGXH7wu8="),
            ("apps", "v1", "deployments", "8aSe+NMegvE="),
            ("batch", "v1", "jobs", "mudhfqk/qZY="),
            ("autoscaling", "v1", "horizontalpodautoscalers", "qwQve8ut294="),
            ("apiregistration.k8s.io", "v1", "apiservices", "InPBPD7+PqM="),
            ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "jfWCUB31mvA="),
            ("networking.k8s.io", "v1", "ingresses", "39NQlfNR+bo="),
        ] {
            let kind = kinds::find(group, version, plural).expect("it is in the table");
            assert_eq!(storage_version_hash(kind), hash, "{plural}");
        }
    }
}
