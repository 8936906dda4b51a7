//! The way to other machines, for images: HTTP over TLS with the machine's roots, through [proxies](super::proxy) where there
//! are any, a few redirects that never leave TLS, a bound on silence and on every answer that is kept in memory. [`fetch`](super::fetch) and
//! [`registry`](super::registry) go through it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming as Body;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::sync::OnceCell;
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsConnector;
use tower::Service;

use super::proxy::Connector;
use crate::limits::{IMAGE_REDIRECTS_MAX, IMAGE_SILENCE_MAX};

/// Why an answer did not come.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{0} is not an address to fetch from")]
    Address(String),
    #[error("cannot connect to {host}")]
    Connect {
        host: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{host} broke the transfer off")]
    Transfer {
        host: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("more than {IMAGE_REDIRECTS_MAX} redirects")]
    Redirects,
    #[error("{host} sent nothing for {} s", IMAGE_SILENCE_MAX.as_secs())]
    Silence { host: String },
    #[error("the answer of {host} is larger than {bytes_max} bytes")]
    TooLarge { host: String, bytes_max: usize },
}

impl HttpError {
    /// Whether another attempt may go on where this one broke off.
    pub fn is_broken_transfer(&self) -> bool {
        matches!(self, Self::Transfer { .. } | Self::Silence { .. })
    }
}

type Inner = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// What is made when it is first needed.
struct Made {
    tls: Arc<ClientConfig>,
    connector: Connector,
    client: Inner,
}

/// A client; one a node. The machine's root certificates are read when they are first needed.
#[derive(Default)]
pub struct Http {
    given: Option<Arc<ClientConfig>>,
    authorities_pem: Vec<String>,
    made: OnceCell<Made>,
}

impl Http {
    /// Trusts `tls`' roots instead of the machine's.
    pub fn trusting(tls: Arc<ClientConfig>) -> Self {
        Self { given: Some(tls), ..Self::default() }
    }

    /// Trusts the machine's roots, and these authorities.
    pub fn with_authorities(authorities_pem: Vec<String>) -> Self {
        Self { authorities_pem, ..Self::default() }
    }

    /// Sends one request; a redirect is an answer like any other.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, HttpError> {
        let host = host_of(request.uri());
        let client = &self.made().await.client;
        // What is sent takes its time too.
        let sent = request.body().size_hint().exact().unwrap_or(0) / UPLOAD_BYTES_PER_SECOND_MIN;
        let answer = timeout(IMAGE_SILENCE_MAX + Duration::from_secs(sent), client.request(request)).await;
        match answer.map_err(|_| HttpError::Silence { host: host.clone() })? {
            Ok(response) => Ok(response),
            Err(error) if error.is_connect() => Err(HttpError::Connect { host, source: cause(error) }),
            Err(error) => Err(HttpError::Transfer { host, source: cause(error) }),
        }
    }

    /// Gets `url`, through redirects. Credentials stay with the host that they were meant for, and what began over TLS
    /// goes on over TLS.
    ///
    /// # Errors
    /// When no answer comes, or redirects lead astray.
    pub async fn get(&self, url: &Uri, headers: &HeaderMap) -> Result<Response<Body>, HttpError> {
        let mut url = url.clone();
        let mut headers = headers.clone();
        headers.insert(header::USER_AGENT, USER_AGENT);
        for _ in 0..=IMAGE_REDIRECTS_MAX {
            let mut request = Request::new(Full::default());
            *request.method_mut() = Method::GET;
            *request.uri_mut() = url.clone();
            *request.headers_mut() = headers.clone();
            let response = self.send(request).await?;
            let Some(next) = redirect(&url, &response)? else { return Ok(response) };
            if next.authority() != url.authority() {
                headers.remove(header::AUTHORIZATION);
            }
            url = next;
        }
        Err(HttpError::Redirects)
    }

    /// Whether TLS answers at `host:port`. A certificate that is not trusted is TLS all the same.
    pub async fn speaks_tls(&self, host: &str, port: u16) -> bool {
        let Made { tls, connector, .. } = self.made().await;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (Ok(name), Ok(to)) = (ServerName::try_from(bare), format!("https://{host}:{port}/").parse()) else {
            return true;
        };
        let mut connector = connector.clone();
        let shaken = async {
            let tcp = connector.call(to).await.map_err(std::io::Error::other)?;
            TlsConnector::from(tls.clone()).connect(name, tcp.into_inner()).await.map(drop)
        };
        match silence(host, shaken).await {
            Ok(Err(error)) => {
                let tls_error = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
                matches!(tls_error, Some(rustls::Error::InvalidCertificate(_)))
            }
            other => matches!(other, Ok(Ok(()))),
        }
    }

    async fn made(&self) -> &Made {
        let make = async || {
            let tls = self.given.clone().unwrap_or_else(|| roots(&self.authorities_pem));
            let mut tcp = HttpConnector::new();
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_connect_timeout(Some(IMAGE_SILENCE_MAX));
            let connector = Connector::new(tcp, Matcher::from_env());
            let https = hyper_rustls::HttpsConnectorBuilder::new()
                .with_tls_config((*tls).clone())
                .https_or_http()
                .enable_http1()
                .wrap_connector(connector.clone());
            Made { tls, connector, client: Client::builder(TokioExecutor::new()).build(https) }
        };
        self.made.get_or_init(make).await
    }
}

/// A push that is slower than this is given up.
const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 50_000;

/// Whom we say we are.
pub const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("coracle/", env!("CARGO_PKG_VERSION")));

/// The next piece of a body; `None` at its end.
///
/// # Errors
/// When the other side breaks off, or is silent.
pub async fn piece(host: &str, body: &mut Body) -> Result<Option<Bytes>, HttpError> {
    while let Some(frame) = silence(host, body.frame()).await? {
        let frame = frame.map_err(|source| HttpError::Transfer { host: host.to_owned(), source: cause(source) })?;
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

/// A whole body, if it is no larger than that.
///
/// # Errors
/// When it is larger, or does not come.
pub async fn whole(host: &str, mut body: Body, bytes_max: usize) -> Result<Bytes, HttpError> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = piece(host, &mut body).await? {
        if bytes.len() + piece.len() > bytes_max {
            return Err(HttpError::TooLarge { host: host.to_owned(), bytes_max });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

/// The host of an address, with its port.
pub fn host_of(url: &Uri) -> String {
    url.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default()
}

/// Waits for `work`, but not for ever.
///
/// # Errors
/// [`HttpError::Silence`].
async fn silence<T>(host: &str, work: impl Future<Output = T>) -> Result<T, HttpError> {
    timeout(IMAGE_SILENCE_MAX, work).await.map_err(|_| HttpError::Silence { host: host.to_owned() })
}

/// The cause of what the client says: its own words are only that there was an error.
fn cause(error: impl std::error::Error + Send + Sync + 'static) -> Box<dyn std::error::Error + Send + Sync> {
    match error.source() {
        Some(source) => crate::pod::execute::chain(source).into(),
        None => Box::new(error),
    }
}

/// Where the answer sends us on, if it does.
fn redirect(url: &Uri, response: &Response<Body>) -> Result<Option<Uri>, HttpError> {
    let is_redirect = matches!(response.status(), StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND)
        || matches!(response.status().as_u16(), 303 | 307 | 308);
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    location.filter(|_| is_redirect).map(|location| resolve(url, location)).transpose()
}

/// A `Location` seen from `base`: absolute, or a path on the same host; from https to https only.
///
/// # Errors
/// [`HttpError::Address`].
pub fn resolve(base: &Uri, location: &str) -> Result<Uri, HttpError> {
    let error = || HttpError::Address(location.to_owned());
    let scheme = base.scheme_str().unwrap_or("https");
    let absolute = if location.starts_with('/') && !location.starts_with("//") {
        format!("{scheme}://{}{location}", host_of(base))
    } else {
        location.to_owned()
    };
    let next: Uri = absolute.parse().map_err(|_| error())?;
    let is_safe = match next.scheme_str() {
        Some("https") => true,
        Some("http") => scheme == "http",
        _ => false,
    };
    if is_safe && next.host().is_some() { Ok(next) } else { Err(error()) }
}

fn roots(authorities_pem: &[String]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::debug!(%error, "a root certificate of this machine is unusable");
    }
    roots.add_parsable_certificates(found.certs);
    for pem in authorities_pem {
        let (_, unusable) =
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok));
        if unusable > 0 {
            tracing::warn!("a certificate of a registry's authority is unusable");
        }
    }
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
        let table = [
            ("https://a.example:8443/x/y.wasm", "/z.wasm", Some("https://a.example:8443/z.wasm")),
            ("https://a.example/x", "https://b.example/z.wasm", Some("https://b.example/z.wasm")),
            ("https://a.example/x", "http://b.example/z.wasm", None),
            ("https://a.example/x", "//b.example/z.wasm", None),
            ("https://a.example/x", "file:///etc/passwd", None),
            ("http://localhost:5000/x", "/z", Some("http://localhost:5000/z")),
            ("http://localhost:5000/x", "http://localhost/z", Some("http://localhost/z")),
        ];
        for (base, location, want) in table {
            let base: Uri = base.parse().unwrap();
            assert_eq!(resolve(&base, location).ok().map(|uri| uri.to_string()).as_deref(), want, "{base} {location}");
        }
    }
}
