//! The address families of a service. The cluster has one, IPv4; only what is headless and has no selector may be of two.
//!
//! Source: upstream's `initIPFamilyFields`.

use coracle_api::field::{Errors, Path};
use k8s_openapi::api::core::v1::ServiceSpec;

use super::{HEADLESS, has_cluster_ip};

const IPV4: &str = "IPv4";
const IPV6: &str = "IPv6";
const SINGLE: &str = "SingleStack";
const DUAL: &str = "RequireDualStack";

/// Fills in what a service with an address says of families; a policy that `old` had stays.
pub(super) fn complete(spec: &mut ServiceSpec, old: Option<&ServiceSpec>) {
    if !has_cluster_ip(spec) {
        return;
    }
    let alone = is_alone(spec);
    if spec.ip_family_policy.is_none() {
        let had = old.and_then(|old| old.ip_family_policy.clone());
        spec.ip_family_policy = had.or_else(|| Some(if alone { DUAL } else { SINGLE }.to_owned()));
    }
    if families(spec).is_empty() {
        spec.ip_families = Some(vec![IPV4.to_owned()]);
    }
    let is_single = spec.ip_family_policy.as_deref() == Some(SINGLE);
    if let Some([only]) = spec.ip_families.as_deref()
        && alone
        && !is_single
    {
        let other = if only == IPV4 { IPV6 } else { IPV4 };
        spec.ip_families = Some(vec![only.clone(), other.to_owned()]);
    }
}

/// A service that goes back to one family gives up the second.
pub(super) fn downgrade(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if spec.ip_family_policy.as_deref() != Some(SINGLE) {
        return;
    }
    if spec.ip_families == old.ip_families {
        spec.ip_families.iter_mut().for_each(|families| families.truncate(1));
    }
    if spec.cluster_ips == old.cluster_ips {
        spec.cluster_ips.iter_mut().for_each(|ips| ips.truncate(1));
    }
}

/// What the cluster can't give.
pub(super) fn check(spec: &ServiceSpec, errors: &mut Errors) {
    if !has_cluster_ip(spec) {
        return;
    }
    let path = Path::new("spec");
    let (ips, families) = (cluster_ips(spec), families(spec));
    let policy = spec.ip_family_policy.as_deref().unwrap_or_default();
    let at = path.child("ipFamilyPolicy");
    for (field, count) in [("clusterIPs", ips.len()), ("ipFamilies", families.len())] {
        if policy == SINGLE && count > 1 {
            let rule = format!("must be RequireDualStack or PreferDualStack when multiple `{field}` are specified");
            errors.invalid(&at, policy, &rule);
        }
    }
    for i in families.len()..ips.len() {
        errors.invalid(&path.child("clusterIPs").index(i), ips, "IPv6 is not configured on this cluster");
    }
    if is_alone(spec) || !errors.is_empty() {
        return;
    }
    if policy == DUAL {
        errors.invalid(&at, policy, "this cluster is not configured for dual-stack services");
    }
    for (i, family) in families.iter().enumerate().filter(|(_, family)| *family != IPV4) {
        errors.invalid(&path.child("ipFamilies").index(i), family, "not configured on this cluster");
    }
}

/// Whether somebody else than the cluster says what is behind the service.
fn is_alone(spec: &ServiceSpec) -> bool {
    let headless = cluster_ips(spec).first().is_some_and(|ip| ip == HEADLESS);
    headless && spec.selector.as_ref().is_none_or(|selector| selector.is_empty())
}

fn cluster_ips(spec: &ServiceSpec) -> &[String] {
    spec.cluster_ips.as_deref().unwrap_or_default()
}

fn families(spec: &ServiceSpec) -> &[String] {
    spec.ip_families.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_of_one_family_gives_one() {
        for (given, families, policy, expected) in [
            (r#"{"clusterIPs":["None"],"selector":{"a":"b"}}"#, &["IPv4"][..], SINGLE, &[][..]),
            (r#"{"clusterIPs":["None"]}"#, &["IPv4", "IPv6"], DUAL, &[]),
            (r#"{"clusterIPs":["None"],"ipFamilyPolicy":"SingleStack"}"#, &["IPv4"], SINGLE, &[]),
            (r#"{"ipFamilyPolicy":"PreferDualStack"}"#, &["IPv4"], "PreferDualStack", &[]),
            (r#"{"ipFamilyPolicy":"RequireDualStack"}"#, &["IPv4"], DUAL, &["spec.ipFamilyPolicy"]),
            (r#"{"ipFamilies":["IPv6"]}"#, &["IPv6"], SINGLE, &["spec.ipFamilies[0]"]),
            (r#"{"ipFamilies":["IPv4","IPv6"]}"#, &["IPv4", "IPv6"], SINGLE, &["spec.ipFamilyPolicy"]),
            (
                r#"{"clusterIPs":["127.96.0.9","fd00::1"]}"#,
                &["IPv4"],
                SINGLE,
                &["spec.ipFamilyPolicy", "spec.clusterIPs[1]"],
            ),
        ] {
            let mut spec: ServiceSpec = serde_json::from_str(given).expect("a spec");
            complete(&mut spec, None);
            assert_eq!(
                (spec.ip_families.as_deref(), spec.ip_family_policy.as_deref()),
                (Some(&*families.iter().map(ToString::to_string).collect::<Vec<_>>()), Some(policy))
            );
            let mut errors = Errors::new();
            check(&spec, &mut errors);
            assert_eq!(errors.iter().map(|error| &*error.field).collect::<Vec<_>>(), expected, "{given}");
        }
    }
}
