//! One pod's worker: a task that turns what happens into events, events into steps, and steps into effects and status.
//!
//! It owns the pod's [`State`]; what others may look at is in [`Shared`]. It ends when the API has the pod no more and
//! nothing of it runs here.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_client::{Key, Packed, Patch};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::admit::Amount;
use super::execute::is_about_nobody;
use super::host::Host;
use super::known::Known;
use super::mailbox::{Inbox, Outbox, mailbox};
use super::overwritten::{Overwritten, version};
use super::report::{Conditions, container_id, is_worth_writing, report};
use super::restore::{restore, wish};
use super::spec::{Role, Spec};
use super::state::{Event, Guest, Life, Outcome, State};
use super::step::step;
use super::volumes::PodVolumes;
use crate::limits::{POD_CLOSE, STATUS_RETRY, STATUS_RETRY_MAX, STATUS_SETTLE};
use crate::node::eviction::admit::refusal;
use crate::node::shutdown;
use crate::runtime::Container;

/// What others may see of a pod and do to its worker.
pub struct Shared {
    pub key: Key,
    pub uid: String,
    /// The API did not give it.
    pub is_static: bool,
    /// Wakes the worker: the API's object is another, or the kubelet stops.
    pub changed: Notify,
    guests: Mutex<Vec<Slot>>,
    newest: Mutex<Option<Written>>,
    /// How far its worker has come with it.
    life: watch::Sender<Life>,
    outbox: Outbox,
}

/// One container's instances.
pub struct Slot {
    pub name: Arc<str>,
    /// The number of the newest instance that ever ran.
    pub newest: Option<u32>,
    pub live: Option<Arc<dyn Container>>,
    /// When it started.
    pub(super) since: Option<Instant>,
    pub(super) prober: Option<AbortHandle>,
    pub(super) hook: Option<AbortHandle>,
}

impl Slot {
    fn of(name: Arc<str>) -> Self {
        Self { name, newest: None, live: None, since: None, prober: None, hook: None }
    }
}

/// A status, with what tells it from another one.
#[derive(Clone)]
struct Written {
    hash: u64,
    patch: Value,
}

/// What comes to a worker.
pub(super) enum Message {
    Event(Event),
    /// A container was started.
    Live {
        guest: Guest,
        container: Arc<dyn Container>,
    },
    /// The API server has the status with this hash, in an object of this version.
    Written {
        hash: u64,
        version: Option<u64>,
    },
}

impl Shared {
    /// The slots of its containers, init containers first and ephemeral ones last.
    pub fn guests(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a container is among them.
    pub fn position(&self, container: &str) -> Option<usize> {
        self.guests().iter().position(|slot| *slot.name == *container)
    }

    /// Whether anything of it runs or is to.
    pub fn is_active(&self) -> bool {
        *self.life.borrow() == Life::Active
    }

    /// Has the pod end so. What has ended, or ends already, keeps its own outcome and has no longer than this one's grace.
    pub async fn end(&self, outcome: Outcome) {
        // A worker that is gone has ended the pod.
        let _ = self.outbox.send(Message::Event(Event::Rejected(outcome))).await;
    }

    /// Waits until nothing of the pod runs, and its address, volumes and bookings are given back.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn ended(&self) {
        self.until(|life| !matches!(life, Life::Active | Life::Leaving { .. } | Life::Gone { is_settled: false }))
            .await;
    }

    /// Waits until the API server has its end, too.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn reported(&self) {
        self.until(|life| matches!(life, Life::Reported | Life::Deleting | Life::Gone { is_settled: true })).await;
    }

    /// Its worker is no more.
    pub(super) fn close(&self) {
        self.life.send_replace(Life::Gone { is_settled: true });
    }

    async fn until(&self, holds: impl Fn(Life) -> bool) {
        // The sender is this one's own.
        let _ = self.life.subscribe().wait_for(|life| holds(*life)).await;
    }

    fn newest(&self) -> MutexGuard<'_, Option<Written>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub struct Worker {
    pub(super) host: Arc<Host>,
    pub(super) shared: Arc<Shared>,
    known: Known,
    pub(super) volumes: Arc<PodVolumes>,
    /// There but while a step has it.
    state: Option<State>,
    conditions: Conditions,
    /// The address that the pod had before this kubelet.
    pub(super) former_ip: Option<Ipv4Addr>,
    /// The address that it has taken.
    pub(super) address: Option<Ipv4Addr>,
    /// What it has booked of the node.
    pub(super) booked: Option<Amount>,
    inbox: Inbox,
    pub(super) outbox: Outbox,
    /// When a status that is about to change is written all the same.
    settles: Option<Instant>,
    writing: bool,
    written: Option<u64>,
    overwritten: Overwritten,
}

impl Worker {
    /// The worker of a pod that this node has just been told of.
    pub fn new(host: Arc<Host>, pod: &Arc<Pod>) -> Self {
        let now = host.clock.wall();
        let spec = Arc::new(Spec::of(pod, &host.config.host_paths));
        let restored = restore(spec.clone(), pod, &host.instances.of(&spec.pod.uid), now);
        let slots = restored.state.containers.iter().zip(&spec.containers).map(|(container, spec)| {
            let newest = container.has_run().then_some(container.restarts);
            Slot { newest, ..Slot::of(spec.name.clone()) }
        });
        let guests = Mutex::new(slots.collect());
        let (outbox, inbox) = mailbox();
        let shared = Shared {
            key: Key::of(&**pod),
            uid: spec.pod.uid.clone(),
            is_static: host.pods.fixed().has(&Key::of(&**pod), &spec.pod.uid),
            changed: Notify::new(),
            guests,
            newest: Mutex::default(),
            life: watch::Sender::new(restored.state.life),
            outbox: outbox.clone(),
        };
        let volumes = PodVolumes::new(host.clone(), shared.key.clone(), shared.uid.clone());
        Self {
            host,
            shared: Arc::new(shared),
            known: Known::new(Packed::of(pod.clone())),
            volumes,
            state: Some(restored.state),
            conditions: restored.conditions,
            former_ip: restored.address,
            address: None,
            booked: None,
            inbox,
            outbox,
            settles: None,
            writing: false,
            written: None,
            overwritten: Overwritten::default(),
        }
    }

    /// What others share with it.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The pod, as the API had it when it was last looked at.
    pub(super) fn pod(&self) -> &Arc<Pod> {
        self.known.get()
    }

    pub(super) fn state(&self) -> &State {
        self.state.as_ref().expect("a step gives back the state that it takes")
    }

    /// Runs until the pod is gone, or the kubelet has stopped. In a box: what a future is given by value it holds twice.
    ///
    /// # Cancel safety
    /// Dropped, it leaves containers running: their handles are in [`Shared`].
    pub async fn run(mut self: Box<Self>) {
        self.begin();
        while !self.is_done() {
            let (wake, closes) = (self.wake(), self.known.is_open() && !self.state().is_in_motion());
            tokio::select! {
                message = self.inbox.receive() => match message {
                    Some(message) => self.receive(message),
                    None => break,
                },
                () = self.shared.changed.notified() => self.look(),
                () = until(wake) => self.process(Event::Tick),
                () = sleep(POD_CLOSE), if closes => self.known.close(),
            }
        }
        self.clear().await;
    }

    fn is_done(&self) -> bool {
        match self.state().life {
            Life::Gone { is_settled } => is_settled,
            Life::Leaving { .. } => !self.state().is_busy(),
            _ => false,
        }
    }

    fn begin(&mut self) {
        if let Some(rejected) = self.book() {
            self.process(rejected);
        }
        self.look();
    }

    /// Books what the pod requests; one that ran here before is not rejected, one that has ended books nothing.
    fn book(&mut self) -> Option<Event> {
        let state = self.state();
        if state.life != Life::Active || self.pod().metadata.deletion_timestamp.is_some() {
            return None;
        }
        let amount = self.pod().spec.as_ref().map(|spec| Amount::of(&allocated(spec, state))).unwrap_or_default();
        let ran_before = self.former_ip.is_some() || state.each().any(|(_, container, _)| container.has_run());
        if self.host.closing.is_cancelled() {
            return Some(Event::Rejected(shutdown::refusal()));
        }
        let pressures = *self.host.pressures.borrow();
        if let Some(outcome) = refusal(pressures, self.pod(), self.shared.is_static).filter(|_| !ran_before) {
            return Some(Event::Rejected(outcome));
        }
        if ran_before {
            self.host.ledger.book(amount);
        } else if let Err(outcome) = self.host.ledger.admit(amount) {
            return Some(Event::Rejected(outcome));
        }
        self.booked = Some(amount);
        None
    }

    /// Looks at what the API has now.
    fn look(&mut self) {
        if let Some(deadline) = self.host.leaving.get() {
            return self.process(Event::Leave { deadline: *deadline });
        }
        let newest = self.host.pods.packed(&self.shared.key, &self.shared.uid).map(Known::new);
        let newest = newest.filter(|newest| newest.get().metadata.uid.as_deref() == Some(&*self.shared.uid));
        let Some(newest) = newest else { return self.process(Event::Gone) };
        let (pod, known) = (newest.get(), self.known.get());
        let mut wish = wish(pod, &self.state().spec);
        if pod.metadata.generation != known.metadata.generation {
            let spec = Spec::of(pod, &self.host.config.host_paths);
            let mut guests = self.shared.guests();
            let joined = spec.containers.iter().skip(guests.len()).map(|container| Slot::of(container.name.clone()));
            guests.extend(joined);
            drop(guests);
            wish.spec = Some(Arc::new(spec));
        }
        if pod.metadata.labels != known.metadata.labels
            || pod.metadata.annotations != known.metadata.annotations
            || pod.metadata.generation != known.metadata.generation
        {
            self.volumes.pod_changed(pod);
        }
        self.known = newest;
        self.compare();
        self.process(Event::Changed(wish));
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.process(event),
            Message::Live { guest, container } => {
                self.attend(guest, container);
                self.process(Event::Started { guest, result: Ok(()) });
            }
            Message::Written { hash, version } => {
                self.writing = false;
                self.written = Some(hash);
                self.overwritten.written(version);
                self.compare();
                self.publish();
            }
        }
    }

    fn process(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            if let Event::Exited { guest, .. } = &event {
                self.bury(*guest);
            }
            let state = self.state.take().expect("a step gives back the state that it takes");
            let exited = if let Event::Exited { guest, .. } = &event { Some(*guest) } else { None };
            let (state, effects) = step(state, event, self.host.clock.wall());
            if let Some(guest) = exited {
                self.note_end(&state, guest);
            }
            self.shared.life.send_if_modified(|life| std::mem::replace(life, state.life) != state.life);
            self.state = Some(state);
            events.extend(effects.into_iter().filter_map(|effect| self.execute(effect)));
        }
        self.publish();
    }

    /// Notes how an instance ended, before the API is told; not of one that ended since its kubelet does.
    fn note_end(&self, state: &State, guest: Guest) {
        if self.host.leaving.get().is_some() {
            return;
        }
        let ended = state.containers[guest.container].ended.as_deref();
        if let Some(ended) = ended.filter(|ended| ended.container_id == container_id(&state.spec, guest)) {
            let name = &state.spec.containers[guest.container].name;
            self.host.instances.end(&self.shared.uid, name, guest.restart, ended);
        }
    }

    /// Compares what the API has with what was written, unless that is about to change.
    fn compare(&mut self) {
        if !self.writing {
            self.overwritten.look(self.known.get(), &self.conditions, Instant::now());
        }
    }

    /// Sees to it that the API server gets the newest status, if it has another.
    fn publish(&mut self) {
        if !self.inbox.is_empty() {
            // What has come already may change it, and is followed by this again.
            return;
        }
        if self.overwritten.take(Instant::now()) {
            self.written = None;
        }
        let state = self.state();
        if !is_worth_writing(state) {
            if !state.is_in_motion() {
                return;
            }
            let settles = *self.settles.get_or_insert_with(|| Instant::now() + STATUS_SETTLE);
            if Instant::now() < settles {
                return;
            }
        }
        self.settles = None;
        let state = self.state();
        let report = report(state, &self.host.node, &self.conditions, self.former_ip, self.host.clock.wall());
        let patch = report.patch(&self.shared.uid);
        let hash = hash(&patch);
        self.conditions = report.conditions;
        if self.written == Some(hash) {
            if self.state().life == Life::Settled {
                self.process(Event::Reported);
            }
            return;
        }
        *self.shared.newest() = Some(Written { hash, patch });
        if !self.writing {
            self.writing = true;
            let (host, shared, outbox) = (self.host.clone(), self.shared.clone(), self.outbox.clone());
            match shared.is_static {
                true => self.host.tasks.spawn(keep(host, shared, outbox)),
                false => self.host.tasks.spawn(write(host, shared, outbox)),
            };
        }
    }

    fn wake(&self) -> Option<Instant> {
        let tick = self.state().wake().map(|at| self.instant(at));
        tick.into_iter().chain(self.settles).chain(self.overwritten.due()).min()
    }

    fn instant(&self, at: Timestamp) -> Instant {
        /// So that a time that has just passed is not waited for again and again without a pause.
        const LEAST: Duration = Duration::from_millis(1);
        let left = at.duration_since(self.host.clock.wall());
        Instant::now() + Duration::try_from(left).unwrap_or(LEAST).max(LEAST)
    }
}

/// A pod's spec with what the node had given its containers: what was asked for since then is not booked yet.
fn allocated<'a>(spec: &'a PodSpec, state: &State) -> Cow<'a, PodSpec> {
    let mut spec = Cow::Borrowed(spec);
    for (container, specified) in state.containers.iter().zip(&state.spec.containers) {
        if container.resources.differences(&specified.resources).is_empty() {
            continue;
        }
        let spec = spec.to_mut();
        let list = match specified.role {
            Role::Init | Role::Sidecar => spec.init_containers.as_mut(),
            Role::Main => Some(&mut spec.containers),
            Role::Ephemeral => None,
        };
        if let Some(written) = list.and_then(|list| list.get_mut(specified.position)) {
            written.resources.get_or_insert_default().requests = Some(container.resources.requests.clone());
        }
    }
    spec
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

fn hash(patch: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    patch.hash(&mut hasher);
    hasher.finish()
}

/// Keeps the newest status of a static pod; its mirror is another's to write.
async fn keep(host: Arc<Host>, shared: Arc<Shared>, outbox: Outbox) {
    let Some(Written { hash, mut patch }) = shared.newest().take() else { return };
    let (pods, status) = (host.pods.fixed().clone(), patch["status"].take());
    let kept = tokio::task::spawn_blocking(move || pods.keep(&shared.key, &shared.uid, status));
    if let Err(error) = kept.await {
        tracing::error!(%error, "cannot keep what becomes of a static pod");
    }
    let _ = outbox.send(Message::Written { hash, version: None }).await;
}

/// Writes the newest status there is when its turn comes, until the server has taken it.
async fn write(host: Arc<Host>, shared: Arc<Shared>, outbox: Outbox) {
    let pods = host.client.namespaced::<Pod>(&shared.key.namespace);
    let mut pause = STATUS_RETRY;
    loop {
        let permit = host.writes.acquire().await.expect("the semaphore is never closed");
        let Some(Written { hash, patch }) = shared.newest().clone() else { return };
        let outcome = pods.patch_status(&shared.key.name, &Patch::Strategic(patch)).await;
        drop(permit);
        match outcome {
            Err(error) if !is_about_nobody(&error) => {
                if host.leaving.get().is_some() {
                    return;
                }
                tracing::warn!(pod = %shared.key, error = &error as &dyn std::error::Error, "cannot write a pod's status");
                sleep(pause).await;
                pause = (pause * 2).min(STATUS_RETRY_MAX);
            }
            outcome => {
                shared.newest().take_if(|newest| newest.hash == hash);
                let version = outcome.ok().and_then(|written| version(&written));
                let _ = outbox.send(Message::Written { hash, version }).await;
                return;
            }
        }
    }
}
