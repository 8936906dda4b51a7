//! The kinds whose fields have no defaults.

use k8s_openapi::api::{
    apps::v1 as apps, authentication::v1 as authentication, authorization::v1 as authorization,
    autoscaling::v1 as autoscaling_v1, certificates::v1 as certificates, coordination::v1 as coordination,
    core::v1 as core, events::v1 as events, networking::v1 as networking, node::v1 as node, policy::v1 as policy,
    rbac::v1 as rbac, resource::v1 as resource, storage::v1 as storage,
};

use super::Defaults;

macro_rules! no_defaults {
    ($($ty:path),* $(,)?) => { $(impl Defaults for $ty {})* };
}

no_defaults! {
    core::Binding,
    core::ComponentStatus,
    core::ConfigMap,
    core::Event,
    core::ResourceQuota,
    core::ServiceAccount,

    apps::ControllerRevision,

    events::Event,

    authentication::SelfSubjectReview,
    authentication::TokenReview,

    authorization::LocalSubjectAccessReview,
    authorization::SelfSubjectAccessReview,
    authorization::SelfSubjectRulesReview,
    authorization::SubjectAccessReview,

    certificates::CertificateSigningRequest,

    networking::Ingress,
    networking::IPAddress,
    networking::ServiceCIDR,

    rbac::ClusterRole,
    rbac::Role,

    storage::CSINode,
    storage::CSIStorageCapacity,
    storage::VolumeAttributesClass,


    coordination::Lease,

    node::RuntimeClass,

    resource::DeviceClass,
    resource::ResourceSlice,

    autoscaling_v1::Scale,
    authentication::TokenRequest,
    policy::Eviction,
}
