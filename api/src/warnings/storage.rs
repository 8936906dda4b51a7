//! What is said of volumes and claims. Source: `pkg/api/persistentvolume` and `pkg/api/persistentvolumeclaim`.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::pod::node_term;
use super::settings;
use crate::field::Path;

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
const METADATA: Path<'static> = Path::new("metadata");
const SPEC: Path<'static> = Path::new("spec");

pub(super) fn volume(volume: &PersistentVolume, warnings: &mut Vec<String>) {
    let annotations = METADATA.child("annotations");
    for (key, since, field) in [(CLASS, "v1.8", "storageClassName"), (MOUNT_OPTIONS, "v1.31", "mountOptions")] {
        if volume.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(key)) {
            warnings
                .push(format!("{}: deprecated since {since}; use {field:?} attribute instead", annotations.key(key)));
        }
    }
    let Some(spec) = &volume.spec else { return };
    if spec.persistent_volume_reclaim_policy.as_deref() == Some("Recycle") {
        warnings.push(format!(
            "{}: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
            SPEC.child("persistentVolumeReclaimPolicy")
        ));
    }
    let affinity = SPEC.child("nodeAffinity");
    let required_path = affinity.child("required");
    let list = required_path.child("nodeSelectorTerms");
    let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    for (i, term) in required.iter().flat_map(|required| &required.node_selector_terms).enumerate() {
        node_term(term, false, &list.index(i), warnings);
    }
    for (field, set, since) in [
        ("photonPersistentDisk", spec.photon_persistent_disk.is_some(), "v1.11, non-functional in v1.16+"),
        ("scaleIO", spec.scale_io.is_some(), "v1.16, non-functional in v1.22+"),
        ("storageOS", spec.storageos.is_some(), "v1.22, non-functional in v1.25+"),
        ("glusterfs", spec.glusterfs.is_some(), "v1.25, non-functional in v1.26+"),
        ("rbd", spec.rbd.is_some(), "v1.28, non-functional in v1.31+"),
        ("cephfs", spec.cephfs.is_some(), "v1.28, non-functional in v1.31+"),
    ] {
        if set {
            warnings.push(format!("{}: deprecated in {since}", SPEC.child(field)));
        }
    }
}

pub(super) fn claim(claim: &PersistentVolumeClaim, warnings: &mut Vec<String>) {
    if claim.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(CLASS)) {
        let path = METADATA.child("annotations");
        let rule = "deprecated since v1.8; use \"storageClassName\" attribute instead";
        warnings.push(format!("{}: {rule}", path.key(CLASS)));
    }
    if let Some(spec) = &claim.spec {
        settings::claim(spec, &SPEC, warnings);
    }
}
