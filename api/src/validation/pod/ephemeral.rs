//! Ephemeral containers: guests in a pod that runs, who have fewer rights than those who live there.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer};

use super::container::{self, Around};
use crate::field::{Errors, Path};

const CANNOT: &str = "cannot be set for an Ephemeral Container";

pub(super) fn check(guest: &EphemeralContainer, around: &Around<'_>, path: &Path<'_>, errors: &mut Errors) {
    container::common(&as_container(guest), around, path, errors);
    let target = guest.target_container_name.as_deref().unwrap_or_default();
    let spec = around.spec;
    let mut others = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    if !target.is_empty() && !others.any(|container| container.name == target) {
        errors.not_found(&path.child("targetContainerName"), target);
    }
    let resources = guest.resources.as_ref();
    for (field, set) in [
        ("ports", guest.ports.as_ref().is_some_and(|ports| !ports.is_empty())),
        ("resources", resources.is_some_and(|r| *r != Default::default())),
        ("livenessProbe", guest.liveness_probe.is_some()),
        ("readinessProbe", guest.readiness_probe.is_some()),
        ("startupProbe", guest.startup_probe.is_some()),
        ("lifecycle", guest.lifecycle.is_some()),
        ("resizePolicy", guest.resize_policy.as_ref().is_some_and(|policies| !policies.is_empty())),
        ("restartPolicy", guest.restart_policy.is_some()),
        ("restartPolicyRules", guest.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty())),
    ] {
        if set {
            errors.forbidden(&path.child(field), CANNOT);
        }
    }
    let list = path.child("volumeMounts");
    for (i, mount) in guest.volume_mounts.iter().flatten().enumerate() {
        for (field, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if value.as_ref().is_some_and(|value| !value.is_empty()) {
                errors.forbidden(&list.index(i).child(field), CANNOT);
            }
        }
    }
}

/// What a guest has of all containers.
fn as_container(guest: &EphemeralContainer) -> Container {
    let guest = guest.clone();
    Container {
        name: guest.name,
        image: guest.image,
        env: guest.env,
        env_from: guest.env_from,
        image_pull_policy: guest.image_pull_policy,
        ports: guest.ports,
        resize_policy: guest.resize_policy,
        resources: guest.resources,
        security_context: guest.security_context,
        termination_message_policy: guest.termination_message_policy,
        volume_devices: guest.volume_devices,
        volume_mounts: guest.volume_mounts,
        ..Container::default()
    }
}
