//! One connection: requests one after another, or one stream.

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use serde_json::Value;

use crate::frames::Frames;
use crate::server::Server;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const MERGE_PATCH: HeaderValue = HeaderValue::from_static("application/merge-patch+json");

/// An open connection to a [`Server`]; one that the server closed is opened again by the next request.
pub struct Connection {
    server: Server,
    sender: SendRequest<Full<Bytes>>,
}

/// What a request came to.
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Connection {
    pub(crate) fn new(server: Server, sender: SendRequest<Full<Bytes>>) -> Self {
        Self { server, sender }
    }

    pub(crate) async fn handshake<T>(io: T) -> anyhow::Result<SendRequest<Full<Bytes>>>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(io).await?;
        // Ends with the sender; what breaks it, the pending request reports.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// GET, read to its end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, JSON, Bytes::new()).await
    }

    /// POST of an object.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, JSON, body.into()).await
    }

    /// PUT of an object.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn put(&mut self, path: &str, body: impl Into<Bytes>) -> anyhow::Result<Answer> {
        self.send(Method::PUT, path, JSON, body.into()).await
    }

    /// JSON merge patch.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn merge(&mut self, path: &str, patch: &Value) -> anyhow::Result<Answer> {
        self.send(Method::PATCH, path, MERGE_PATCH, patch.to_string().into()).await
    }

    /// DELETE, of an object or a collection.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn delete(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::DELETE, path, JSON, Bytes::new()).await
    }

    /// Begins a watch; the connection then belongs to it.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn watch(mut self, path: &str) -> anyhow::Result<Frames> {
        let response = self.begin(Method::GET, path, JSON, Bytes::new()).await?;
        let (parts, body) = response.into_parts();
        if parts.status != StatusCode::OK {
            let body = body.collect().await?.to_bytes();
            bail!("watch {path}: {} {}", parts.status, String::from_utf8_lossy(&body));
        }
        Ok(Frames::new(body, self))
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: HeaderValue,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let (parts, body) = self.begin(method, path, content_type, body).await?.into_parts();
        let body = body.collect().await.context("the answer broke off")?.to_bytes();
        Ok(Answer { status: parts.status, body })
    }

    async fn begin(
        &mut self,
        method: Method,
        path: &str,
        content_type: HeaderValue,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        if self.sender.ready().await.is_err() {
            *self = self.server.connect().await?;
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse()?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.server.authority());
        headers.insert(ACCEPT, JSON);
        headers.insert(CONTENT_TYPE, content_type);
        if let Some(authorization) = self.server.authorization() {
            headers.insert(AUTHORIZATION, authorization);
        }
        self.sender.send_request(request).await.context("the request was not answered")
    }
}

impl Answer {
    /// The body, when the request was done.
    ///
    /// # Errors
    /// When it was refused; the text is the server's.
    pub fn success(self) -> anyhow::Result<Bytes> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let said: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let message =
            said["message"].as_str().map_or_else(|| String::from_utf8_lossy(&self.body).into(), str::to_owned);
        bail!("{}: {message}", self.status)
    }
}
