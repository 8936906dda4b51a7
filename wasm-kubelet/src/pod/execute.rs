//! A pod's effects, done. None of them waits here: what takes time is a task that answers with an event.

use std::net::Ipv4Addr;
use std::sync::Arc;

use coracle_client::{DeleteOptions, Error, EventType};
use futures::future::join_all;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Preconditions;
use tokio::time::sleep;

use super::admit::Amount;
use super::env::{self, Facts, Sources};
use super::farewell;
use super::host::Host;
use super::pulling::{Pulling, failed, spoken};
use super::report::container_id;
use super::spec::Resources;
use super::spec::{Container as ContainerSpecified, Spec};
use super::state::{Effect, Event, Failure, Guest, Lack, Notice};
use super::volumes::{CONFIG_ERROR, PodVolumes, Reads};
use super::worker::{Message, Worker};
use crate::images::{Digest, Image, Reference};
use crate::limits::{COMPILE_TOLD_BYTES_MIN, STATUS_RETRY, STATUS_RETRY_MAX};
use crate::logs::PodLogs;
use crate::logs::format::Source;
use crate::names::PodNames;
use crate::runtime::{Container, ContainerSpec, Limits, Progress, Tell};

/// Where a guest that serves HTTP listens when its container names no port.
const HTTP_PORT_DEFAULT: u16 = 8080;

impl Worker {
    /// Does `effect`; the event that answers it, when it is done already.
    pub(super) fn execute(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Prepare => self.prepare(),
            Effect::Pull { container } => self.pull(container),
            Effect::Start { guest } => self.start(guest),
            Effect::Hook { guest, kind } => self.hook(guest, kind),
            Effect::Probe { guest } => self.probe(guest),
            Effect::Allocate => Some(Event::Allocated(self.allocate())),
            Effect::Resize { guest } => self.resize(guest),
            Effect::Stop { guest } => self.stop(guest),
            Effect::Kill { guest } => self.kill(guest),
            Effect::Notice(notice) => self.tell(&notice),
            Effect::Release => self.release(),
            Effect::Delete => self.delete(),
        }
    }

    fn prepare(&mut self) -> Option<Event> {
        if self.address.is_none() {
            self.address = self.host.addresses.allocate(self.former_ip);
        }
        let Some(address) = self.address else {
            let message = format!("no address is left in {}", self.host.config.pod_cidr);
            return Some(Event::Prepared(Err(Failure { reason: "FailedCreatePodSandBox", message })));
        };
        if !PodVolumes::are_wanted(self.pod()) {
            return Some(Event::Prepared(Ok(address)));
        }
        let (volumes, pod, outbox) = (self.volumes.clone(), self.pod().clone(), self.outbox.clone());
        self.host.tasks.spawn(async move {
            let made = volumes.prepare(pod, address).await;
            let _ = outbox.send(Message::Event(Event::Prepared(made.map(|()| address)))).await;
        });
        None
    }

    fn pull(&mut self, at: usize) -> Option<Event> {
        let spec = self.state().spec.clone();
        let container = &spec.containers[at];
        let answer = |result| Some(Event::Pulled { container: at, result });
        let reference = match &container.image {
            Ok(reference) => reference.clone(),
            Err(error) => {
                let message = format!("Failed to apply default image tag {:?}: {error}", container.image_text);
                return answer(Err(Failure { reason: "InvalidImageName", message }));
            }
        };
        if self.host.runtime.takes_any_image() {
            return answer(Ok(imagined(&reference)));
        }
        match self.host.puller.present(&reference, container.pull) {
            Ok(Some(image)) => {
                let message = format!(
                    "Container image \"{}\" already present on machine and can be accessed by the pod",
                    container.image_text
                );
                self.notice(at, "Pulled", message);
                answer(Ok(image))
            }
            Ok(None) => {
                self.notice(at, "Pulling", format!("Pulling image \"{}\"", container.image_text));
                self.fetch(at, reference, container);
                None
            }
            Err(error) => Some(failed(at, &error, container)),
        }
    }

    fn fetch(&self, at: usize, reference: Reference, container: &ContainerSpecified) {
        let pulling = Pulling {
            host: self.host.clone(),
            pod: self.pod().clone(),
            container: container.clone(),
            regarding: self.regarding(Some(at)),
        };
        let outbox = self.outbox.clone();
        self.host.tasks.spawn(async move {
            let answer = match pulling.run(&reference).await {
                Ok(image) => Event::Pulled { container: at, result: Ok(image) },
                Err(error) => failed(at, &error, &pulling.container),
            };
            let _ = outbox.send(Message::Event(answer)).await;
        });
    }

    fn start(&mut self, guest: Guest) -> Option<Event> {
        let state = self.state();
        let image = state.containers[guest.container].image.clone()?;
        let start = Start {
            host: self.host.clone(),
            pod: self.pod().clone(),
            spec: state.spec.clone(),
            volumes: self.volumes.clone(),
            logs: self.logs(),
            is_static: self.shared.is_static,
            guest,
            image,
            resources: state.containers[guest.container].resources.clone(),
            address: self.address.unwrap_or(Ipv4Addr::UNSPECIFIED),
        };
        let outbox = self.outbox.clone();
        self.host.tasks.spawn(async move {
            let message = match start.run().await {
                Ok(container) => Message::Live { guest, container },
                Err(failure) => Message::Event(Event::Started { guest, result: Err(failure) }),
            };
            let _ = outbox.send(message).await;
        });
        None
    }

    fn notice(&self, at: usize, reason: &'static str, message: String) {
        self.tell(&Notice { container: Some(at), is_warning: false, reason, message });
    }

    fn tell(&self, notice: &Notice) -> Option<Event> {
        let kind = if notice.is_warning { EventType::Warning } else { EventType::Normal };
        self.host.recorder.event_on(self.regarding(notice.container), kind, notice.reason, notice.message.clone());
        None
    }

    pub(super) fn regarding(&self, container: Option<usize>) -> core::ObjectReference {
        let field_path = container.map(|at| self.state().spec.containers[at].field_path());
        core::ObjectReference { field_path, ..coracle_client::reference(&**self.pod()) }
    }

    /// Books what the pod requests now instead of what it had booked.
    fn allocate(&mut self) -> Result<(), Lack> {
        let amount = self.pod().spec.as_ref().map(Amount::of).unwrap_or_default();
        self.host.ledger.exchange(self.booked.unwrap_or_default(), amount)?;
        self.booked = Some(amount);
        Ok(())
    }

    fn release(&mut self) -> Option<Event> {
        if let Some(address) = self.address.take() {
            self.host.addresses.release(address);
        }
        if let Some(amount) = self.booked.take() {
            self.host.ledger.release(amount);
        }
        self.volumes.let_go();
        if self.has_folders() {
            let dir = self.volumes.dir();
            self.host.tasks.spawn_blocking(move || dir.remove());
        }
        None
    }

    fn delete(&self) -> Option<Event> {
        let (host, shared) = (self.host.clone(), self.shared.clone());
        if shared.is_static {
            host.pods.fixed().forget(&shared.key, &shared.uid);
            return Some(Event::Gone);
        }
        self.host.tasks.spawn(async move {
            let pods = host.client.namespaced::<core::Pod>(&shared.key.namespace);
            let mut pause = STATUS_RETRY;
            while let Err(error) = pods.delete(&shared.key.name, &exactly(&shared.uid)).await {
                if is_about_nobody(&error) || host.leaving.get().is_some() {
                    return;
                }
                tracing::warn!(pod = %shared.key, error = &error as &dyn std::error::Error, "cannot remove a pod");
                sleep(pause).await;
                pause = (pause * 2).min(STATUS_RETRY_MAX);
            }
        });
        None
    }

    /// Removes what is left of a pod that is gone; one whose kubelet stops keeps it all.
    pub(super) async fn clear(mut self: Box<Self>) {
        if self.host.leaving.get().is_some() {
            return;
        }
        self.release();
        self.host.instances.forget(&self.shared.uid);
        let (host, logs, dir) = (self.host.clone(), self.logs(), self.volumes.dir());
        if logs.dir().exists() || self.has_folders() {
            let removed = self.host.tasks.spawn_blocking(move || {
                host.logs.remove(&logs);
                dir.remove();
            });
            if let Err(error) = removed.await {
                tracing::error!(%error, "cannot remove a pod's folders");
            }
        }
    }

    /// Whether there may be folders of it.
    fn has_folders(&self) -> bool {
        PodVolumes::are_wanted(self.pod()) || self.volumes.dir().exists()
    }

    pub(super) fn logs(&self) -> PodLogs {
        self.host.logs.pod(&self.shared.key.namespace, &self.shared.key.name, &self.shared.uid)
    }
}

impl Host {
    /// What a pod's fields say here.
    pub(super) fn facts<'a>(&self, pod: &'a core::Pod, pod_ip: Ipv4Addr) -> Facts<'a> {
        Facts {
            pod,
            pod_ip,
            host_ip: self.config.node_ip,
            node_cpu_millis: self.allocatable.amount.cpu_millis,
            node_memory_bytes: self.allocatable.amount.memory_bytes,
            node_storage_bytes: self.allocatable.storage_bytes,
        }
    }
}

/// Everything that starting a container takes.
struct Start {
    host: Arc<Host>,
    pod: Arc<core::Pod>,
    spec: Arc<Spec>,
    volumes: Arc<PodVolumes>,
    logs: PodLogs,
    is_static: bool,
    guest: Guest,
    image: Image,
    resources: Arc<Resources>,
    address: Ipv4Addr,
}

impl Start {
    async fn run(&self) -> Result<Arc<dyn Container>, Failure> {
        let container = &self.spec.containers[self.guest.container];
        let written = container.written(&self.pod).ok_or_else(|| Failure {
            reason: CONFIG_ERROR,
            message: "the pod has no such container any more".into(),
        })?;
        let written = &*written;
        let module = self.host.runtime.load(&self.image, self.tell(container)).await;
        let module = module.map_err(|error| Failure { reason: "CreateContainerError", message: error.message })?;
        let sources = self.sources(written).await?;
        let environment = env::environment(written, self.host.facts(&self.pod, self.address), &sources)
            .map_err(|message| Failure { reason: CONFIG_ERROR, message })?;
        self.tell_skipped(environment.skipped);
        let environment = self.image.program.environment(environment.variables);
        let restart = self.guest.restart;
        let is_real = !self.host.runtime.takes_any_image();
        let reads = if module.opens_files() && is_real { Reads::All } else { Reads::Volumes };
        let mut mounts = self.volumes.mounts((&self.pod, self.address), written, restart, &environment, reads).await?;
        let id = container_id(&self.spec, self.guest);
        if module.opens_files() && module.is_program() {
            let last_words = farewell::mount(&self.host.config.root_dir, &id, container, &mounts);
            mounts.extend(last_words.map_err(|error| Failure {
                reason: "CreateContainerError",
                message: format!("cannot make a place for {}: {error}", container.farewell.path),
            })?);
        }
        let log = self.host.logs.begin(&self.logs, &container.name, self.guest.restart);
        let spec = ContainerSpec {
            args: env::arguments(written, &environment, &self.image.program),
            env: environment,
            mounts,
            stdin: (written.stdin == Some(true)).then(|| log.open_stdin(written.stdin_once == Some(true))),
            stdout: log.stream(Source::Stdout),
            stderr: log.stream(Source::Stderr),
            limits: Limits::of(&self.resources),
            http: http_addresses(written, self.address),
            address: Some(self.address.into()),
            names: Arc::new(PodNames::new(&self.pod, self.address.into(), self.host.cluster.clone())),
            hostname: self.hostname(),
            tty: written.tty == Some(true),
            cwd: written.working_dir.clone().filter(|cwd| !cwd.is_empty()),
        };
        let (pod, instances) = (&self.spec.pod.uid, &self.host.instances);
        instances.begin(pod, &container.name, self.guest.restart, self.host.clock.wall());
        let started = module.start(spec).await;
        started.map_err(|error| {
            instances.undo(pod, &container.name, self.guest.restart);
            self.host.logs.end(&self.logs, &container.name, self.guest.restart);
            farewell::forget(&self.host.config.root_dir, &id);
            Failure { reason: "RunContainerError", message: error.message }
        })
    }

    fn tell_skipped(&self, skipped: Vec<String>) {
        for message in skipped {
            let regarding = coracle_client::reference(&*self.pod);
            self.host.recorder.event_on(regarding, EventType::Warning, env::INVALID_NAMES, message);
        }
    }

    /// Tells in events that a large image is being compiled, which happens once a node.
    fn tell(&self, container: &ContainerSpecified) -> Tell {
        let (recorder, image) = (self.host.recorder.clone(), container.image_text.clone());
        let regarding =
            core::ObjectReference { field_path: Some(container.field_path()), ..coracle_client::reference(&*self.pod) };
        Arc::new(move |progress| {
            let (reason, message) = match progress {
                Progress::Compiling { bytes } if bytes >= COMPILE_TOLD_BYTES_MIN => {
                    ("Compiling", format!("Compiling image \"{image}\" ({bytes} bytes)"))
                }
                Progress::Compiled { bytes, took } if bytes >= COMPILE_TOLD_BYTES_MIN => {
                    ("Compiled", format!("Compiled image \"{image}\" in {}", spoken(took.as_millis())))
                }
                _ => return,
            };
            recorder.event_on(regarding.clone(), EventType::Normal, reason, message);
        })
    }

    /// Reads what the container's environment names.
    async fn sources(&self, container: &core::Container) -> Result<Sources, Failure> {
        let wanted = env::wanted(container);
        let config_maps = self.host.client.namespaced::<core::ConfigMap>(&self.spec.pod.namespace);
        let secrets = self.host.client.namespaced::<core::Secret>(&self.spec.pod.namespace);
        let maps = join_all(wanted.config_maps.iter().map(|name| config_maps.find(name))).await;
        let found = join_all(wanted.secrets.iter().map(|name| secrets.find(name))).await;
        let failure = |error: Error| Failure { reason: CONFIG_ERROR, message: chain(&error) };
        let mut sources = Sources { services: self.services().await, ..Sources::default() };
        for (volume, path) in wanted.files {
            let bytes = self.volumes.read(&volume, &path).await;
            if let Err(error) = &bytes {
                tracing::debug!(pod = self.spec.pod.name, volume, path, %error, "cannot read variables");
            }
            sources.files.insert((volume, path), bytes.ok());
        }
        for (name, map) in wanted.config_maps.into_iter().zip(maps) {
            sources.config_maps.insert(name, map.map_err(failure)?);
        }
        for (name, secret) in wanted.secrets.into_iter().zip(found) {
            sources.secrets.insert(name, secret.map_err(failure)?);
        }
        Ok(sources)
    }

    /// The variables of the services, once the node knows which there are; a static pod does not wait for the API.
    async fn services(&self) -> Vec<(String, String)> {
        if !self.is_static {
            self.host.services.synced().await;
        }
        let links = self.pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
        env::service_variables(&self.host.services.list(), &self.spec.pod.namespace, links)
    }

    fn hostname(&self) -> String {
        self.pod.spec.as_ref().map_or_else(String::new, |spec| env::hostname(spec, &self.spec.pod))
    }
}

impl Limits {
    /// What a container's resources mean to the runtime.
    pub(super) fn of(resources: &Resources) -> Self {
        Self {
            memory_bytes_max: resources.memory_bytes_max(),
            cpu_millis_max: resources.cpu_millis_max(),
            cpu_millis_requested: resources.cpu_millis_requested(),
        }
    }
}

fn http_addresses(container: &core::Container, address: Ipv4Addr) -> Vec<std::net::SocketAddr> {
    let is_tcp = |port: &&core::ContainerPort| matches!(port.protocol.as_deref(), None | Some("TCP"));
    let ports =
        container.ports.iter().flatten().filter(is_tcp).filter_map(|port| u16::try_from(port.container_port).ok());
    let mut ports: Vec<u16> = ports.filter(|port| *port != 0).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        ports.push(HTTP_PORT_DEFAULT);
    }
    ports.into_iter().map(|port| (address, port).into()).collect()
}

/// The image of a runtime that needs none.
fn imagined(reference: &Reference) -> Image {
    let name = reference.to_string();
    Image::of(&name, Digest::of(name.as_bytes()), std::path::Path::new(""))
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Options that remove the pod with this uid, at once, and no other of its name.
fn exactly(uid: &str) -> DeleteOptions {
    DeleteOptions {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteOptions::default()
    }
}

/// Whether a request about a pod failed because the pod is another one by now, or none.
pub(super) fn is_about_nobody(error: &Error) -> bool {
    error.is_not_found() || error.is_conflict()
}
