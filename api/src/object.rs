//! Typed objects and the one place where their JSON is read and written.
//!
//! Kubernetes' serde is large: each `from_slice::<Pod>` in a crate compiles it there again. [`Object`] is implemented
//! here, per kind and not generically, so that the code exists once and every other crate calls it as a plain function.
//! Writing goes through the [codec](crate::codec), so that every component writes what Kubernetes would.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::OnceLock;

use bytes::Bytes;
use k8s_openapi::api::{
    admissionregistration::v1 as admissionregistration, apps::v1 as apps, authentication::v1 as authentication,
    authorization::v1 as authorization, autoscaling::v1 as autoscaling_v1, autoscaling::v2 as autoscaling_v2,
    batch::v1 as batch, certificates::v1 as certificates, coordination::v1 as coordination, core::v1 as core,
    discovery::v1 as discovery, events::v1 as events, flowcontrol::v1 as flowcontrol, networking::v1 as networking,
    node::v1 as node, policy::v1 as policy, rbac::v1 as rbac, resource::v1 as resource, scheduling::v1 as scheduling,
    storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;
use serde::Deserialize;

use crate::codec;
use crate::defaults::Defaults;
use crate::schema::{self, TypeId};
use crate::table::Cells;
use crate::validation::Validate;

/// A served, typed kind: its names come from [`k8s_openapi::Resource`], its JSON from here, its rules from the traits
/// that it extends.
pub trait Object:
    k8s_openapi::Metadata<Ty = ObjectMeta> + Defaults + Validate + Cells + Clone + Debug + PartialEq + Send + Sync + 'static
{
    /// Whether objects of this kind live in a namespace.
    const NAMESPACED: bool;

    /// Reads one object, without the managers of its fields: they take longer to read than it, and a client that writes
    /// it back without them does not change them.
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
    pub kind: Cow<'static, str>,
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
                let alone = codec::split_managed(json);
                let json = alone.as_ref().map_or(json, |(rest, _)| rest);
                let read = serde_json::from_slice(json).or_else(|error| match codec::with_zero_times(json) {
                    Some(filled) => serde_json::from_slice(&filled),
                    None => Err(error),
                });
                read.map_err(|source| DecodeError { kind: <$ty as k8s_openapi::Resource>::KIND.into(), source })
            }

            fn decode_list(json: &[u8]) -> Result<(ListMeta, Vec<Self>), DecodeError> {
                let mut list: List<Self> = serde_json::from_slice(json)
                    .map_err(|source| DecodeError { kind: <$ty as k8s_openapi::Resource>::KIND.into(), source })?;
                for item in &mut list.items {
                    k8s_openapi::Metadata::metadata_mut(item).managed_fields = None;
                }
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
    core::Binding => true,
    core::ComponentStatus => false,
    core::ConfigMap => true,
    core::Endpoints => true,
    core::Event => true,
    core::LimitRange => true,
    core::Namespace => false,
    core::Node => false,
    core::PersistentVolumeClaim => true,
    core::PersistentVolume => false,
    core::Pod => true,
    core::PodTemplate => true,
    core::ReplicationController => true,
    core::ResourceQuota => true,
    core::Secret => true,
    core::ServiceAccount => true,
    core::Service => true,

    apiregistration::APIService => false,

    apps::ControllerRevision => true,
    apps::DaemonSet => true,
    apps::Deployment => true,
    apps::ReplicaSet => true,
    apps::StatefulSet => true,

    events::Event => true,

    authentication::SelfSubjectReview => false,
    authentication::TokenReview => false,

    authorization::LocalSubjectAccessReview => true,
    authorization::SelfSubjectAccessReview => false,
    authorization::SelfSubjectRulesReview => false,
    authorization::SubjectAccessReview => false,

    autoscaling_v2::HorizontalPodAutoscaler => true,
    autoscaling_v1::HorizontalPodAutoscaler => true,

    batch::CronJob => true,
    batch::Job => true,

    certificates::CertificateSigningRequest => false,

    networking::IngressClass => false,
    networking::Ingress => true,
    networking::IPAddress => false,
    networking::NetworkPolicy => true,
    networking::ServiceCIDR => false,

    policy::PodDisruptionBudget => true,

    rbac::ClusterRoleBinding => false,
    rbac::ClusterRole => false,
    rbac::RoleBinding => true,
    rbac::Role => true,

    storage::CSIDriver => false,
    storage::CSINode => false,
    storage::CSIStorageCapacity => true,
    storage::StorageClass => false,
    storage::VolumeAttachment => false,
    storage::VolumeAttributesClass => false,

    admissionregistration::MutatingAdmissionPolicy => false,
    admissionregistration::MutatingAdmissionPolicyBinding => false,
    admissionregistration::MutatingWebhookConfiguration => false,
    admissionregistration::ValidatingAdmissionPolicy => false,
    admissionregistration::ValidatingAdmissionPolicyBinding => false,
    admissionregistration::ValidatingWebhookConfiguration => false,

    apiextensions::CustomResourceDefinition => false,

    scheduling::PriorityClass => false,

    coordination::Lease => true,

    node::RuntimeClass => false,

    discovery::EndpointSlice => true,

    resource::DeviceClass => false,
    resource::ResourceClaim => true,
    resource::ResourceClaimTemplate => true,
    resource::ResourceSlice => false,

    flowcontrol::FlowSchema => false,
    flowcontrol::PriorityLevelConfiguration => false,

    // What subresources are given and answer.
    autoscaling_v1::Scale => true,
    authentication::TokenRequest => true,
    policy::Eviction => true,
}
