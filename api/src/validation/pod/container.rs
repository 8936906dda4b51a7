//! Containers of all three sorts, with their ports, mounts, probes and hooks.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, PodSpec, Probe,
    SleepAction, TCPSocketAction, Volume,
};

use super::devices::Seen;
use super::{env, ephemeral, resources, security};
use crate::field::{Errors, Path};
use crate::names;
use crate::pods;
use crate::validation::rules::{
    POSITIVE, named, not_negative, one_of, one_of_if_set, port, port_or_name, required, required_one_of, text, unique,
};

const RESTART_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const SIGNALS: [&str; 36] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMIN",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];
const NO_POLICY: &str = "must specify restartPolicy when restart rules are used";

/// What the containers of one pod have around them.
pub(super) struct Around<'p> {
    pub spec: &'p PodSpec,
    /// The volumes that are as they must be.
    pub volumes: Vec<&'p Volume>,
    /// The names of the devices that the pod claims.
    pub claimed: HashSet<&'p str>,
}

/// All containers of a pod: their names are unique among all of them, and so are the host's ports.
pub(super) fn all(around: &Around<'_>, path: &Path<'_>, errors: &mut Errors) {
    let spec = around.spec;
    let list = path.child("containers");
    if spec.containers.is_empty() {
        errors.required(&list, "");
    }
    let mut names: HashSet<&str> = HashSet::new();
    for (i, container) in spec.containers.iter().enumerate() {
        let path = list.index(i);
        common(container, around, &path, errors);
        unique_name(&container.name, &mut names, &path, errors);
        probes(container, spec, &path, errors);
        restarts(container, &path, errors);
    }
    host_ports(&spec.containers, &list, errors);
    let list = path.child("initContainers");
    for (i, container) in spec.init_containers.iter().flatten().enumerate() {
        let path = list.index(i);
        common(container, around, &path, errors);
        if container.restart_policy.is_some() || container.restart_policy_rules.is_none() {
            restarts(container, &path, errors);
        } else {
            errors.required(&path.child("restartPolicy"), NO_POLICY);
        }
        unique_name(&container.name, &mut names, &path, errors);
        // They run one after the other; Kubernetes tells of each as if it were the first.
        host_ports(std::slice::from_ref(container), &list, errors);
        init(container, spec, &path, errors);
    }
    let list = path.child("ephemeralContainers");
    for (i, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        let path = list.index(i);
        ephemeral::check(container, around, &path, errors);
        unique_name(&container.name, &mut names, &path, errors);
    }
}

/// The images of a pod's own containers are not padded; a template's may be.
pub(super) fn images(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let guests = spec.ephemeral_containers.iter().flatten().map(|guest| &guest.image).collect();
    for (field, images) in [
        ("containers", spec.containers.iter().map(|container| &container.image).collect::<Vec<_>>()),
        ("initContainers", init.iter().map(|container| &container.image).collect()),
        ("ephemeralContainers", guests),
    ] {
        let list = path.child(field);
        for (i, image) in images.into_iter().enumerate() {
            let image = text(image.as_ref());
            if image.trim() != image {
                errors.invalid(&list.index(i).child("image"), image, "must not have leading or trailing whitespace");
            }
        }
    }
}

fn unique_name<'c>(name: &'c str, names: &mut HashSet<&'c str>, path: &Path<'_>, errors: &mut Errors) {
    if !name.is_empty() && !names.insert(name) {
        errors.duplicate(&path.child("name"), name);
    }
}

fn host_ports(containers: &[Container], list: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, container) in containers.iter().enumerate() {
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

/// On the host's network a container's port is the host's. In a template it need not be said yet.
pub(super) fn ports_of_host(spec: &PodSpec, in_template: bool, path: &Path<'_>, errors: &mut Errors) {
    if spec.host_network != Some(true) {
        return;
    }
    let list = path.child("containers");
    for (i, container) in spec.containers.iter().enumerate() {
        let path = list.index(i);
        let list = path.child("ports");
        for (i, port) in container.ports.iter().flatten().enumerate() {
            let of_host = port.host_port.unwrap_or(0);
            if of_host != port.container_port && !(in_template && of_host == 0) {
                let rule = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&list.index(i).child("hostPort"), &of_host, rule);
            }
        }
    }
}

pub(super) fn common(container: &Container, around: &Around<'_>, path: &Path<'_>, errors: &mut Errors) {
    let spec = around.spec;
    named(&container.name, names::dns_label, &path.child("name"), errors);
    required(text(container.image.as_ref()), &path.child("image"), errors);
    let policies = ["FallbackToLogsOnError", "File"];
    let policy = text(container.termination_message_policy.as_ref());
    required_one_of(policy, &policies, &path.child("terminationMessagePolicy"), errors);
    ports(container.ports.as_deref().unwrap_or_default(), &path.child("ports"), errors);
    env::variables(container.env.as_deref().unwrap_or_default(), &path.child("env"), errors);
    env::sources(container.env_from.as_deref().unwrap_or_default(), &path.child("envFrom"), errors);
    let seen = Seen {
        mounts: container.volume_mounts.as_deref().unwrap_or_default(),
        devices: container.volume_devices.as_deref().unwrap_or_default(),
        volumes: &around.volumes,
        context: container.security_context.as_ref(),
    };
    seen.check(path, errors);
    let pull = text(container.image_pull_policy.as_ref());
    required_one_of(pull, &["Always", "IfNotPresent", "Never"], &path.child("imagePullPolicy"), errors);
    resources::of_container(container.resources.as_ref(), &around.claimed, &path.child("resources"), errors);
    resize_policies(container, spec, &path.child("resizePolicy"), errors);
    security::container(container.security_context.as_ref(), spec, &path.child("securityContext"), errors);
}

/// Upstream tells of the list what is wrong with one of its policies.
fn resize_policies(container: &Container, spec: &PodSpec, list: &Path<'_>, errors: &mut Errors) {
    let policies = container.resize_policy.as_deref().unwrap_or_default();
    for policy in policies {
        required_one_of(&policy.resource_name, &["cpu", "memory"], list, errors);
        required_one_of(&policy.restart_policy, &["NotRequired", "RestartContainer"], list, errors);
        if text(spec.restart_policy.as_ref()) == "Never" && policy.restart_policy != "NotRequired" {
            let rule = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(list, &policy.restart_policy, rule);
        }
    }
    unique(policies, |p| Some(p.resource_name.clone()), list, None, errors);
}

/// When a container is started again on its own terms and not its pod's.
fn restarts(container: &Container, path: &Path<'_>, errors: &mut Errors) {
    let (policy, rules) = (container.restart_policy.as_ref(), container.restart_policy_rules.as_deref());
    let (policy_path, list) = (path.child("restartPolicy"), path.child("restartPolicyRules"));
    let rules = rules.unwrap_or_default();
    one_of_if_set(policy, &["Always", "Never", "OnFailure"], &policy_path, errors);
    if policy.is_none() && !rules.is_empty() {
        errors.required(&policy_path, NO_POLICY);
    }
    if rules.len() > RESTART_RULES_MAX {
        errors.too_many(&list, rules.len(), RESTART_RULES_MAX);
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = list.index(i);
        one_of(&rule.action, &["Restart", "RestartAllContainers"], &path.child("action"), errors);
        let path = path.child("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            errors.required(&path, "must be specified");
            continue;
        };
        one_of(&codes.operator, &["In", "NotIn"], &path.child("operator"), errors);
        let count = codes.values.as_ref().map_or(0, Vec::len);
        if count > EXIT_CODES_MAX {
            errors.too_many(&path.child("values"), count, EXIT_CODES_MAX);
        }
    }
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
    let right = |p: &ContainerPort| p.name.clone().filter(|n| !n.is_empty() && names::port_name(n).is_empty());
    unique(ports, right, list, Some("name"), errors);
}

fn init(container: &Container, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    if pods::is_sidecar(container) {
        return probes(container, spec, path, errors);
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
    let list = path.child("resizePolicy");
    for (i, policy) in container.resize_policy.iter().flatten().enumerate() {
        if policy.restart_policy == "RestartContainer" {
            let rule = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            errors.invalid(&list.index(i).child("restartPolicy"), &policy.restart_policy, rule);
        }
    }
}

fn probes(container: &Container, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    if let Some(hooks) = &container.lifecycle {
        let path = path.child("lifecycle");
        lifecycle(hooks, spec.termination_grace_period_seconds, &path, errors);
        if let Some(signal) = &hooks.stop_signal {
            stop_signal(signal, spec, &path.child("stopSignal"), errors);
        }
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

/// The signal that ends a container is one of its system's.
fn stop_signal(signal: &str, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    match spec.os.as_ref().map(|os| os.name.as_str()) {
        None => errors.forbidden(path, "may not be set for containers with empty `spec.os.name`"),
        Some("windows") => one_of(signal, &["SIGKILL", "SIGTERM"], path, errors),
        Some(_) if is_real_time(signal) => {}
        Some(_) => one_of(signal, &SIGNALS, path, errors),
    }
}

/// `SIGRTMIN+1`, `SIGRTMAX-14`
fn is_real_time(signal: &str) -> bool {
    let within =
        |step: &str, most: u8| step.parse::<u8>().is_ok_and(|n| (1..=most).contains(&n) && step == n.to_string());
    let (low, high) = (signal.strip_prefix("SIGRTMIN+"), signal.strip_prefix("SIGRTMAX-"));
    low.is_some_and(|step| within(step, 15)) || high.is_some_and(|step| within(step, 14))
}

fn probe(probe: &Probe, path: &Path<'_>, errors: &mut Errors) {
    let handler = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    handler.check(None, path, errors);
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

fn lifecycle(lifecycle: &Lifecycle, grace_seconds: Option<i64>, path: &Path<'_>, errors: &mut Errors) {
    for (field, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(hook) = hook {
            Handler::of(hook).check(grace_seconds, &path.child(field), errors);
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

    fn check(&self, grace_seconds: Option<i64>, path: &Path<'_>, errors: &mut Errors) {
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
            let most = grace_seconds.unwrap_or(i64::MAX);
            if !(0..=most).contains(&sleep.seconds) {
                let rule = format!("must be non-negative and less than terminationGracePeriodSeconds ({most})");
                errors.invalid(&path.child("sleep"), &sleep.seconds, &rule);
            }
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
    for header in get.http_headers.iter().flatten() {
        let right = !header.name.is_empty() && header.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !right {
            let rule = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
            errors.invalid(&headers, &header.name, rule);
        }
    }
}
