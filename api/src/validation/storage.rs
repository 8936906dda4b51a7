//! Classes of volumes and their attachments.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::TopologySelectorTerm;
use k8s_openapi::api::storage::v1::{
    StorageClass, VolumeAttachment, VolumeAttachmentSource, VolumeAttributesClass, VolumeError,
};

use super::rules::{IMMUTABLE, immutable, one_of_if_set, size, text};
use super::{Validate, meta, persistent_volume, volume_source};
use crate::field::{Errors, Path};
use crate::names;

const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES_MAX: usize = 256 << 10;
const ATTACHMENT_BYTES_MAX: usize = 256 << 10;
const ERROR_BYTES_MAX: usize = 1 << 10;

impl Validate for StorageClass {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        driver(&self.provisioner, &Path::new("provisioner"), errors);
        parameters(self.parameters.as_ref(), &Path::new("parameters"), errors);
        let policy = self.reclaim_policy.as_ref().filter(|policy| !policy.is_empty());
        one_of_if_set(policy, &["Delete", "Retain"], &Path::new("reclaimPolicy"), errors);
        let modes = ["Immediate", "WaitForFirstConsumer"];
        match &self.volume_binding_mode {
            None => errors.required(&Path::new("volumeBindingMode"), ""),
            mode => one_of_if_set(mode.as_ref(), &modes, &Path::new("volumeBindingMode"), errors),
        }
        topologies(self.allowed_topologies.as_deref().unwrap_or_default(), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        same_parameters(self.parameters.as_ref(), old.parameters.as_ref(), errors);
        for (field, new, old) in [
            ("provisioner", Some(&self.provisioner), Some(&old.provisioner)),
            ("reclaimPolicy", self.reclaim_policy.as_ref(), old.reclaim_policy.as_ref()),
        ] {
            if new != old {
                errors.forbidden(&Path::new(field), &format!("updates to {field} are forbidden."));
            }
        }
        immutable(&self.volume_binding_mode, &old.volume_binding_mode, &Path::new("volumeBindingMode"), errors);
    }
}

impl Validate for VolumeAttributesClass {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        attributes(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.driver_name != old.driver_name {
            errors.forbidden(&Path::new("driverName"), "updates to driverName are forbidden.");
        }
        same_parameters(self.parameters.as_ref(), old.parameters.as_ref(), errors);
        attributes(self, errors);
    }
}

fn attributes(class: &VolumeAttributesClass, errors: &mut Errors) {
    driver(&class.driver_name, &Path::new("driverName"), errors);
    let path = Path::new("parameters");
    parameters(class.parameters.as_ref(), &path, errors);
    if class.parameters.as_ref().is_none_or(BTreeMap::is_empty) {
        errors.required(&path, "must contain at least one key/value pair");
    }
}

fn driver(name: &str, path: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(path, "");
    } else {
        errors.invalid_each(path, name, names::qualified(&name.to_lowercase()));
    }
}

fn parameters(parameters: Option<&BTreeMap<String, String>>, path: &Path<'_>, errors: &mut Errors) {
    let Some(parameters) = parameters else { return };
    if parameters.len() > PARAMETERS_MAX {
        return errors.too_long(path, PARAMETERS_MAX);
    }
    if parameters.contains_key("") {
        errors.invalid(path, "", "field can not be empty.");
    }
    let bytes: usize = parameters.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > PARAMETERS_BYTES_MAX {
        errors.too_long(path, PARAMETERS_BYTES_MAX);
    }
}

fn same_parameters(
    new: Option<&BTreeMap<String, String>>,
    old: Option<&BTreeMap<String, String>>,
    errors: &mut Errors,
) {
    if !new.into_iter().flatten().eq(old.into_iter().flatten()) {
        errors.forbidden(&Path::new("parameters"), "updates to parameters are forbidden.");
    }
}

/// Each term has keys of its own with values of its own, and no two terms are the same.
fn topologies(terms: &[TopologySelectorTerm], errors: &mut Errors) {
    let list = Path::new("allowedTopologies");
    let mut seen: Vec<BTreeMap<&str, Vec<&str>>> = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        let path = list.index(i);
        let expressions = path.child("matchLabelExpressions");
        let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (i, requirement) in term.match_label_expressions.iter().flatten().enumerate() {
            let path = expressions.index(i);
            let values_path = path.child("values");
            if requirement.values.is_empty() {
                errors.required(&values_path, "");
            }
            let mut values: Vec<&str> = Vec::new();
            for (i, value) in requirement.values.iter().enumerate() {
                if values.contains(&value.as_str()) {
                    errors.duplicate(&values_path.index(i), value);
                }
                values.push(value);
            }
            values.sort_unstable();
            errors.invalid_each(&path.child("key"), &requirement.key, names::qualified(&requirement.key));
            if keys.insert(&requirement.key, values).is_some() {
                errors.duplicate(&path.child("key"), &requirement.key);
            }
        }
        if seen.contains(&keys) {
            errors.duplicate(&expressions, "");
        }
        seen.push(keys);
    }
}

impl Validate for VolumeAttachment {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        attachment(self, errors);
        // The rules that the first version of the kind has beyond those of the ones before it.
        let spec = Path::new("spec");
        volume_source::driver_name(&self.spec.attacher, &spec.child("attacher"), errors);
        if let Some(name) = &self.spec.source.persistent_volume_name {
            let source = spec.child("source");
            errors.invalid_each(&source.child("persistentVolumeName"), name, names::dns_subdomain(name));
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        attachment(self, errors);
        if self.spec != old.spec {
            errors.invalid(&Path::new("spec"), &self.spec, IMMUTABLE);
        }
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        self.validate_update(old, errors);
    }
}

fn attachment(attachment: &VolumeAttachment, errors: &mut Errors) {
    let spec = Path::new("spec");
    if attachment.spec.attacher.is_empty() {
        errors.required(&spec.child("attacher"), "");
    }
    source(&attachment.spec.source, &spec.child("source"), errors);
    let node = &attachment.spec.node_name;
    errors.invalid_each(&spec.child("nodeName"), node, names::dns_subdomain(node));
    let Some(status) = &attachment.status else { return };
    let path = Path::new("status");
    let keys: usize = status.attachment_metadata.iter().flatten().map(|(key, _)| key.len()).sum();
    if keys + size(status.attachment_metadata.as_ref(), String::len) > ATTACHMENT_BYTES_MAX {
        errors.too_long(&path.child("attachmentMetadata"), ATTACHMENT_BYTES_MAX);
    }
    volume_error(status.attach_error.as_ref(), &path.child("attachError"), errors);
    volume_error(status.detach_error.as_ref(), &path.child("detachError"), errors);
}

fn source(source: &VolumeAttachmentSource, path: &Path<'_>, errors: &mut Errors) {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (&source.inline_volume_spec, &source.persistent_volume_name) {
        (None, None) => errors.required(path, ONE),
        (Some(_), Some(_)) => errors.forbidden(path, ONE),
        (None, Some(name)) if name.is_empty() => {
            errors.required(&path.child("persistentVolumeName"), "must specify non empty persistentVolumeName");
        }
        (None, Some(_)) => {}
        (Some(spec), None) => persistent_volume::inline_spec(spec, &path.child("inlineVolumeSpec"), errors),
    }
}

fn volume_error(error: Option<&VolumeError>, path: &Path<'_>, errors: &mut Errors) {
    let Some(error) = error else { return };
    if text(error.message.as_ref()).len() > ERROR_BYTES_MAX {
        errors.too_long(&path.child("message"), ERROR_BYTES_MAX);
    }
    if let Some(code) = error.error_code.filter(|code| *code < 0) {
        errors.invalid(&path.child("errorCode"), &code, &names::not_between(0, i64::from(i32::MAX)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    #[test]
    fn classes_have_a_provisioner() {
        let class = |rest: &str| format!(r#"{{"metadata":{{"name":"s"}},{rest}}}"#);
        let term = r#"{"matchLabelExpressions":[{"key":"a","values":["b"]}]}"#;
        for (rest, expected) in [
            (r#""provisioner":"a.test/p""#.to_owned(), &[][..]),
            (r#""provisioner":"""#.to_owned(), &["provisioner Required"]),
            (r#""provisioner":"a b""#.to_owned(), &["provisioner Invalid"]),
            (r#""provisioner":"p","reclaimPolicy":"Recycle""#.to_owned(), &["reclaimPolicy NotSupported"]),
            (r#""provisioner":"p","volumeBindingMode":"Odd""#.to_owned(), &["volumeBindingMode NotSupported"]),
            (r#""provisioner":"p","parameters":{"":"x"}"#.to_owned(), &["parameters Invalid"]),
            (
                format!(r#""provisioner":"p","allowedTopologies":[{term},{term}]"#),
                &["allowedTopologies[1].matchLabelExpressions Duplicate"],
            ),
        ] {
            assert_eq!(refused::<StorageClass>(&class(&rest)), expected, "{rest}");
        }
        let old = class(r#""provisioner":"p","parameters":{"a":"1"}"#);
        let new = class(r#""provisioner":"q","reclaimPolicy":"Retain","volumeBindingMode":"WaitForFirstConsumer""#);
        let changed =
            ["parameters Forbidden", "provisioner Forbidden", "reclaimPolicy Forbidden", "volumeBindingMode Invalid"];
        assert_eq!(refused_update::<StorageClass>(&old, &new), changed);
    }

    #[test]
    fn attributes_and_attachments() {
        let class = r#"{"metadata":{"name":"s"},"driverName":"d"}"#;
        assert_eq!(refused::<VolumeAttributesClass>(class), ["parameters Required"]);
        let attachment = |source: &str| {
            format!(r#"{{"metadata":{{"name":"a"}},"spec":{{"attacher":"d","nodeName":"n","source":{{{source}}}}}}}"#)
        };
        for (source, expected) in [
            (r#""persistentVolumeName":"v""#, &[][..]),
            ("", &["spec.source Required"]),
            (r#""persistentVolumeName":"v","inlineVolumeSpec":{}"#, &["spec.source Forbidden"]),
            (
                r#""inlineVolumeSpec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1"},"hostPath":{"path":"/x"}}"#,
                &["spec.source.inlineVolumeSpec.capacity Forbidden", "spec.source.inlineVolumeSpec.csi Required"],
            ),
        ] {
            assert_eq!(refused::<VolumeAttachment>(&attachment(source)), expected, "{source}");
        }
        let (old, new) = (attachment(r#""persistentVolumeName":"v""#), attachment(r#""persistentVolumeName":"w""#));
        assert_eq!(refused_update::<VolumeAttachment>(&old, &new), ["spec Invalid"]);
    }
}
