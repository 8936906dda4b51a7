//! What names mean to a guest.
//!
//! A guest asks through `wasi:sockets/ip-name-lookup` and through the host of a URL; both are answered here, by the
//! [`Resolver`] that its spec grants.

use std::fmt;
use std::io;
use std::net::IpAddr;

use async_trait::async_trait;
use tokio::net::lookup_host;

use crate::limits::NAME_BYTES_MAX;

/// Answers a guest's questions for addresses.
#[async_trait]
pub trait Resolver: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `name`, at least one, the preferred ones first. It is neither an address itself nor `localhost`.
    ///
    /// # Errors
    ///
    /// When there are none, or they cannot be found out now.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError>;
}

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// It is no name.
    #[error("it is not a name")]
    Invalid,
    /// Nobody has it.
    #[error("there is no such name")]
    NotFound,
    /// It cannot be found out now.
    #[error("names cannot be looked up now")]
    Temporary,
}

/// Asks as every program on this host does.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let found = lookup_host((name, 0)).await.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ResolveError::Temporary,
            _ => ResolveError::NotFound,
        })?;
        let mut addresses: Vec<_> = found.map(|address| address.ip().to_canonical()).collect();
        addresses.dedup();
        if addresses.is_empty() { Err(ResolveError::NotFound) } else { Ok(addresses) }
    }
}

/// What is known of a name without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is an address.
    Address(IpAddr),
    /// It is the guest itself.
    Localhost,
    /// It is no name.
    Invalid,
    /// Somebody has to be asked.
    Name,
}

/// Reads `name`. Names outside of ASCII are not translated: who means one writes its ASCII form (`xn--…`).
pub(crate) fn read(name: &str) -> Known {
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Known::Address(address.to_canonical());
    }
    let bare = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if bare.len() > NAME_BYTES_MAX || !bare.split('.').all(is_label) {
        return Known::Invalid;
    }
    let bare = bare.to_ascii_lowercase();
    if bare == "localhost" || bare.ends_with(".localhost") { Known::Localhost } else { Known::Name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_names_are_told_apart() {
        let address = |text: &str| Known::Address(text.parse().expect("an address"));
        for (name, known) in [
            ("10.0.0.1", address("10.0.0.1")),
            ("::1", address("::1")),
            ("[::1]", address("::1")),
            ("::ffff:10.0.0.1", address("10.0.0.1")),
            ("localhost", Known::Localhost),
            ("LocalHost.", Known::Localhost),
            ("a.localhost", Known::Localhost),
            ("web", Known::Name),
            ("web.default.svc.cluster.local.", Known::Name),
            ("_http._tcp.web", Known::Name),
            ("xn--nxasmq6b", Known::Name),
            ("", Known::Invalid),
            (".", Known::Invalid),
            ("a..b", Known::Invalid),
            ("a b", Known::Invalid),
            ("näh", Known::Invalid),
            ("a/b", Known::Invalid),
        ] {
            assert_eq!(read(name), known, "{name:?}");
        }
        assert_eq!(read(&"a".repeat(64)), Known::Invalid);
        assert_eq!(read(&["a"; 200].join(".")), Known::Invalid);
    }
}
