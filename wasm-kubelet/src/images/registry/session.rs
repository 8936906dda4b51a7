//! Talking to one registry about one name, as one user: requests with whatever the registry asks to see.
//! Source: the OCI distribution specification.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming as Body;
use serde_json::Value;

use super::auth::Challenge;
use super::manifest::{ACCEPTED, Part};
use super::{Endpoint, RegistryError};
use crate::images::Digest;
use crate::images::credentials::Credential;
use crate::images::fetch::{FetchError, download};
use crate::images::http::{Http, HttpError, USER_AGENT, host_of, resolve, whole};
use crate::images::store::{Incoming, StoreError};
use crate::limits::{IMAGE_ANSWER_BYTES_MAX, IMAGE_MANIFEST_BYTES_MAX};

/// What is to be done with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Pull,
    Push,
}

/// See the module.
pub struct Session {
    http: Arc<Http>,
    endpoint: Endpoint,
    credential: Option<Credential>,
    action: Action,
    /// What the registry was last content with.
    authorization: Mutex<Option<HeaderValue>>,
}

/// A manifest as it came, with the digest of its bytes.
pub struct Raw {
    pub digest: Digest,
    pub bytes: Bytes,
}

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

impl Session {
    pub(super) fn new(http: Arc<Http>, endpoint: Endpoint, credential: Option<Credential>, action: Action) -> Self {
        Self { http, endpoint, credential, action, authorization: Mutex::default() }
    }

    /// The registry that is spoken to, or its mirror.
    pub fn host(&self) -> &str {
        self.endpoint.host()
    }

    /// The manifest that a tag or a digest names; `None` when there is none.
    ///
    /// # Errors
    /// When the registry does not answer, or not with that.
    pub async fn manifest(&self, reference: &str) -> Result<Option<Raw>, RegistryError> {
        let url = self.url(&format!("manifests/{reference}"))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPTED));
        let response = self.get(&url, headers).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = self.successful(&url, response).await?;
        let announced = response.headers().get(CONTENT_DIGEST).and_then(|digest| digest.to_str().ok()?.parse().ok());
        let bytes = whole(&host_of(&url), response.into_body(), IMAGE_MANIFEST_BYTES_MAX).await?;
        let digest = Digest::of(&bytes);
        // The digest that was asked for, or else the one that the registry says.
        match reference.parse().ok().or(announced) {
            Some(want) if want != digest => Err(StoreError::WrongDigest { want, got: digest }.into()),
            _ => Ok(Some(Raw { digest, bytes })),
        }
    }

    /// A small blob.
    ///
    /// # Errors
    /// When it does not come, is large, or is another.
    pub async fn blob(&self, part: &Part, bytes_max: usize) -> Result<Bytes, RegistryError> {
        let url = self.url(&format!("blobs/{}", part.digest))?;
        let response = self.get(&url, HeaderMap::new()).await?;
        let response = self.successful(&url, response).await?;
        let bytes = whole(&host_of(&url), response.into_body(), bytes_max).await?;
        match Digest::of(&bytes) {
            got if got == part.digest => Ok(bytes),
            got => Err(StoreError::WrongDigest { want: part.digest, got }.into()),
        }
    }

    /// Brings a blob, behind what has come of it before. Its digest is for whoever finishes `incoming` to check.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn download(&self, part: &Part, incoming: &mut Incoming) -> Result<(), RegistryError> {
        if incoming.bytes() == part.bytes {
            return Ok(());
        }
        if incoming.bytes() > part.bytes {
            incoming.restart()?;
        }
        let url = self.url(&format!("blobs/{}", part.digest))?;
        let mut was_authorized = false;
        loop {
            match download(&self.http, &url, &self.headers(), true, incoming).await {
                // A token lasts for some minutes only.
                Err(FetchError::Status(_, StatusCode::UNAUTHORIZED)) if !was_authorized => {
                    was_authorized = true;
                    let answer = self.http.get(&self.url("")?, &HeaderMap::new()).await?;
                    self.authorize(&url, answer).await?;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Whether the registry has a blob.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let response = self.send(Method::HEAD, &url, HeaderMap::new(), Bytes::new()).await?;
        Ok(response.status().is_success())
    }

    /// Puts a blob there, unless the registry has it.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push_blob(&self, bytes: Bytes) -> Result<(), RegistryError> {
        let digest = Digest::of(&bytes);
        if self.has_blob(&digest).await? {
            return Ok(());
        }
        let url = self.url("blobs/uploads/")?;
        let begun = self.send(Method::POST, &url, HeaderMap::new(), Bytes::new()).await?;
        let begun = self.successful(&url, begun).await?;
        let location = begun.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let location = resolve(&url, location.unwrap_or_default())?;
        let separator = if location.query().is_some() { '&' } else { '?' };
        let target = format!("{location}{separator}digest={digest}");
        let target: Uri = target.parse().map_err(|_| HttpError::Address(target))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let put = self.send(Method::PUT, &target, headers, bytes).await?;
        self.successful(&target, put).await.map(drop)
    }

    /// Puts a manifest there under a tag; its digest.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push_manifest(
        &self,
        tag: &str,
        media_type: &'static str,
        bytes: Bytes,
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&bytes);
        let url = self.url(&format!("manifests/{tag}"))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        let put = self.send(Method::PUT, &url, headers, bytes).await?;
        self.successful(&url, put).await?;
        Ok(digest)
    }

    fn url(&self, path: &str) -> Result<Uri, HttpError> {
        let Endpoint { base, path: name, .. } = &self.endpoint;
        let url = if path.is_empty() { format!("{base}/v2/") } else { format!("{base}/v2/{name}/{path}") };
        url.parse().map_err(|_| HttpError::Address(url))
    }

    fn headers(&self) -> HeaderMap {
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.map(|value| (header::AUTHORIZATION, value)).into_iter().collect()
    }

    async fn get(&self, url: &Uri, headers: HeaderMap) -> Result<Response<Body>, RegistryError> {
        let with = |mut headers: HeaderMap| {
            headers.extend(self.headers());
            headers
        };
        let answer = self.http.get(url, &with(headers.clone())).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.authorize(url, answer).await?;
        Ok(self.http.get(url, &with(headers)).await?)
    }

    async fn send(
        &self,
        method: Method,
        url: &Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, RegistryError> {
        let once = async || {
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = url.clone();
            *request.headers_mut() = headers.clone();
            request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
            // An upload may go to another host than the registry, with a signed address.
            if host_of(url) == self.endpoint.host() {
                request.headers_mut().extend(self.headers());
            }
            self.http.send(request).await
        };
        let answer = once().await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.authorize(url, answer).await?;
        Ok(once().await?)
    }

    /// Gets what the registry asks to see. A name and a password go over TLS only, unless the registry itself is one
    /// that this node speaks to without.
    async fn authorize(&self, url: &Uri, answer: Response<Body>) -> Result<(), RegistryError> {
        let challenge = Challenge::of(answer.headers());
        let denied = self.denied(url, answer).await;
        let value = match (challenge, &self.credential) {
            (Some(Challenge::Basic), Some(credential)) => credential.basic(),
            (Some(Challenge::Bearer { realm, service, .. }), _) => {
                format!("Bearer {}", self.token(&realm, service.as_deref()).await?)
            }
            _ => return Err(denied),
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| denied)?;
        value.set_sensitive(true);
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> Result<String, RegistryError> {
        let actions = if self.action == Action::Push { "pull,push" } else { "pull" };
        let scope = format!("repository:{}:{actions}", self.endpoint.path);
        let mut url = realm.to_owned();
        let mut separator = if realm.contains('?') { '&' } else { '?' };
        for (name, value) in service.map(|service| ("service", service)).into_iter().chain([("scope", &*scope)]) {
            url.push(separator);
            url.push_str(&format!("{name}={}", encoded(value)));
            separator = '&';
        }
        let address = || HttpError::Address(realm.to_owned());
        let url: Uri = url.parse().map_err(|_| address())?;
        let is_safe = url.scheme_str() == Some("https") || url.scheme_str() == Some("http") && self.endpoint.is_plain();
        if !is_safe {
            return Err(address().into());
        }
        let mut headers = HeaderMap::new();
        if let Some(credential) = &self.credential {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&credential.basic()).map_err(|_| address())?);
        }
        let answer = self.http.get(&url, &headers).await?;
        if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(self.denied(&url, answer).await);
        }
        let answer = self.successful(&url, answer).await?;
        let bytes = whole(&host_of(&url), answer.into_body(), IMAGE_ANSWER_BYTES_MAX).await?;
        let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let token = said["token"].as_str().or(said["access_token"].as_str());
        token.map(str::to_owned).ok_or_else(|| RegistryError::NoToken(host_of(&url)))
    }

    async fn successful(&self, url: &Uri, answer: Response<Body>) -> Result<Response<Body>, RegistryError> {
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied(url, answer).await),
            status => {
                let detail = detail(url, answer).await;
                Err(RegistryError::Status { host: host_of(url), status, detail })
            }
        }
    }

    async fn denied(&self, url: &Uri, answer: Response<Body>) -> RegistryError {
        let detail = detail(url, answer).await;
        RegistryError::Denied { host: host_of(url), is_anonymous: self.credential.is_none(), detail }
    }
}

/// What the registry says of an error, as `: CODE: message`.
async fn detail(url: &Uri, answer: Response<Body>) -> String {
    let Ok(bytes) = whole(&host_of(url), answer.into_body(), IMAGE_ANSWER_BYTES_MAX).await else {
        return String::new();
    };
    let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let first = &said["errors"][0];
    let text = |field: &str| first[field].as_str().map(printable).filter(|text| !text.is_empty());
    [text("code"), text("message")].into_iter().flatten().map(|text| format!(": {text}")).collect()
}

/// What others say may stand in a pod's status, but not with anything in it.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// As a value of a query.
fn encoded(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte);
    value.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
