//! Claims to devices, and the devices that there are.
//!
//! Source: `pkg/registry/resource/{deviceclass,resourceclaim,resourceslice}/strategy.go`.

use async_trait::async_trait;
use coracle_api::any::AnyObject;
use coracle_api::field::{Errors, Path};
use coracle_api::status::{ApiError, GroupKind};
use coracle_api::{kinds, object::Object, validation};
use k8s_openapi::api::resource::v1::{
    DeviceAttribute, DeviceClass, DeviceRequest, DeviceRequestAllocationResult, ResourceClaim, ResourceClaimSpec,
    ResourceClaimStatus, ResourceClaimTemplate, ResourceSlice, ResourceSliceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Strategy, first_generation, keep_metadata, next_generation, typed, typed_mut};
use crate::api::Api;
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

/// Which namespaces may have claims to devices that are in use.
const ADMIN_LABEL: &str = "resource.kubernetes.io/admin-access";

pub(super) struct ResourceClaimStrategy;

#[async_trait]
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
        keep_metadata(&mut claim.metadata, &old.metadata);
        forget_devices_given_back(claim, old);
    }

    async fn admit(&self, api: &Api, object: &mut AnyObject, _dry_run: bool) -> Result<(), ApiError> {
        let errors = admin_access(api, object, &typed::<ResourceClaim>(object).spec)?;
        refuse::<ResourceClaim>(object, errors)
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}

pub(super) struct ClaimTemplateStrategy;

#[async_trait]
impl Strategy for ClaimTemplateStrategy {
    async fn admit(&self, api: &Api, object: &mut AnyObject, _dry_run: bool) -> Result<(), ApiError> {
        let errors = admin_access(api, object, &typed::<ResourceClaimTemplate>(object).spec.spec)?;
        refuse::<ResourceClaimTemplate>(object, errors)
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}

/// Only a namespace that is labelled so may ask for devices that others use. Source: `AuthorizedForAdmin`.
fn admin_access(api: &Api, object: &AnyObject, spec: &ResourceClaimSpec) -> Result<Errors, ApiError> {
    let mut errors = Errors::new();
    let requests = spec.devices.as_ref().and_then(|devices| devices.requests.as_deref()).unwrap_or_default();
    let asks =
        |request: &DeviceRequest| request.exactly.as_ref().is_some_and(|exactly| exactly.admin_access == Some(true));
    let Some(index) = requests.iter().position(asks) else { return Ok(errors) };
    let namespaces = api.resources.core("namespaces");
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    let namespace = namespaces.cache.get(namespace).map(|cached| namespaces.load(&cached)).transpose()?;
    let label = namespace.as_ref().and_then(|n| n.meta().labels.as_ref()).and_then(|labels| labels.get(ADMIN_LABEL));
    if label.is_none_or(|value| value != "true") {
        let path = Path::new("spec");
        let path = path.child("devices");
        let rule =
            format!("admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace");
        errors.forbidden(&path.child("requests").index(index).child("adminAccess"), &rule);
    }
    Ok(errors)
}

/// Refuses an object for what is wrong with it besides what validation sees.
fn refuse<T: Object>(object: &AnyObject, mut errors: Errors) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    errors.append(validation::create(object));
    Err(ApiError::Invalid { kind: GroupKind::of(kinds::of::<T>()), name: object.name().to_owned(), errors })
}

/// What drivers said of devices that the claim has no longer goes with them.
fn forget_devices_given_back(claim: &mut ResourceClaim, old: &ResourceClaim) {
    let allocated = |claim: &ResourceClaim| -> Vec<([String; 3], Option<String>)> {
        let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
        let results = allocation.iter().flat_map(|a| a.devices.iter()).flat_map(|d| d.results.iter().flatten());
        let id = |r: &DeviceRequestAllocationResult| [&r.driver, &r.pool, &r.device].map(String::clone);
        results.map(|result| (id(result), result.share_id.clone())).collect()
    };
    let (had, has) = (allocated(old), allocated(claim));
    let Some(status) = &mut claim.status else { return };
    if let Some(devices) = &mut status.devices {
        devices.retain(|device| {
            let id = ([&device.driver, &device.pool, &device.device].map(String::clone), device.share_id.clone());
            !had.contains(&id) || has.contains(&id)
        });
    }
    status.devices = status.devices.take().filter(|devices| !devices.is_empty());
}

pub(super) struct ResourceSliceStrategy;

impl Strategy for ResourceSliceStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let slice = typed_mut::<ResourceSlice>(object);
        drop_disabled(&mut slice.spec, None);
        date_taints(slice);
        first_generation(&mut slice.metadata);
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (slice, old) = (typed_mut::<ResourceSlice>(object), typed::<ResourceSlice>(old));
        drop_disabled(&mut slice.spec, Some(&old.spec));
        date_taints(slice);
        next_generation(&mut slice.metadata, slice.spec != old.spec);
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}

/// Attributes that are lists, and devices that stand for what nodes have, are off, as they are by default: they are kept
/// where there were some before.
fn drop_disabled(spec: &mut ResourceSliceSpec, old: Option<&ResourceSliceSpec>) {
    let is_list =
        |a: &DeviceAttribute| a.bools.is_some() || a.ints.is_some() || a.strings.is_some() || a.versions.is_some();
    let devices = |spec: Option<&ResourceSliceSpec>| spec.and_then(|s| s.devices.clone()).unwrap_or_default();
    let had = devices(old);
    let had_lists = had.iter().flat_map(|device| device.attributes.iter().flatten()).any(|(_, a)| is_list(a));
    let had_mappings = had.iter().any(|device| device.node_allocatable_resource_mappings.is_some());
    for device in spec.devices.iter_mut().flatten() {
        if !had_mappings {
            device.node_allocatable_resource_mappings = None;
        }
        for attribute in device.attributes.iter_mut().flat_map(|all| all.values_mut()).filter(|_| !had_lists) {
            (attribute.bools, attribute.ints) = (None, None);
            (attribute.strings, attribute.versions) = (None, None);
        }
    }
}

/// A taint that does not say since when it is there is there since now.
fn date_taints(slice: &mut ResourceSlice) {
    let devices = slice.spec.devices.iter_mut().flatten();
    for taint in devices.flat_map(|device| device.taints.iter_mut().flatten()) {
        taint.time_added.get_or_insert_with(|| Time(clock::now()));
    }
}
