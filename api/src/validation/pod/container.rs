//! Containers of all three sorts, with their ports, mounts, probes and hooks.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, PodSpec, Probe,
    SleepAction, TCPSocketAction, VolumeMount,
};

use super::{env, resources, security};
use crate::field::{Errors, Path};
use crate::names;
use crate::pods;
use crate::validation::rules::{
    POSITIVE, between, named, not_negative, one_of, one_of_if_set, port, port_or_name, relative_path, required,
    required_one_of, text, unique,
};

/// All containers of a pod: their names are unique among all of them, and so are the host's ports.
pub(super) fn all(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let volumes: Vec<&str> = spec.volumes.iter().flatten().map(|v| v.name.as_str()).collect();
    let list = path.child("containers");
    if spec.containers.is_empty() {
        errors.required(&list, "");
    }
    let mut names: HashSet<&str> = HashSet::new();
    for (i, container) in spec.containers.iter().enumerate() {
        let path = list.index(i);
        common(container, &volumes, &path, errors);
        probes(container, &path, errors);
        unique_name(&container.name, &mut names, &path, errors);
    }
    let list = path.child("initContainers");
    for (i, container) in spec.init_containers.iter().flatten().enumerate() {
        let path = list.index(i);
        common(container, &volumes, &path, errors);
        init(container, &path, errors);
        unique_name(&container.name, &mut names, &path, errors);
    }
    let list = path.child("ephemeralContainers");
    for (i, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        let path = list.index(i);
        named(&container.name, names::dns_label, &path.child("name"), errors);
        image(text(container.image.as_ref()), &path.child("image"), errors);
        unique_name(&container.name, &mut names, &path, errors);
        let target = text(container.target_container_name.as_ref());
        if !target.is_empty() && !spec.containers.iter().any(|c| c.name == target) {
            errors.not_found(&path.child("targetContainerName"), target);
        }
    }
    host_ports(spec, path, errors);
}

fn unique_name<'c>(name: &'c str, names: &mut HashSet<&'c str>, path: &Path<'_>, errors: &mut Errors) {
    if !name.is_empty() && !names.insert(name) {
        errors.duplicate(&path.child("name"), name);
    }
}

fn host_ports(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    let list = path.child("containers");
    for (i, container) in spec.containers.iter().enumerate() {
        let path = list.index(i);
        let ports = path.child("ports");
        for (i, port) in container.ports.iter().flatten().enumerate() {
            let Some(number) = port.host_port.filter(|p| *p != 0) else { continue };
            let key = format!("{}/{}/{number}", text(port.protocol.as_ref()), text(port.host_ip.as_ref()));
            if seen.contains(&key) {
                errors.duplicate(&ports.index(i).child("hostPort"), &key);
            }
            seen.insert(key);
        }
    }
}

fn image(image: &str, path: &Path<'_>, errors: &mut Errors) {
    if image.is_empty() {
        errors.required(path, "");
    } else if image.trim() != image {
        errors.invalid(path, image, "must not have leading or trailing whitespace");
    }
}

fn common(container: &Container, volumes: &[&str], path: &Path<'_>, errors: &mut Errors) {
    named(&container.name, names::dns_label, &path.child("name"), errors);
    image(text(container.image.as_ref()), &path.child("image"), errors);
    let policies = ["FallbackToLogsOnError", "File"];
    let policy = text(container.termination_message_policy.as_ref());
    required_one_of(policy, &policies, &path.child("terminationMessagePolicy"), errors);
    ports(container.ports.as_deref().unwrap_or_default(), &path.child("ports"), errors);
    env::variables(container.env.as_deref().unwrap_or_default(), &path.child("env"), errors);
    env::sources(container.env_from.as_deref().unwrap_or_default(), &path.child("envFrom"), errors);
    mounts(container.volume_mounts.as_deref().unwrap_or_default(), volumes, &path.child("volumeMounts"), errors);
    let pull = text(container.image_pull_policy.as_ref());
    required_one_of(pull, &["Always", "IfNotPresent", "Never"], &path.child("imagePullPolicy"), errors);
    resources::requirements(container.resources.as_ref(), &path.child("resources"), errors);
    security::container(container.security_context.as_ref(), &path.child("securityContext"), errors);
    resize_policies(container, &path.child("resizePolicy"), errors);
}

fn resize_policies(container: &Container, list: &Path<'_>, errors: &mut Errors) {
    for (i, policy) in container.resize_policy.iter().flatten().enumerate() {
        let path = list.index(i);
        one_of(&policy.resource_name, &["cpu", "memory"], &path.child("resourceName"), errors);
        one_of(&policy.restart_policy, &["NotRequired", "RestartContainer"], &path.child("restartPolicy"), errors);
    }
    let policies = container.resize_policy.as_deref().unwrap_or_default();
    unique(policies, |p| Some(p.resource_name.clone()), list, None, errors);
}

fn ports(ports: &[ContainerPort], list: &Path<'_>, errors: &mut Errors) {
    for (i, container_port) in ports.iter().enumerate() {
        let path = list.index(i);
        if let Some(name) = container_port.name.as_ref().filter(|n| !n.is_empty()) {
            errors.invalid_each(&path.child("name"), name, names::port_name(name));
        }
        match container_port.container_port {
            0 => errors.required(&path.child("containerPort"), ""),
            number => port(number, &path.child("containerPort"), errors),
        }
        if let Some(number) = container_port.host_port.filter(|p| *p != 0) {
            port(number, &path.child("hostPort"), errors);
        }
        let protocol = text(container_port.protocol.as_ref());
        required_one_of(protocol, &["SCTP", "TCP", "UDP"], &path.child("protocol"), errors);
    }
    unique(ports, |p| p.name.clone().filter(|n| !n.is_empty()), list, Some("name"), errors);
}

fn mounts(mounts: &[VolumeMount], volumes: &[&str], list: &Path<'_>, errors: &mut Errors) {
    let mut paths = HashSet::new();
    for (i, mount) in mounts.iter().enumerate() {
        let path = list.index(i);
        if mount.name.is_empty() {
            errors.required(&path.child("name"), "");
        } else if !volumes.contains(&mount.name.as_str()) {
            errors.not_found(&path.child("name"), &mount.name);
        }
        required(&mount.mount_path, &path.child("mountPath"), errors);
        if !paths.insert(&mount.mount_path) {
            errors.invalid(&path.child("mountPath"), &mount.mount_path, "must be unique");
        }
        let (sub, expression) = (text(mount.sub_path.as_ref()), text(mount.sub_path_expr.as_ref()));
        relative_path(sub, &path.child("subPath"), errors);
        if !expression.is_empty() {
            if !sub.is_empty() {
                errors.invalid(
                    &path.child("subPathExpr"),
                    expression,
                    "subPathExpr and subPath are mutually exclusive",
                );
            }
            relative_path(expression, &path.child("subPathExpr"), errors);
        }
        let propagations = ["Bidirectional", "HostToContainer", "None"];
        one_of_if_set(mount.mount_propagation.as_ref(), &propagations, &path.child("mountPropagation"), errors);
        let modes = ["Disabled", "Enabled", "IfPossible"];
        one_of_if_set(mount.recursive_read_only.as_ref(), &modes, &path.child("recursiveReadOnly"), errors);
    }
}

fn init(container: &Container, path: &Path<'_>, errors: &mut Errors) {
    if pods::is_sidecar(container) {
        return probes(container, path, errors);
    }
    let rule = "may not be set for init containers without restartPolicy=Always";
    for (field, set) in [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ] {
        if set {
            errors.forbidden(&path.child(field), rule);
        }
    }
}

fn probes(container: &Container, path: &Path<'_>, errors: &mut Errors) {
    if let Some(hooks) = &container.lifecycle {
        lifecycle(hooks, &path.child("lifecycle"), errors);
    }
    for (field, checked) in [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ] {
        let Some(checked) = checked else { continue };
        let path = path.child(field);
        probe(checked, &path, errors);
        if field != "readinessProbe" && checked.success_threshold.is_some_and(|t| t != 1) {
            errors.invalid(&path.child("successThreshold"), &checked.success_threshold, "must be 1");
        }
        if field == "readinessProbe" && checked.termination_grace_period_seconds.is_some() {
            let value = &checked.termination_grace_period_seconds;
            errors.invalid(&path.child("terminationGracePeriodSeconds"), value, "must not be set for readinessProbes");
        }
    }
}

fn probe(probe: &Probe, path: &Path<'_>, errors: &mut Errors) {
    let handler = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    handler.check(path, errors);
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        not_negative(value, &path.child(field), errors);
    }
    if let Some(seconds) = probe.termination_grace_period_seconds.filter(|s| *s <= 0) {
        errors.invalid(&path.child("terminationGracePeriodSeconds"), &seconds, POSITIVE);
    }
}

fn lifecycle(lifecycle: &Lifecycle, path: &Path<'_>, errors: &mut Errors) {
    for (field, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(hook) = hook {
            Handler::of(hook).check(&path.child(field), errors);
        }
    }
}

/// What is done to a container, by a probe or a hook: exactly one thing.
struct Handler<'h> {
    exec: Option<&'h ExecAction>,
    http_get: Option<&'h HTTPGetAction>,
    tcp_socket: Option<&'h TCPSocketAction>,
    grpc: Option<&'h GRPCAction>,
    sleep: Option<&'h SleepAction>,
}

impl<'h> Handler<'h> {
    fn of(hook: &'h LifecycleHandler) -> Self {
        Self {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep: hook.sleep.as_ref(),
        }
    }

    fn check(&self, path: &Path<'_>, errors: &mut Errors) {
        let mut count = 0;
        let mut first = |field: &str, errors: &mut Errors| {
            count += 1;
            if count > 1 {
                errors.forbidden(&path.child(field), "may not specify more than 1 handler type");
            }
            count == 1
        };
        if let Some(exec) = self.exec
            && first("exec", errors)
            && exec.command.as_ref().is_none_or(Vec::is_empty)
        {
            let path = path.child("exec");
            errors.required(&path.child("command"), "");
        }
        if let Some(get) = self.http_get
            && first("httpGet", errors)
        {
            http_get(get, &path.child("httpGet"), errors);
        }
        if let Some(socket) = self.tcp_socket
            && first("tcpSocket", errors)
        {
            let path = path.child("tcpSocket");
            port_or_name(&socket.port, &path.child("port"), errors);
        }
        if let Some(grpc) = self.grpc
            && first("grpc", errors)
        {
            let path = path.child("grpc");
            port(grpc.port, &path.child("port"), errors);
        }
        if let Some(sleep) = self.sleep
            && first("sleep", errors)
        {
            let path = path.child("sleep");
            between(sleep.seconds, 0, i64::from(i32::MAX), &path.child("seconds"), errors);
        }
        if count == 0 {
            errors.required(path, "must specify a handler type");
        }
    }
}

fn http_get(get: &HTTPGetAction, path: &Path<'_>, errors: &mut Errors) {
    required(text(get.path.as_ref()), &path.child("path"), errors);
    port_or_name(&get.port, &path.child("port"), errors);
    required_one_of(text(get.scheme.as_ref()), &["HTTP", "HTTPS"], &path.child("scheme"), errors);
    let headers = path.child("httpHeaders");
    for (i, header) in get.http_headers.iter().flatten().enumerate() {
        let right = !header.name.is_empty() && header.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !right {
            let rule = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
            errors.invalid(&headers.index(i), &header.name, rule);
        }
    }
}
