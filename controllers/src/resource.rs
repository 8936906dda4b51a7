//! One resource of the server, of whatever kind: what can be done to its objects without knowing more than their
//! metadata.

use bytes::Bytes;
use coracle_api::object::DecodeError;
use coracle_client::{Client, Error};
use http::{HeaderValue, Method, Request, header};
use serde_json::Value;

/// Metadata is all that is asked for; a server that cannot give it alone gives everything.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// A resource, in the version that its group prefers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
}

/// Unless a method says more, its errors are those of [`Client::raw`].
impl Resource {
    pub fn has(&self, verb: &str) -> bool {
        self.verbs.iter().any(|one| one == verb)
    }

    /// `apps/v1`; `v1` for the core group.
    pub fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `deployments.apps`; `pods.` for the core group, which has no name.
    pub fn qualified_name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// The metadata of all objects in a namespace, as `{ "metadata": … }` each.
    ///
    /// # Errors
    /// [`Error::Answer`] for what is no list, which is not to be taken for an empty one.
    pub async fn list_metadata(&self, client: &Client, namespace: &str) -> Result<Vec<Value>, Error> {
        let path = self.path(namespace);
        let request = request(Method::GET, &path, METADATA_LIST, None)?;
        let mut list = decode(&path, client.raw(request).await?.body())?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// One object's metadata; `None` when it is not there.
    pub async fn find_metadata(&self, client: &Client, namespace: &str, name: &str) -> Result<Option<Value>, Error> {
        let path = self.path_of(namespace, name);
        match client.raw(request(Method::GET, &path, METADATA, None)?).await {
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
            Ok(answer) => decode(&path, answer.body()).map(Some),
        }
    }

    /// Deletes one object; `options` is a `DeleteOptions`.
    ///
    /// # Errors
    /// [`Error::is_not_found`]; [`Error::is_conflict`] when a precondition does not hold.
    pub async fn delete(&self, client: &Client, namespace: &str, name: &str, options: &Value) -> Result<(), Error> {
        let path = self.path_of(namespace, name);
        client.raw(request(Method::DELETE, &path, JSON, Some((JSON, options)))?).await.map(drop)
    }

    /// Deletes all objects in a namespace.
    pub async fn delete_all(&self, client: &Client, namespace: &str) -> Result<(), Error> {
        client.raw(request(Method::DELETE, &self.path(namespace), JSON, None)?).await.map(drop)
    }

    /// Merges `patch` (RFC 7386, which every kind understands) into one object.
    ///
    /// # Errors
    /// [`Error::is_not_found`]; [`Error::is_conflict`] when the patch names another version.
    pub async fn merge(&self, client: &Client, namespace: &str, name: &str, patch: &Value) -> Result<(), Error> {
        let path = self.path_of(namespace, name);
        client.raw(request(Method::PATCH, &path, JSON, Some((MERGE_PATCH, patch)))?).await.map(drop)
    }

    fn path_of(&self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.path(namespace))
    }

    /// Of the objects in a namespace, or everywhere where it is empty.
    pub fn path(&self, namespace: &str) -> String {
        let Self { group, version, plural, .. } = self;
        let root = match group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        match self.namespaced && !namespace.is_empty() {
            true => format!("{root}/namespaces/{namespace}/{plural}"),
            false => format!("{root}/{plural}"),
        }
    }
}

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

fn request(
    method: Method,
    path: &str,
    accept: &'static str,
    body: Option<(&'static str, &Value)>,
) -> Result<Request<Bytes>, Error> {
    let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
    if let Some((content_type, _)) = body {
        request = request.header(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let body = body.map_or_else(Bytes::new, |(_, value)| value.to_string().into());
    request.body(body).map_err(|source| Error::Request { source })
}

fn decode(path: &str, body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|source| Error::Answer {
        request: format!("GET {path}"),
        source: DecodeError { kind: "PartialObjectMetadata".into(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_group_and_scope() {
        let resource = |group: &str, namespaced| Resource {
            group: group.into(),
            version: "v1".into(),
            plural: "things".into(),
            kind: "Thing".into(),
            namespaced,
            verbs: Vec::new(),
        };
        assert_eq!(resource("", true).path_of("a", "b"), "/api/v1/namespaces/a/things/b");
        assert_eq!(resource("x.io", true).path("a"), "/apis/x.io/v1/namespaces/a/things");
        assert_eq!(resource("x.io", false).path_of("a", "b"), "/apis/x.io/v1/things/b");
    }
}
