//! Kinds that are all wish and no status, whose wish is counted.
//!
//! Source: `pkg/registry/{admissionregistration,networking}/*/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
    ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::networking::v1::{IngressClass, NetworkPolicy};

use super::{Strategy, first_generation, next_generation, typed, typed_mut};

/// A change of the one field that says what is wanted is a new generation.
macro_rules! generations {
    ($($strategy:ident: $ty:ty, $field:ident;)*) => {$(
        pub(super) struct $strategy;

        impl Strategy for $strategy {
            fn prepare_for_create(&self, object: &mut AnyObject) {
                first_generation(object.meta_mut());
            }

            fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
                let (object, old) = (typed_mut::<$ty>(object), typed::<$ty>(old));
                next_generation(&mut object.metadata, object.$field != old.$field);
            }
        }
    )*};
}

generations! {
    IngressClassStrategy: IngressClass, spec;
    MutatingBindingStrategy: MutatingAdmissionPolicyBinding, spec;
    MutatingPolicyStrategy: MutatingAdmissionPolicy, spec;
    MutatingWebhookStrategy: MutatingWebhookConfiguration, webhooks;
    NetworkPolicyStrategy: NetworkPolicy, spec;
    ValidatingBindingStrategy: ValidatingAdmissionPolicyBinding, spec;
    ValidatingWebhookStrategy: ValidatingWebhookConfiguration, webhooks;
}
