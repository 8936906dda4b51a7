//! Kinds with a spec that is counted and a status: what most workloads have, and no rule beside it.
//!
//! Source: `pkg/registry/{apps,batch,policy}/*/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyStatus};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus};
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaStatus, PriorityLevelConfiguration, PriorityLevelConfigurationStatus,
};
use k8s_openapi::api::networking::v1::{Ingress, IngressStatus};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};

use super::{Strategy, first_generation, keep_metadata, next_generation, typed, typed_mut};

/// The status is the cluster's alone; a change of the spec is a new generation. Some kinds' metadata is not changed with
/// their status.
macro_rules! counted {
    ($($strategy:ident: $ty:ty, $status:ty $(, $keep:ident)?;)*) => {$(
        pub(super) struct $strategy;

        impl Strategy for $strategy {
            fn prepare_for_create(&self, object: &mut AnyObject) {
                let object = typed_mut::<$ty>(object);
                object.status = Some(<$status>::default());
                first_generation(&mut object.metadata);
            }

            fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
                let (object, old) = (typed_mut::<$ty>(object), typed::<$ty>(old));
                object.status.clone_from(&old.status);
                next_generation(&mut object.metadata, object.spec != old.spec);
            }

            fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
                let (object, old) = (typed_mut::<$ty>(object), typed::<$ty>(old));
                object.spec.clone_from(&old.spec);
                $($keep(&mut object.metadata, &old.metadata);)?
            }
        }
    )*};
}

counted! {
    FlowSchemaStrategy: FlowSchema, FlowSchemaStatus, keep_metadata;
    IngressStrategy: Ingress, IngressStatus;
    PriorityLevelStrategy: PriorityLevelConfiguration, PriorityLevelConfigurationStatus, keep_metadata;
    CronJobStrategy: CronJob, CronJobStatus;
    PodDisruptionBudgetStrategy: PodDisruptionBudget, PodDisruptionBudgetStatus;
    ValidatingPolicyStrategy: ValidatingAdmissionPolicy, ValidatingAdmissionPolicyStatus, keep_metadata;
}
