//! What a claim was given, who uses it, and what drivers say of it.

use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, DeviceAllocationConfiguration, DeviceRequestAllocationResult,
    NetworkDeviceData, ResourceClaim, ResourceClaimConsumerReference, ResourceClaimStatus,
};

use super::claim::Requests;
use super::{binding_conditions, config, driver, pool, tolerations, too_many};
use crate::field::{Errors, Path};
use crate::names;
use crate::validation::pod::node_terms;
use crate::validation::rules::{immutable, required, required_one_of, text, unique};
use crate::validation::{conditions, ip};

const RESERVATIONS_MAX: usize = 256;
const RESULTS_MAX: usize = 32;
const CONFIGS_MAX: usize = 64;
const CONDITIONS_MAX: usize = 8;
const INTERFACE_BYTES_MAX: usize = 256;
const HARDWARE_ADDRESS_BYTES_MAX: usize = 128;
const IPS_MAX: usize = 16;
const STATUS: Path<'static> = Path::new("status");

pub(super) fn update(new: &ResourceClaim, old: &ResourceClaim, errors: &mut Errors) {
    let (none, old_none) = (ResourceClaimStatus::default(), ResourceClaimStatus::default());
    let status = new.status.as_ref().unwrap_or(&none);
    let old_status = old.status.as_ref().unwrap_or(&old_none);
    reservations(status, errors);
    devices(status, errors);
    if status.reserved_for.as_ref().is_some_and(|r| !r.is_empty()) {
        let at = STATUS.child("reservedFor");
        let had = old_status.reserved_for.as_deref().unwrap_or_default();
        if status.allocation.is_none() {
            errors.forbidden(&at, "may not be specified when `allocated` is not set");
        } else if new.metadata.deletion_timestamp.is_some()
            && status.reserved_for.iter().flatten().any(|r| !had.contains(r))
        {
            let rule = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.forbidden(&at, rule);
        }
    }
    let at = STATUS.child("allocation");
    match (&status.allocation, &old_status.allocation) {
        (Some(_), Some(_)) => immutable(&status.allocation, &old_status.allocation, &at, errors),
        (Some(result), None) => allocation(result, &Requests::of(&new.spec), &at, errors),
        (None, _) => {}
    }
}

fn reservations(status: &ResourceClaimStatus, errors: &mut Errors) {
    let users = status.reserved_for.as_deref().unwrap_or_default();
    let list = STATUS.child("reservedFor");
    if too_many(users, RESERVATIONS_MAX, &list, errors) {
        return;
    }
    for (i, user) in users.iter().enumerate() {
        let ResourceClaimConsumerReference { resource, name, uid, .. } = user;
        for (field, value) in [("resource", resource), ("name", name), ("uid", uid)] {
            required(value, &list.index(i).child(field), errors);
        }
    }
    unique(users, |user| Some(user.uid.clone()), &list, None, errors);
}

type DeviceId<'a> = (&'a str, &'a str, &'a str, &'a str);

fn devices(status: &ResourceClaimStatus, errors: &mut Errors) {
    let devices = status.devices.as_deref().unwrap_or_default();
    let results = status.allocation.iter().flat_map(|a| a.devices.iter()).flat_map(|d| d.results.iter().flatten());
    let allocated: Vec<DeviceId<'_>> =
        results.map(|r| (&*r.driver, &*r.pool, &*r.device, text(r.share_id.as_ref()))).collect();
    let id = |d: &AllocatedDeviceStatus| [&d.driver, &d.pool, &d.device].map(String::clone);
    let list = STATUS.child("devices");
    for (i, device) in devices.iter().enumerate() {
        device_status(device, &allocated, &list.index(i), errors);
    }
    unique(devices, |d| Some((id(d), d.share_id.clone())), &list, None, errors);
}

fn device_status(device: &AllocatedDeviceStatus, allocated: &[DeviceId<'_>], path: &Path<'_>, errors: &mut Errors) {
    driver(&device.driver, &path.child("driver"), errors);
    pool(&device.pool, &path.child("pool"), errors);
    errors.invalid_each(&path.child("device"), &device.device, names::dns_label(&device.device));
    let share = text(device.share_id.as_ref());
    share_id(device.share_id.as_ref(), &path.child("shareID"), errors);
    if !allocated.contains(&(&device.driver, &device.pool, &device.device, share)) {
        let id = format!("{}/{}/{}", device.driver, device.pool, device.device);
        errors.invalid(path, &id, "must be an allocated device in the claim");
    }
    let conditions = device.conditions.as_deref().unwrap_or_default();
    let list = path.child("conditions");
    too_many(conditions, CONDITIONS_MAX, &list, errors);
    conditions::conditions(conditions, &list, errors);
    if let Some(data) = &device.data {
        config::parameters(&data.0, &path.child("data"), errors);
    }
    if let Some(network) = &device.network_data {
        network_data(network, &path.child("networkData"), errors);
    }
}

fn network_data(data: &NetworkDeviceData, path: &Path<'_>, errors: &mut Errors) {
    for (field, value, bytes_max) in [
        ("interfaceName", &data.interface_name, INTERFACE_BYTES_MAX),
        ("hardwareAddress", &data.hardware_address, HARDWARE_ADDRESS_BYTES_MAX),
    ] {
        if text(value.as_ref()).len() > bytes_max {
            errors.too_long(&path.child(field), bytes_max);
        }
    }
    let addresses = data.ips.as_deref().unwrap_or_default();
    let list = path.child("ips");
    if too_many(addresses, IPS_MAX, &list, errors) {
        return;
    }
    for (i, address) in addresses.iter().enumerate() {
        ip::interface(address, &list.index(i), errors);
    }
    unique(addresses, |ip| Some(ip.clone()), &list, None, errors);
}

/// The share of a device is a UUID, in small letters.
fn share_id(id: Option<&String>, path: &Path<'_>, errors: &mut Errors) {
    let Some(id) = id else { return };
    let lengths = id.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let right = |b: u8| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if !lengths || !id.bytes().all(right) {
        let rule = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
        errors.invalid(path, id, rule);
    }
}

fn allocation(result: &AllocationResult, requests: &Requests<'_>, path: &Path<'_>, errors: &mut Errors) {
    let devices = path.child("devices");
    let results = result.devices.as_ref().and_then(|d| d.results.as_deref()).unwrap_or_default();
    let list = devices.child("results");
    if !too_many(results, RESULTS_MAX, &list, errors) {
        for (i, result) in results.iter().enumerate() {
            allocated(result, requests, &list.index(i), errors);
        }
    }
    let configs = result.devices.as_ref().and_then(|d| d.config.as_deref()).unwrap_or_default();
    let list = devices.child("config");
    if !too_many(configs, CONFIGS_MAX, &list, errors) {
        for (i, config) in configs.iter().enumerate() {
            configuration(config, requests, &list.index(i), errors);
        }
    }
    if let Some(selector) = &result.node_selector {
        node_terms(&selector.node_selector_terms, &path.child("nodeSelector"), errors);
    }
}

fn allocated(result: &DeviceRequestAllocationResult, requests: &Requests<'_>, path: &Path<'_>, errors: &mut Errors) {
    requests.reference(&result.request, &path.child("request"), errors);
    driver(&result.driver, &path.child("driver"), errors);
    pool(&result.pool, &path.child("pool"), errors);
    errors.invalid_each(&path.child("device"), &result.device, names::dns_label(&result.device));
    binding_conditions(
        result.binding_conditions.as_deref().unwrap_or_default(),
        result.binding_failure_conditions.as_deref().unwrap_or_default(),
        path,
        errors,
    );
    tolerations(result.tolerations.as_deref().unwrap_or_default(), &path.child("tolerations"), errors);
    share_id(result.share_id.as_ref(), &path.child("shareID"), errors);
}

fn configuration(
    config: &DeviceAllocationConfiguration,
    requests: &Requests<'_>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    required_one_of(&config.source, &["FromClaim", "FromClass"], &path.child("source"), errors);
    requests.references(config.requests.as_deref(), &path.child("requests"), errors);
    config::opaque(config.opaque.as_ref(), path, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::refused_status;

    fn claim(status: &str) -> String {
        format!(
            r#"{{"metadata":{{"name":"c","namespace":"n"}},"spec":{{"devices":{{"requests":[{{"name":"r","exactly":{{"deviceClassName":"c"}}}}]}}}},"status":{status}}}"#
        )
    }

    #[test]
    fn what_is_given_was_asked_for() {
        const DEVICE: &str = r#""driver":"d","pool":"p","device":"x""#;
        let given = format!(r#""allocation":{{"devices":{{"results":[{{"request":"r",{DEVICE}}}]}}}}"#);
        for (status, expected) in [
            (format!(r#"{{{given},"devices":[{{{DEVICE}}}]}}"#), &[][..]),
            (
                r#"{"reservedFor":[{"resource":"pods","name":"p","uid":"u"},{"uid":"u"}]}"#.to_owned(),
                &[
                    "status.reservedFor[1].resource Required",
                    "status.reservedFor[1].name Required",
                    "status.reservedFor[1] Duplicate",
                    "status.reservedFor Forbidden",
                ],
            ),
            (
                format!(r#"{{"devices":[{{{DEVICE},"data":[],"networkData":{{"ips":["1.2.3.4"]}},"shareID":"U"}}]}}"#),
                &[
                    "status.devices[0].shareID Invalid",
                    "status.devices[0] Invalid",
                    "status.devices[0].data Invalid",
                    "status.devices[0].networkData.ips[0] Invalid",
                ],
            ),
            (
                r#"{"allocation":{"nodeSelector":{},"devices":{"results":[{"request":"q","pool":"a//b","bindingConditions":["a"]}],"config":[{}]}}}"#.to_owned(),
                &[
                    "status.allocation.devices.results[0].request Invalid",
                    "status.allocation.devices.results[0].driver Required",
                    "status.allocation.devices.results[0].pool Invalid",
                    "status.allocation.devices.results[0].device Invalid",
                    "status.allocation.devices.results[0].bindingFailureConditions Invalid",
                    "status.allocation.devices.config[0].source Required",
                    "status.allocation.devices.config[0].opaque Required",
                    "status.allocation.nodeSelector.nodeSelectorTerms Required",
                ],
            ),
        ] {
            assert_eq!(refused_status::<ResourceClaim>(&claim("{}"), &claim(&status)), expected, "{status}");
        }
        let (old, new) = (claim(&format!("{{{given}}}")), claim(r#"{"allocation":{}}"#));
        assert_eq!(refused_status::<ResourceClaim>(&old, &new), ["status.allocation Invalid"]);
    }
}
