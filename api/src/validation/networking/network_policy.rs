//! Network policies.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::{one_of, one_of_if_set, port_or_name};
use crate::validation::{Validate, ip, labels, meta};

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const TYPES: [&str; 2] = ["Ingress", "Egress"];

impl Validate for NetworkPolicy {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        spec(self.spec.as_ref(), errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        spec(self.spec.as_ref(), errors);
    }
}

fn spec(spec: Option<&NetworkPolicySpec>, errors: &mut Errors) {
    let Some(spec) = spec else { return };
    let path = Path::new("spec");
    labels::selector(spec.pod_selector.as_ref(), &path.child("podSelector"), errors);
    let list = path.child("ingress");
    for (i, rule) in spec.ingress.iter().flatten().enumerate() {
        let path = list.index(i);
        ports(rule.ports.as_deref().unwrap_or_default(), &path.child("ports"), errors);
        peers(rule.from.as_deref().unwrap_or_default(), &path.child("from"), errors);
    }
    let list = path.child("egress");
    for (i, rule) in spec.egress.iter().flatten().enumerate() {
        let path = list.index(i);
        ports(rule.ports.as_deref().unwrap_or_default(), &path.child("ports"), errors);
        peers(rule.to.as_deref().unwrap_or_default(), &path.child("to"), errors);
    }
    let types = spec.policy_types.as_deref().unwrap_or_default();
    let list = path.child("policyTypes");
    if types.len() > TYPES.len() {
        return errors.invalid(&list, types, "may not specify more than two policyTypes");
    }
    for (i, type_) in types.iter().enumerate() {
        one_of(type_, &TYPES, &list.index(i), errors);
    }
}

fn ports(ports: &[NetworkPolicyPort], list: &Path<'_>, errors: &mut Errors) {
    for (i, port) in ports.iter().enumerate() {
        let path = list.index(i);
        one_of_if_set(port.protocol.as_ref(), &PROTOCOLS, &path.child("protocol"), errors);
        if let Some(value) = &port.port {
            port_or_name(value, &path.child("port"), errors);
        }
        let Some(end) = port.end_port else { continue };
        let at = path.child("endPort");
        match &port.port {
            Some(IntOrString::Int(first)) => {
                if end < *first {
                    errors.invalid(&at, &end, "must be greater than or equal to `port`");
                }
                errors.invalid_each(&at, &end, names::port_number(end));
            }
            Some(IntOrString::String(_)) => {
                errors.invalid(&at, &end, "may not be specified when `port` is non-numeric");
            }
            None => errors.invalid(&at, &end, "may not be specified when `port` is not specified"),
        }
    }
}

fn peers(peers: &[NetworkPolicyPeer], list: &Path<'_>, errors: &mut Errors) {
    for (i, peer) in peers.iter().enumerate() {
        let path = list.index(i);
        labels::selector(peer.pod_selector.as_ref(), &path.child("podSelector"), errors);
        labels::selector(peer.namespace_selector.as_ref(), &path.child("namespaceSelector"), errors);
        if let Some(block) = &peer.ip_block {
            self::block(block, &path.child("ipBlock"), errors);
        }
        let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
        match (selects, &peer.ip_block) {
            (false, None) => errors.required(&path, "must specify a peer"),
            (true, Some(_)) => errors.forbidden(&path, "may not specify both ipBlock and another peer"),
            _ => {}
        }
    }
}

fn block(block: &IPBlock, path: &Path<'_>, errors: &mut Errors) {
    let at = path.child("cidr");
    if block.cidr.is_empty() {
        return errors.required(&at, "");
    }
    ip::cidr(&block.cidr, &at, errors);
    let Some(whole) = Range::parse(&block.cidr) else { return };
    let list = path.child("except");
    for (i, except) in block.except.iter().flatten().enumerate() {
        ip::cidr(except, &list.index(i), errors);
        if Range::parse(except).is_some_and(|part| !part.is_strictly_in(whole)) {
            errors.invalid(&list.index(i), except, "must be a strict subset of `cidr`");
        }
    }
}

/// A range of addresses, as the number that its first one is.
#[derive(Clone, Copy)]
struct Range {
    first: u128,
    prefix_bits: u32,
    address_bits: u32,
}

impl Range {
    fn parse(cidr: &str) -> Option<Self> {
        let (address, bits) = cidr.split_once('/')?;
        let (first, address_bits) = match address.parse().ok()? {
            IpAddr::V4(v4) => (u32::from(v4).into(), 32),
            IpAddr::V6(v6) => (u128::from(v6), 128),
        };
        let prefix_bits = bits.parse().ok().filter(|bits| *bits <= address_bits)?;
        Some(Self { first, prefix_bits, address_bits })
    }

    fn is_strictly_in(self, whole: Self) -> bool {
        let network = |first: u128| first.checked_shr(whole.address_bits - whole.prefix_bits).unwrap_or(0);
        self.address_bits == whole.address_bits
            && self.prefix_bits > whole.prefix_bits
            && network(self.first) == network(whole.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    fn policy(spec: &str) -> String {
        format!(r#"{{"metadata":{{"name":"p","namespace":"n"}},"spec":{spec}}}"#)
    }

    #[test]
    fn policies_are_held_to_their_rules() {
        for (spec, expected) in [
            (r#"{"podSelector":{}}"#, &[][..]),
            (r#"{"podSelector":{"matchLabels":{"a b":"c"}}}"#, &["spec.podSelector.matchLabels Invalid"]),
            (r#"{"ingress":[{"from":[{}]}]}"#, &["spec.ingress[0].from[0] Required"]),
            (
                r#"{"egress":[{"to":[{"podSelector":{},"ipBlock":{"cidr":"10.0.0.0/8"}}]}]}"#,
                &["spec.egress[0].to[0] Forbidden"],
            ),
            (
                r#"{"egress":[{"to":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16","11.0.0.0/16","10.0.0.0/8","x"]}}]}]}"#,
                &[
                    "spec.egress[0].to[0].ipBlock.except[1] Invalid",
                    "spec.egress[0].to[0].ipBlock.except[2] Invalid",
                    "spec.egress[0].to[0].ipBlock.except[3] Invalid",
                ],
            ),
            (r#"{"ingress":[{"from":[{"ipBlock":{}}]}]}"#, &["spec.ingress[0].from[0].ipBlock.cidr Required"]),
            (
                r#"{"ingress":[{"ports":[{"port":0},{"protocol":"X"},{"port":"a--"},{"port":9,"endPort":8},{"endPort":8},{"port":"a","endPort":8}]}]}"#,
                &[
                    "spec.ingress[0].ports[0].port Invalid",
                    "spec.ingress[0].ports[1].protocol NotSupported",
                    "spec.ingress[0].ports[2].port Invalid",
                    "spec.ingress[0].ports[2].port Invalid",
                    "spec.ingress[0].ports[3].endPort Invalid",
                    "spec.ingress[0].ports[4].endPort Invalid",
                    "spec.ingress[0].ports[5].endPort Invalid",
                ],
            ),
            (r#"{"policyTypes":["Ingress","Sideways"]}"#, &["spec.policyTypes[1] NotSupported"]),
            (r#"{"policyTypes":["Ingress","Egress","Ingress"]}"#, &["spec.policyTypes Invalid"]),
        ] {
            assert_eq!(refused::<NetworkPolicy>(&policy(spec)), expected, "{spec}");
            assert_eq!(refused_update::<NetworkPolicy>(&policy("{}"), &policy(spec)), expected, "{spec}");
        }
    }
}
