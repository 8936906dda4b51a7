//! The addresses of a service in its cluster, and their families. Source: `ValidateServiceClusterIPsRelatedFields`,
//! `validateUpgradeDowngradeClusterIPs` and `validateUpgradeDowngradeIPFamilies`.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{HEADLESS, SPEC};
use crate::field::{Errors, Path};
use crate::validation::ip;
use crate::validation::rules::{one_of, one_of_if_set, text, unique};

const CLUSTER_IPS: Path<'static> = SPEC.child("clusterIPs");
const FAMILIES: Path<'static> = SPEC.child("ipFamilies");
const POLICY: Path<'static> = SPEC.child("ipFamilyPolicy");
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const SET: &str = "may not change once set";

/// What is wrong with the addresses that a service asks for: told before it is given any.
#[must_use]
pub fn service_addresses(service: &Service) -> Errors {
    let mut errors = Errors::new();
    if let Some(spec) = &service.spec {
        addresses(spec, &mut errors);
    }
    errors
}

pub(super) fn is_external_name(spec: &ServiceSpec) -> bool {
    text(spec.type_.as_ref()) == "ExternalName"
}

pub(super) fn is_headless(spec: &ServiceSpec) -> bool {
    matches!(cluster_ips(spec), [only] if only == HEADLESS)
}

fn cluster_ips(spec: &ServiceSpec) -> &[String] {
    match (spec.cluster_ips.as_deref().unwrap_or_default(), &spec.cluster_ip) {
        ([], Some(ip)) if !ip.is_empty() => std::slice::from_ref(ip),
        (ips, _) => ips,
    }
}

fn families(spec: &ServiceSpec) -> &[String] {
    spec.ip_families.as_deref().unwrap_or_default()
}

/// A service that is only a name has none of them.
pub(super) fn none(spec: &ServiceSpec, errors: &mut Errors) {
    let rule = "may not be set for ExternalName services";
    if !cluster_ips(spec).is_empty() {
        errors.forbidden(&CLUSTER_IPS, rule);
    }
    if !families(spec).is_empty() {
        errors.forbidden(&FAMILIES, rule);
    }
    if spec.ip_family_policy.is_some() {
        errors.forbidden(&POLICY, rule);
    }
}

pub(super) fn addresses(spec: &ServiceSpec, errors: &mut Errors) {
    if is_external_name(spec) {
        return;
    }
    let ips = cluster_ips(spec);
    match (text(spec.cluster_ip.as_ref()), ips) {
        ("", [_, ..]) => errors.invalid(&CLUSTER_IPS, ips, "must be empty when `clusterIP` is not specified"),
        (ip, [first, ..]) if ip != first => errors.invalid(&CLUSTER_IPS, ips, "first value must match `clusterIP`"),
        _ => {}
    }
    for (i, family) in families(spec).iter().enumerate() {
        one_of(family, &["IPv4", "IPv6"], &FAMILIES.index(i), errors);
    }
    unique(families(spec), |family| Some(family.clone()), &FAMILIES, None, errors);
    one_of_if_set(spec.ip_family_policy.as_ref(), &POLICIES, &POLICY, errors);
    let before = errors.len();
    for (i, ip) in ips.iter().enumerate() {
        if i > 0 || ip != HEADLESS {
            ip::address(ip, &CLUSTER_IPS.index(i), errors);
        } else if ips.len() > 1 {
            errors.invalid(&CLUSTER_IPS, ips, "'None' must be the first and only value");
        }
    }
    let wrong = errors.len() > before;
    if ips.len() > 2 {
        errors.invalid(&CLUSTER_IPS, ips, "may only hold up to 2 values");
    }
    if !wrong {
        each_of_its_family(spec, ips, errors);
    }
}

fn each_of_its_family(spec: &ServiceSpec, ips: &[String], errors: &mut Errors) {
    if ips.len() > 1 && [true, false].into_iter().any(|v6| ips.iter().all(|ip| ip.contains(':') == v6)) {
        errors.invalid(&CLUSTER_IPS, ips, "may specify no more than one IP for each IP family");
    }
    if is_headless(spec) {
        return;
    }
    for (i, (ip, family)) in ips.iter().zip(families(spec)).enumerate() {
        if matches!((family.as_str(), ip.contains(':')), ("IPv4", true) | ("IPv6", false)) {
            let rule = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(&CLUSTER_IPS.index(i), ip, &rule);
        }
    }
}

/// Addresses stay while the service has some; a second one may come and go.
pub(super) fn update(new: &ServiceSpec, old: &ServiceSpec, errors: &mut Errors) {
    if is_external_name(new) || is_external_name(old) {
        return;
    }
    if !(is_headless(new) && is_headless(old)) {
        let (ips, old_ips) = (cluster_ips(new), cluster_ips(old));
        stay(ips, old_ips, |i| (CLUSTER_IPS, i), errors);
        if ips.is_empty() && !old_ips.is_empty() {
            errors.invalid(&CLUSTER_IPS.index(0), ips, "primary clusterIP can not be unset");
        }
        second_released(
            new,
            ips,
            old_ips,
            "must be set to 'SingleStack' when releasing the secondary clusterIP",
            errors,
        );
    }
    if !is_headless(new) && !is_headless(old) {
        let (now, before) = (families(new), families(old));
        stay(now, before, |_| (FAMILIES, 0), errors);
        second_released(new, now, before, "must be set to 'SingleStack' when releasing the secondary ipFamily", errors);
    }
}

fn stay(new: &[String], old: &[String], at: impl Fn(usize) -> (Path<'static>, usize), errors: &mut Errors) {
    let kept = if new.len() == old.len() { new.len() } else { new.len().min(old.len()).min(1) };
    for i in (0..kept).filter(|i| new[*i] != old[*i]) {
        let (list, i) = at(i);
        errors.invalid(&list.index(i), new, SET);
    }
}

fn second_released(spec: &ServiceSpec, new: &[String], old: &[String], rule: &str, errors: &mut Errors) {
    if old.len() > new.len() && new.len() == 1 && spec.ip_family_policy.as_deref() != Some("SingleStack") {
        errors.invalid(&POLICY, &spec.ip_family_policy, rule);
    }
}
