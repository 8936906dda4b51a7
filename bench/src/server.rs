//! The server that is measured: where it is, and how one proves who one is.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use http::{HeaderValue, Uri};
use hyper_util::rt::TokioIo;
use kube::Config;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls_pki_types::ServerName;
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::connection::Connection;

/// An address with what is needed to speak to it. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    host: String,
    port: u16,
    authority: HeaderValue,
    authorization: Option<HeaderValue>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Server {
    /// The server and user of a kubeconfig's current context: client certificate, token, or nobody.
    ///
    /// # Errors
    /// When the file cannot be read, or names no server.
    pub async fn from_kubeconfig(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let kubeconfig = match &path {
            Some(path) => Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?,
            None => Kubeconfig::read().context("no kubeconfig: name one with --kubeconfig")?,
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let authorization = config.auth_info.token.as_ref().map(|token| bearer(token.expose_secret())).transpose()?;
        let tls = match config.cluster_url.scheme_str() {
            Some("https") => Some(tls(&config)?),
            _ => None,
        };
        Self::new(&config.cluster_url, authorization, tls)
    }

    /// A plain HTTP server.
    ///
    /// # Errors
    /// When the URL names no host.
    pub fn plain(url: &Uri) -> anyhow::Result<Self> {
        Self::new(url, None, None)
    }

    fn new(
        url: &Uri,
        authorization: Option<HeaderValue>,
        tls: Option<(TlsConnector, ServerName<'static>)>,
    ) -> anyhow::Result<Self> {
        let authority = url.authority().with_context(|| format!("{url} names no host"))?;
        let port = url.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Self(Arc::new(Inner {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            authority: HeaderValue::from_str(authority.as_str())?,
            authorization,
            tls,
        })))
    }

    /// Opens a connection of its own, HTTP/1.1, without delay of small packets.
    ///
    /// # Errors
    /// When the server does not answer, or its certificate is not the kubeconfig's.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let Inner { host, port, tls, .. } = &*self.0;
        let tcp =
            TcpStream::connect((host.as_str(), *port)).await.with_context(|| format!("no answer at {host}:{port}"))?;
        tcp.set_nodelay(true)?;
        let sender = match tls {
            None => Connection::handshake(TokioIo::new(tcp)).await?,
            Some((connector, name)) => {
                Connection::handshake(TokioIo::new(connector.connect(name.clone(), tcp).await?)).await?
            }
        };
        Ok(Connection::new(self.clone(), sender))
    }

    /// The value of `Host`.
    pub fn authority(&self) -> HeaderValue {
        self.0.authority.clone()
    }

    /// The value of `Authorization`, when a token is the proof.
    pub fn authorization(&self) -> Option<HeaderValue> {
        self.0.authorization.clone()
    }
}

fn bearer(token: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn tls(config: &Config) -> anyhow::Result<(TlsConnector, ServerName<'static>)> {
    let mut client = config.rustls_client_config().context("the kubeconfig's certificates cannot be used")?;
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let host = config.cluster_url.host().unwrap_or_default().trim_matches(['[', ']']);
    let name = config.tls_server_name.as_deref().unwrap_or(host).to_owned();
    Ok((TlsConnector::from(Arc::new(client)), ServerName::try_from(name)?))
}
