//! The cluster that a verb speaks to, as JSON: nothing here knows the kinds, so every kind of any server works.

mod access;
mod discovery;
mod path;
mod resource;
mod select;
mod table;

use bytes::Bytes;
use coracle_client::{Client, Error, ResponseBody, WebSocket};
use futures::Stream;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::Value;

pub use access::Access;
pub use discovery::Discovery;
pub use path::{encode, query};
pub use resource::Resource;
pub use select::{Named, Targets};
pub use table::{Cells, Columns, Table};

use crate::failure::Failure;

/// How a body is written, or asked for.
pub mod media {
    pub const JSON: &str = "application/json";
    pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    pub const MERGE_PATCH: &str = "application/merge-patch+json";
    pub const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
    pub const JSON_PATCH: &str = "application/json-patch+json";
}

/// A server, and the namespace that is meant when none is named.
#[derive(Clone)]
pub struct Server {
    client: Client,
    namespace: String,
}

/// One event of a watch.
#[derive(Debug)]
pub struct Frame {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub kind: String,
    pub object: Value,
}

impl Server {
    /// The server that the flags mean.
    ///
    /// # Errors
    /// When no kubeconfig is found, or it cannot be used.
    pub async fn connect(access: &Access) -> Result<Self, Failure> {
        let path = access.kubeconfig_path();
        let client = Client::from_kubeconfig(path.as_deref(), access.context.as_deref()).await.map_err(|error| {
            let failure = Failure::from(error);
            match path {
                Some(path) => failure.with_context(format!("cannot use {}", path.display())),
                None => failure,
            }
        })?;
        let namespace = access.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Self::new(client.named("coracle"), namespace))
    }

    /// A server that is reached already.
    pub fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    /// The same, where other names are meant.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// Where names without a namespace are looked for.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The kinds that it serves.
    ///
    /// # Errors
    /// When it does not answer, or not in aggregated form (Kubernetes before 1.27).
    pub async fn discover(&self) -> Result<Discovery, Failure> {
        Discovery::of(self).await
    }

    /// # Errors
    /// As [`Client::raw`].
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        self.get_as(path, media::JSON).await
    }

    /// GET in a form of its own, such as a table.
    ///
    /// # Errors
    /// As [`Client::raw`].
    pub async fn get_as(&self, path: &str, accept: &str) -> Result<Value, Error> {
        Ok(json(&self.client.raw(request(Method::GET, path, accept, None)?).await?.into_body()))
    }

    /// The object, or nothing when there is none.
    ///
    /// # Errors
    /// As [`Client::raw`], but for "not found".
    pub async fn find(&self, path: &str) -> Result<Option<Value>, Error> {
        match self.get(path).await {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// # Errors
    /// As [`Client::raw`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.write(Method::POST, path, media::JSON, body).await
    }

    /// PATCH, of the form that `media` names.
    ///
    /// # Errors
    /// As [`Client::raw`].
    pub async fn patch(&self, path: &str, media: &str, body: &Value) -> Result<Value, Error> {
        self.write(Method::PATCH, path, media, body).await
    }

    /// # Errors
    /// As [`Client::raw`].
    pub async fn delete(&self, path: &str, options: &Value) -> Result<Value, Error> {
        self.write(Method::DELETE, path, media::JSON, options).await
    }

    async fn write(&self, method: Method, path: &str, media: &str, body: &Value) -> Result<Value, Error> {
        let request = request(method, path, media::JSON, Some((media, body.to_string().into())))?;
        Ok(json(&self.client.raw(request).await?.into_body()))
    }

    /// A body that is read while it arrives: a log that is followed.
    ///
    /// # Errors
    /// As [`Client::stream`].
    pub async fn stream(&self, path: &str) -> Result<ResponseBody, Error> {
        Ok(self.client.stream(request(Method::GET, path, "*/*", None)?).await?.into_body())
    }

    /// A connection that goes on as a WebSocket, with that of the `protocols` that it speaks.
    ///
    /// # Errors
    /// As [`Client::websocket`].
    pub async fn websocket(&self, path: &str, protocols: &[&str]) -> Result<(WebSocket, String), Error> {
        self.client.websocket(path, protocols).await
    }

    /// The events of a watch, until the server ends it. `accept` is the form of their objects.
    ///
    /// # Errors
    /// As [`Client::stream`].
    pub async fn watch(
        &self,
        path: &str,
        accept: &str,
    ) -> Result<impl Stream<Item = Result<Frame, Failure>> + Send + use<>, Error> {
        let body = self.client.stream(request(Method::GET, path, accept, None)?).await?.into_body();
        Ok(frames(body))
    }
}

fn request(method: Method, path: &str, accept: &str, body: Option<(&str, Bytes)>) -> Result<Request<Bytes>, Error> {
    let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
    if let Some((media, _)) = &body {
        request = request.header(header::CONTENT_TYPE, *media);
    }
    let body = body.map(|(_, body)| body).unwrap_or_default();
    request.body(body).map_err(|source| Error::Request { source })
}

/// An answer that is not JSON is shown as the text that it is.
fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

fn frames(body: ResponseBody) -> impl Stream<Item = Result<Frame, Failure>> + Send {
    futures::stream::try_unfold((body, Vec::new()), |(mut body, mut buffered)| async move {
        loop {
            if let Some(end) = buffered.iter().position(|byte| *byte == b'\n') {
                let rest = buffered.split_off(end + 1);
                return Ok(Some((frame(&buffered)?, (body, rest))));
            }
            match body.frame().await {
                None => return Ok(None),
                Some(part) => {
                    let part = part.map_err(|error| Failure::new(format!("the watch broke off: {error}")))?;
                    buffered.extend_from_slice(part.data_ref().map_or(&[], |data| data));
                }
            }
        }
    })
}

fn frame(line: &[u8]) -> Result<Frame, Failure> {
    let mut frame: Value = serde_json::from_slice(line)?;
    let kind = frame["type"].as_str().unwrap_or_default().to_owned();
    let object = frame["object"].take();
    if kind == "ERROR" {
        let message = object["message"].as_str().unwrap_or("no reason given");
        return Err(Failure::new(format!("the server ended the watch: {message}")));
    }
    Ok(Frame { kind, object })
}
