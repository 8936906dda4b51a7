//! Brings `https://` images into the store: TLS against the machine's own roots, a few redirects (https only), a bound
//! on size and on silence.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming as Body;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::reference::Reference;
use super::store::{Digest, ImageStore, StoreError};
use crate::limits::{IMAGE_BYTES_MAX, IMAGE_REDIRECTS_MAX, IMAGE_SILENCE_MAX};

/// Why an image could not be brought.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{0} is not an address to fetch from")]
    Address(String),
    #[error("cannot connect to {host}")]
    Connect {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{host} broke the transfer off")]
    Transfer {
        host: String,
        #[source]
        source: hyper::Error,
    },
    #[error("{0} answered {1}")]
    Status(String, StatusCode),
    #[error("more than {IMAGE_REDIRECTS_MAX} redirects")]
    Redirects,
    #[error("{host} sent nothing for {} s", IMAGE_SILENCE_MAX.as_secs())]
    Silence { host: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Fetches images; one a node. The machine's root certificates are read when they are first needed.
#[derive(Default)]
pub struct Fetcher {
    tls: OnceCell<Arc<ClientConfig>>,
}

impl Fetcher {
    /// A fetcher that trusts `tls`' roots instead of the machine's.
    pub fn trusting(tls: Arc<ClientConfig>) -> Self {
        Self { tls: OnceCell::new_with(Some(tls)) }
    }

    /// Brings `url` into `store` under `reference`; answers its digest.
    ///
    /// # Errors
    /// When the other side does not give it, or the store does not take it.
    ///
    /// # Cancel safety
    /// Dropped half-way, it leaves nothing in the store.
    pub async fn fetch(&self, url: &str, reference: &Reference, store: &ImageStore) -> Result<Digest, FetchError> {
        let mut url: Uri = url.parse().map_err(|_| FetchError::Address(url.to_owned()))?;
        for _ in 0..=IMAGE_REDIRECTS_MAX {
            let host = url.host().unwrap_or_default().to_owned();
            let response = silence(&host, self.get(&url)).await??;
            match redirect(&url, &response)? {
                Some(next) => url = next,
                None => return receive(&host, response, reference, store).await,
            }
        }
        Err(FetchError::Redirects)
    }

    async fn get(&self, url: &Uri) -> Result<Response<Body>, FetchError> {
        let host = url.host().ok_or_else(|| FetchError::Address(url.to_string()))?.to_owned();
        let connect_error = |source| FetchError::Connect { host: host.clone(), source };
        let bare_host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare_host.to_owned()).map_err(|_| FetchError::Address(url.to_string()))?;
        let tcp = TcpStream::connect((bare_host, url.port_u16().unwrap_or(443))).await.map_err(connect_error)?;
        tcp.set_nodelay(true).map_err(connect_error)?;
        let tls = self.tls.get_or_init(|| async { machine_roots() }).await.clone();
        let stream = TlsConnector::from(tls).connect(name, tcp).await.map_err(connect_error)?;

        let transfer_error = |source| FetchError::Transfer { host: host.clone(), source };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(transfer_error)?;
        tokio::spawn(connection);
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(header::HOST, url.authority().map_or(host.as_str(), |authority| authority.as_str()))
            .header(header::USER_AGENT, concat!("coracle/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|_| FetchError::Address(url.to_string()))?;
        sender.send_request(request).await.map_err(transfer_error)
    }
}

/// Where the answer sends us on, if it does.
fn redirect(url: &Uri, response: &Response<Body>) -> Result<Option<Uri>, FetchError> {
    let status = response.status();
    if status.is_success() {
        return Ok(None);
    }
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    match location {
        Some(location) if status.is_redirection() => resolve(url, location).map(Some),
        _ => Err(FetchError::Status(url.to_string(), status)),
    }
}

/// A `Location` seen from `base`: absolute and https, or a path on the same host.
fn resolve(base: &Uri, location: &str) -> Result<Uri, FetchError> {
    let error = || FetchError::Address(location.to_owned());
    let absolute = if let Some(path) = location.strip_prefix('/').filter(|path| !path.starts_with('/')) {
        format!("https://{}/{path}", base.authority().map_or("", |authority| authority.as_str()))
    } else {
        location.to_owned()
    };
    let next: Uri = absolute.parse().map_err(|_| error())?;
    if next.scheme_str() == Some("https") && next.host().is_some() { Ok(next) } else { Err(error()) }
}

async fn receive(
    host: &str,
    response: Response<Body>,
    reference: &Reference,
    store: &ImageStore,
) -> Result<Digest, FetchError> {
    let announced =
        response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: u64| bytes > IMAGE_BYTES_MAX) {
        return Err(StoreError::TooLarge.into());
    }
    let mut incoming = store.begin()?;
    let mut body = response.into_body();
    while let Some(frame) = silence(host, body.frame()).await? {
        let frame = frame.map_err(|source| FetchError::Transfer { host: host.to_owned(), source })?;
        if let Ok(piece) = frame.into_data() {
            incoming.write(&piece)?;
        }
    }
    Ok(incoming.finish(reference)?)
}

async fn silence<T>(host: &str, work: impl Future<Output = T>) -> Result<T, FetchError> {
    timeout(IMAGE_SILENCE_MAX, work).await.map_err(|_| FetchError::Silence { host: host.to_owned() })
}

fn machine_roots() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::debug!(%error, "a root certificate of this machine is unusable");
    }
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has suites for the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn redirects_stay_on_https() {
        let base: Uri = "https://a.example:8443/x/y.wasm".parse().unwrap();
        let table = [
            ("/z.wasm", Some("https://a.example:8443/z.wasm")),
            ("https://b.example/z.wasm", Some("https://b.example/z.wasm")),
            ("http://b.example/z.wasm", None),
            ("//b.example/z.wasm", None),
            ("file:///etc/passwd", None),
        ];
        for (location, want) in table {
            assert_eq!(resolve(&base, location).ok().map(|uri| uri.to_string()).as_deref(), want, "{location}");
        }
    }
}
