//! Claims to devices, and the devices that there are.
//!
//! Source: `pkg/registry/resource/{deviceclass,resourceclaim,resourceslice}/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceClaimStatus, ResourceSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Strategy, first_generation, next_generation, typed, typed_mut};
use crate::clock;

pub(super) struct DeviceClassStrategy;

impl Strategy for DeviceClassStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        first_generation(object.meta_mut());
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let changed = typed::<DeviceClass>(object).spec != typed::<DeviceClass>(old).spec;
        next_generation(object.meta_mut(), changed);
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}

pub(super) struct ResourceClaimStrategy;

impl Strategy for ResourceClaimStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        typed_mut::<ResourceClaim>(object).status = Some(ResourceClaimStatus::default());
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<ResourceClaim>(object).status.clone_from(&typed::<ResourceClaim>(old).status);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let (claim, old) = (typed_mut::<ResourceClaim>(object), typed::<ResourceClaim>(old));
        claim.spec.clone_from(&old.spec);
        forget_devices_given_back(claim, old);
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}

/// What drivers said of devices that the claim has no longer goes with them.
fn forget_devices_given_back(claim: &mut ResourceClaim, old: &ResourceClaim) {
    let allocated = |claim: &ResourceClaim| -> Vec<[String; 3]> {
        let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
        let results = allocation.iter().flat_map(|a| a.devices.iter()).flat_map(|d| d.results.iter().flatten());
        results.map(|result| [&result.driver, &result.pool, &result.device].map(String::clone)).collect()
    };
    let (had, has) = (allocated(old), allocated(claim));
    let Some(status) = &mut claim.status else { return };
    if let Some(devices) = &mut status.devices {
        devices.retain(|device| {
            let id = [&device.driver, &device.pool, &device.device].map(String::clone);
            !had.contains(&id) || has.contains(&id)
        });
    }
    status.devices = status.devices.take().filter(|devices| !devices.is_empty());
}

pub(super) struct ResourceSliceStrategy;

impl Strategy for ResourceSliceStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let slice = typed_mut::<ResourceSlice>(object);
        date_taints(slice);
        first_generation(&mut slice.metadata);
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (slice, old) = (typed_mut::<ResourceSlice>(object), typed::<ResourceSlice>(old));
        date_taints(slice);
        next_generation(&mut slice.metadata, slice.spec != old.spec);
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}

/// A taint that does not say since when it is there is there since now.
fn date_taints(slice: &mut ResourceSlice) {
    let devices = slice.spec.devices.iter_mut().flatten();
    for taint in devices.flat_map(|device| device.taints.iter_mut().flatten()) {
        taint.time_added.get_or_insert_with(|| Time(clock::now()));
    }
}
