//! The containers of a pod of all three sorts, one after the other.

use k8s_openapi::api::core::v1::{EnvVar, PodSpec, SecurityContext};

use crate::field::Path;

/// What rules of pods ask of their containers, whatever sort they are of.
pub(super) struct Any<'c> {
    pub name: &'c str,
    pub env: &'c [EnvVar],
    pub context: Option<&'c SecurityContext>,
    pub has_devices: bool,
}

macro_rules! any {
    ($container:expr) => {
        Any {
            name: &$container.name,
            env: $container.env.as_deref().unwrap_or_default(),
            context: $container.security_context.as_ref(),
            has_devices: $container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()),
        }
    };
}

/// Calls `rule` with each container and its path.
pub(super) fn each_container<'c>(spec: &'c PodSpec, path: &Path<'_>, rule: &mut dyn FnMut(Any<'c>, &Path<'_>)) {
    let list = path.child("initContainers");
    for (i, container) in spec.init_containers.iter().flatten().enumerate() {
        rule(any!(container), &list.index(i));
    }
    let list = path.child("containers");
    for (i, container) in spec.containers.iter().enumerate() {
        rule(any!(container), &list.index(i));
    }
    let list = path.child("ephemeralContainers");
    for (i, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        rule(any!(container), &list.index(i));
    }
}
