//! Addresses and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::eval::{Error, Evaluator};
use super::super::value::Value;
use super::{Answer, traversal};

pub(super) fn call<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Answer<'a> {
    use Value::{Bool, Cidr, Int, Ip, String};
    if let [String(text), ..] = args
        && let Err(error) = e.charge(traversal(text.len()))
    {
        return Some(Err(error));
    }
    let no_ip = |text: &str| Error::new(format!("IP Address {text:?} parse error during conversion from string"));
    let no_cidr =
        |text: &str| Error::new(format!("network address parse error during conversion from string: {text:?}"));
    Some(match (name, args) {
        ("isIP", [String(text)]) => Ok(Bool(ip(text).is_some())),
        ("ip", [String(text)]) => ip(text).map(Ip).ok_or_else(|| no_ip(text)),
        ("ip.isCanonical", [String(text)]) => {
            ip(text).map(|ip| Bool(ip.to_string() == **text)).ok_or_else(|| no_ip(text))
        }
        ("isCIDR", [String(text)]) => Ok(Bool(cidr(text).is_some())),
        ("cidr", [String(text)]) => cidr(text).map(|(ip, bits)| Cidr(ip, bits)).ok_or_else(|| no_cidr(text)),
        ("family", [Ip(ip)]) => Ok(Int(if ip.is_ipv4() { 4 } else { 6 })),
        ("isUnspecified", [Ip(ip)]) => Ok(Bool(ip.is_unspecified())),
        ("isLoopback", [Ip(ip)]) => Ok(Bool(ip.is_loopback())),
        ("isLinkLocalMulticast", [Ip(ip)]) => Ok(Bool(is_link_local_multicast(*ip))),
        ("isLinkLocalUnicast", [Ip(ip)]) => Ok(Bool(is_link_local(*ip))),
        ("isGlobalUnicast", [Ip(ip)]) => Ok(Bool(is_global_unicast(*ip))),
        ("ip", [Cidr(ip, _)]) => Ok(Ip(*ip)),
        ("prefixLength", [Cidr(_, bits)]) => Ok(Int(i64::from(*bits))),
        ("masked", [Cidr(ip, bits)]) => Ok(Cidr(masked(*ip, *bits), *bits)),
        ("containsIP", [Cidr(net, bits), Ip(ip)]) => Ok(Bool(contains(*net, *bits, *ip))),
        ("containsIP", [Cidr(net, bits), String(text)]) => e
            .charge(traversal(text.len()))
            .and_then(|()| ip(text).map(|ip| Bool(contains(*net, *bits, ip))).ok_or_else(|| no_ip(text))),
        ("containsCIDR", [Cidr(net, bits), Cidr(other, more)]) => {
            Ok(Bool(more >= bits && contains(*net, *bits, masked(*other, *more))))
        }
        ("containsCIDR", [Cidr(net, bits), String(text)]) => e.charge(traversal(text.len())).and_then(|()| {
            let inside = |(other, more)| more >= *bits && contains(*net, *bits, masked(other, more));
            cidr(text).map(|other| Bool(inside(other))).ok_or_else(|| no_cidr(text))
        }),
        _ => return None,
    })
}

/// An address; none of version 4 in the clothes of version 6.
fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()))
}

fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address = ip(address)?;
    let canonical = bits == "0" || !bits.starts_with(['0', '+']);
    let bits = bits.parse().ok().filter(|bits| *bits <= width(address) && canonical)?;
    Some((address, bits))
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

fn contains(net: IpAddr, bits: u8, ip: IpAddr) -> bool {
    net.is_ipv4() == ip.is_ipv4() && masked(net, bits) == masked(ip, bits)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_global_unicast(ip: IpAddr) -> bool {
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local(ip) || broadcast)
}
