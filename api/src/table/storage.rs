//! The rows of volumes, claims, their classes and their drivers.

use jiff::Timestamp;
use k8s_openapi::api::{core::v1 as core, storage::v1 as storage};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{Cells, age, cells};
use crate::quantity::parse_or_zero;

/// By which a volume or claim named its class before there was a field for it.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

fn annotation<'m>(meta: &'m ObjectMeta, key: &str) -> Option<&'m String> {
    meta.annotations.as_ref().and_then(|annotations| annotations.get(key))
}

fn class<'m>(meta: &'m ObjectMeta, field: Option<&'m String>) -> &'m str {
    cells::text(annotation(meta, CLASS_ANNOTATION).or(field))
}

/// The name, and whether it is what is taken when none is named.
fn class_name(meta: &ObjectMeta) -> String {
    let name = cells::text(meta.name.as_ref());
    let default = DEFAULT_CLASS.iter().any(|mark| annotation(meta, mark).is_some_and(|value| value == "true"));
    if default { format!("{name} (default)") } else { name.to_owned() }
}

/// `RWO,ROX`
fn access_modes(modes: Option<&Vec<String>>) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| modes.is_some_and(|modes| modes.iter().any(|own| own == mode));
    short.into_iter().filter(|(mode, _)| has(mode)).map(|(_, short)| short).collect::<Vec<_>>().join(",")
}

fn storage_of(capacity: Option<&std::collections::BTreeMap<String, Text>>) -> String {
    parse_or_zero(capacity.and_then(|capacity| capacity.get("storage"))).to_string()
}

fn phase<'m>(meta: &ObjectMeta, phase: Option<&'m String>) -> &'m str {
    if meta.deletion_timestamp.is_some() { "Terminating" } else { cells::text(phase) }
}

fn or_unset(value: Option<&String>) -> Value {
    value.map_or(cells::UNSET, String::as_str).into()
}

impl Cells for core::PersistentVolume {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let default = (core::PersistentVolumeSpec::default(), core::PersistentVolumeStatus::default());
        let (spec, status) = (self.spec.as_ref().unwrap_or(&default.0), self.status.as_ref().unwrap_or(&default.1));
        let claim = spec.claim_ref.as_ref().map_or(String::new(), |claim| {
            format!("{}/{}", cells::text(claim.namespace.as_ref()), cells::text(claim.name.as_ref()))
        });
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            storage_of(spec.capacity.as_ref()).into(),
            access_modes(spec.access_modes.as_ref()).into(),
            cells::text(spec.persistent_volume_reclaim_policy.as_ref()).into(),
            phase(&self.metadata, status.phase.as_ref()).into(),
            claim.into(),
            class(&self.metadata, spec.storage_class_name.as_ref()).into(),
            or_unset(spec.volume_attributes_class_name.as_ref()),
            cells::text(status.reason.as_ref()).into(),
            age(&self.metadata, now).into(),
            or_unset(spec.volume_mode.as_ref()),
        ]
    }
}

impl Cells for core::PersistentVolumeClaim {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let default = (core::PersistentVolumeClaimSpec::default(), core::PersistentVolumeClaimStatus::default());
        let (spec, status) = (self.spec.as_ref().unwrap_or(&default.0), self.status.as_ref().unwrap_or(&default.1));
        let volume = cells::text(spec.volume_name.as_ref());
        let (capacity, modes) = match volume {
            "" => (String::new(), String::new()),
            _ => (storage_of(status.capacity.as_ref()), access_modes(status.access_modes.as_ref())),
        };
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            phase(&self.metadata, status.phase.as_ref()).into(),
            volume.into(),
            capacity.into(),
            modes.into(),
            class(&self.metadata, spec.storage_class_name.as_ref()).into(),
            or_unset(spec.volume_attributes_class_name.as_ref()),
            age(&self.metadata, now).into(),
            or_unset(spec.volume_mode.as_ref()),
        ]
    }
}

impl Cells for storage::StorageClass {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            class_name(&self.metadata).into(),
            self.provisioner.as_str().into(),
            cells::text_or(self.reclaim_policy.as_ref(), "Delete").into(),
            cells::text_or(self.volume_binding_mode.as_ref(), "Immediate").into(),
            self.allow_volume_expansion.unwrap_or_default().into(),
            age(&self.metadata, now).into(),
        ]
    }
}

impl Cells for storage::VolumeAttributesClass {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            self.driver_name.as_str().into(),
            age(&self.metadata, now).into(),
        ]
    }
}

impl Cells for storage::VolumeAttachment {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            self.spec.attacher.as_str().into(),
            cells::text(self.spec.source.persistent_volume_name.as_ref()).into(),
            self.spec.node_name.as_str().into(),
            self.status.as_ref().is_some_and(|status| status.attached).into(),
            age(&self.metadata, now).into(),
        ]
    }
}

impl Cells for storage::CSIDriver {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let spec = &self.spec;
        let audiences = spec.token_requests.as_ref().map_or(cells::UNSET.to_owned(), |requests| {
            requests.iter().map(|request| request.audience.as_str()).collect::<Vec<_>>().join(",")
        });
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            spec.attach_required.unwrap_or(true).into(),
            spec.pod_info_on_mount.unwrap_or_default().into(),
            spec.storage_capacity.unwrap_or_default().into(),
            audiences.into(),
            spec.requires_republish.unwrap_or_default().into(),
            cells::joined_or(spec.volume_lifecycle_modes.clone().unwrap_or_default(), cells::NONE).into(),
            age(&self.metadata, now).into(),
        ]
    }
}

impl Cells for storage::CSINode {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            self.spec.drivers.len().into(),
            age(&self.metadata, now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::line;

    #[test]
    fn volumes_and_claims() {
        let volume = r#"{"metadata":{"name":"v"},"spec":{"capacity":{"storage":"1024Mi"},"accessModes":["ReadOnlyMany","ReadWriteOnce"],
            "persistentVolumeReclaimPolicy":"Retain","claimRef":{"namespace":"n","name":"c"},"volumeMode":"Block"},
            "status":{"phase":"Bound"}}"#;
        assert_eq!(
            line::<core::PersistentVolume>(volume),
            "v | 1Gi | RWO,ROX | Retain | Bound | n/c |  | <unset> |  | <unknown> | Block"
        );
        let claim = r#"{"metadata":{"name":"c","annotations":{"volume.beta.kubernetes.io/storage-class":"old"}},
            "spec":{"volumeName":"v","storageClassName":"s","volumeAttributesClassName":"a"},
            "status":{"phase":"Bound","capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOncePod"]}}"#;
        assert_eq!(
            line::<core::PersistentVolumeClaim>(claim),
            "c | Bound | v | 1Gi | RWOP | old | a | <unknown> | <unset>"
        );
        assert_eq!(
            line::<core::PersistentVolumeClaim>(r#"{"metadata":{"name":"c"},"status":{"phase":"Pending"}}"#),
            "c | Pending |  |  |  |  | <unset> | <unknown> | <unset>"
        );
    }

    #[test]
    fn classes_and_drivers() {
        let class = r#"{"metadata":{"name":"s","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"p"}"#;
        assert_eq!(line::<storage::StorageClass>(class), "s (default) | p | Delete | Immediate | false | <unknown>");
        let attributes = r#"{"metadata":{"name":"a","annotations":{"volumeattributesclass.alpha.kubernetes.io/is-default-class":"true"}},"driverName":"d"}"#;
        assert_eq!(line::<storage::VolumeAttributesClass>(attributes), "a | d | <unknown>");
        let attachment = r#"{"metadata":{"name":"a"},"spec":{"attacher":"d","nodeName":"n","source":{"persistentVolumeName":"v"}},"status":{"attached":true}}"#;
        assert_eq!(line::<storage::VolumeAttachment>(attachment), "a | d | v | n | true | <unknown>");
        assert_eq!(
            line::<storage::CSIDriver>(r#"{"metadata":{"name":"d"},"spec":{"tokenRequests":[{"audience":"x"}]}}"#),
            "d | true | false | false | x | false | <none> | <unknown>"
        );
        let node = r#"{"metadata":{"name":"n"},"spec":{"drivers":[{"name":"d","nodeID":"i"}]}}"#;
        assert_eq!(line::<storage::CSINode>(node), "n | 1 | <unknown>");
    }
}
