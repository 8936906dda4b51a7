//! Volumes of the cluster.

use k8s_openapi::api::core::v1::{NodeSelector, PersistentVolume, PersistentVolumeSpec, VolumeNodeAffinity};

use super::rules::{IMMUTABLE, immutable, named_if_set, one_of_if_set, text};
use super::{Validate, amounts, meta, pod, volume_source};
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity::parse_or_zero;

impl Validate for PersistentVolume {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        let default = PersistentVolumeSpec::default();
        spec(self.spec.as_ref().unwrap_or(&default), text(self.metadata.name.as_ref()), &SPEC, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let default = PersistentVolumeSpec::default();
        let (new, old) = (self.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
        spec(new, text(self.metadata.name.as_ref()), &SPEC, errors);
        update(new, old, errors);
    }
}

const SPEC: Path<'static> = Path::new("spec");
const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
pub(super) const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
const RECLAIM_POLICIES: [&str; 3] = ["Delete", "Recycle", "Retain"];

fn spec(spec: &PersistentVolumeSpec, name: &str, path: &Path<'_>, errors: &mut Errors) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        errors.required(&path.child("accessModes"), "");
    }
    access_modes(modes, &path.child("accessModes"), errors);
    capacity(spec, &path.child("capacity"), errors);
    let policy = spec.persistent_volume_reclaim_policy.as_ref().filter(|policy| !policy.is_empty());
    one_of_if_set(policy, &RECLAIM_POLICIES, &path.child("persistentVolumeReclaimPolicy"), errors);
    if let Some(affinity) = &spec.node_affinity {
        node_affinity(affinity, &path.child("nodeAffinity"), errors);
    }
    volume_source::check(spec, name, path, errors);
    let root =
        spec.host_path.as_ref().is_some_and(|volume| volume.path.split('/').all(|part| matches!(part, "" | ".")));
    if root && policy.map(String::as_str) == Some("Recycle") {
        let rule = "may not be 'recycle' for a hostPath mount of '/'";
        errors.forbidden(&path.child("persistentVolumeReclaimPolicy"), rule);
    }
    let class = spec.storage_class_name.as_ref();
    named_if_set(class, names::dns_subdomain, &path.child("storageClassName"), errors);
    one_of_if_set(spec.volume_mode.as_ref(), &VOLUME_MODES, &path.child("volumeMode"), errors);
    attributes_class(spec, path, errors);
}

/// What the volume of an attachment must be that stands in the attachment itself.
pub(super) fn inline_spec(spec: &PersistentVolumeSpec, path: &Path<'_>, errors: &mut Errors) {
    const INLINE: &str = "may not be specified in the context of inline volumes";
    let absent = |is_set: bool, field: &str, errors: &mut Errors| {
        if is_set {
            errors.forbidden(&path.child(field), INLINE);
        }
    };
    absent(spec.claim_ref.is_some(), "claimRef", errors);
    absent(spec.capacity.as_ref().is_some_and(|list| !list.is_empty()), "capacity", errors);
    if spec.csi.is_none() {
        errors.required(&path.child("csi"), "has to be specified in the context of inline volumes");
    }
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        errors.required(&path.child("accessModes"), "");
    }
    access_modes(modes, &path.child("accessModes"), errors);
    if !matches!(text(spec.persistent_volume_reclaim_policy.as_ref()), "" | "Retain") {
        let rule = "may only be Retain in the context of inline volumes";
        errors.forbidden(&path.child("persistentVolumeReclaimPolicy"), rule);
    }
    absent(spec.node_affinity.is_some(), "nodeAffinity", errors);
    volume_source::check(spec, "", path, errors);
    absent(!text(spec.storage_class_name.as_ref()).is_empty(), "storageClassName", errors);
    if !matches!(spec.volume_mode.as_deref(), None | Some("Filesystem")) {
        let rule = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        errors.forbidden(&path.child("volumeMode"), rule);
    }
}

pub(super) fn access_modes(modes: &[String], path: &Path<'_>, errors: &mut Errors) {
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
        errors.not_supported(path, mode, &ACCESS_MODES);
    }
    let one_pod = |mode: &&String| mode.as_str() == "ReadWriteOncePod";
    let known = modes.iter().filter(|mode| ACCESS_MODES.contains(&mode.as_str()));
    if modes.iter().any(|mode| one_pod(&mode)) && !known.clone().all(|mode| one_pod(&mode)) {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

fn capacity(spec: &PersistentVolumeSpec, path: &Path<'_>, errors: &mut Errors) {
    let default = std::collections::BTreeMap::new();
    let capacity = spec.capacity.as_ref().unwrap_or(&default);
    if capacity.is_empty() {
        errors.required(path, "");
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        let shown: Vec<&str> = capacity.keys().map(String::as_str).collect();
        errors.not_supported(path, &shown.join(","), &["storage"]);
    }
    for (name, text) in capacity {
        let path = path.key(name);
        if parse_or_zero(Some(text)).is_negative() {
            errors.invalid(&path, text, "must be a valid resource quantity");
        }
        amounts::positive(text, &path, errors);
    }
}

fn node_affinity(affinity: &VolumeNodeAffinity, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("required");
    match &affinity.required {
        Some(NodeSelector { node_selector_terms }) => pod::node_terms(node_selector_terms, &path, errors),
        None => errors.required(&path, "must specify required node constraints"),
    }
}

fn attributes_class(spec: &PersistentVolumeSpec, path: &Path<'_>, errors: &mut Errors) {
    let Some(class) = &spec.volume_attributes_class_name else { return };
    let class_path = path.child("volumeAttributesClassName");
    if class.is_empty() {
        errors.required(&class_path, "an empty string is disallowed");
    } else {
        errors.invalid_each(&class_path, class, names::dns_subdomain(class));
    }
    if spec.csi.is_none() {
        errors.required(&path.child("csi"), "has to be specified when using volumeAttributesClassName");
    }
}

fn update(new: &PersistentVolumeSpec, old: &PersistentVolumeSpec, errors: &mut Errors) {
    if source(new, Some(old)) != source(old, None) {
        let path = SPEC.child("persistentvolumesource");
        errors.forbidden(&path, "spec.persistentvolumesource is immutable after creation");
    }
    immutable(&new.volume_mode, &old.volume_mode, &Path::new("volumeMode"), errors);
    if old.node_affinity.is_some() && new.node_affinity != old.node_affinity {
        errors.invalid(&Path::new("nodeAffinity"), &new.node_affinity, IMMUTABLE);
    }
    if old.volume_attributes_class_name.is_some() && new.volume_attributes_class_name.is_none() {
        let path = SPEC.child("volumeAttributesClassName");
        errors.forbidden(&path, "update from non-nil value to nil is forbidden");
    }
}

/// What the volume is made of, apart from what is said about it. The secret for growing may be added to that of `old`.
fn source(spec: &PersistentVolumeSpec, old: Option<&PersistentVolumeSpec>) -> PersistentVolumeSpec {
    let mut spec = PersistentVolumeSpec {
        access_modes: None,
        capacity: None,
        claim_ref: None,
        mount_options: None,
        node_affinity: None,
        persistent_volume_reclaim_policy: None,
        storage_class_name: None,
        volume_attributes_class_name: None,
        volume_mode: None,
        ..spec.clone()
    };
    let had_none =
        |old: &PersistentVolumeSpec| old.csi.as_ref().is_some_and(|csi| csi.controller_expand_secret_ref.is_none());
    if let Some(csi) = &mut spec.csi
        && old.is_some_and(had_none)
    {
        csi.controller_expand_secret_ref = None;
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    fn volume(spec: &str) -> String {
        format!(r#"{{"metadata":{{"name":"v"}},"spec":{{{spec}}}}}"#)
    }

    const GOOD: &str = r#""accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"hostPath":{"path":"/x"}"#;

    #[test]
    fn volumes_have_room_and_a_source() {
        let base = r#""accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"}"#;
        for (spec, expected) in [
            (GOOD.to_owned(), &[][..]),
            (
                String::new(),
                &["spec.accessModes Required", "spec.capacity Required", "spec.capacity NotSupported", "spec Required"],
            ),
            (format!(r#"{GOOD},"nfs":{{"server":"s","path":"/p"}}"#), &["spec.nfs Forbidden"]),
            (format!(r#"{GOOD},"persistentVolumeReclaimPolicy":"Odd""#), &["spec.persistentVolumeReclaimPolicy NotSupported"]),
            (format!(r#"{GOOD},"volumeMode":"Odd""#), &["spec.volumeMode NotSupported"]),
            (format!(r#"{GOOD},"storageClassName":"A_""#), &["spec.storageClassName Invalid"]),
            (format!(r#"{GOOD},"volumeAttributesClassName":"a""#), &["spec.csi Required"]),
            (format!(r#"{base},"local":{{"path":"/x"}}"#), &["spec.nodeAffinity Required"]),
            (format!(r#"{base},"csi":{{"driver":"d","volumeHandle":""}}"#), &["spec.csi.volumeHandle Required"]),
            (
                format!(r#"{base},"hostPath":{{"path":"/"}},"persistentVolumeReclaimPolicy":"Recycle""#),
                &["spec.persistentVolumeReclaimPolicy Forbidden"],
            ),
            (
                r#""accessModes":["ReadWriteOncePod","ReadWriteOnce"],"capacity":{"storage":"0"},"hostPath":{"path":"/x"}"#
                    .to_owned(),
                &["spec.accessModes Forbidden", "spec.capacity[storage] Invalid"],
            ),
        ] {
            assert_eq!(refused::<PersistentVolume>(&volume(&spec)), expected, "{spec}");
        }
    }

    #[test]
    fn sources_stay() {
        let old = volume(GOOD);
        let moved = volume(&GOOD.replace("/x", "/y"));
        let grown = volume(&GOOD.replace("1Gi", "2Gi"));
        let block = volume(&format!(r#"{GOOD},"volumeMode":"Block""#));
        assert_eq!(refused_update::<PersistentVolume>(&old, &grown), [""; 0]);
        assert_eq!(refused_update::<PersistentVolume>(&old, &moved), ["spec.persistentvolumesource Forbidden"]);
        assert_eq!(refused_update::<PersistentVolume>(&old, &block), ["volumeMode Invalid"]);
    }
}
