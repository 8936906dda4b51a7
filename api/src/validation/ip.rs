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
    let is_plain = |ip: &IpAddr| !matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
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

/// A range of addresses must be one: `10.0.0.0/8`.
pub(super) fn cidr(value: &str, path: &Path<'_>, errors: &mut Errors) {
    let right = value.split_once('/').is_some_and(|(ip, bits)| {
        let most = match ip.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    if !right {
        errors.invalid(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
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

/// A range of addresses must be one, and be named by its first address.
pub(super) fn canonical_cidr(value: &str, path: &Path<'_>, errors: &mut Errors) {
    let before = errors.len();
    cidr(value, path, errors);
    let Some((address, bits)) = value.split_once('/').filter(|_| errors.len() == before) else { return };
    let bits: u32 = bits.parse().unwrap_or_default();
    let host_bits_are_zero = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => u32::from(v4).checked_shl(bits).unwrap_or(0) == 0,
        Ok(IpAddr::V6(v6)) => u128::from(v6).checked_shl(bits).unwrap_or(0) == 0,
        Err(_) => return,
    };
    if !host_bits_are_zero {
        errors.invalid(path, value, "must not have bits set beyond the prefix length");
    } else if !canonical(address).is_empty() {
        errors.invalid(path, value, "must be in canonical form");
    }
}
