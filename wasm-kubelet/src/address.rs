//! The addresses of this node's pods: handed out in turn, given back when the pod's containers are gone.
//!
//! An address is not used again until the whole range was gone through, so that a client that still holds a dead pod's
//! address is refused rather than answered by a stranger. Nothing is written to disk: after a restart the pods'
//! statuses say who has which.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// A range of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    base: u32,
    prefix: u8,
}

impl Cidr {
    /// The range of `prefix` bits that holds `address`.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { base: u32::from(address) & Self::mask(prefix), prefix }
    }

    fn mask(prefix: u8) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
    }

    /// Whether `address` lies in the range.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & Self::mask(self.prefix) == self.base
    }

    /// How many addresses the range has.
    pub fn size(self) -> u64 {
        1 << (32 - self.prefix)
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

/// A text that is not `a.b.c.d/bits`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an IPv4 range such as 127.64.0.0/16")]
pub struct CidrError(String);

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let error = || CidrError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(error)?;
        let prefix: u8 = prefix.parse().map_err(|_| error())?;
        if prefix > 32 {
            return Err(error());
        }
        Ok(Self::new(address.parse().map_err(|_| error())?, prefix))
    }
}

/// Hands out addresses; shared by all pod workers.
#[derive(Debug)]
pub struct Addresses {
    cidr: Cidr,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    offsets: HashSet<u32>,
    next: u32,
}

impl Addresses {
    /// All of `cidr` but its first and last address.
    pub fn new(cidr: Cidr) -> Self {
        Self { cidr, taken: Mutex::default() }
    }

    /// The pod's former address when that is given, in the range and free; the next free one otherwise; `None` when
    /// the range is used up.
    pub fn allocate(&self, former: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let former = former.and_then(|address| self.offset(address));
        if let Some(offset) = former
            && taken.offsets.insert(offset)
        {
            return Some(self.at(offset));
        }
        let usable = u32::try_from(self.cidr.size().saturating_sub(2)).unwrap_or(u32::MAX);
        for _ in 0..usable {
            let offset = taken.next % usable + 1;
            taken.next = offset;
            if taken.offsets.insert(offset) {
                return Some(self.at(offset));
            }
        }
        None
    }

    /// Gives `address` back.
    pub fn release(&self, address: Ipv4Addr) {
        if let Some(offset) = self.offset(address) {
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).offsets.remove(&offset);
        }
    }

    fn at(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.cidr.base + offset)
    }

    fn offset(&self, address: Ipv4Addr) -> Option<u32> {
        let offset = u32::from(address).checked_sub(self.cidr.base)?;
        (self.cidr.contains(address) && offset != 0 && u64::from(offset) < self.cidr.size() - 1).then_some(offset)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_go_round_and_are_kept_over_a_restart() {
        let addresses = Addresses::new("127.64.0.0/29".parse().unwrap());
        let ip = |last| Some(Ipv4Addr::new(127, 64, 0, last));
        assert_eq!(addresses.allocate(ip(3)), ip(3), "a former address is kept");
        assert_eq!(addresses.allocate(ip(3)), ip(1), "unless somebody has it");
        assert_eq!(addresses.allocate(Some(Ipv4Addr::new(10, 0, 0, 1))), ip(2), "or it is not of this node");
        assert_eq!(addresses.allocate(None), ip(4));
        addresses.release(Ipv4Addr::new(127, 64, 0, 1));
        assert_eq!(addresses.allocate(None), ip(5), "a freed address is the last to be used again");
        assert_eq!(addresses.allocate(None), ip(6));
        assert_eq!(addresses.allocate(None), ip(1));
        assert_eq!(addresses.allocate(None), None);
    }

    #[test]
    fn ranges_parse_and_print() {
        for (text, want) in
            [("127.64.3.4/16", Some("127.64.0.0/16")), ("127.64.0.0", None), ("x/8", None), ("1.2.3.4/33", None)]
        {
            assert_eq!(text.parse::<Cidr>().ok().map(|cidr| cidr.to_string()).as_deref(), want, "{text}");
        }
    }
}
