//! Drivers of volumes, what nodes have of them, and the room that they have left.

use std::collections::HashSet;

use k8s_openapi::api::storage::v1::{
    CSIDriver, CSIDriverSpec, CSINode, CSINodeDriver, CSIStorageCapacity, TokenRequest,
};

use super::rules::{IMMUTABLE, immutable, not_negative, one_of_if_set, required};
use super::{Validate, amounts, labels, meta, volume_source};
use crate::field::{Errors, Path};
use crate::limits;
use crate::names;

const SPEC: Path<'static> = Path::new("spec");
const GROUP_POLICIES: [&str; 3] = ["File", "None", "ReadWriteOnceWithFSType"];
const LIFECYCLES: [&str; 2] = ["Persistent", "Ephemeral"];
const NODE_ID_BYTES_MAX: usize = 256;
/// How often a driver may at most be asked for its limits, in seconds.
const UPDATE_SECONDS_MIN: i64 = 10;

impl Validate for CSIDriver {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        driver(&self.spec, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (new, old) = (&self.spec, &old.spec);
        driver(new, errors);
        immutable(&new.attach_required, &old.attach_required, &SPEC.child("attachedRequired"), errors);
        let path = SPEC.child("volumeLifecycleModes");
        immutable(&new.volume_lifecycle_modes, &old.volume_lifecycle_modes, &path, errors);
    }
}

fn driver(spec: &CSIDriverSpec, errors: &mut Errors) {
    for (field, value) in [
        ("attachedRequired", spec.attach_required),
        ("podInfoOnMount", spec.pod_info_on_mount),
        ("storageCapacity", spec.storage_capacity),
    ] {
        if value.is_none() {
            errors.required(&SPEC.child(field), "");
        }
    }
    one_of_if_set(spec.fs_group_policy.as_ref(), &GROUP_POLICIES, &SPEC.child("fsGroupPolicy"), errors);
    let requests = spec.token_requests.as_deref().unwrap_or_default();
    token_requests(requests, &SPEC.child("tokenRequests"), errors);
    if spec.service_account_token_in_secrets.is_some() && requests.is_empty() {
        let rule = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.invalid(&SPEC.child("serviceAccountTokenInSecrets"), &spec.service_account_token_in_secrets, rule);
    }
    for mode in spec.volume_lifecycle_modes.iter().flatten().filter(|mode| !LIFECYCLES.contains(&mode.as_str())) {
        errors.not_supported(&SPEC.child("volumeLifecycleModes"), mode, &LIFECYCLES);
    }
    if spec.se_linux_mount.is_none() {
        errors.required(&SPEC.child("seLinuxMount"), "");
    }
    if let Some(seconds) = spec.node_allocatable_update_period_seconds.filter(|seconds| *seconds < UPDATE_SECONDS_MIN) {
        let path = SPEC.child("nodeAllocatableUpdatePeriodSeconds");
        errors.invalid(&path, &seconds, "must be greater than or equal to 10 seconds");
    }
}

fn token_requests(requests: &[TokenRequest], list: &Path<'_>, errors: &mut Errors) {
    let mut audiences = HashSet::new();
    for (i, request) in requests.iter().enumerate() {
        let path = list.index(i);
        if !audiences.insert(&request.audience) {
            errors.duplicate(&path.child("audience"), &request.audience);
            continue;
        }
        let Some(seconds) = request.expiration_seconds else { continue };
        let path = path.child("expirationSeconds");
        if seconds < limits::TOKEN_SECONDS_MIN {
            errors.invalid(&path, &seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds > limits::TOKEN_SECONDS_MAX {
            errors.invalid(&path, &seconds, "may not specify a duration larger than 2^32 seconds");
        }
    }
}

impl Validate for CSINode {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        node_drivers(&self.spec.drivers, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        node_drivers(&self.spec.drivers, errors);
        let fixed = |driver: &CSINodeDriver| CSINodeDriver { allocatable: None, ..driver.clone() };
        for was in &old.spec.drivers {
            for now in self.spec.drivers.iter().filter(|now| now.name == was.name) {
                immutable(&fixed(now), &fixed(was), &SPEC.child("drivers"), errors);
            }
        }
    }
}

fn node_drivers(drivers: &[CSINodeDriver], errors: &mut Errors) {
    let list = SPEC.child("drivers");
    let mut names_seen = HashSet::new();
    for (i, driver) in drivers.iter().enumerate() {
        let path = list.index(i);
        volume_source::driver_name(&driver.name, &path.child("name"), errors);
        required(&driver.node_id, &path.child("nodeID"), errors);
        if driver.node_id.len() > NODE_ID_BYTES_MAX {
            let rule = format!("must be {NODE_ID_BYTES_MAX} characters or less");
            errors.invalid(&path.child("nodeID"), &driver.node_id, &rule);
        }
        let count = driver.allocatable.as_ref().and_then(|allocatable| allocatable.count);
        let allocatable = path.child("allocatable");
        not_negative(count, &allocatable.child("count"), errors);
        if !names_seen.insert(&driver.name) {
            errors.duplicate(&path.child("name"), &driver.name);
        }
        let mut keys = HashSet::new();
        for key in driver.topology_keys.iter().flatten() {
            required(key, &path, errors);
            if !keys.insert(key) {
                errors.duplicate(&path, key);
            }
            errors.invalid_each(&path, key, names::qualified(key));
        }
    }
}

impl Validate for CSIStorageCapacity {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        labels::selector(self.node_topology.as_ref(), &Path::new("nodeTopology"), errors);
        let class = &self.storage_class_name;
        errors.invalid_each(&Path::new("storageClassName"), class, names::dns_subdomain(class));
        if let Some(text) = &self.capacity {
            amounts::not_negative(text, &Path::new("capacity"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.node_topology != old.node_topology {
            errors.invalid(&Path::new("nodeTopology"), &self.node_topology, IMMUTABLE);
        }
        immutable(&self.storage_class_name, &old.storage_class_name, &Path::new("storageClassName"), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    #[test]
    fn drivers_say_what_they_do() {
        let driver = |spec: &str| format!(r#"{{"metadata":{{"name":"d"}},"spec":{{{spec}}}}}"#);
        for (spec, expected) in [
            ("", &[][..]),
            (r#""fsGroupPolicy":"Odd""#, &["spec.fsGroupPolicy NotSupported"]),
            (r#""volumeLifecycleModes":["Odd"]"#, &["spec.volumeLifecycleModes NotSupported"]),
            (
                r#""tokenRequests":[{"audience":"a"},{"audience":"a"},{"audience":"","expirationSeconds":5}]"#,
                &["spec.tokenRequests[1].audience Duplicate", "spec.tokenRequests[2].expirationSeconds Invalid"],
            ),
            (r#""serviceAccountTokenInSecrets":false"#, &["spec.serviceAccountTokenInSecrets Invalid"]),
            (r#""serviceAccountTokenInSecrets":true,"tokenRequests":[{"audience":""}]"#, &[]),
            (r#""nodeAllocatableUpdatePeriodSeconds":9"#, &["spec.nodeAllocatableUpdatePeriodSeconds Invalid"]),
        ] {
            assert_eq!(refused::<CSIDriver>(&driver(spec)), expected, "{spec}");
        }
        let new = driver(r#""attachRequired":false,"volumeLifecycleModes":["Ephemeral"]"#);
        let expected = ["spec.attachedRequired Invalid", "spec.volumeLifecycleModes Invalid"];
        assert_eq!(refused_update::<CSIDriver>(&driver(""), &new), expected);
    }

    #[test]
    fn nodes_have_each_driver_once() {
        let node = |drivers: &str| format!(r#"{{"metadata":{{"name":"n"}},"spec":{{"drivers":[{drivers}]}}}}"#);
        let good = r#"{"name":"d","nodeID":"i","topologyKeys":["a"]}"#;
        for (drivers, expected) in [
            (good.to_owned(), &[][..]),
            (format!("{good},{good}"), &["spec.drivers[1].name Duplicate"]),
            (r#"{"name":"d","nodeID":""}"#.to_owned(), &["spec.drivers[0].nodeID Required"]),
            (
                r#"{"name":"d","nodeID":"i","allocatable":{"count":-1},"topologyKeys":["a","a"]}"#.to_owned(),
                &["spec.drivers[0].allocatable.count Invalid", "spec.drivers[0] Duplicate"],
            ),
        ] {
            assert_eq!(refused::<CSINode>(&node(&drivers)), expected, "{drivers}");
        }
        let other = node(r#"{"name":"d","nodeID":"j","topologyKeys":["a"]}"#);
        assert_eq!(refused_update::<CSINode>(&node(good), &other), ["spec.drivers Invalid"]);
    }

    #[test]
    fn room_is_of_a_class() {
        let room = |rest: &str| format!(r#"{{"metadata":{{"name":"r","namespace":"n"}},{rest}}}"#);
        let (old, new) = (room(r#""storageClassName":"a","capacity":"-1""#), room(r#""storageClassName":"b""#));
        assert_eq!(refused::<CSIStorageCapacity>(&old), ["capacity Invalid"]);
        assert_eq!(refused_update::<CSIStorageCapacity>(&old, &new), ["storageClassName Invalid"]);
    }
}
