//! The node's API on a socket: TLS, and only for those whose certificate the cluster's authority signed for that.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::Tls;

/// Longest time for a client to finish its handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long answers may go on after the kubelet was told to stop.
const DRAIN: Duration = Duration::from_millis(200);

/// Why the node's API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("the node's certificate, its key or the clients' authority is unusable")]
    Pem(#[source] rustls_pki_types::pem::Error),
    #[error("the node's certificate does not serve")]
    Tls(#[source] rustls::Error),
    #[error("the clients' authority does not serve")]
    Authority(#[source] rustls::server::VerifierBuilderError),
}

/// A listener that serves nothing yet.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: TlsAcceptor,
}

impl Bound {
    /// Where it listens; with port 0 asked for, the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// Listens.
///
/// # Errors
/// When the address is taken, or the keys do not fit.
pub async fn bind(address: SocketAddr, tls: &Tls) -> Result<Bound, ServeError> {
    let acceptor = TlsAcceptor::from(Arc::new(config(tls)?));
    let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
    let address = listener.local_addr().map_err(|source| ServeError::Listen { address, source })?;
    Ok(Bound { listener, address, acceptor })
}

/// Serves until `shutdown`.
///
/// # Errors
/// None once it listens; what goes wrong with one connection ends that connection.
pub async fn serve(bound: Bound, router: Router, shutdown: CancellationToken) -> Result<(), ServeError> {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = bound.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(bound.acceptor.clone(), stream, router.clone());
                connections.spawn(shutdown.clone().run_until_cancelled_owned(connection));
            }
            Err(error) => {
                // Out of descriptors, most likely: they come back as connections end.
                tracing::warn!(%error, "cannot accept a connection to the node's API");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    connections.close();
    let _ = timeout(DRAIN, connections.wait()).await;
    Ok(())
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, router: Router) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let Ok(Ok(stream)) = timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    if !certificate.is_some_and(may_call) {
        tracing::warn!("a client without the right to call the node's API was turned away");
        return;
    }
    let service = TowerToHyperService::new(router);
    let served = Builder::new(TokioExecutor::new()).serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the node's API broke");
    }
}

/// Whether the holder of a certificate may see every pod of the node: the API server, and administrators. Source: the
/// role `system:kubelet-api-admin` and the group `system:masters`.
fn may_call(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let subject = certificate.subject();
    let in_masters = subject.iter_organization().any(|group| group.as_str() == Ok("system:masters"));
    let is_apiserver = subject.iter_common_name().any(|name| {
        matches!(name.as_str(), Ok("kube-apiserver-kubelet-client" | "kube-apiserver" | "system:kube-apiserver"))
    });
    in_masters || is_apiserver
}

fn config(tls: &Tls) -> Result<ServerConfig, ServeError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(tls.certificate_pem.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(tls.key_pem.as_bytes()).map_err(ServeError::Pem)?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(tls.client_ca_pem.as_bytes()) {
        roots.add(root.map_err(ServeError::Pem)?).map_err(ServeError::Tls)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = verifier.build().map_err(ServeError::Authority)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ServeError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates.map_err(ServeError::Pem)?, key)
        .map_err(ServeError::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
