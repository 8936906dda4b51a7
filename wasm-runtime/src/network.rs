//! What a guest may reach: its own address to listen on, and the destinations its egress allows.
//!
//! A guest has one address, and believes that it has a machine of its own: the wildcard and the loopback mean that address,
//! to listen on and to connect to. Nothing that listens on the host's loopback is there for it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use wasmtime_wasi::sockets::SocketAddrUse;

use crate::names::{self, Known, ResolveError, Resolver};

/// Where a guest may connect to.
#[derive(Clone, Debug, Default)]
pub enum Egress {
    /// Anywhere.
    #[default]
    Allowed,
    /// Nowhere.
    Denied,
    /// Where the policy says so. It is asked about each address when it is used.
    Policy(Arc<dyn EgressPolicy>),
}

/// Decides about a guest's outgoing connections. Called on the guest's thread: it must not block.
pub trait EgressPolicy: fmt::Debug + Send + Sync + 'static {
    /// Whether the guest may send to `to`.
    fn allows(&self, to: SocketAddr) -> bool;
}

impl Egress {
    pub(crate) fn allows(&self, to: SocketAddr) -> bool {
        match self {
            Self::Allowed => true,
            Self::Denied => false,
            Self::Policy(policy) => policy.allows(to),
        }
    }
}

/// The network of one guest.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) address: IpAddr,
    pub(crate) egress: Egress,
    pub(crate) resolver: Arc<dyn Resolver>,
}

impl Network {
    /// Where a socket for connections is bound that asks for `address`.
    pub(crate) fn tcp_bound(&self, address: SocketAddr) -> SocketAddr {
        if address.ip().is_unspecified() { self.own(address) } else { self.reached(address) }
    }

    /// Where a socket for datagrams is bound that asks for `address`. One that asks for any port of any address is about to
    /// send, and gets the source that suits whom it sends to.
    pub(crate) fn udp_bound(&self, address: SocketAddr) -> SocketAddr {
        if address.port() == 0 && address.ip().is_unspecified() { address } else { self.tcp_bound(address) }
    }

    /// Whom a guest reaches that asks for `address`.
    pub(crate) fn reached(&self, address: SocketAddr) -> SocketAddr {
        if is_loopback(address.ip()) { self.own(address) } else { address }
    }

    /// What a socket is to be bound to before it connects to `to`, so that the other side sees who it is. An address that
    /// this host alone has is no source for what leaves it.
    pub(crate) fn source(&self, to: SocketAddr) -> Option<SocketAddr> {
        let is_same_family = self.address.is_ipv4() == to.is_ipv4();
        let is_within_reach = to.ip().is_loopback() || !self.address.is_loopback();
        (is_same_family && is_within_reach).then(|| SocketAddr::new(self.address, 0))
    }

    /// The guest's own address in place of `address`, unless it has none of this family.
    fn own(&self, address: SocketAddr) -> SocketAddr {
        if self.address.is_ipv4() == address.is_ipv4() {
            SocketAddr::new(self.address, address.port())
        } else {
            address
        }
    }

    /// The addresses of `name`, at least one.
    ///
    /// # Errors
    ///
    /// When it is no name, or has no address.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        match names::read(name) {
            Known::Address(address) => Ok(vec![address]),
            Known::Localhost => Ok(vec![self.address]),
            Known::Invalid => Err(ResolveError::Invalid),
            Known::Name => self.resolver.resolve(name).await,
        }
    }

    /// Whether a socket may be used so.
    ///
    /// A guest binds its own address. The one exception is the wildcard with port 0, which is what
    /// a socket that connects without binding asks for.
    pub(crate) fn allows(&self, address: SocketAddr, usage: SocketAddrUse) -> bool {
        match usage {
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => {
                address.ip() == self.address || (address.ip().is_unspecified() && address.port() == 0)
            }
            SocketAddrUse::TcpListen => address.ip() == self.address,
            SocketAddrUse::TcpAccept | SocketAddrUse::UdpReceive => true,
            SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend => self.egress.allows(address),
        }
    }
}

/// Whether `address` is a guest's loopback. The rest of 127/8 is for whoever gives guests and services their addresses.
fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..2] == Ipv4Addr::LOCALHOST.octets()[..2],
        IpAddr::V6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::SystemResolver;

    #[derive(Debug)]
    struct OnlyPort(u16);

    impl EgressPolicy for OnlyPort {
        fn allows(&self, to: SocketAddr) -> bool {
            to.port() == self.0
        }
    }

    fn network(address: [u8; 4], egress: Egress) -> Network {
        Network { address: address.into(), egress, resolver: Arc::new(SystemResolver) }
    }

    #[test]
    fn a_guest_listens_on_its_own_address_and_connects_where_it_may() {
        use SocketAddrUse::*;
        let network = network([127, 64, 0, 7], Egress::Policy(Arc::new(OnlyPort(443))));
        for (address, usage, allowed) in [
            ("127.64.0.7:8080", TcpBind, true),
            ("127.64.0.7:8080", TcpListen, true),
            ("127.64.0.8:8080", TcpBind, false),
            ("127.0.0.1:8080", TcpListen, false),
            ("0.0.0.0:8080", TcpBind, false),
            ("0.0.0.0:8080", TcpListen, false),
            ("0.0.0.0:0", TcpBind, true),
            ("0.0.0.0:0", TcpListen, false),
            ("127.64.0.7:53", UdpBind, true),
            ("93.184.216.34:443", TcpConnect, true),
            ("93.184.216.34:80", TcpConnect, false),
            ("93.184.216.34:53", UdpSend, false),
            ("127.64.0.8:34567", TcpAccept, true),
        ] {
            let address: SocketAddr = address.parse().expect("an address");
            assert_eq!(network.allows(address, usage), allowed, "{address} {usage:?}");
        }
    }

    #[test]
    fn the_wildcard_and_the_loopback_are_the_guests_own_address() {
        let here = network([127, 64, 0, 7], Egress::Allowed);
        for (address, tcp_bound, udp_bound, reached) in [
            ("0.0.0.0:8080", "127.64.0.7:8080", "127.64.0.7:8080", "0.0.0.0:8080"),
            ("0.0.0.0:0", "127.64.0.7:0", "0.0.0.0:0", "0.0.0.0:0"),
            ("127.0.0.1:80", "127.64.0.7:80", "127.64.0.7:80", "127.64.0.7:80"),
            ("127.0.0.53:53", "127.64.0.7:53", "127.64.0.7:53", "127.64.0.7:53"),
            ("127.64.0.8:80", "127.64.0.8:80", "127.64.0.8:80", "127.64.0.8:80"),
            ("127.96.0.1:443", "127.96.0.1:443", "127.96.0.1:443", "127.96.0.1:443"),
            ("10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:80"),
            ("[::]:80", "[::]:80", "[::]:80", "[::]:80"),
        ] {
            let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
            let address = parse(address);
            assert_eq!(here.tcp_bound(address), parse(tcp_bound), "{address}");
            assert_eq!(here.udp_bound(address), parse(udp_bound), "{address}");
            assert_eq!(here.reached(address), parse(reached), "{address}");
        }
    }

    #[test]
    fn a_source_is_given_where_it_is_one() {
        for (own, to, source) in [
            ([127, 64, 0, 7], "127.96.0.1:80", Some("127.64.0.7:0")),
            ([127, 64, 0, 7], "10.0.0.1:80", None),
            ([127, 64, 0, 7], "[::1]:80", None),
            ([10, 1, 0, 7], "10.0.0.1:80", Some("10.1.0.7:0")),
        ] {
            let to = to.parse().expect("an address");
            let source = source.map(|source| source.parse().expect("an address"));
            assert_eq!(network(own, Egress::Allowed).source(to), source, "{to}");
        }
    }
}
