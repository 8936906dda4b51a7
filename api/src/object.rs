//! Typed objects and the one place where their JSON is read and written.
//!
//! Kubernetes' serde is large: each `from_slice::<Pod>` in a crate compiles it there again. [`Object`] is implemented
//! here, per kind and not generically, so that the code exists once and every other crate calls it as a plain function.

use std::fmt::Debug;

use bytes::Bytes;
use k8s_openapi::api::{
    apps::v1 as apps, coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};

/// A served, typed kind: its names come from [`k8s_openapi::Resource`], its JSON from here.
pub trait Object: k8s_openapi::Metadata<Ty = ObjectMeta> + Clone + Debug + Send + Sync + 'static {
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
}

/// A text that is not the object it was taken for.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {kind}")]
pub struct DecodeError {
    pub kind: &'static str,
    #[source]
    pub source: serde_json::Error,
}

macro_rules! objects {
    ($($ty:path => $namespaced:literal),* $(,)?) => {$(
        impl Object for $ty {
            const NAMESPACED: bool = $namespaced;

            fn decode(json: &[u8]) -> Result<Self, DecodeError> {
                serde_json::from_slice(json).map_err(|source| DecodeError { kind: <$ty as k8s_openapi::Resource>::KIND, source })
            }

            fn decode_list(json: &[u8]) -> Result<(ListMeta, Vec<Self>), DecodeError> {
                let list: k8s_openapi::List<Self> = serde_json::from_slice(json)
                    .map_err(|source| DecodeError { kind: <$ty as k8s_openapi::ListableResource>::LIST_KIND, source })?;
                Ok((list.metadata, list.items))
            }

            fn encode(&self) -> Bytes {
                serde_json::to_vec(self).expect("a Kubernetes object has string keys only").into()
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
}
