//! A pod, read once into the small exact thing that its worker steps on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::quantity::parse_or_zero;
use coracle_client::PodRef;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::ask::{Action, HttpGet};
use super::probe::Probe;
use super::refuse;
use crate::images::Reference;
use crate::images::pull::Policy;
use crate::images::reference::ReferenceError;

/// What the steps of a pod need of it. Specs do not change while a pod lives, but for fields that are read anew where
/// they are used.
#[derive(Clone, Debug)]
pub struct Spec {
    pub pod: PodRef,
    /// Init containers first, in order, then the others, and then the ephemeral ones: so a container keeps its place.
    pub containers: Box<[Container]>,
    pub restart: Restart,
    pub grace: Duration,
    pub active_deadline: Option<Duration>,
    pub readiness_gates: Box<[String]>,
    /// Why this node does not run the pod; empty when it does.
    pub refusals: Box<[String]>,
}

/// `restartPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    Always,
    OnFailure,
    Never,
}

/// What a container is in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next.
    Init,
    /// An init container with `restartPolicy: Always`: the next ones wait only until it has started.
    Sidecar,
    Main,
    /// Came later, to look at the others: runs once and decides nothing.
    Ephemeral,
}

/// One container.
#[derive(Clone, Debug)]
pub struct Container {
    pub name: Arc<str>,
    pub role: Role,
    /// Its place in `initContainers`, `containers` or `ephemeralContainers`.
    pub position: usize,
    pub image: Result<Reference, ReferenceError>,
    /// As the pod wrote it.
    pub image_text: Box<str>,
    pub pull: Policy,
    pub probes: Probes,
    pub rules: RestartRules,
    pub hooks: Hooks,
    pub farewell: Farewell,
    pub resources: Arc<Resources>,
    /// The resources whose change takes a new instance.
    pub restarts_for: Box<[String]>,
}

/// A container's own `restartPolicy` and `restartPolicyRules`.
#[derive(Clone, Debug, Default)]
pub struct RestartRules {
    /// Instead of the pod's.
    pub policy: Option<Restart>,
    /// Exit codes that have it started again whatever the policies say.
    pub rules: Box<[RestartRule]>,
}

/// One of `restartPolicyRules`.
#[derive(Clone, Debug)]
pub struct RestartRule {
    /// Whether `codes` are the ones meant, or the ones not meant.
    pub is_in: bool,
    pub codes: Box<[i32]>,
    /// The whole pod starts anew, not this container alone.
    pub is_for_all: bool,
}

impl RestartRules {
    /// The first rule about an instance that ended with this code.
    pub fn about(&self, exit_code: i32) -> Option<&RestartRule> {
        self.rules.iter().find(|rule| rule.codes.contains(&exit_code) == rule.is_in)
    }
}

/// `lifecycle`.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    pub post_start: Option<Arc<Hook>>,
    pub pre_stop: Option<Arc<Hook>>,
    /// The signal that it is to be stopped with cannot be caught: it is ended and not asked.
    pub is_killed: bool,
}

/// What is done around a container's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    Ask(Action),
    Sleep(Duration),
    /// Upstream takes it, and fails when it is run.
    Invalid(&'static str),
}

/// Where the message of a container's end is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// `terminationMessagePath`.
    pub path: Box<str>,
    /// `terminationMessagePolicy: FallbackToLogsOnError`.
    pub falls_back_to_logs: bool,
}

/// `resources`, as far as a guest has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    pub requests: BTreeMap<String, Quantity>,
    pub limits: BTreeMap<String, Quantity>,
}

impl Resources {
    /// As a container or its status has them.
    pub fn of(written: Option<&core::ResourceRequirements>) -> Self {
        let map = |map: Option<&BTreeMap<String, Quantity>>| map.cloned().unwrap_or_default();
        Self {
            requests: map(written.and_then(|written| written.requests.as_ref())),
            limits: map(written.and_then(|written| written.limits.as_ref())),
        }
    }

    /// `limits.memory`.
    pub fn memory_bytes_max(&self) -> Option<u64> {
        self.limits.get("memory").map(|memory| parse_or_zero(Some(memory)).bytes())
    }

    /// `limits.cpu`.
    pub fn cpu_millis_max(&self) -> Option<u32> {
        let cpu = self.limits.get("cpu")?;
        u32::try_from(parse_or_zero(Some(cpu)).milli()).ok()
    }

    /// `requests.cpu`, 0 without.
    pub fn cpu_millis_requested(&self) -> u32 {
        let cpu = self.requests.get("cpu");
        cpu.and_then(|cpu| u32::try_from(parse_or_zero(Some(cpu)).milli()).ok()).unwrap_or(0)
    }

    /// The names of what differs.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        if self == other {
            return Vec::new();
        }
        let differs = |name: &&str| {
            let of =
                |map: &BTreeMap<String, Quantity>| map.get(*name).map(|amount| parse_or_zero(Some(amount)).milli());
            of(&self.requests) != of(&other.requests) || of(&self.limits) != of(&other.limits)
        };
        ["cpu", "memory"].into_iter().filter(differs).collect()
    }
}

/// A container's probes.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    pub startup: Option<Box<Probe>>,
    pub readiness: Option<Box<Probe>>,
    pub liveness: Option<Box<Probe>>,
}

impl Probes {
    /// Whether there is anything to probe.
    pub fn is_empty(&self) -> bool {
        self.startup.is_none() && self.readiness.is_none() && self.liveness.is_none()
    }
}

/// Source: `terminationGracePeriodSeconds` defaults to this.
const GRACE_DEFAULT: Duration = Duration::from_secs(30);
/// Source: `terminationMessagePath` defaults to this.
const TERMINATION_PATH: &str = "/dev/termination-log";

impl Spec {
    /// Reads a pod; `host_paths` says which `hostPath` volumes would be granted.
    pub fn of(pod: &core::Pod, host_paths: &[std::path::PathBuf]) -> Self {
        let empty = core::PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let init = spec.init_containers.iter().flatten().enumerate().map(|(at, c)| Container::of(c, at, true));
        let main = spec.containers.iter().enumerate().map(|(at, c)| Container::of(c, at, false));
        let ephemeral = spec.ephemeral_containers.iter().flatten().enumerate();
        let ephemeral =
            ephemeral.map(|(at, c)| Container { role: Role::Ephemeral, ..Container::of(&plain(c), at, false) });
        Self {
            pod: PodRef {
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                name: pod.metadata.name.clone().unwrap_or_default(),
                uid: pod.metadata.uid.clone().unwrap_or_default(),
            },
            containers: init.chain(main).chain(ephemeral).collect(),
            restart: Restart::of(spec.restart_policy.as_deref()).unwrap_or(Restart::Always),
            grace: spec.termination_grace_period_seconds.map_or(GRACE_DEFAULT, seconds),
            active_deadline: spec.active_deadline_seconds.map(seconds),
            readiness_gates: spec.readiness_gates.iter().flatten().map(|gate| gate.condition_type.clone()).collect(),
            refusals: refuse::refusals(spec, host_paths).into(),
        }
    }

    /// How many of [`Spec::containers`] come from `initContainers`.
    pub fn init_count(&self) -> usize {
        self.containers.iter().take_while(|container| matches!(container.role, Role::Init | Role::Sidecar)).count()
    }
}

impl Restart {
    fn of(written: Option<&str>) -> Option<Self> {
        match written? {
            "Never" => Some(Self::Never),
            "OnFailure" => Some(Self::OnFailure),
            "Always" => Some(Self::Always),
            _ => None,
        }
    }
}

impl Container {
    fn of(container: &core::Container, position: usize, is_init: bool) -> Self {
        let image_text = container.image.clone().unwrap_or_default();
        let image = Reference::parse(&image_text);
        let role = match (is_init, container.restart_policy.as_deref()) {
            (true, Some("Always")) => Role::Sidecar,
            (true, _) => Role::Init,
            (false, _) => Role::Main,
        };
        let probe =
            |probe: &Option<core::Probe>| probe.as_ref().and_then(|probe| Probe::of(probe, container)).map(Box::new);
        Self {
            name: container.name.as_str().into(),
            role,
            position,
            pull: policy(container.image_pull_policy.as_deref(), image.as_ref().ok()),
            image,
            image_text: image_text.into(),
            probes: Probes {
                startup: probe(&container.startup_probe),
                readiness: probe(&container.readiness_probe),
                liveness: probe(&container.liveness_probe),
            },
            rules: RestartRules {
                policy: Restart::of(container.restart_policy.as_deref()),
                rules: container.restart_policy_rules.iter().flatten().filter_map(RestartRule::of).collect(),
            },
            hooks: Hooks::of(container),
            farewell: Farewell::of(container),
            resources: Arc::new(Resources::of(container.resources.as_ref())),
            restarts_for: container
                .resize_policy
                .iter()
                .flatten()
                .filter(|policy| policy.restart_policy == "RestartContainer")
                .map(|policy| policy.resource_name.clone())
                .collect(),
        }
    }

    /// The container as the pod wrote it.
    pub fn written<'a>(&self, pod: &'a core::Pod) -> Option<Cow<'a, core::Container>> {
        let spec = pod.spec.as_ref()?;
        match self.role {
            Role::Main => spec.containers.get(self.position).map(Cow::Borrowed),
            Role::Init | Role::Sidecar => spec.init_containers.as_ref()?.get(self.position).map(Cow::Borrowed),
            Role::Ephemeral => spec.ephemeral_containers.as_ref()?.get(self.position).map(|it| Cow::Owned(plain(it))),
        }
    }

    /// As events name it: `spec.containers{main}`.
    pub fn field_path(&self) -> String {
        match self.role {
            Role::Main => format!("spec.containers{{{}}}", self.name),
            Role::Init | Role::Sidecar => format!("spec.initContainers{{{}}}", self.name),
            Role::Ephemeral => format!("spec.ephemeralContainers{{{}}}", self.name),
        }
    }
}

/// An ephemeral container as any other.
fn plain(container: &core::EphemeralContainer) -> core::Container {
    let container = container.clone();
    core::Container {
        args: container.args,
        command: container.command,
        env: container.env,
        env_from: container.env_from,
        image: container.image,
        image_pull_policy: container.image_pull_policy,
        name: container.name,
        resources: container.resources,
        security_context: container.security_context,
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        termination_message_path: container.termination_message_path,
        termination_message_policy: container.termination_message_policy,
        tty: container.tty,
        volume_devices: container.volume_devices,
        volume_mounts: container.volume_mounts,
        working_dir: container.working_dir,
        // Probes, hooks, ports and restarts are for containers that serve.
        ..core::Container::default()
    }
}

impl RestartRule {
    fn of(rule: &core::ContainerRestartRule) -> Option<Self> {
        let codes = rule.exit_codes.as_ref()?;
        Some(Self {
            is_in: codes.operator == "In",
            codes: codes.values.iter().flatten().copied().collect(),
            is_for_all: match rule.action.as_str() {
                "Restart" => false,
                "RestartAllContainers" => true,
                _ => return None,
            },
        })
    }
}

impl Hooks {
    fn of(container: &core::Container) -> Self {
        let Some(lifecycle) = &container.lifecycle else { return Self::default() };
        let hook = |handler: &Option<core::LifecycleHandler>| {
            handler.as_ref().map(|handler| Arc::new(Hook::of(handler, container)))
        };
        Self {
            post_start: hook(&lifecycle.post_start),
            pre_stop: hook(&lifecycle.pre_stop),
            is_killed: lifecycle.stop_signal.as_deref() == Some("SIGKILL"),
        }
    }
}

impl Hook {
    /// Source: kubelet, `lifecycle.handlerRunner`, which knows no `tcpSocket`.
    fn of(handler: &core::LifecycleHandler, container: &core::Container) -> Self {
        if let Some(exec) = &handler.exec {
            return Self::Ask(Action::Exec { command: exec.command.clone().unwrap_or_default() });
        }
        if let Some(http) = &handler.http_get {
            return HttpGet::of(http, container)
                .map_or(Self::Invalid("no container port has this name"), |http| Self::Ask(Action::Http(http)));
        }
        match &handler.sleep {
            Some(sleep) => Self::Sleep(seconds(sleep.seconds)),
            None => Self::Invalid("invalid handler"),
        }
    }
}

impl Farewell {
    fn of(container: &core::Container) -> Self {
        let path = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
        Self {
            path: path.unwrap_or(TERMINATION_PATH).into(),
            falls_back_to_logs: container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"),
        }
    }
}

impl HttpGet {
    fn of(http: &core::HTTPGetAction, container: &core::Container) -> Option<Self> {
        Some(Self {
            is_tls: http.scheme.as_deref() == Some("HTTPS"),
            host: http.host.clone().filter(|host| !host.is_empty()),
            port: port(&http.port, container)?,
            path: http.path.clone().unwrap_or_else(|| "/".into()),
            headers: http.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect(),
        })
    }
}

/// Source: `imagePullPolicy` defaults to `Always` for the tag `latest`, to `IfNotPresent` otherwise.
fn policy(written: Option<&str>, reference: Option<&Reference>) -> Policy {
    match (written, reference) {
        (Some("Always"), _) => Policy::Always,
        (Some("Never"), _) => Policy::Never,
        (Some(_), _) => Policy::IfNotPresent,
        (None, Some(Reference::Name { tag, .. })) if tag != "latest" => Policy::IfNotPresent,
        (None, Some(reference)) if reference.digest().is_some() => Policy::IfNotPresent,
        (None, _) => Policy::Always,
    }
}

/// A duration that a pod gives in seconds; what is negative counts as 0.
pub fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

impl Probe {
    /// Reads a probe, with upstream's defaults; `None` for a kind that [`refuse`] refuses.
    fn of(probe: &core::Probe, container: &core::Container) -> Option<Self> {
        let action = if let Some(http) = &probe.http_get {
            Action::Http(HttpGet::of(http, container)?)
        } else if let Some(tcp) = &probe.tcp_socket {
            Action::Tcp { host: tcp.host.clone().filter(|host| !host.is_empty()), port: port(&tcp.port, container)? }
        } else if let Some(grpc) = &probe.grpc {
            let service = grpc.service.clone().unwrap_or_default();
            Action::Grpc { port: u16::try_from(grpc.port).ok().filter(|port| *port != 0)?, service }
        } else {
            Action::Exec { command: probe.exec.as_ref()?.command.clone().unwrap_or_default() }
        };
        let at_least = |value: Option<i32>, least: i32, default: i32| {
            u32::try_from(value.filter(|value| *value >= least).unwrap_or(default)).unwrap_or(0)
        };
        Some(Self {
            action,
            initial_delay: seconds(probe.initial_delay_seconds.unwrap_or(0).into()),
            period: Duration::from_secs(at_least(probe.period_seconds, 1, 10).into()),
            timeout: Duration::from_secs(at_least(probe.timeout_seconds, 1, 1).into()),
            successes: at_least(probe.success_threshold, 1, 1),
            failures: at_least(probe.failure_threshold, 1, 3),
            grace: probe.termination_grace_period_seconds.map(seconds),
        })
    }
}

/// A port by number, or by the name that the container gives it.
pub fn port(port: &IntOrString, container: &core::Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match name.parse() {
            Ok(number) => number,
            Err(_) => {
                let mut ports = container.ports.iter().flatten();
                ports.find(|port| port.name.as_deref() == Some(name))?.container_port
            }
        },
    };
    u16::try_from(number).ok().filter(|port| *port != 0)
}
