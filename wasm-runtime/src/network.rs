//! What a guest may reach: its own address to listen on, and the destinations its egress allows.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{Request, Uri};
use http_body_util::BodyExt;
use tokio::net::lookup_host;
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, default_send_request};

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
}

impl Network {
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

/// A response, and what remains to be done for its connection.
pub(crate) type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// Sends a guest's HTTP request where its egress allows it.
///
/// # Errors
///
/// The `wasi:http` error that the guest is shown.
pub(crate) async fn send(egress: Egress, mut request: Request<WasiBody>, options: Option<RequestOptions>) -> Sent {
    match egress {
        Egress::Allowed => {}
        Egress::Denied => return Err(Error::HttpRequestDenied),
        Egress::Policy(policy) => permit(&*policy, request.uri_mut()).await?,
    }
    let (response, connection) = default_send_request(request, options).await?;
    Ok((response.map(BodyExt::boxed_unsync), Box::new(connection)))
}

/// A name is allowed when every address that it has is. A request in the clear is then bound to
/// the address that was looked at, so that the name cannot change its mind; one over TLS keeps its
/// name, which the certificate has to prove.
async fn permit(policy: &dyn EgressPolicy, uri: &mut Uri) -> Result<(), Error> {
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let addresses = lookup_host(host_and_port(authority, is_tls)).await;
    let addresses: Vec<_> = addresses.map_err(|_| Error::DestinationNotFound)?.collect();
    let address = *addresses.first().ok_or(Error::DestinationNotFound)?;
    if !addresses.into_iter().all(|address| policy.allows(address)) {
        return Err(Error::HttpRequestDenied);
    }
    if !is_tls {
        *uri = at_address(uri, address).map_err(|_| Error::HttpRequestUriInvalid)?;
    }
    Ok(())
}

fn host_and_port(authority: &Authority, is_tls: bool) -> String {
    match authority.port() {
        Some(_) => authority.to_string(),
        None => format!("{authority}:{}", if is_tls { 443 } else { 80 }),
    }
}

fn at_address(uri: &Uri, address: SocketAddr) -> Result<Uri, http::Error> {
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(Authority::try_from(address.to_string())?);
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct OnlyPort(u16);

    impl EgressPolicy for OnlyPort {
        fn allows(&self, to: SocketAddr) -> bool {
            to.port() == self.0
        }
    }

    #[test]
    fn a_guest_listens_on_its_own_address_and_connects_where_it_may() {
        use SocketAddrUse::*;
        let network =
            Network { address: IpAddr::from([127, 64, 0, 7]), egress: Egress::Policy(Arc::new(OnlyPort(443))) };
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

    #[tokio::test]
    async fn a_request_in_the_clear_is_bound_to_the_address_that_was_allowed() {
        let policy = OnlyPort(80);
        let mut uri = Uri::from_static("http://localhost/a?b");
        permit(&policy, &mut uri).await.expect("allowed");
        let host = uri.host().expect("a host").trim_matches(['[', ']']);
        assert!(host.parse::<IpAddr>().expect("an address").is_loopback());
        assert_eq!((uri.port_u16(), uri.path(), uri.query()), (Some(80), "/a", Some("b")));
        let mut uri = Uri::from_static("https://127.0.0.1/");
        assert!(matches!(permit(&policy, &mut uri).await, Err(Error::HttpRequestDenied)));
    }
}
