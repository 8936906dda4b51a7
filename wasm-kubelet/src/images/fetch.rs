//! Brings `https://` images into the store. A transfer that breaks off goes on where it was, if the file is still the
//! same.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use hyper::body::Incoming as Body;
use rustls::ClientConfig;

use super::http::{Http, HttpError, host_of, piece};
use super::reference::Reference;
use super::store::{Digest, ImageStore, Incoming, StoreError};
use crate::limits::{IMAGE_BYTES_MAX, IMAGE_RESUME_PAUSE, IMAGE_RESUMES_MAX};

/// Why an image could not be brought.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{0} answered {1}")]
    Status(String, StatusCode),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Fetches images; one a node.
#[derive(Clone, Default)]
pub struct Fetcher {
    http: Arc<Http>,
}

impl Fetcher {
    /// A fetcher that trusts `tls`' roots instead of the machine's.
    pub fn trusting(tls: Arc<ClientConfig>) -> Self {
        Self::over(Arc::new(Http::trusting(tls)))
    }

    /// A fetcher that goes this way.
    pub fn over(http: Arc<Http>) -> Self {
        Self { http }
    }

    /// Brings `url` into `store` under `reference`; answers its digest.
    ///
    /// # Errors
    /// When the other side does not give it, or the store does not take it.
    ///
    /// # Cancel safety
    /// Dropped half-way, it leaves nothing in the store.
    pub async fn fetch(&self, url: &str, reference: &Reference, store: &ImageStore) -> Result<Digest, FetchError> {
        let address: Uri = url.parse().map_err(|_| HttpError::Address(url.to_owned()))?;
        let mut incoming = store.begin()?;
        download(&self.http, &address, &HeaderMap::new(), reference.digest().is_some(), &mut incoming).await?;
        Ok(incoming.finish(reference)?)
    }
}

/// Brings what is at `url` into `incoming`, behind what that has already. `is_fixed`: the bytes can only be one thing,
/// as their digest is known; otherwise a second part is taken only if the server says that it belongs to the first.
///
/// # Errors
/// When the other side does not give it, or the store does not take it.
pub async fn download(
    http: &Http,
    url: &Uri,
    headers: &HeaderMap,
    is_fixed: bool,
    incoming: &mut Incoming,
) -> Result<(), FetchError> {
    let mut version = None;
    let mut broken = 0;
    loop {
        let attempt = once(http, url, headers, is_fixed, &mut version, incoming).await;
        match attempt {
            Err(FetchError::Http(error)) if error.is_broken_transfer() && broken < IMAGE_RESUMES_MAX => {
                tracing::debug!(%url, bytes = incoming.bytes(), error = &error as &dyn std::error::Error, "goes on");
                tokio::time::sleep(IMAGE_RESUME_PAUSE * (1 << broken)).await;
                broken += 1;
            }
            outcome => return outcome,
        }
    }
}

async fn once(
    http: &Http,
    url: &Uri,
    headers: &HeaderMap,
    is_fixed: bool,
    version: &mut Option<HeaderValue>,
    incoming: &mut Incoming,
) -> Result<(), FetchError> {
    let mut headers = headers.clone();
    let resumes = incoming.bytes() > 0 && (is_fixed || version.is_some());
    if resumes {
        let range = HeaderValue::from_str(&format!("bytes={}-", incoming.bytes()));
        headers.insert(header::RANGE, range.map_err(|_| HttpError::Address(url.to_string()))?);
        if let Some(version) = version.as_ref() {
            headers.insert(header::IF_RANGE, version.clone());
        }
    }
    let response = http.get(url, &headers).await?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if resumes && starts_at(&response) == Some(incoming.bytes()) => {}
        // Nothing is left to send: what is here is all, or is not what was asked for. The digest tells.
        StatusCode::RANGE_NOT_SATISFIABLE if resumes => return Ok(()),
        StatusCode::OK => incoming.restart()?,
        StatusCode::PARTIAL_CONTENT => {
            incoming.restart()?;
            return Err(HttpError::Transfer { host: host_of(url), source: "it sent another part".into() }.into());
        }
        status => return Err(FetchError::Status(url.to_string(), status)),
    }
    *version = response.headers().get(header::ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/")).cloned();
    receive(&host_of(url), response, incoming).await
}

/// Where the part begins that was sent. Source: RFC 9110, `Content-Range`.
fn starts_at(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

async fn receive(host: &str, response: Response<Body>, incoming: &mut Incoming) -> Result<(), FetchError> {
    let announced =
        response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: u64| bytes.saturating_add(incoming.bytes()) > IMAGE_BYTES_MAX) {
        return Err(StoreError::TooLarge.into());
    }
    let mut body = response.into_body();
    while let Some(piece) = piece(host, &mut body).await? {
        incoming.write(&piece)?;
    }
    Ok(())
}
