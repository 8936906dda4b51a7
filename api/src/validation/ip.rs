//! Addresses.

use std::net::IpAddr;

use crate::field::{Errors, Path};

const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// Whether a text is an address.
pub(super) fn is_address(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok()
}

/// An address must be one, and not one of IPv4 that is dressed as IPv6.
pub(super) fn address(value: &str, path: &Path<'_>, errors: &mut Errors) -> Option<IpAddr> {
    let parsed = value.parse().ok().filter(is_plain);
    if parsed.is_none() {
        errors.invalid(path, value, IP);
    }
    parsed
}

/// An address that traffic is sent to. Unlike upstream's, it may be a loopback address: those are what pods have here.
pub(super) fn endpoint(value: &str, path: &Path<'_>, errors: &mut Errors) {
    let Some(ip) = address(value, path, errors) else { return };
    let (link_local, multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), matches!(v4.octets(), [224, 0, 0, _])),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if ip.is_unspecified() {
        errors.invalid(path, value, &format!("may not be unspecified ({ip})"));
    } else if link_local {
        errors.invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    } else if multicast {
        errors.invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// Whether traffic to the address stays where it is.
pub(super) fn is_loopback(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A range of addresses must be one, and be named by its first address: `10.0.0.0/8`.
pub(super) fn cidr(value: &str, path: &Path<'_>, errors: &mut Errors) {
    match range(value) {
        None => errors.invalid(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
        Some((address, _)) if !is_plain(&address) => {
            errors.invalid(path, value, "must not have an IPv4-mapped IPv6 address");
        }
        Some((address, bits)) if !is_first(address, bits) => {
            errors.invalid(path, value, "must not have bits set beyond the prefix length");
        }
        Some(_) => {}
    }
}

/// The address of a network interface together with the range that it is in: `10.1.2.3/8`, written in one way.
pub(super) fn interface(value: &str, path: &Path<'_>, errors: &mut Errors) {
    match range(value).filter(|(address, _)| is_plain(address)) {
        None => {
            let rule = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
            errors.invalid(path, value, rule);
        }
        Some((address, bits)) => {
            let canonical = format!("{address}/{bits}");
            if canonical != value {
                errors.invalid(path, value, &format!("must be in canonical form (\"{canonical}\")"));
            }
        }
    }
}

/// An address and how many bits of it are those of its range.
fn range(value: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = value.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let is_number = bits == "0" || (!bits.starts_with('0') && bits.bytes().all(|b| b.is_ascii_digit()));
    let bits = bits.parse().ok().filter(|bits| is_number && *bits <= most)?;
    Some((address, bits))
}

fn is_plain(address: &IpAddr) -> bool {
    !matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// Whether nothing of an address is beyond its first bits.
fn is_first(address: IpAddr, bits: u32) -> bool {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_shl(bits).unwrap_or(0) == 0,
        IpAddr::V6(v6) => u128::from(v6).checked_shl(bits).unwrap_or(0) == 0,
    }
}

/// What is wrong with an address that must be written in the one form that is its name.
pub(super) fn canonical(value: &str) -> Vec<String> {
    match value.parse::<IpAddr>() {
        Err(_) => vec![IP.to_owned()],
        Ok(ip) if ip.to_string() != value => vec![format!("must be in canonical form (\"{ip}\")")],
        Ok(_) => Vec::new(),
    }
}

/// As [`cidr`], written in one way.
pub(super) fn canonical_cidr(value: &str, path: &Path<'_>, errors: &mut Errors) {
    let before = errors.len();
    cidr(value, path, errors);
    let address = value.split_once('/').map_or("", |(address, _)| address);
    if errors.len() == before && !canonical(address).is_empty() {
        errors.invalid(path, value, "must be in canonical form");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_named_by_their_first_address() {
        let wrong = |check: fn(&str, &Path<'_>, &mut Errors), value: &str| {
            let mut errors = Errors::new();
            check(value, &Path::ROOT, &mut errors);
            !errors.is_empty()
        };
        for (value, is_range, is_interface) in [
            ("10.0.0.0/8", true, true),
            ("10.1.2.3/8", false, true),
            ("10.0.0.0/08", false, false),
            ("10.0.0.0/+8", false, false),
            ("010.0.0.0/8", false, false),
            ("0.0.0.0/0", true, true),
            ("10.0.0.0/33", false, false),
            ("2001:db8::/64", true, true),
            ("2001:db8:0::/64", true, false),
            ("2001:db8::1/64", false, true),
            ("::ffff:10.0.0.0/120", false, false),
            ("10.0.0.0", false, false),
        ] {
            assert_eq!(wrong(cidr, value), !is_range, "{value}");
            assert_eq!(wrong(interface, value), !is_interface, "{value}");
        }
    }
}
