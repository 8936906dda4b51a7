//! Typed objects and the one place where their JSON is read and written.
//!
//! Kubernetes' serde is large: each `from_slice::<Pod>` in a crate compiles it there again. [`Object`] is implemented
//! here, per kind and not generically, so that the code exists once and every other crate calls it as a plain function.
//! Writing goes through the [codec](crate::codec), so that every component writes what Kubernetes would.

use std::fmt::Debug;
use std::sync::OnceLock;

use bytes::Bytes;
use k8s_openapi::api::{
    apps::v1 as apps, authentication::v1 as authentication, autoscaling::v1 as autoscaling,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events,
    policy::v1 as policy,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use serde::Deserialize;

use crate::codec;
use crate::schema::{self, TypeId};

/// A served, typed kind: its names come from [`k8s_openapi::Resource`], its JSON from here.
pub trait Object: k8s_openapi::Metadata<Ty = ObjectMeta> + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Whether objects of this kind live in a namespace.
    const NAMESPACED: bool;

    /// Reads one object.
    ///
    /// # Errors
    /// When `json` is not JSON, or not of this kind; the text says where.
    fn decode(json: &[u8]) -> Result<Self, DecodeError>;

    /// Reads a list (`PodList` for `Pod`), in its order.
    ///
    /// # Errors
    /// As [`Object::decode`].
    fn decode_list(json: &[u8]) -> Result<(ListMeta, Vec<Self>), DecodeError>;

    /// Writes the object as JSON, with `apiVersion` and `kind`.
    fn encode(&self) -> Bytes;

    /// The object's type in the type graph.
    fn schema() -> TypeId;
}

/// A text that is not the object it was taken for.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {kind}")]
pub struct DecodeError {
    pub kind: &'static str,
    #[source]
    pub source: serde_json::Error,
}

/// A list of any kind; its `kind` is not looked at.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct List<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default, deserialize_with = "null_is_empty")]
    items: Vec<T>,
}

/// Go writes an empty list that nobody made as null.
fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

macro_rules! objects {
    ($($ty:path => $namespaced:literal),* $(,)?) => {$(
        impl Object for $ty {
            const NAMESPACED: bool = $namespaced;

            fn decode(json: &[u8]) -> Result<Self, DecodeError> {
                serde_json::from_slice(json).map_err(|source| DecodeError { kind: <$ty as k8s_openapi::Resource>::KIND, source })
            }

            fn decode_list(json: &[u8]) -> Result<(ListMeta, Vec<Self>), DecodeError> {
                let list: List<Self> = serde_json::from_slice(json)
                    .map_err(|source| DecodeError { kind: <$ty as k8s_openapi::Resource>::KIND, source })?;
                Ok((list.metadata, list.items))
            }

            fn encode(&self) -> Bytes {
                codec::encode_as(self, <$ty as Object>::schema())
            }

            fn schema() -> TypeId {
                static SCHEMA: OnceLock<TypeId> = OnceLock::new();
                *SCHEMA.get_or_init(|| {
                    use k8s_openapi::Resource;
                    schema::find_kind(<$ty>::GROUP, <$ty>::VERSION, <$ty>::KIND).expect("the graph has every served kind")
                })
            }
        }
    )*};
}

objects! {
    core::Namespace => false,
    core::Node => false,
    core::Pod => true,
    core::ReplicationController => true,
    core::Service => true,
    core::Endpoints => true,
    core::ConfigMap => true,
    core::Secret => true,
    core::ServiceAccount => true,
    core::Event => true,
    apps::ReplicaSet => true,
    apps::Deployment => true,
    coordination::Lease => true,
    discovery::EndpointSlice => true,
    events::Event => true,
    // What subresources are given and answer.
    autoscaling::Scale => true,
    core::Binding => true,
    authentication::TokenRequest => true,
    policy::Eviction => true,
}
