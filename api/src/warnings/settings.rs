//! What is said about objects that run no pods: ways to name things that are old, addresses that are written otherwise
//! than others write them.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::PersistentVolumeClaimSpec;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{IPBlock, Ingress, NetworkPolicy};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::storage::v1::{CSIStorageCapacity, StorageClass};

use super::pod::old_label;
use crate::any::AnyObject;
use crate::field::Path;
use crate::quantity;

/// The older way to name the class of an ingress.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// By whom slices are made whose addresses are right.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OWN_CONTROLLERS: [&str; 2] = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

/// What is said once, when an object is made.
pub(super) fn on_create(object: &AnyObject, warnings: &mut Vec<String>) {
    let Some(ingress) = object.downcast_ref::<Ingress>() else { return };
    let is_annotated = ingress.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(CLASS_ANNOTATION));
    if is_annotated && ingress.spec.as_ref().is_none_or(|spec| spec.ingress_class_name.is_none()) {
        let rule = "is deprecated, please use 'spec.ingressClassName' instead";
        warnings.push(format!("annotation {CLASS_ANNOTATION:?} {rule}"));
    }
}

/// What is said with every write.
pub(super) fn on_write(object: &AnyObject, warnings: &mut Vec<String>) {
    if let Some(policy) = object.downcast_ref::<NetworkPolicy>() {
        network_policy(policy, warnings);
    } else if let Some(slice) = object.downcast_ref::<EndpointSlice>() {
        endpoint_slice(slice, warnings);
    } else if let Some(class) = object.downcast_ref::<StorageClass>() {
        storage_class(class, warnings);
    } else if let Some(capacity) = object.downcast_ref::<CSIStorageCapacity>() {
        storage_capacity(capacity, warnings);
    } else if let Some(class) = object.downcast_ref::<RuntimeClass>() {
        let path = Path::new("scheduling");
        let selector = class.scheduling.iter().flat_map(|scheduling| scheduling.node_selector.iter().flatten());
        selector.for_each(|(key, _)| label(key, &path.child("nodeSelector"), warnings));
    }
}

fn label(key: &str, path: &Path<'_>, warnings: &mut Vec<String>) {
    warnings.extend(old_label(key).map(|rule| format!("{path}: {rule}")));
}

fn storage_class(class: &StorageClass, warnings: &mut Vec<String>) {
    let list = Path::new("allowedTopologies");
    for (i, term) in class.allowed_topologies.iter().flatten().enumerate() {
        let path = list.index(i);
        let list = path.child("matchLabelExpressions");
        for (i, requirement) in term.match_label_expressions.iter().flatten().enumerate() {
            label(&requirement.key, &list.index(i).child("key"), warnings);
        }
    }
}

fn storage_capacity(capacity: &CSIStorageCapacity, warnings: &mut Vec<String>) {
    let Some(selector) = &capacity.node_topology else { return };
    let path = Path::new("nodeTopology");
    let list = path.child("matchExpressions");
    for (i, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        label(&requirement.key, &list.index(i).child("key"), warnings);
    }
    let map = path.child("matchLabels");
    selector.match_labels.iter().flatten().for_each(|(key, _)| label(key, &map.child(key), warnings));
}

fn endpoint_slice(slice: &EndpointSlice, warnings: &mut Vec<String>) {
    if slice.address_type == "FQDN" {
        warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        return;
    }
    let manager = slice.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    if manager.is_some_and(|manager| OWN_CONTROLLERS.contains(&manager.as_str())) {
        return;
    }
    let list = Path::new("endpoints");
    for (i, endpoint) in slice.endpoints.iter().flatten().enumerate() {
        let path = list.index(i);
        let list = path.child("addresses");
        for (i, address) in endpoint.addresses.iter().enumerate() {
            ip(address, &list.index(i), warnings);
        }
    }
}

fn network_policy(policy: &NetworkPolicy, warnings: &mut Vec<String>) {
    let Some(spec) = &policy.spec else { return };
    let path = Path::new("spec");
    let list = path.child("ingress");
    for (i, rule) in spec.ingress.iter().flatten().enumerate() {
        let path = list.index(i);
        let blocks = rule.from.iter().flatten().map(|peer| peer.ip_block.as_ref());
        self::blocks(blocks, &path.child("from"), warnings);
    }
    let list = path.child("egress");
    for (i, rule) in spec.egress.iter().flatten().enumerate() {
        let path = list.index(i);
        let blocks = rule.to.iter().flatten().map(|peer| peer.ip_block.as_ref());
        self::blocks(blocks, &path.child("to"), warnings);
    }
}

fn blocks<'a>(blocks: impl Iterator<Item = Option<&'a IPBlock>>, list: &Path<'_>, warnings: &mut Vec<String>) {
    for (i, block) in blocks.enumerate() {
        let Some(block) = block else { continue };
        let path = list.index(i);
        let path = path.child("ipBlock");
        cidr(&block.cidr, &path.child("cidr"), warnings);
        let list = path.child("except");
        for (i, except) in block.except.iter().flatten().enumerate() {
            cidr(except, &list.index(i), warnings);
        }
    }
}

/// An address of IPv6 has one name that everybody writes. Source: `utilvalidation.GetWarningsForIP`.
pub(super) fn ip(value: &str, path: &Path<'_>, warnings: &mut Vec<String>) {
    let Ok(IpAddr::V6(address)) = value.parse() else { return };
    if address.to_string() != value {
        let form = "should be in RFC 5952 canonical format";
        warnings.push(format!("{path}: IPv6 address {value:?} {form} (\"{address}\")"));
    }
}

/// So has a range of them. Source: `utilvalidation.GetWarningsForCIDR`.
pub(super) fn cidr(value: &str, path: &Path<'_>, warnings: &mut Vec<String>) {
    let Some((address, bits)) = value.split_once('/') else { return };
    let Ok(IpAddr::V6(parsed)) = address.parse() else { return };
    if parsed.to_string() != address {
        let form = "should be in RFC 5952 canonical format";
        warnings.push(format!("{path}: IPv6 CIDR value {value:?} {form} (\"{parsed}/{bits}\")"));
    }
}

/// What a claim asks for is whole bytes.
pub(super) fn claim(spec: &PersistentVolumeClaimSpec, path: &Path<'_>, warnings: &mut Vec<String>) {
    let Some(resources) = &spec.resources else { return };
    let path = path.child("resources");
    for (field, list) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        let Some(amount) = list.as_ref().and_then(|list| list.get("storage")) else { continue };
        if !quantity::parse_or_zero(Some(amount)).is_whole() {
            let (path, rule) = (path.child(field), "is invalid, must be an integer");
            warnings.push(format!("{}: fractional byte value {:?} {rule}", path.key("storage"), amount.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{on_create, on_update};
    use super::*;
    use crate::validation::tests::object;

    #[test]
    fn old_names_and_other_forms_are_told() {
        let os = r#"deprecated since v1.14; use "kubernetes.io/os" instead"#;
        let class = format!("allowedTopologies[0].matchLabelExpressions[0].key: {os}");
        let class_object = object::<StorageClass>(
            r#"{"metadata":{"name":"c"},"provisioner":"p","allowedTopologies":[{"matchLabelExpressions":[{"key":"beta.kubernetes.io/os","values":["a"]}]}]}"#,
        );
        let annotated = r#"{"metadata":{"name":"i","annotations":{"kubernetes.io/ingress.class":"c"}},"spec":{}}"#;
        let annotation =
            r#"annotation "kubernetes.io/ingress.class" is deprecated, please use 'spec.ingressClassName' instead"#;
        let domain = r#"{"metadata":{"name":"s"},"addressType":"FQDN","endpoints":[]}"#;
        let six = r#"{"metadata":{"name":"s"},"addressType":"IPv6","endpoints":[{"addresses":["2001:DB8::1"]}]}"#;
        let policy = r#"{"metadata":{"name":"p"},"spec":{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"2001:DB8::/64"}}]}]}}"#;
        let runtime =
            r#"{"metadata":{"name":"r"},"handler":"h","scheduling":{"nodeSelector":{"beta.kubernetes.io/os":"a"}}}"#;
        let form = "should be in RFC 5952 canonical format";
        for (object, expected) in [
            (class_object, class),
            (object::<Ingress>(annotated), annotation.to_owned()),
            (object::<EndpointSlice>(domain), "spec.addressType: FQDN endpoints are deprecated".to_owned()),
            (
                object::<EndpointSlice>(six),
                format!(r#"endpoints[0].addresses[0]: IPv6 address "2001:DB8::1" {form} ("2001:db8::1")"#),
            ),
            (
                object::<NetworkPolicy>(policy),
                format!(
                    r#"spec.ingress[0].from[0].ipBlock.cidr: IPv6 CIDR value "2001:DB8::/64" {form} ("2001:db8::/64")"#
                ),
            ),
            (object::<RuntimeClass>(runtime), format!("scheduling.nodeSelector: {os}")),
        ] {
            assert_eq!(on_create(&object), std::slice::from_ref(&expected));
            let again = if object.is::<Ingress>() { Vec::new() } else { vec![expected] };
            assert_eq!(on_update(&object, &object), again);
        }
    }

    #[test]
    fn claims_of_sets_are_whole_bytes() {
        let set = object::<k8s_openapi::api::apps::v1::StatefulSet>(
            r#"{"metadata":{"name":"s"},"spec":{"selector":{},"template":{"spec":{"containers":[]}},"volumeClaimTemplates":[{"metadata":{"name":"v"},"spec":{"resources":{"requests":{"storage":"100m"}}}}]}}"#,
        );
        let rule = r#"fractional byte value "100m" is invalid, must be an integer"#;
        assert_eq!(on_create(&set), [format!("spec.volumeClaimTemplates[0].resources.requests[storage]: {rule}")]);
    }
}
