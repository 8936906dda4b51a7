//! Typed requests for the objects of one kind. Thin: a method builds one request and reads one answer; the JSON is
//! read and written by the kind's own functions in `coracle-api`.

use std::marker::PhantomData;

use bytes::Bytes;
use coracle_api::Object;
use coracle_api::object::DecodeError;
use futures::Stream;
use http::{Method, Request, header};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use serde_json::Value;

use crate::informer::metadata_of;
use crate::watch::{self, WatchEvent};
use crate::{Client, Error, path};

/// The objects of kind `K`, in one namespace or in all.
#[derive(Clone)]
pub struct Objects<K> {
    client: Client,
    namespace: Option<String>,
    kind: PhantomData<fn() -> K>,
}

/// Which objects a list or a watch is about, and how much of it at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    pub label_selector: Option<String>,
    pub field_selector: Option<String>,
    /// At most so many; the list's `continue` then names the rest.
    pub limit: Option<u32>,
    pub continue_token: Option<String>,
    /// A list not older than this revision, a watch of what came after it.
    pub resource_version: Option<String>,
}

/// A list as it was at one revision.
#[derive(Clone, Debug)]
pub struct List<K> {
    pub metadata: ListMeta,
    pub items: Vec<K>,
}

/// A change that is computed at the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 6902: a list of operations.
    Json(Value),
    /// RFC 7386: what to set, `null` to remove.
    Merge(Value),
    /// Kubernetes' own: as `Merge`, and lists are merged by their keys.
    Strategic(Value),
}

impl Patch {
    fn content_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json-patch+json",
            Self::Merge(_) => "application/merge-patch+json",
            Self::Strategic(_) => "application/strategic-merge-patch+json",
        }
    }

    fn body(&self) -> Bytes {
        let (Self::Json(value) | Self::Merge(value) | Self::Strategic(value)) = self;
        value.to_string().into()
    }
}

/// Every method is one request. Unless it says more, its errors are those of [`Client::raw`], and
/// [`Error::NoNamespace`] where a namespaced object is named without one.
impl<K: Object> Objects<K> {
    pub(crate) fn new(client: Client, namespace: Option<String>) -> Self {
        Self { client, namespace, kind: PhantomData }
    }

    /// # Errors
    /// [`Error::is_not_found`].
    pub async fn get(&self, name: &str) -> Result<K, Error> {
        self.object(Method::GET, self.path(name, None)?, None, Bytes::new()).await
    }

    /// The object, or `None` when there is none.
    ///
    /// # Errors
    /// All but [`Error::is_not_found`].
    pub async fn find(&self, name: &str) -> Result<Option<K>, Error> {
        match self.get(name).await {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// # Errors
    /// [`Error::is_gone`] when a `continue_token` is too old.
    pub async fn list(&self, options: &ListOptions) -> Result<List<K>, Error> {
        let path = options.query(path::collection::<K>(self.namespace.as_deref()));
        let answer = self.client.raw(request(Method::GET, path.clone(), None, Bytes::new())?).await?;
        let (metadata, items) =
            K::decode_list(answer.body()).map_err(|source| Error::Answer { request: format!("GET {path}"), source })?;
        Ok(List { metadata, items })
    }

    /// What happens from `options.resource_version` on, until the server ends it (after some minutes). This is the bare
    /// protocol; who needs to follow a kind for long takes an informer.
    ///
    /// # Errors
    /// [`Error::is_gone`] when the revision is no longer kept: at once, or as an item of the stream.
    pub async fn watch(
        &self,
        options: &ListOptions,
    ) -> Result<impl Stream<Item = Result<WatchEvent<K>, Error>> + Send + use<K>, Error> {
        let path = path::collection::<K>(self.namespace.as_deref());
        let target = path::query(
            path.clone(),
            &[
                ("watch", Some("true")),
                ("allowWatchBookmarks", Some("true")),
                ("labelSelector", options.label_selector.as_deref()),
                ("fieldSelector", options.field_selector.as_deref()),
                ("resourceVersion", options.resource_version.as_deref()),
            ],
        );
        let answer = self.client.stream(request(Method::GET, target, None, Bytes::new())?).await?;
        Ok(watch::events(path, answer.into_body()))
    }

    /// Creates `object`, in its own namespace or in that of this handle.
    ///
    /// # Errors
    /// [`Error::is_already_exists`], [`Error::is_invalid`].
    pub async fn create(&self, object: &K) -> Result<K, Error> {
        let namespace = self.namespace_of(object)?;
        self.object(Method::POST, path::collection::<K>(namespace), Some(JSON), object.encode()).await
    }

    /// Replaces an object. With a `resourceVersion` in it, only that version.
    ///
    /// # Errors
    /// [`Error::is_conflict`], [`Error::is_not_found`], [`Error::is_invalid`].
    pub async fn update(&self, object: &K) -> Result<K, Error> {
        self.replace(object, None).await
    }

    /// Replaces an object's status and leaves the rest.
    ///
    /// # Errors
    /// As [`Objects::update`].
    pub async fn update_status(&self, object: &K) -> Result<K, Error> {
        self.replace(object, Some("status")).await
    }

    /// # Errors
    /// [`Error::is_not_found`], [`Error::is_invalid`]; [`Error::is_conflict`] when the patch names a version.
    pub async fn patch(&self, name: &str, patch: &Patch) -> Result<K, Error> {
        self.object(Method::PATCH, self.path(name, None)?, Some(patch.content_type()), patch.body()).await
    }

    /// As [`Objects::patch`], for who need not see what came of it. Of its metadata there are the name, the namespace, the
    /// uid, the version, the owners, the finalizers and since when it is being deleted.
    ///
    /// # Errors
    /// As [`Objects::patch`].
    pub async fn patch_unseen(&self, name: &str, patch: &Patch) -> Result<ObjectMeta, Error> {
        self.patch_at(self.path(name, None)?, patch).await
    }

    /// As [`Objects::patch_unseen`], of an object's status.
    ///
    /// # Errors
    /// As [`Objects::patch`].
    pub async fn patch_status(&self, name: &str, patch: &Patch) -> Result<ObjectMeta, Error> {
        self.patch_at(self.path(name, Some("status"))?, patch).await
    }

    /// # Errors
    /// [`Error::is_not_found`]; [`Error::is_conflict`] when a precondition does not hold.
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<(), Error> {
        self.send_delete(self.path(name, None)?, options).await
    }

    /// Deletes all that `which` selects.
    ///
    /// # Errors
    /// Those of [`Client::raw`].
    pub async fn delete_all(&self, which: &ListOptions, options: &DeleteOptions) -> Result<(), Error> {
        self.send_delete(which.query(path::collection::<K>(self.namespace.as_deref())), options).await
    }

    async fn send_delete(&self, path: String, options: &DeleteOptions) -> Result<(), Error> {
        let (content_type, body) = match options == &DeleteOptions::default() {
            true => (None, Bytes::new()),
            false => (Some(JSON), encode_delete_options(options)),
        };
        self.client.raw(request(Method::DELETE, path, content_type, body)?).await.map(drop)
    }

    async fn replace(&self, object: &K, subresource: Option<&str>) -> Result<K, Error> {
        let name = object.metadata().name.as_deref().ok_or(Error::NoName { kind: K::KIND })?;
        let path = path::object(path::collection::<K>(self.namespace_of(object)?), name, subresource);
        self.object(Method::PUT, path, Some(JSON), object.encode()).await
    }

    async fn object(
        &self,
        method: Method,
        path: String,
        content_type: Option<&'static str>,
        body: Bytes,
    ) -> Result<K, Error> {
        self.answered(method, path, content_type, body, K::decode).await
    }

    async fn patch_at(&self, path: String, patch: &Patch) -> Result<ObjectMeta, Error> {
        let read = |json: &[u8]| metadata_of(json).map_err(|source| DecodeError { kind: K::KIND.into(), source });
        self.answered(Method::PATCH, path, Some(patch.content_type()), patch.body(), read).await
    }

    async fn answered<A>(
        &self,
        method: Method,
        path: String,
        content_type: Option<&'static str>,
        body: Bytes,
        read: impl Fn(&[u8]) -> Result<A, DecodeError>,
    ) -> Result<A, Error> {
        let named = format!("{method} {path}");
        let answer = self.client.raw(request(method, path, content_type, body)?).await?;
        read(answer.body()).map_err(|source| Error::Answer { request: named, source })
    }

    fn path(&self, name: &str, subresource: Option<&str>) -> Result<String, Error> {
        if K::NAMESPACED && self.namespace.is_none() {
            return Err(Error::NoNamespace { kind: K::KIND });
        }
        Ok(path::object(path::collection::<K>(self.namespace.as_deref()), name, subresource))
    }

    fn namespace_of<'a>(&'a self, object: &'a K) -> Result<Option<&'a str>, Error> {
        match self.namespace.as_deref().or(object.metadata().namespace.as_deref()) {
            None if K::NAMESPACED => Err(Error::NoNamespace { kind: K::KIND }),
            namespace => Ok(namespace),
        }
    }
}

impl ListOptions {
    /// Those that carry all of these labels, as `kubectl -l` writes them.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { label_selector: Some(selector.into()), ..Self::default() }
    }

    /// Those whose fields match, as `spec.nodeName=a`.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { field_selector: Some(selector.into()), ..Self::default() }
    }

    pub(crate) fn query(&self, path: String) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        path::query(
            path,
            &[
                ("labelSelector", self.label_selector.as_deref()),
                ("fieldSelector", self.field_selector.as_deref()),
                ("limit", limit.as_deref()),
                ("continue", self.continue_token.as_deref()),
                ("resourceVersion", self.resource_version.as_deref()),
            ],
        )
    }
}

const JSON: &str = "application/json";

pub(crate) fn request(
    method: Method,
    path: String,
    content_type: Option<&'static str>,
    body: Bytes,
) -> Result<Request<Bytes>, Error> {
    let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, JSON);
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    request.body(body).map_err(|source| Error::Request { source })
}

fn encode_delete_options(options: &DeleteOptions) -> Bytes {
    let options =
        DeleteOptions { api_version: Some("v1".into()), kind: Some("DeleteOptions".into()), ..options.clone() };
    serde_json::to_vec(&options).expect("options have string keys only").into()
}
