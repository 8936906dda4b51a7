//! A pod, read once into the small exact thing that its worker steps on.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::PodRef;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::probe::{Action, Probe};
use super::refuse;
use crate::images::Reference;
use crate::images::pull::Policy;
use crate::images::reference::ReferenceError;

/// What the steps of a pod need of it. Specs do not change while a pod lives, but for fields that are read anew where
/// they are used.
#[derive(Clone, Debug)]
pub struct Spec {
    pub pod: PodRef,
    /// Init containers first, in order, then the others.
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
}

/// One container.
#[derive(Clone, Debug)]
pub struct Container {
    pub name: Arc<str>,
    pub role: Role,
    /// Its place in `initContainers` or `containers`.
    pub position: usize,
    pub image: Result<Reference, ReferenceError>,
    /// As the pod wrote it.
    pub image_text: Box<str>,
    pub pull: Policy,
    pub probes: Probes,
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

impl Spec {
    /// Reads a pod; `host_paths` says which `hostPath` volumes would be granted.
    pub fn of(pod: &core::Pod, host_paths: &[std::path::PathBuf]) -> Self {
        let empty = core::PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let init = spec.init_containers.iter().flatten().enumerate().map(|(at, c)| Container::of(c, at, true));
        let main = spec.containers.iter().enumerate().map(|(at, c)| Container::of(c, at, false));
        Self {
            pod: PodRef {
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                name: pod.metadata.name.clone().unwrap_or_default(),
                uid: pod.metadata.uid.clone().unwrap_or_default(),
            },
            containers: init.chain(main).collect(),
            restart: match spec.restart_policy.as_deref() {
                Some("Never") => Restart::Never,
                Some("OnFailure") => Restart::OnFailure,
                _ => Restart::Always,
            },
            grace: spec.termination_grace_period_seconds.map_or(GRACE_DEFAULT, seconds),
            active_deadline: spec.active_deadline_seconds.map(seconds),
            readiness_gates: spec.readiness_gates.iter().flatten().map(|gate| gate.condition_type.clone()).collect(),
            refusals: refuse::refusals(spec, host_paths).into(),
        }
    }

    /// How many of [`Spec::containers`] come from `initContainers`.
    pub fn init_count(&self) -> usize {
        self.containers.iter().take_while(|container| container.role != Role::Main).count()
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
        }
    }

    /// The container as the pod wrote it.
    pub fn written<'a>(&self, pod: &'a core::Pod) -> Option<&'a core::Container> {
        let spec = pod.spec.as_ref()?;
        match self.role {
            Role::Main => spec.containers.get(self.position),
            Role::Init | Role::Sidecar => spec.init_containers.as_ref()?.get(self.position),
        }
    }

    /// As events name it: `spec.containers{main}`.
    pub fn field_path(&self) -> String {
        match self.role {
            Role::Main => format!("spec.containers{{{}}}", self.name),
            Role::Init | Role::Sidecar => format!("spec.initContainers{{{}}}", self.name),
        }
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
            Action::Http {
                host: http.host.clone().filter(|host| !host.is_empty()),
                port: port(&http.port, container)?,
                path: http.path.clone().unwrap_or_else(|| "/".into()),
                headers: http.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect(),
            }
        } else if let Some(tcp) = &probe.tcp_socket {
            Action::Tcp { host: tcp.host.clone().filter(|host| !host.is_empty()), port: port(&tcp.port, container)? }
        } else {
            return None;
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
