//! The rows that a definition adds to the table of kinds: one a version.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_{handler,discovery_controller}.go`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionVersion,
};

use super::CustomModel;
use super::structural::SchemaError;
use crate::kind::{Kind, Model, Name, Scope, Subresource, Verb, Verbs};

/// What a definition defines.
#[derive(Clone, Debug)]
pub struct Kinds {
    /// In which version objects are stored, served or not. It knows the selectable fields of all.
    pub stored: Arc<Kind>,
    /// The versions that are served.
    pub served: Vec<Arc<Kind>>,
}

const READ_WRITE: Verbs = Verbs::of(&[Verb::Get, Verb::Patch, Verb::Update]);

/// The rows of a definition under the names that it was given.
///
/// # Errors
/// When a schema cannot be used, as no schema can be that passed validation.
pub fn kinds(
    definition: &CustomResourceDefinition,
    names: &CustomResourceDefinitionNames,
) -> Result<Kinds, SchemaError> {
    let versions = &definition.spec.versions;
    let storage = versions.iter().find(|version| version.storage).or(versions.first());
    let none = CustomResourceDefinitionVersion::default();
    let storage = storage.unwrap_or(&none);
    let row = |version: &CustomResourceDefinitionVersion| row(definition, names, version, &storage.name);
    let mut stored = row(storage)?;
    let mut served = Vec::new();
    for version in versions.iter().filter(|version| version.served) {
        // The model is large: a version that is both stored and served has one.
        served.push(Arc::new(if version.name == storage.name { stored.clone() } else { row(version)? }));
    }
    let mut selectable: Vec<Name> = versions.iter().flat_map(selectable_of).collect();
    selectable.sort_unstable();
    selectable.dedup();
    stored.selectable = selectable.into();
    Ok(Kinds { stored: Arc::new(stored), served })
}

fn row(
    definition: &CustomResourceDefinition,
    names: &CustomResourceDefinitionNames,
    version: &CustomResourceDefinitionVersion,
    storage: &str,
) -> Result<Kind, SchemaError> {
    let model = CustomModel::new(definition, names, version)?;
    let part = |name: &'static str, kind: Name, group_version| Subresource {
        name: Cow::Borrowed(name),
        kind,
        group_version,
        verbs: READ_WRITE,
    };
    let mut subresources = Vec::new();
    if model.has_status {
        subresources.push(part("status", owned(&names.kind), None));
    }
    if model.scale.is_some() {
        let group_version = (Cow::Borrowed("autoscaling"), Cow::Borrowed("v1"));
        subresources.push(part("scale", Cow::Borrowed("Scale"), Some(group_version)));
    }
    let group = owned(&definition.spec.group);
    Ok(Kind {
        version: owned(&version.name),
        kind: owned(&names.kind),
        plural: owned(&names.plural),
        singular: owned(names.singular.as_deref().unwrap_or_default()),
        short_names: names.short_names.iter().flatten().map(|name| owned(name)).collect(),
        categories: names.categories.iter().flatten().map(|name| owned(name)).collect(),
        scope: if model.namespaced { Scope::Namespaced } else { Scope::Cluster },
        verbs: Verbs::ALL,
        subresources: subresources.into(),
        selectable: selectable_of(version).collect(),
        storage: (group.clone(), owned(storage)),
        model: Model::Custom(Arc::new(model)),
        group,
    })
}

fn owned(text: &str) -> Name {
    Cow::Owned(text.to_owned())
}

/// `spec.color`, where the definition has `.spec.color`.
fn selectable_of(version: &CustomResourceDefinitionVersion) -> impl Iterator<Item = Name> {
    version.selectable_fields.iter().flatten().map(|field| owned(field.json_path.trim_start_matches('.')))
}

/// The order of versions, the preferred one first: by stability, then by number, and other names after these.
///
/// Source: `k8s.io/apimachinery/pkg/version`, `CompareKubeAwareVersionStrings`.
#[must_use]
pub fn by_preference(one: &str, other: &str) -> Ordering {
    match (kube_like(one), kube_like(other)) {
        (Some(one), Some(other)) => other.cmp(&one),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one.cmp(other),
    }
}

/// Stability, major and minor of a version such as `v2beta1`.
fn kube_like(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let major = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (major, rest) = rest.split_at(major);
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    let major = number(major)?;
    match rest {
        "" => Some((2, major, 0)),
        rest => match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(minor), _) => Some((1, major, number(minor)?)),
            (_, Some(minor)) => Some((0, major, number(minor)?)),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stable_and_the_new_come_first() {
        let mut versions =
            ["foo1", "v1", "v10beta3", "v3beta1", "v12alpha1", "v2", "v11alpha2", "foo10", "v10", "v11beta2"];
        versions.sort_by(|one, other| by_preference(one, other));
        let expected =
            ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"];
        assert_eq!(versions, expected);
    }
}
