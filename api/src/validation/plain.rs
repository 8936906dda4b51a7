//! The kinds that are held to nothing but the rules of all metadata.

use k8s_openapi::api::{
    admissionregistration::v1 as admissionregistration, authentication::v1 as authentication,
    authorization::v1 as authorization, autoscaling::v1 as autoscaling_v1, autoscaling::v2 as autoscaling_v2,
    batch::v1 as batch, certificates::v1 as certificates, core::v1 as core, flowcontrol::v1 as flowcontrol,
    networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac, resource::v1 as resource,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;

use super::{Validate, meta};
use crate::field::Errors;
use crate::object::Object;

macro_rules! metadata_alone {
    ($($ty:path),* $(,)?) => {$(
        impl Validate for $ty {
            fn validate(&self, errors: &mut Errors) {
                let naming = if <$ty as Object>::NAMESPACED { meta::IN_NAMESPACE } else { meta::IN_CLUSTER };
                meta::create(&self.metadata, naming, errors);
            }
        }
    )*};
}

metadata_alone! {
    core::Binding,
    core::ComponentStatus,

    apiregistration::APIService,

    authentication::SelfSubjectReview,
    authentication::TokenReview,

    authorization::LocalSubjectAccessReview,
    authorization::SelfSubjectAccessReview,
    authorization::SelfSubjectRulesReview,
    authorization::SubjectAccessReview,

    autoscaling_v2::HorizontalPodAutoscaler,
    autoscaling_v1::HorizontalPodAutoscaler,

    batch::CronJob,
    batch::Job,

    certificates::CertificateSigningRequest,

    networking::IngressClass,
    networking::Ingress,
    networking::IPAddress,
    networking::NetworkPolicy,
    networking::ServiceCIDR,

    policy::PodDisruptionBudget,

    rbac::ClusterRoleBinding,
    rbac::ClusterRole,
    rbac::RoleBinding,
    rbac::Role,

    admissionregistration::MutatingAdmissionPolicy,
    admissionregistration::MutatingAdmissionPolicyBinding,
    admissionregistration::MutatingWebhookConfiguration,
    admissionregistration::ValidatingAdmissionPolicy,
    admissionregistration::ValidatingAdmissionPolicyBinding,
    admissionregistration::ValidatingWebhookConfiguration,

    apiextensions::CustomResourceDefinition,

    resource::DeviceClass,
    resource::ResourceClaim,
    resource::ResourceClaimTemplate,
    resource::ResourceSlice,

    flowcontrol::FlowSchema,
    flowcontrol::PriorityLevelConfiguration,

    authentication::TokenRequest,
    policy::Eviction,
}
