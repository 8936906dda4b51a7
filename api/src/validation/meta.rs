//! The metadata that every object has.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::labels;
use super::rules::{immutable, not_negative, text};
use crate::field::{Errors, Path};
use crate::limits;
use crate::names;

const META: Path<'static> = Path::new("metadata");
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// Finalizers of Kubernetes' own, which need no domain.
pub(super) const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", ORPHAN, FOREGROUND];

/// How objects of a kind are named, and whether they live in namespaces.
#[derive(Clone, Copy)]
pub(crate) struct Naming {
    pub name: fn(&str) -> Vec<String>,
    pub namespaced: bool,
}

/// The naming of most kinds.
pub(crate) const IN_NAMESPACE: Naming = Naming { name: names::dns_subdomain, namespaced: true };
/// The naming of most kinds that live in no namespace.
pub(crate) const IN_CLUSTER: Naming = Naming { name: names::dns_subdomain, namespaced: false };

pub(crate) fn create(meta: &ObjectMeta, naming: Naming, errors: &mut Errors) {
    create_extension(meta, |name| (naming.name)(name), naming.namespaced, errors);
    kube_finalizers(meta, &META.child("finalizers"), errors);
}

/// As [`create`], for what is not Kubernetes' own, whose finalizers need no domain.
pub(crate) fn create_extension(
    meta: &ObjectMeta,
    wrong: impl Fn(&str) -> Vec<String>,
    namespaced: bool,
    errors: &mut Errors,
) {
    if let Some(prefix) = meta.generate_name.as_ref().filter(|p| !p.is_empty()) {
        let wrong = wrong(&names::without_trailing_dash(prefix));
        errors.invalid_each(&META.child("generateName"), prefix, wrong);
    }
    match text(meta.name.as_ref()) {
        "" => errors.required(&META.child("name"), "name or generateName is required"),
        name => errors.invalid_each(&META.child("name"), name, wrong(name)),
    }
    match (namespaced, text(meta.namespace.as_ref())) {
        (true, "") => errors.required(&META.child("namespace"), ""),
        (true, namespace) => errors.invalid_each(&META.child("namespace"), namespace, names::dns_label(namespace)),
        (false, "") => {}
        (false, _) => errors.forbidden(&META.child("namespace"), "not allowed on this type"),
    }
    common(meta, &META, errors);
}

/// What both creations and updates are held to.
fn common(meta: &ObjectMeta, path: &Path<'_>, errors: &mut Errors) {
    not_negative(meta.generation, &path.child("generation"), errors);
    labels::labels(meta.labels.as_ref(), &path.child("labels"), errors);
    annotations(meta.annotations.as_ref(), &path.child("annotations"), errors);
    owners(meta.owner_references.as_deref().unwrap_or_default(), &path.child("ownerReferences"), errors);
    finalizers(meta.finalizers.as_deref().unwrap_or_default(), &path.child("finalizers"), errors);
}

/// The metadata of an object that is within another, at a path.
pub(crate) fn embedded(meta: &ObjectMeta, path: &Path<'_>, errors: &mut Errors) {
    for (field, name) in [("generateName", &meta.generate_name), ("name", &meta.name)] {
        let name = text(name.as_ref());
        errors.invalid_each(&path.child(field), name, names::path_segment(name));
    }
    let namespace = text(meta.namespace.as_ref());
    if !namespace.is_empty() {
        errors.invalid_each(&path.child("namespace"), namespace, names::dns_label(namespace));
    }
    common(meta, path, errors);
}

/// The metadata of a pod template, which has labels and annotations alone. `path` is the template's: Kubernetes leaves
/// `metadata` out of these paths.
pub(super) fn template(meta: Option<&ObjectMeta>, path: &Path<'_>, errors: &mut Errors) {
    let Some(meta) = meta else { return };
    labels::labels(meta.labels.as_ref(), &path.child("labels"), errors);
    annotations(meta.annotations.as_ref(), &path.child("annotations"), errors);
}

pub(super) fn annotations(annotations: Option<&BTreeMap<String, String>>, path: &Path<'_>, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in annotations.into_iter().flatten() {
        errors.invalid_each(path, key, names::qualified(&key.to_lowercase()));
        bytes += key.len() + value.len();
    }
    if bytes > limits::ANNOTATIONS_BYTES_MAX {
        errors.too_long(path, limits::ANNOTATIONS_BYTES_MAX);
    }
}

fn owners(owners: &[OwnerReference], path: &Path<'_>, errors: &mut Errors) {
    for owner in owners {
        if owner.api_version.is_empty() || owner.api_version.ends_with('/') {
            errors.invalid(&path.child("apiVersion"), &owner.api_version, "version must not be empty");
        }
        for (field, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                errors.invalid(&path.child(field), value, "must not be empty");
            }
        }
        if owner.kind == "Event" && matches!(owner.api_version.as_str(), "v1" | "events.k8s.io/v1") {
            errors.invalid(path, owner, &format!("{} is disallowed from being an owner", owner.api_version));
        }
    }
    let controllers: Vec<&str> =
        owners.iter().filter(|o| o.controller == Some(true)).map(|o| o.name.as_str()).collect();
    if let [first, second, ..] = controllers[..] {
        let rule = "Only one reference can have Controller set to true. Found \"true\" in references for";
        errors.invalid(path, owners, &format!("{rule} {first} and {second}"));
    }
}

fn finalizers(finalizers: &[String], path: &Path<'_>, errors: &mut Errors) {
    for finalizer in finalizers {
        errors.invalid_each(path, finalizer, names::qualified(finalizer));
    }
    if [ORPHAN, FOREGROUND].iter().all(|f| finalizers.iter().any(|g| g == f)) {
        errors.invalid(path, finalizers, &format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set"));
    }
}

/// Finalizers of Kubernetes' own kinds have a domain, unless they are of its own.
fn kube_finalizers(meta: &ObjectMeta, path: &Path<'_>, errors: &mut Errors) {
    for (i, finalizer) in meta.finalizers.iter().flatten().enumerate() {
        if !finalizer.contains('/') && !is_standard_finalizer(finalizer) {
            let rule = "name is neither a standard finalizer name nor is it fully qualified";
            errors.invalid(&path.index(i), finalizer, rule);
        }
    }
}

/// Whether a finalizer is one of Kubernetes' own, which needs no domain.
pub(crate) fn is_standard_finalizer(finalizer: &str) -> bool {
    STANDARD_FINALIZERS.contains(&finalizer)
}

pub(super) fn update(new: &ObjectMeta, old: &ObjectMeta, errors: &mut Errors) {
    update_extension(new, old, errors);
    kube_finalizers(new, &META.child("finalizers"), errors);
}

/// As [`update`], for what is not Kubernetes' own.
pub(super) fn update_extension(new: &ObjectMeta, old: &ObjectMeta, errors: &mut Errors) {
    immutable(&new.name, &old.name, &META.child("name"), errors);
    immutable(&new.namespace, &old.namespace, &META.child("namespace"), errors);
    immutable(&new.uid, &old.uid, &META.child("uid"), errors);
    immutable(&new.creation_timestamp, &old.creation_timestamp, &META.child("creationTimestamp"), errors);
    immutable(&new.deletion_timestamp, &old.deletion_timestamp, &META.child("deletionTimestamp"), errors);
    let grace = META.child("deletionGracePeriodSeconds");
    immutable(&new.deletion_grace_period_seconds, &old.deletion_grace_period_seconds, &grace, errors);
    if new.generation.unwrap_or(0) < old.generation.unwrap_or(0) {
        errors.invalid(&META.child("generation"), &new.generation, "must not be decremented");
    }
    if old.deletion_timestamp.is_some() {
        no_new_finalizers(new, old, errors);
    }
    common(new, &META, errors);
}

fn no_new_finalizers(new: &ObjectMeta, old: &ObjectMeta, errors: &mut Errors) {
    let had = old.finalizers.as_deref().unwrap_or_default();
    let added: Vec<&String> = new.finalizers.iter().flatten().filter(|f| !had.contains(f)).collect();
    if !added.is_empty() {
        let rule = "no new finalizers can be added if the object is being deleted, found new finalizers";
        errors.forbidden(&META.child("finalizers"), &format!("{rule} {added:?}"));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Namespace};

    use crate::validation::tests::{refused, refused_update};

    fn config_map(meta: &str) -> Vec<String> {
        refused::<ConfigMap>(&format!(r#"{{"metadata":{{"namespace":"n",{meta}}}}}"#))
    }

    #[test]
    fn metadata_is_held_to_its_rules() {
        for (meta, expected) in [
            (r#""name":"a""#, &[][..]),
            (r#""name":"A_""#, &["metadata.name Invalid"]),
            (r#""labels":{}"#, &["metadata.name Required"]),
            (r#""name":"a","generateName":"A-""#, &["metadata.generateName Invalid"]),
            (r#""name":"a","labels":{"a b":"!"}"#, &["metadata.labels Invalid", "metadata.labels Invalid"]),
            (r#""name":"a","annotations":{"a/b/c":""}"#, &["metadata.annotations Invalid"]),
            (r#""name":"a","finalizers":["x"]"#, &["metadata.finalizers[0] Invalid"]),
            (r#""name":"a","finalizers":["orphan","foregroundDeletion"]"#, &["metadata.finalizers Invalid"]),
            (
                r#""name":"a","ownerReferences":[{"apiVersion":"v1","kind":"X","name":"x","uid":""}]"#,
                &["metadata.ownerReferences.uid Invalid"],
            ),
            (
                r#""name":"a","ownerReferences":[{"apiVersion":"v1","kind":"X","name":"x","uid":"1","controller":true},{"apiVersion":"v1","kind":"X","name":"y","uid":"2","controller":true}]"#,
                &["metadata.ownerReferences Invalid"],
            ),
        ] {
            assert_eq!(config_map(meta), expected, "{meta}");
        }
        assert_eq!(
            refused::<Namespace>(r#"{"metadata":{"name":"a","namespace":"b"}}"#),
            ["metadata.namespace Forbidden"]
        );
        let large = format!(r#""name":"a","annotations":{{"a":"{}"}}"#, "x".repeat(300_000));
        assert_eq!(config_map(&large), ["metadata.annotations TooLong"]);
    }

    #[test]
    fn identity_does_not_change() {
        let old = r#"{"metadata":{"name":"a","namespace":"n","uid":"u","deletionTimestamp":"2026-01-01T00:00:00Z","generation":2}}"#;
        let new = r#"{"metadata":{"name":"a","namespace":"n","uid":"v","deletionTimestamp":"2026-01-01T00:00:00Z","generation":1,"finalizers":["x.y/z"]}}"#;
        assert_eq!(refused_update::<ConfigMap>(old, old), [""; 0]);
        let expected = ["metadata.uid Invalid", "metadata.generation Invalid", "metadata.finalizers Forbidden"];
        assert_eq!(refused_update::<ConfigMap>(old, new), expected);
    }
}
