//! The kinds that are held to nothing but the rules of all metadata.

use k8s_openapi::api::{authentication::v1 as authentication, core::v1 as core, policy::v1 as policy};

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


    authentication::TokenRequest,
    policy::Eviction,
}
