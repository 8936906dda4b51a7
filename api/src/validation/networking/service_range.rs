//! The addresses of services: the ranges that they are taken from, and each one that is taken.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{IPAddress, ParentReference, ServiceCIDR};

use crate::field::{Errors, Path};
use crate::names;
use crate::validation::meta::Naming;
use crate::validation::rules::{IMMUTABLE, immutable, named, named_if_set};
use crate::validation::{Validate, ip, meta};

const CIDRS_MAX: usize = 2;

impl Validate for IPAddress {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, Naming { name: ip::canonical, namespaced: false }, errors);
        parent(&self.spec.parent_ref, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        immutable(&self.spec.parent_ref, &old.spec.parent_ref, &Path::new("spec").child("parentRef"), errors);
    }
}

impl Validate for ServiceCIDR {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        cidrs(self.cidrs(), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (new, old) = (self.cidrs(), old.cidrs());
        let path = Path::new("spec");
        let list = path.child("cidrs");
        let grows = (old.len(), new.len()) == (1, CIDRS_MAX);
        if new.len() != old.len() && !grows {
            return errors.invalid(&list, new, IMMUTABLE);
        }
        for (i, (new, old)) in new.iter().zip(old).enumerate() {
            immutable(new, old, &list.index(i), errors);
        }
        if grows {
            cidrs(new, errors);
        }
    }
}

trait Cidrs {
    fn cidrs(&self) -> &[String];
}

impl Cidrs for ServiceCIDR {
    fn cidrs(&self) -> &[String] {
        self.spec.as_ref().and_then(|s| s.cidrs.as_deref()).unwrap_or_default()
    }
}

fn parent(parent: &ParentReference, errors: &mut Errors) {
    let path = Path::new("spec");
    let path = path.child("parentRef");
    if *parent == ParentReference::default() {
        return errors.required(&path, "");
    }
    named_if_set(parent.group.as_ref(), names::dns_subdomain, &path.child("group"), errors);
    named(&parent.resource, names::path_segment, &path.child("resource"), errors);
    named(&parent.name, names::path_segment, &path.child("name"), errors);
    named_if_set(parent.namespace.as_ref(), names::path_segment, &path.child("namespace"), errors);
}

/// A range of addresses, or one of each family.
fn cidrs(cidrs: &[String], errors: &mut Errors) {
    let path = Path::new("spec");
    let list = path.child("cidrs");
    if cidrs.is_empty() {
        return errors.required(&list, "at least one CIDR required");
    }
    if cidrs.len() > CIDRS_MAX {
        return errors.invalid(&list, cidrs, "may only hold up to 2 values");
    }
    for (i, cidr) in cidrs.iter().enumerate() {
        ip::canonical_cidr(cidr, &list.index(i), errors);
    }
    let family =
        |cidr: &String| cidr.split_once('/').and_then(|(ip, _)| ip.parse().ok()).map(|ip: IpAddr| ip.is_ipv4());
    if let [first, second] = cidrs
        && family(first).is_some()
        && family(first) == family(second)
    {
        let rule = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.invalid(&list, cidrs, rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    #[test]
    fn addresses_have_a_parent() {
        for (name, parent, expected) in [
            ("10.0.0.1", r#"{"resource":"services","name":"s","namespace":"n"}"#, &[][..]),
            ("2001:db8::1", r#"{"resource":"services","name":"s"}"#, &[]),
            ("010.0.0.1", r#"{"resource":"services","name":"s"}"#, &["metadata.name Invalid"]),
            ("2001:DB8::1", r#"{"resource":"services","name":"s"}"#, &["metadata.name Invalid"]),
            ("10.0.0.1", "{}", &["spec.parentRef Required"]),
            (
                "10.0.0.1",
                r#"{"group":"A","name":"a/b"}"#,
                &["spec.parentRef.group Invalid", "spec.parentRef.resource Required", "spec.parentRef.name Invalid"],
            ),
        ] {
            let json = format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{"parentRef":{parent}}}}}"#);
            assert_eq!(refused::<IPAddress>(&json), expected, "{json}");
        }
    }

    #[test]
    fn ranges_only_grow() {
        let range = |cidrs: &str| format!(r#"{{"metadata":{{"name":"r"}},"spec":{{"cidrs":{cidrs}}}}}"#);
        for (cidrs, expected) in [
            (r#"["10.0.0.0/24","2001:db8::/64"]"#, &[][..]),
            ("[]", &["spec.cidrs Required"]),
            (r#"["a","b","c"]"#, &["spec.cidrs Invalid"]),
            (r#"["10.0.0.1/24"]"#, &["spec.cidrs[0] Invalid"]),
            (r#"["10.0.0.0/24","10.0.1.0/24"]"#, &["spec.cidrs Invalid"]),
        ] {
            assert_eq!(refused::<ServiceCIDR>(&range(cidrs)), expected, "{cidrs}");
        }
        let old = range(r#"["10.0.0.0/24"]"#);
        for (cidrs, expected) in [
            (r#"["10.0.0.0/24","2001:db8::/64"]"#, &[][..]),
            (r#"["10.0.1.0/24"]"#, &["spec.cidrs[0] Invalid"]),
            ("[]", &["spec.cidrs Invalid"]),
        ] {
            assert_eq!(refused_update::<ServiceCIDR>(&old, &range(cidrs)), expected, "{cidrs}");
        }
    }
}
