//! How a server is set up.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::pki::Pki;

/// How a server is set up. [`Config::new`] has what most want.
#[derive(Clone)]
pub struct Config {
    /// Where to listen; `None` for a server that is reached in-process alone. Port 0 chooses one.
    pub listen: Option<SocketAddr>,
    /// Further names under which clients reach the server, for its certificate.
    pub names: Vec<String>,
    /// The certificates and tokens of the cluster.
    pub pki: Arc<Pki>,
    /// The addresses of services, as `127.96.0.0/16`. The first is the API server's own.
    pub service_cidr: String,
    /// The ports that services get on nodes.
    pub node_port_range: RangeInclusive<u16>,
    /// Whether a pod needs its service account to be there, and gets its token. A cluster without the controller that
    /// makes the accounts says no.
    ///
    /// Source: upstream's `--disable-admission-plugins=ServiceAccount`.
    pub require_service_accounts: bool,
}

impl Config {
    /// A server on a free port of the loopback address.
    pub fn new(pki: Arc<Pki>) -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            names: Vec::new(),
            pki,
            service_cidr: "127.96.0.0/16".to_owned(),
            node_port_range: 30_000..=32_767,
            require_service_accounts: true,
        }
    }
}
