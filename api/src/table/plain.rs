//! The kinds that have no columns of their own.

use k8s_openapi::api::{
    authentication::v1 as authentication, authorization::v1 as authorization, autoscaling::v1 as autoscaling_v1,
    core::v1 as core, policy::v1 as policy, rbac::v1 as rbac, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;

use super::Cells;

macro_rules! name_and_creation {
    ($($ty:path),* $(,)?) => { $(impl Cells for $ty {})* };
}

name_and_creation! {
    core::Binding,
    core::LimitRange,

    authentication::SelfSubjectReview,
    authentication::TokenReview,

    authorization::LocalSubjectAccessReview,
    authorization::SelfSubjectAccessReview,
    authorization::SelfSubjectRulesReview,
    authorization::SubjectAccessReview,

    rbac::ClusterRole,
    rbac::Role,

    storage::CSIStorageCapacity,

    apiextensions::CustomResourceDefinition,

    autoscaling_v1::Scale,
    authentication::TokenRequest,
    policy::Eviction,
}
