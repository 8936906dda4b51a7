//! What the cluster says of itself: who serves which API, and from which ranges services get their addresses.
//!
//! Source: `pkg/registry/networking/servicecidr/strategy.go` and kube-aggregator's `pkg/registry/apiservice`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceCondition, APIServiceStatus};

use super::{Strategy, keep_metadata, typed, typed_mut};
use crate::clock;

pub(super) struct ApiServiceStrategy;

impl Strategy for ApiServiceStrategy {
    /// What this server serves itself is available at once.
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let service = typed_mut::<APIService>(object);
        let is_local = service.spec.as_ref().is_none_or(|spec| spec.service.is_none());
        let available = is_local.then(|| {
            vec![APIServiceCondition {
                type_: "Available".to_owned(),
                status: "True".to_owned(),
                reason: Some("Local".to_owned()),
                message: Some("Local APIServices are always available".to_owned()),
                last_transition_time: Some(Time(clock::now())),
            }]
        });
        service.status = Some(APIServiceStatus { conditions: available });
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<APIService>(object).status.clone_from(&typed::<APIService>(old).status);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let (service, old) = (typed_mut::<APIService>(object), typed::<APIService>(old));
        service.spec.clone_from(&old.spec);
        keep_metadata(&mut service.metadata, &old.metadata);
    }
}

pub(super) struct ServiceCidrStrategy;

impl Strategy for ServiceCidrStrategy {
    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let (cidr, old) = (typed_mut::<ServiceCIDR>(object), typed::<ServiceCIDR>(old));
        cidr.spec.clone_from(&old.spec);
        keep_metadata(&mut cidr.metadata, &old.metadata);
    }
}
