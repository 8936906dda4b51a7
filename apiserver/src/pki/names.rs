//! The names in certificates: whom a subject says it is, and under which names a server is reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::{DistinguishedName, DnType, DnValue, SanType, string::Ia5String};

/// What every API server is called inside its cluster.
const SERVER_NAMES: [&str; 5] =
    ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];

/// The alternative names of a server: the usual ones, then `hosts` and `addresses`.
pub(super) fn of_server(hosts: &[String], addresses: &[IpAddr]) -> Result<Vec<SanType>, rcgen::Error> {
    let mut ips = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut names: Vec<&str> = SERVER_NAMES.to_vec();
    for host in hosts {
        match host.parse() {
            Ok(ip) => ips.push(ip),
            Err(_) => names.push(host),
        }
    }
    ips.extend_from_slice(addresses);
    ips.sort();
    ips.dedup();
    let mut all = Vec::with_capacity(names.len() + ips.len());
    for name in names {
        all.push(SanType::DnsName(Ia5String::try_from(name)?));
    }
    all.extend(ips.into_iter().map(SanType::IpAddress));
    Ok(all)
}

/// The subject of a client: its user as common name, its group as organisation.
pub(super) fn subject(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, DnValue::Utf8String(organization.to_owned()));
    }
    name.push(DnType::CommonName, DnValue::Utf8String(common_name.to_owned()));
    name
}
