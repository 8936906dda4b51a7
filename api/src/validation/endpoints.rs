//! Endpoints and endpoint slices.

use std::collections::BTreeMap;

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};

use super::rules::{between, immutable, named_if_set, one_of_if_set, required, required_one_of, text, unique};
use super::{Validate, ip, labels, meta};
use crate::field::{Errors, Path};
use crate::names;

impl Validate for core::Endpoints {
    fn validate(&self, errors: &mut Errors) {
        endpoints(self, errors);
    }

    /// What was allowed once stays.
    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.subsets != old.subsets {
            subsets(self, errors);
        }
    }
}

impl Validate for discovery::EndpointSlice {
    fn validate(&self, errors: &mut Errors) {
        slice(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update_slice(self, old, errors);
    }
}

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const TOPOLOGY_MAX: usize = 16;
const HINTS_MAX: usize = 8;

pub(super) fn endpoints(endpoints: &core::Endpoints, errors: &mut Errors) {
    meta::create(&endpoints.metadata, meta::IN_NAMESPACE, errors);
    subsets(endpoints, errors);
}

pub(super) fn subsets(endpoints: &core::Endpoints, errors: &mut Errors) {
    let list = Path::new("subsets");
    for (i, subset) in endpoints.subsets.iter().flatten().enumerate() {
        let path = list.index(i);
        let ready = subset.addresses.as_deref().unwrap_or_default();
        let not_ready = subset.not_ready_addresses.as_deref().unwrap_or_default();
        if ready.is_empty() && not_ready.is_empty() {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        addresses(ready, &path.child("addresses"), errors);
        addresses(not_ready, &path.child("notReadyAddresses"), errors);
        ports(subset.ports.as_deref().unwrap_or_default(), &path.child("ports"), errors);
    }
}

fn addresses(addresses: &[core::EndpointAddress], list: &Path<'_>, errors: &mut Errors) {
    for (i, address) in addresses.iter().enumerate() {
        let path = list.index(i);
        ip::endpoint(&address.ip, &path.child("ip"), errors);
        named_if_set(address.hostname.as_ref(), names::dns_label, &path.child("hostname"), errors);
        any_if_set(address.node_name.as_ref(), names::dns_subdomain, &path.child("nodeName"), errors);
    }
}

fn ports(ports: &[core::EndpointPort], list: &Path<'_>, errors: &mut Errors) {
    for (i, port) in ports.iter().enumerate() {
        let path = list.index(i);
        if ports.len() > 1 {
            required(text(port.name.as_ref()), &path.child("name"), errors);
        }
        named_if_set(port.name.as_ref(), names::dns_label, &path.child("name"), errors);
        between(port.port, 1, 65535, &path.child("port"), errors);
        required_one_of(text(port.protocol.as_ref()), &PROTOCOLS, &path.child("protocol"), errors);
        any_if_set(port.app_protocol.as_ref(), names::qualified, &path.child("appProtocol"), errors);
    }
}

/// A text, if there is one, must pass a check of names; one that is there and empty does not.
fn any_if_set(value: Option<&String>, check: fn(&str) -> Vec<String>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(value) = value {
        errors.invalid_each(path, value, check(value));
    }
}

pub(super) fn slice(slice: &discovery::EndpointSlice, errors: &mut Errors) {
    meta::create(&slice.metadata, meta::IN_NAMESPACE, errors);
    slice_fields(slice, errors);
}

pub(super) fn update_slice(new: &discovery::EndpointSlice, old: &discovery::EndpointSlice, errors: &mut Errors) {
    immutable(&new.address_type, &old.address_type, &Path::new("addressType"), errors);
    slice_fields(new, errors);
}

fn slice_fields(slice: &discovery::EndpointSlice, errors: &mut Errors) {
    required_one_of(&slice.address_type, &["FQDN", "IPv4", "IPv6"], &Path::new("addressType"), errors);
    let endpoints = slice.endpoints.as_deref().unwrap_or_default();
    if endpoints.len() > ENDPOINTS_MAX {
        errors.too_many(&Path::new("endpoints"), endpoints.len(), ENDPOINTS_MAX);
    } else {
        let list = Path::new("endpoints");
        for (i, endpoint) in endpoints.iter().enumerate() {
            slice_endpoint(endpoint, &slice.address_type, &list.index(i), errors);
        }
    }
    let ports = slice.ports.as_deref().unwrap_or_default();
    if ports.len() > PORTS_MAX {
        errors.too_many(&Path::new("ports"), ports.len(), PORTS_MAX);
        return;
    }
    let list = Path::new("ports");
    unique(ports, |p| p.name.clone(), &list, Some("name"), errors);
    for (i, port) in ports.iter().enumerate() {
        let path = list.index(i);
        named_if_set(port.name.as_ref(), names::dns_label, &path.child("name"), errors);
        one_of_if_set(port.protocol.as_ref(), &PROTOCOLS, &path.child("protocol"), errors);
        if let Some(number) = port.port {
            between(number, 1, 65535, &path.child("port"), errors);
        }
        any_if_set(port.app_protocol.as_ref(), names::qualified, &path.child("appProtocol"), errors);
    }
}

fn slice_endpoint(endpoint: &discovery::Endpoint, type_: &str, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("addresses");
    match endpoint.addresses.len() {
        0 => errors.required(&list, "must contain at least 1 address"),
        count if count > ADDRESSES_MAX => errors.too_many(&list, count, ADDRESSES_MAX),
        _ => {}
    }
    for (i, address) in endpoint.addresses.iter().enumerate() {
        let path = list.index(i);
        match type_ {
            "FQDN" => domain(address, &path, errors),
            "IPv4" if address.contains(':') => errors.invalid(&path, address, "must be an IPv4 address"),
            "IPv6" if !address.contains(':') => errors.invalid(&path, address, "must be an IPv6 address"),
            "IPv4" | "IPv6" => ip::endpoint(address, &path, errors),
            _ => {}
        }
    }
    any_if_set(endpoint.node_name.as_ref(), names::dns_subdomain, &path.child("nodeName"), errors);
    let topology = path.child("deprecatedTopology");
    let count = endpoint.deprecated_topology.as_ref().map_or(0, BTreeMap::len);
    if count > TOPOLOGY_MAX {
        errors.too_many(&topology, count, TOPOLOGY_MAX);
    }
    labels::labels(endpoint.deprecated_topology.as_ref(), &topology, errors);
    any_if_set(endpoint.hostname.as_ref(), names::dns_label, &path.child("hostname"), errors);
    let Some(all) = &endpoint.hints else { return };
    let zones: Vec<&str> = all.for_zones.iter().flatten().map(|zone| &*zone.name).collect();
    hints(&zones, names::label_value, &path.child("hints").child("forZones"), errors);
    let nodes: Vec<&str> = all.for_nodes.iter().flatten().map(|node| &*node.name).collect();
    hints(&nodes, names::dns_subdomain, &path.child("hints").child("forNodes"), errors);
}

/// A domain has at least two labels, and may have the dot of the root.
fn domain(value: &str, path: &Path<'_>, errors: &mut Errors) {
    let name = value.strip_suffix('.').unwrap_or(value);
    if value.is_empty() {
        return errors.required(path, "");
    }
    let wrong = names::dns_subdomain(name);
    if wrong.is_empty() && !name.contains('.') {
        errors.invalid(path, value, "should be a domain with at least two segments separated by dots");
    }
    errors.invalid_each(path, value, wrong);
}

/// Who an endpoint is meant for: a few names, each once.
fn hints(named: &[&str], check: fn(&str) -> Vec<String>, list: &Path<'_>, errors: &mut Errors) {
    if named.len() > HINTS_MAX {
        return errors.too_many(list, named.len(), HINTS_MAX);
    }
    unique(named, |name| Some(*name), list, Some("name"), errors);
    for (i, name) in named.iter().enumerate() {
        errors.invalid_each(&list.index(i).child("name"), name, check(name));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};

    use crate::validation::tests::refused;

    const META: &str = r#""metadata":{"name":"a","namespace":"n"}"#;

    #[test]
    fn addresses_are_addresses() {
        for (subsets, expected) in [
            (r#"[{"addresses":[{"ip":"127.64.0.1"}],"ports":[{"port":80}]}]"#, &[][..]),
            (r"[{}]", &["subsets[0] Required"]),
            (
                r#"[{"addresses":[{"ip":"x"},{"ip":"0.0.0.0"}],"ports":[{"port":0},{"port":1,"name":"A"}]}]"#,
                &[
                    "subsets[0].addresses[0].ip Invalid",
                    "subsets[0].addresses[1].ip Invalid",
                    "subsets[0].ports[0].name Required",
                    "subsets[0].ports[0].port Invalid",
                    "subsets[0].ports[1].name Invalid",
                ],
            ),
        ] {
            assert_eq!(refused::<core::Endpoints>(&format!(r#"{{{META},"subsets":{subsets}}}"#)), expected);
        }
    }

    #[test]
    fn slices_hold_addresses_of_one_type() {
        let slice = |type_: &str, address: &str| {
            format!(
                r#"{{{META},"addressType":"{type_}","endpoints":[{{"addresses":[{address}]}}],"ports":[{{"port":80}},{{"port":81}}]}}"#
            )
        };
        assert_eq!(refused::<discovery::EndpointSlice>(&slice("IPv4", r#""127.64.0.1""#)), ["ports[1].name Duplicate"]);
        let expected = ["addressType NotSupported", "endpoints[0].addresses Required", "ports[1].name Duplicate"];
        assert_eq!(refused::<discovery::EndpointSlice>(&slice("X", "")), expected);
    }

    #[test]
    fn endpoints_are_meant_for_somebody() {
        let slice =
            |type_: &str, endpoint: &str| format!(r#"{{{META},"addressType":"{type_}","endpoints":[{{{endpoint}}}]}}"#);
        for (type_, endpoint, expected) in [
            ("FQDN", r#""addresses":["a.b."]"#, &[][..]),
            ("FQDN", r#""addresses":["a"]"#, &["endpoints[0].addresses[0] Invalid"]),
            ("IPv6", r#""addresses":["10.0.0.1"]"#, &["endpoints[0].addresses[0] Invalid"]),
            ("IPv4", r#""addresses":["10.0.0.1"],"nodeName":"""#, &["endpoints[0].nodeName Invalid"]),
            ("IPv4", r#""addresses":["10.0.0.1"],"hostname":"A""#, &["endpoints[0].hostname Invalid"]),
            (
                "IPv4",
                r#""addresses":["10.0.0.1"],"hints":{"forZones":[{"name":"z"},{"name":"z"},{"name":"-"}]}"#,
                &["endpoints[0].hints.forZones[1].name Duplicate", "endpoints[0].hints.forZones[2].name Invalid"],
            ),
        ] {
            assert_eq!(refused::<discovery::EndpointSlice>(&slice(type_, endpoint)), expected, "{endpoint}");
        }
    }
}
