//! Claims to volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::persistent_volume::{VOLUME_MODES, access_modes};
use super::rules::{immutable, named_if_set, one_of_if_set, required};
use super::{Validate, amounts, labels, meta};
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity::{Quantity, parse_or_zero};

impl Validate for PersistentVolumeClaim {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        let default = PersistentVolumeClaimSpec::default();
        spec(self.spec.as_ref().unwrap_or(&default), &SPEC, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update(self, old, errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        status(self, errors);
    }
}

const SPEC: Path<'static> = Path::new("spec");
const STORAGE: &str = "storage";
/// By which the class was named before there was a field for it.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const RESIZE_STATUSES: [&str; 5] = [
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

/// What a claim asks for, in a claim or in the template of one.
pub(super) fn spec(spec: &PersistentVolumeClaimSpec, path: &Path<'_>, errors: &mut Errors) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        errors.required(&path.child("accessModes"), "at least 1 access mode is required");
    }
    labels::selector(spec.selector.as_ref(), &path.child("selector"), errors);
    access_modes(modes, &path.child("accessModes"), errors);
    let resources = path.child("resources");
    let storage = resources.key(STORAGE);
    match requests(spec).and_then(|requests| requests.get(STORAGE)) {
        None => errors.required(&storage, ""),
        Some(text) => amounts::positive(text, &storage, errors),
    }
    let class = spec.storage_class_name.as_ref();
    named_if_set(class, names::dns_subdomain, &path.child("storageClassName"), errors);
    one_of_if_set(spec.volume_mode.as_ref(), &VOLUME_MODES, &path.child("volumeMode"), errors);
    data_sources(spec, path, errors);
    let class = spec.volume_attributes_class_name.as_ref();
    named_if_set(class, names::dns_subdomain, &path.child("volumeAttributesClassName"), errors);
}

fn requests(spec: &PersistentVolumeClaimSpec) -> Option<&BTreeMap<String, Text>> {
    spec.resources.as_ref().and_then(|resources| resources.requests.as_ref())
}

fn size(spec: &PersistentVolumeClaimSpec) -> Quantity {
    parse_or_zero(requests(spec).and_then(|requests| requests.get(STORAGE)))
}

fn data_sources(spec: &PersistentVolumeClaimSpec, path: &Path<'_>, errors: &mut Errors) {
    if let Some(source) = &spec.data_source {
        data_source(&source.name, &source.kind, source.api_group.as_deref(), &path.child("dataSource"), errors);
    }
    let namespace = spec.data_source_ref.as_ref().and_then(|source| source.namespace.as_deref()).unwrap_or_default();
    if let Some(source) = &spec.data_source_ref {
        let path = path.child("dataSourceRef");
        data_source(&source.name, &source.kind, source.api_group.as_deref(), &path, errors);
        if !namespace.is_empty() {
            errors.invalid_each(&path.child("namespace"), namespace, names::dns_label(namespace));
        }
    }
    let (Some(source), Some(reference)) = (&spec.data_source, &spec.data_source_ref) else { return };
    let same =
        source.api_group == reference.api_group && source.kind == reference.kind && source.name == reference.name;
    if !namespace.is_empty() {
        errors.invalid(path, "dataSource", "may not be specified when dataSourceRef.namespace is specified");
    } else if !same {
        errors.invalid(path, "dataSource", "must match dataSourceRef");
    }
}

fn data_source(name: &str, kind: &str, group: Option<&str>, path: &Path<'_>, errors: &mut Errors) {
    required(name, &path.child("name"), errors);
    required(kind, &path.child("kind"), errors);
    match group.unwrap_or_default() {
        "" if kind != "PersistentVolumeClaim" => {
            let rule = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.invalid(path, kind, rule);
        }
        "" => {}
        group => errors.invalid_each(&path.child("apiGroup"), group, names::dns_subdomain(group)),
    }
}

fn update(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim, errors: &mut Errors) {
    let default = PersistentVolumeClaimSpec::default();
    let (new_spec, old_spec) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    spec(new_spec, &SPEC, errors);
    let annotation = |claim: &PersistentVolumeClaim| {
        claim.metadata.annotations.as_ref().and_then(|annotations| annotations.get(CLASS_ANNOTATION)).cloned()
    };
    let (new_annotation, old_annotation) = (annotation(new), annotation(old));
    if new_annotation.clone().unwrap_or_default() != old_annotation.clone().unwrap_or_default()
        && !takes_class_from(old_annotation.as_ref(), new_annotation.as_ref(), old_spec, new_spec)
    {
        let path = Path::new("metadata");
        errors.invalid(&path.child("annotations").child(CLASS_ANNOTATION), &new_annotation, super::rules::IMMUTABLE);
    }
    let bound = new.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    if fixed(new_spec, old_spec, bound, old_annotation.as_ref()) != exact(old_spec.clone(), new_spec) {
        let rule =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.forbidden(&SPEC, rule);
    }
    shrinks(new_spec, old, old_spec, errors);
    immutable(&new_spec.volume_mode, &old_spec.volume_mode, &Path::new("volumeMode"), errors);
    let applied = old.status.as_ref().is_some_and(|status| status.current_volume_attributes_class_name.is_some());
    if applied && new_spec.volume_attributes_class_name != old_spec.volume_attributes_class_name {
        let path = SPEC.child("volumeAttributesClassName");
        let what = match new_spec.volume_attributes_class_name.as_deref() {
            None => "nil",
            Some("") => "empty string",
            Some(_) => return,
        };
        let rule = "is forbidden when status.currentVolumeAttributesClassName is not nil";
        errors.forbidden(&path, &format!("update to {what} {rule}"));
    }
}

/// Whether the class that stood in the annotation now stands in its field.
fn takes_class_from(
    old_annotation: Option<&String>,
    new_annotation: Option<&String>,
    old: &PersistentVolumeClaimSpec,
    new: &PersistentVolumeClaimSpec,
) -> bool {
    old_annotation.is_some()
        && old.storage_class_name.is_none()
        && new.storage_class_name.as_ref() == old_annotation
        && (new_annotation.is_none() || new_annotation == old_annotation)
}

/// The new spec, with what may change as it was.
fn fixed(
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaimSpec,
    bound: bool,
    annotation: Option<&String>,
) -> PersistentVolumeClaimSpec {
    let mut spec = exact(new.clone(), new);
    let named_since =
        old.storage_class_name.is_none() && annotation.is_none_or(|own| Some(own) == new.storage_class_name.as_ref());
    if named_since {
        spec.storage_class_name = None;
    }
    if bound {
        let was = requests(old).and_then(|requests| requests.get(STORAGE));
        if let Some(requests) = spec.resources.as_mut().and_then(|resources| resources.requests.as_mut())
            && let Some(was) = was
        {
            requests.insert(STORAGE.to_owned(), parse_or_zero(Some(was)).to_text());
        }
        spec.volume_attributes_class_name.clone_from(&old.volume_attributes_class_name);
    }
    spec
}

/// A spec to be compared: amounts in one form, and the volume's name of the new one, which may be given once.
fn exact(mut spec: PersistentVolumeClaimSpec, new: &PersistentVolumeClaimSpec) -> PersistentVolumeClaimSpec {
    let canonical = |list: &mut Option<BTreeMap<String, Text>>| {
        for text in list.iter_mut().flat_map(BTreeMap::values_mut) {
            *text = parse_or_zero(Some(text)).to_text();
        }
        if list.as_ref().is_some_and(BTreeMap::is_empty) {
            *list = None;
        }
    };
    let resources = spec.resources.get_or_insert_with(VolumeResourceRequirements::default);
    canonical(&mut resources.requests);
    canonical(&mut resources.limits);
    if spec.volume_name.as_ref().is_none_or(String::is_empty) {
        spec.volume_name = new.volume_name.clone().filter(|name| !name.is_empty());
    }
    spec
}

/// A claim may become smaller again only while the volume has not grown that far.
fn shrinks(
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaim,
    old_spec: &PersistentVolumeClaimSpec,
    errors: &mut Errors,
) {
    let capacity = old.status.as_ref().and_then(|status| status.capacity.as_ref()?.get(STORAGE));
    if size(new) < size(old_spec) && size(new) <= parse_or_zero(capacity) {
        let (resources, requests) = (SPEC.child("resources"), "requests");
        let path = resources.child(requests);
        errors.forbidden(&path.child(STORAGE), "field can not be less than status.capacity");
    }
}

fn status(claim: &PersistentVolumeClaim, errors: &mut Errors) {
    if claim.spec.as_ref().and_then(|spec| spec.access_modes.as_ref()).is_none_or(Vec::is_empty) {
        errors.required(&Path::new("Spec").child("accessModes"), "");
    }
    let Some(status) = &claim.status else { return };
    let path = Path::new("status");
    let basic = |name: &str, text: &Text, path: &Path<'_>, errors: &mut Errors| {
        if parse_or_zero(Some(text)).is_negative() {
            errors.invalid(&path.key(name), text, "must be a valid resource quantity");
        }
    };
    for (name, text) in status.capacity.iter().flatten() {
        basic(name, text, &path.child("capacity"), errors);
    }
    for (name, word) in status.allocated_resource_statuses.iter().flatten() {
        let path = path.child("allocatedResourceStatuses");
        resource_key(name, &path, errors);
        if !RESIZE_STATUSES.contains(&word.as_str()) {
            errors.not_supported(&path, name, &RESIZE_STATUSES);
        }
    }
    for (name, text) in status.allocated_resources.iter().flatten() {
        let path = path.child("allocatedResources");
        resource_key(name, &path, errors);
        basic(name, text, &path, errors);
    }
}

fn resource_key(name: &str, path: &Path<'_>, errors: &mut Errors) {
    let wrong = names::qualified(name);
    if wrong.is_empty() && amounts::is_native(name) && name != STORAGE {
        errors.not_supported(path, name, &[STORAGE]);
    }
    errors.invalid_each(path, name, wrong);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    const GOOD: &str = r#""accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}"#;

    fn claim(spec: &str) -> String {
        format!(r#"{{"metadata":{{"name":"c","namespace":"n"}},"spec":{{{spec}}}}}"#)
    }

    fn bound(spec: &str, capacity: &str) -> String {
        let status = format!(r#""status":{{"phase":"Bound","capacity":{{"storage":"{capacity}"}}}}"#);
        format!(r#"{{"metadata":{{"name":"c","namespace":"n"}},"spec":{{{spec}}},{status}}}"#)
    }

    #[test]
    fn claims_say_what_they_want() {
        for (spec, expected) in [
            (GOOD.to_owned(), &[][..]),
            (String::new(), &["spec.accessModes Required", "spec.resources[storage] Required"]),
            (GOOD.replace("1Gi", "0"), &["spec.resources[storage] Invalid"]),
            (GOOD.replace("Once", "Twice"), &["spec.accessModes NotSupported"]),
            (
                format!(r#"{GOOD},"volumeMode":"Odd","storageClassName":"A_""#),
                &["spec.storageClassName Invalid", "spec.volumeMode NotSupported"],
            ),
            (
                format!(r#"{GOOD},"dataSource":{{"kind":"Thing","name":""}}"#),
                &["spec.dataSource.name Required", "spec.dataSource Invalid"],
            ),
            (
                format!(r#"{GOOD},"selector":{{"matchExpressions":[{{"key":"a","operator":"In"}}]}}"#),
                &["spec.selector.matchExpressions[0].values Required"],
            ),
        ] {
            assert_eq!(refused::<PersistentVolumeClaim>(&claim(&spec)), expected, "{spec}");
        }
    }

    #[test]
    fn claims_stay_but_grow_when_bound() {
        let large = GOOD.replace("1Gi", "2Gi");
        for (old, new, expected) in [
            (claim(GOOD), claim(&GOOD.replace("1Gi", "1024Mi")), &[][..]),
            (claim(GOOD), claim(&format!(r#"{GOOD},"volumeName":"v""#)), &[]),
            (claim(GOOD), claim(&format!(r#"{GOOD},"storageClassName":"s""#)), &[]),
            (claim(GOOD), claim(&large), &["spec Forbidden"]),
            (bound(GOOD, "1Gi"), bound(&large, "1Gi"), &[]),
            (bound(&large, "2Gi"), bound(GOOD, "2Gi"), &["spec.resources.requests.storage Forbidden"]),
            (
                claim(&format!(r#"{GOOD},"volumeName":"v""#)),
                claim(&format!(r#"{GOOD},"volumeName":"w""#)),
                &["spec Forbidden"],
            ),
            (claim(GOOD), claim(&format!(r#"{GOOD},"volumeMode":"Block""#)), &["spec Forbidden", "volumeMode Invalid"]),
        ] {
            assert_eq!(refused_update::<PersistentVolumeClaim>(&old, &new), expected, "{new}");
        }
    }
}
