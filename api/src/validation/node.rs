//! Nodes.

use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};

use super::rules::{not_negative, one_of, required, text, unique};
use super::{Validate, ip, meta};
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity;

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
    spec(node.spec.as_ref(), errors);
    status(node, errors);
}

pub(super) fn update(new: &Node, old: &Node, errors: &mut Errors) {
    spec(new.spec.as_ref(), errors);
    let default = NodeSpec::default();
    let (new, old) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    for (field, new, old) in
        [("podCIDR", &new.pod_cidr, &old.pod_cidr), ("providerID", &new.provider_id, &old.provider_id)]
    {
        if old.as_ref().is_some_and(|o| !o.is_empty()) && new != old {
            errors.forbidden(&SPEC.child(field), "node updates may not change what is set");
        }
    }
}

fn spec(spec: Option<&NodeSpec>, errors: &mut Errors) {
    let Some(spec) = spec else { return };
    let list = SPEC.child("podCIDRs");
    for (i, cidr) in spec.pod_cidrs.iter().flatten().enumerate() {
        ip::cidr(cidr, &list.index(i), errors);
    }
    taints(spec.taints.as_deref().unwrap_or_default(), &SPEC.child("taints"), errors);
}

fn taints(taints: &[Taint], list: &Path<'_>, errors: &mut Errors) {
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
    let Some(status) = &node.status else { return };
    let path = Path::new("status");
    for (field, list) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
        let path = path.child(field);
        for (name, amount) in list.iter().flatten() {
            let units = quantity::parse(amount).map_or(0, |q| q.units());
            not_negative(Some(units), &path.key(name), errors);
        }
    }
    let addresses = status.addresses.as_deref().unwrap_or_default();
    unique(addresses, |a| Some((a.type_.clone(), a.address.clone())), &path.child("addresses"), None, errors);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;

    use crate::validation::tests::{refused, refused_update};

    #[test]
    fn taints_keep_pods_off() {
        let node = r#"{"metadata":{"name":"n"},"spec":{"taints":[{"key":"a","effect":"NoSchedule"},{"key":"a","effect":"NoSchedule"},{"key":"","effect":"Odd"}]}}"#;
        let mut expected = vec!["spec.taints[2].key Invalid"; 2];
        expected.extend(["spec.taints[2].effect NotSupported", "spec.taints[1] Duplicate"]);
        assert_eq!(refused::<Node>(node), expected);
    }

    #[test]
    fn ranges_stay() {
        let node = |cidr: &str| format!(r#"{{"metadata":{{"name":"n"}},"spec":{{"podCIDR":"{cidr}"}}}}"#);
        assert_eq!(refused_update::<Node>(&node("127.64.0.0/16"), &node("127.65.0.0/16")), ["spec.podCIDR Forbidden"]);
    }
}
