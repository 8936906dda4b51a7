//! The way to the kubelets: one trait, over TLS here, in-process where the process holds the nodes too.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Node;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::auth::Identity;
use crate::pki::{Pki, PkiError};

/// The port of a kubelet that does not say.
const KUBELET_PORT: u16 = 10_250;

/// Where a node's kubelet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    pub name: String,
    /// An address or a host name; empty when the node says none.
    pub address: String,
    pub port: u16,
}

impl NodeAddress {
    /// What a node says of itself: the first of its internal address, any other one, its host name.
    pub fn of(node: &Node) -> Self {
        let name = node.metadata.name.clone().unwrap_or_default();
        let status = node.status.as_ref();
        let addresses = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
        let of_type = |wanted: &str| addresses.iter().find(|address| address.type_ == wanted);
        let address = of_type("InternalIP").or_else(|| of_type("ExternalIP")).or_else(|| of_type("Hostname"));
        let port = status
            .and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref())
            .and_then(|endpoint| u16::try_from(endpoint.port).ok())
            .filter(|port| *port != 0);
        let address = address.map(|address| address.address.clone()).unwrap_or_default();
        Self { name, address, port: port.unwrap_or(KUBELET_PORT) }
    }
}

/// Why a kubelet did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("no node {0} is here")]
    NoSuchNode(String),
    #[error("cannot reach {address}:{port}")]
    Connect {
        address: String,
        port: u16,
        #[source]
        source: std::io::Error,
    },
    #[error("the kubelet broke off")]
    Http(#[from] hyper::Error),
}

/// Sends requests to kubelets.
#[async_trait]
pub trait NodeProxy: Send + Sync + 'static {
    /// Sends `request`, whose URL is a path alone, to the kubelet of `node`. The answer's body goes on as long as the
    /// kubelet sends. Where the request carries an [`OnUpgrade`] and the kubelet answers 101, the connection behind it
    /// becomes the kubelet's; the answer is to be passed on so that this comes to pass.
    ///
    /// # Errors
    /// When the kubelet cannot be reached.
    async fn send(&self, node: &NodeAddress, request: Request<Body>) -> Result<Response<Body>, ProxyError>;
}

/// No kubelets at all.
pub struct NoNodes;

#[async_trait]
impl NodeProxy for NoNodes {
    async fn send(&self, node: &NodeAddress, _request: Request<Body>) -> Result<Response<Body>, ProxyError> {
        Err(ProxyError::NoSuchNode(node.name.clone()))
    }
}

/// Kubelets over TLS: a connection a request, with the API server's client certificate. Logs and the like are rare and
/// long, so connections are not kept.
pub struct TlsNodes {
    connector: TlsConnector,
}

impl TlsNodes {
    /// Trusts kubelets whose certificates the cluster's authority has signed.
    ///
    /// # Errors
    /// When no client certificate can be made.
    pub fn new(pki: &Pki) -> Result<Self, PkiError> {
        let client = pki.client_certificate(&Identity::apiserver())?;
        let mut roots = RootCertStore::empty();
        let unfit = |error: rustls::Error| PkiError::Content { path: "ca.crt".into(), problem: error.to_string() };
        roots.add(pki.authority().clone()).map_err(unfit)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![client.certificate], client.key)
            .map_err(unfit)?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }
}

/// Carries what either side sends to the other, until both are done.
async fn join(client: OnUpgrade, kubelet: OnUpgrade) {
    let carried = async {
        let (client, kubelet) = futures::future::try_join(client, kubelet).await.map_err(std::io::Error::other)?;
        tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(kubelet)).await
    };
    if let Err(error) = carried.await {
        tracing::debug!(%error, "a connection to a kubelet broke");
    }
}

#[async_trait]
impl NodeProxy for TlsNodes {
    async fn send(&self, node: &NodeAddress, mut request: Request<Body>) -> Result<Response<Body>, ProxyError> {
        let NodeAddress { address, port, .. } = node;
        let failed = |source| ProxyError::Connect { address: address.clone(), port: *port, source };
        let name = ServerName::try_from(address.clone())
            .map_err(|error| failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)))?;
        let stream = TcpStream::connect((address.as_str(), *port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let stream = self.connector.connect(name, stream).await.map_err(failed)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends when the answer has been read or dropped.
        tokio::spawn(connection.with_upgrades());
        let client = request.extensions_mut().remove::<OnUpgrade>();
        if let Ok(host) = HeaderValue::from_str(&format!("{address}:{port}")) {
            request.headers_mut().insert(HOST, host);
        }
        let mut answer = sender.send_request(request).await?;
        if let (Some(client), StatusCode::SWITCHING_PROTOCOLS) = (client, answer.status()) {
            tokio::spawn(join(client, hyper::upgrade::on(&mut answer)));
        }
        Ok(answer.map(Body::new))
    }
}
