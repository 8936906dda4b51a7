//! The defaults of containers, their probes, ports and variables.

use k8s_openapi::api::core::v1 as core;

use super::{set, set_number, set_text};

/// What containers of all three sorts have in common.
pub(super) struct Parts<'c> {
    pub image: Option<&'c str>,
    pub image_pull_policy: &'c mut Option<String>,
    pub termination_message_path: &'c mut Option<String>,
    pub termination_message_policy: &'c mut Option<String>,
    pub ports: &'c mut Option<Vec<core::ContainerPort>>,
    pub env: &'c mut Option<Vec<core::EnvVar>>,
    pub probes: [&'c mut Option<core::Probe>; 3],
    pub lifecycle: &'c mut Option<core::Lifecycle>,
}

macro_rules! parts {
    ($container:expr) => {{
        let c = $container;
        Parts {
            image: c.image.as_deref(),
            image_pull_policy: &mut c.image_pull_policy,
            termination_message_path: &mut c.termination_message_path,
            termination_message_policy: &mut c.termination_message_policy,
            ports: &mut c.ports,
            env: &mut c.env,
            probes: [&mut c.liveness_probe, &mut c.readiness_probe, &mut c.startup_probe],
            lifecycle: &mut c.lifecycle,
        }
    }};
}

pub(super) fn container(container: &mut core::Container) {
    common(parts!(container));
}

pub(super) fn ephemeral(container: &mut core::EphemeralContainer) {
    common(parts!(container));
}

fn common(c: Parts<'_>) {
    set_text(c.image_pull_policy, pull_policy(c.image.unwrap_or_default()));
    set_text(c.termination_message_path, "/dev/termination-log");
    set_text(c.termination_message_policy, "File");
    c.ports.iter_mut().flatten().for_each(|p| set_text(&mut p.protocol, "TCP"));
    c.env.iter_mut().flatten().filter_map(|e| e.value_from.as_mut()).for_each(variable_source);
    c.probes.into_iter().flatten().for_each(probe);
    for handler in c.lifecycle.iter_mut().flat_map(|l| [l.pre_stop.as_mut(), l.post_start.as_mut()]).flatten() {
        handler.http_get.iter_mut().for_each(http_get);
    }
}

/// An image that may change under its name is pulled each time: one tagged `latest`, or not at all.
pub(super) fn pull_policy(image: &str) -> &'static str {
    let tag = match image.rsplit_once(':') {
        _ if image.contains('@') => "digest",
        Some((_, tag)) if !tag.contains('/') => tag,
        _ => "latest",
    };
    if tag == "latest" { "Always" } else { "IfNotPresent" }
}

fn variable_source(source: &mut core::EnvVarSource) {
    source.field_ref.iter_mut().for_each(field_ref);
    source.file_key_ref.iter_mut().for_each(|f| set(&mut f.optional, false));
}

pub(super) fn field_ref(selector: &mut core::ObjectFieldSelector) {
    set_text(&mut selector.api_version, "v1");
}

fn probe(probe: &mut core::Probe) {
    set_number(&mut probe.timeout_seconds, 1);
    set_number(&mut probe.period_seconds, 10);
    set_number(&mut probe.success_threshold, 1);
    set_number(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    probe.grpc.iter_mut().for_each(|g| set(&mut g.service, String::new()));
}

fn http_get(action: &mut core::HTTPGetAction) {
    set_text(&mut action.path, "/");
    set_text(&mut action.scheme, "HTTP");
}

#[cfg(test)]
mod tests {
    use super::pull_policy;

    #[test]
    fn images_that_may_change_are_pulled() {
        for (image, policy) in [
            ("a", "Always"),
            ("a:latest", "Always"),
            ("a:v1", "IfNotPresent"),
            ("host:5000/a", "Always"),
            ("host:5000/a:v1", "IfNotPresent"),
            ("a@sha256:00", "IfNotPresent"),
            ("a:latest@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
