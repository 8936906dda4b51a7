//! Nodes.

use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};

use super::rules::{one_of, required, text, unique};
use super::{Validate, amounts, ip, meta};
use crate::field::{Errors, Path};
use crate::names;

impl Validate for Node {
    fn validate(&self, errors: &mut Errors) {
        create(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update(self, old, errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        status(self, errors);
    }
}

const SPEC: Path<'static> = Path::new("spec");
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "PreferNoSchedule"];

pub(super) fn create(node: &Node, errors: &mut Errors) {
    meta::create(&node.metadata, meta::IN_CLUSTER, errors);
    own(node, errors);
}

/// What a node is held to whenever it is written.
fn own(node: &Node, errors: &mut Errors) {
    taints(node, errors);
    resources(node, errors);
    features(node, errors);
    let ranges = node.spec.as_ref().and_then(|s| s.pod_cidrs.as_deref()).unwrap_or_default();
    let list = SPEC.child("podCIDRs");
    for (i, range) in ranges.iter().enumerate() {
        ip::cidr(range, &list.index(i), errors);
    }
    let of_one_family = [true, false].into_iter().any(|v6| ranges.iter().all(|r| r.contains(':') == v6));
    if ranges.len() > 2 || (ranges.len() == 2 && of_one_family) {
        errors.invalid(&list, ranges, "may specify no more than one CIDR for each IP family");
    }
}

pub(super) fn update(new: &Node, old: &Node, errors: &mut Errors) {
    own(new, errors);
    addresses(new, errors);
    let default = NodeSpec::default();
    let (new, old) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    if old.pod_cidrs.as_ref().is_some_and(|ranges| !ranges.is_empty()) && new.pod_cidrs != old.pod_cidrs {
        errors.forbidden(&SPEC.child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
    }
    if !text(old.provider_id.as_ref()).is_empty() && new.provider_id != old.provider_id {
        let rule = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(&SPEC.child("providerID"), rule);
    }
    if text(new.external_id.as_ref()) != text(old.external_id.as_ref()) {
        errors.forbidden(&SPEC.child("externalID"), "may not be updated");
    }
}

/// What a node's kubelet says that it can do: words in their order, `Feature` or `Feature/part`.
fn features(node: &Node, errors: &mut Errors) {
    let all = node.status.as_ref().and_then(|s| s.declared_features.as_deref()).unwrap_or_default();
    let path = Path::new("status");
    let list = path.child("declaredFeatures");
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    for (i, feature) in all.iter().enumerate() {
        let named = feature.starts_with(|c: char| c.is_ascii_uppercase()) && feature.split('/').all(is_word);
        if !named || feature.len() > names::SUBDOMAIN_BYTES_MAX {
            errors.invalid(&list.index(i), feature, "invalid feature name");
        }
        match all.get(i + 1) {
            Some(next) if next == feature => errors.duplicate(&list.index(i + 1), next),
            Some(next) if next < feature => {
                errors.invalid(&list.index(i + 1), next, "list must be sorted alphabetically");
            }
            _ => {}
        }
    }
}

/// Taints, whose path Kubernetes gives as if they were metadata.
fn taints(node: &Node, errors: &mut Errors) {
    let all = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
    let metadata = Path::new("metadata");
    each_taint(all, &metadata.child("taints"), errors);
}

fn each_taint(taints: &[Taint], list: &Path<'_>, errors: &mut Errors) {
    for (i, taint) in taints.iter().enumerate() {
        let path = list.index(i);
        errors.invalid_each(&path.child("key"), &taint.key, names::qualified(&taint.key));
        let value = text(taint.value.as_ref());
        errors.invalid_each(&path.child("value"), value, names::label_value(value));
        required(&taint.effect, &path.child("effect"), errors);
        if !taint.effect.is_empty() {
            one_of(&taint.effect, &EFFECTS, &path.child("effect"), errors);
        }
    }
    unique(taints, |t| Some((t.key.clone(), t.effect.clone())), list, None, errors);
}

pub(super) fn status(node: &Node, errors: &mut Errors) {
    taints(node, errors);
    resources(node, errors);
    features(node, errors);
    addresses(node, errors);
}

fn addresses(node: &Node, errors: &mut Errors) {
    let addresses = node.status.as_ref().and_then(|s| s.addresses.as_deref()).unwrap_or_default();
    let path = Path::new("status");
    unique(addresses, |a| Some((a.type_.clone(), a.address.clone())), &path.child("addresses"), None, errors);
}

fn resources(node: &Node, errors: &mut Errors) {
    let Some(status) = &node.status else { return };
    let path = Path::new("status");
    for (field, list) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
        for (name, amount) in list.iter().flatten() {
            amounts::amount(name, amount, &path.child(field).child(name), errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;

    use crate::validation::tests::{refused, refused_update};

    #[test]
    fn taints_keep_pods_off() {
        let node = r#"{"metadata":{"name":"n"},"spec":{"taints":[{"key":"a","effect":"NoSchedule"},{"key":"a","effect":"NoSchedule"},{"key":"","effect":"Odd"}]}}"#;
        let mut expected = vec!["metadata.taints[2].key Invalid"; 2];
        expected.extend(["metadata.taints[2].effect NotSupported", "metadata.taints[1] Duplicate"]);
        assert_eq!(refused::<Node>(node), expected);
    }

    #[test]
    fn features_are_words_in_order() {
        for (features, expected) in [
            (r#"["A","A/b"]"#, &[][..]),
            (r#"["B","A","A"]"#, &["status.declaredFeatures[1] Invalid", "status.declaredFeatures[2] Duplicate"]),
            (r#"["a b"]"#, &["status.declaredFeatures[0] Invalid"]),
        ] {
            let node = format!(r#"{{"metadata":{{"name":"n"}},"status":{{"declaredFeatures":{features}}}}}"#);
            assert_eq!(refused::<Node>(&node), expected, "{features}");
        }
    }

    #[test]
    fn ranges_stay() {
        let node = |cidr: &str| format!(r#"{{"metadata":{{"name":"n"}},"spec":{{"podCIDR":"{cidr}"}}}}"#);
        assert_eq!(refused_update::<Node>(&node("127.64.0.0/16"), &node("127.65.0.0/16")), ["spec.podCIDRs Forbidden"]);
    }
}
