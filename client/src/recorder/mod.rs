//! Tells people what happened to an object, as core/v1 events, without ever slowing down who tells.
//!
//! [`Recorder::event`] puts an occurrence into a bounded queue and returns; one task correlates ([`correlate`]) and
//! writes, one event at a time, a moment later, and at a bounded rate once a first burst has gone out, so that neither a pod
//! nor a wave of them is slowed by its own events. What does not fit is dropped, and counted in a warning.
//!
//! Source: client-go's `tools/record`.

mod correlate;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coracle_api::Object;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::correlate::{Correlator, Verdict};
use crate::{Client, Clock, Error, Patch};

/// How many occurrences wait to be written. When it is full, newer ones are dropped, and a warning says how many.
const QUEUE_OCCURRENCES_MAX: usize = 8192;

/// How many events are written without pause after a quiet time, and how many a second after that. Source: the
/// kubelet's `eventBurst` and `eventRecordQPS` (100 and 50).
const BURST_EVENTS: u32 = 50;
const EVENTS_PER_SECOND: u32 = 200;

/// How long an event waits before it is written: what happened goes on, and the writes that it takes come first.
const LINGER: Duration = Duration::from_millis(20);

/// Whether an event is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Where a component tells what happens. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Occurrence>,
    dropped: Arc<AtomicU64>,
    clock: Clock,
    task: TaskTracker,
}

/// Something that happened once.
#[derive(Clone, Debug)]
struct Occurrence {
    regarding: ObjectReference,
    r#type: EventType,
    reason: String,
    message: String,
    at: Timestamp,
    told: Instant,
}

/// The reference by which events (and others) name an object.
pub fn reference<K: Object>(object: &K) -> ObjectReference {
    let meta = object.metadata();
    ObjectReference {
        api_version: Some(K::API_VERSION.into()),
        kind: Some(K::KIND.into()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

impl Recorder {
    /// Starts the task that writes the events of `component`, on `host` if it belongs to a node, until `shutdown`.
    /// Must be called within a tokio runtime.
    pub fn start(client: Client, component: &str, host: Option<&str>, shutdown: CancellationToken) -> Self {
        Self::start_with_clock(client, component, host, Clock::system(), shutdown)
    }

    /// As [`Recorder::start`], with the time of `clock`.
    pub fn start_with_clock(
        client: Client,
        component: &str,
        host: Option<&str>,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Self {
        let (queue, occurrences) = mpsc::channel(QUEUE_OCCURRENCES_MAX);
        let recorder = Self { queue, dropped: Arc::default(), clock, task: TaskTracker::new() };
        let writer = Writer {
            client,
            correlator: Correlator::new(component, host),
            dropped: Arc::clone(&recorder.dropped),
            pace: Pace::new(),
        };
        recorder.task.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = writer.run(occurrences) => {}
            }
        });
        recorder.task.close();
        recorder
    }

    /// Tells that something happened to `object`. Returns at once.
    pub fn event<K: Object>(&self, object: &K, r#type: EventType, reason: &str, message: impl Into<String>) {
        self.event_on(reference(object), r#type, reason, message);
    }

    /// As [`Recorder::event`], for an object that is only known by reference (or a part of it, by `fieldPath`).
    pub fn event_on(&self, regarding: ObjectReference, r#type: EventType, reason: &str, message: impl Into<String>) {
        self.event_at(self.now(), regarding, r#type, reason, message);
    }

    /// The time that an event would have which is told now.
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// As [`Recorder::event_on`], for what happened earlier: it stands before what others tell of in between.
    pub fn event_at(
        &self,
        at: Timestamp,
        regarding: ObjectReference,
        r#type: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let (reason, message, told) = (reason.into(), message.into(), Instant::now());
        let occurrence = Occurrence { regarding, r#type, reason, message, at, told };
        if self.queue.try_send(occurrence).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until the task has stopped, which begins with the shutdown token. What was not written yet is lost: events
    /// are best effort.
    pub async fn stopped(&self) {
        self.task.wait().await;
    }
}

struct Writer {
    client: Client,
    correlator: Correlator,
    dropped: Arc<AtomicU64>,
    pace: Pace,
}

impl Writer {
    async fn run(mut self, mut occurrences: mpsc::Receiver<Occurrence>) {
        while let Some(occurrence) = occurrences.recv().await {
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(dropped, "events came faster than they can be written, and were dropped");
            }
            sleep_until(occurrence.told + LINGER).await;
            let verdict = self.correlator.observe(occurrence, Instant::now());
            if verdict != Verdict::Drop {
                self.pace.turn().await;
                self.write(verdict).await;
            }
        }
    }

    async fn write(&mut self, verdict: Verdict) {
        let result = match verdict {
            Verdict::Drop => Ok(()),
            Verdict::Create(event) => self.create(&event).await,
            Verdict::Count { event, patch } => match self.patch(&event, patch).await {
                Err(error) if error.is_not_found() => self.create(&event).await,
                other => other,
            },
        };
        if let Err(error) = result
            && !error.is_namespace_terminating()
        {
            tracing::debug!(error = &error as &dyn std::error::Error, "an event was not written");
        }
    }

    async fn create(&mut self, event: &Event) -> Result<(), Error> {
        self.client.all::<Event>().create(event).await.map(drop)
    }

    async fn patch(&mut self, event: &Event, patch: serde_json::Value) -> Result<(), Error> {
        let meta = &event.metadata;
        let events = self.client.namespaced::<Event>(meta.namespace.as_deref().unwrap_or_default());
        events.patch(meta.name.as_deref().unwrap_or_default(), &Patch::Strategic(patch)).await.map(drop)
    }
}

/// Lets a burst pass, then one at a time.
struct Pace {
    /// When there would be no debt; at most a burst ahead of now.
    clear_at: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { clear_at: Instant::now() }
    }

    async fn turn(&mut self) {
        let interval = Duration::from_secs(1) / EVENTS_PER_SECOND;
        self.clear_at = self.clear_at.max(Instant::now()) + interval;
        sleep_until(self.clear_at - interval * BURST_EVENTS).await;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::testing::{FakeServer, Faults};

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_a_wave_is_spread() {
        let (start, mut pace) = (Instant::now(), Pace::new());
        for _ in 0..BURST_EVENTS {
            pace.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..EVENTS_PER_SECOND {
            pace.turn().await;
        }
        assert!(start.elapsed().abs_diff(Duration::from_secs(1)) < Duration::from_millis(20), "{:?}", start.elapsed());
    }

    fn pod() -> Pod {
        let metadata =
            ObjectMeta { name: Some("web".into()), namespace: Some("default".into()), ..ObjectMeta::default() };
        Pod { metadata, ..Pod::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_twice_is_one_event_with_a_count() {
        let (server, shutdown) = (FakeServer::new(), CancellationToken::new());
        let recorder = Recorder::start(server.client(), "scheduler", None, shutdown.clone());
        recorder.event(&pod(), EventType::Warning, "FailedScheduling", "0/1 nodes are available");
        recorder.event(&pod(), EventType::Warning, "FailedScheduling", "0/1 nodes are available");
        server.until(|server| server.all::<Event>().iter().any(|event| event.count == Some(2))).await;
        let events = server.all::<Event>();
        assert_eq!((events.len(), events[0].involved_object.name.as_deref()), (1, Some("web")));
        shutdown.cancel();
        recorder.stopped().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_holds_nobody_up() {
        let (server, shutdown) = (FakeServer::new(), CancellationToken::new());
        server.set_faults(Faults { delay_max: Duration::from_secs(3600), ..Faults::default() });
        let recorder = Recorder::start(server.client(), "scheduler", None, shutdown.clone());
        for _ in 0..QUEUE_OCCURRENCES_MAX + 100 {
            recorder.event(&pod(), EventType::Normal, "Scheduled", "assigned");
        }
        assert_eq!(recorder.dropped.load(Ordering::Relaxed), 100);
        shutdown.cancel();
        recorder.stopped().await;
    }
}
