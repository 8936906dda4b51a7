//! What a watcher sees of pods, and when.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::condition::{Condition, is_ready};
use crate::frames::{Frame, Frames};
use crate::latency::Latencies;

/// The pods of one watch: each with the moments at which it was seen to change.
pub struct Pods {
    frames: Frames,
    seen: HashMap<String, Seen>,
    present: usize,
    ready: usize,
    succeeded: usize,
}

struct Seen {
    added: Instant,
    running: Option<Instant>,
    ready: Option<Instant>,
    succeeded: Option<Instant>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
}

#[derive(Default, Deserialize)]
struct Status {
    phase: Option<String>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

impl Pods {
    pub fn new(frames: Frames) -> Self {
        Self { frames, seen: HashMap::new(), present: 0, ready: 0, succeeded: 0 }
    }

    /// Reads on until so many are Ready.
    ///
    /// # Errors
    /// When the watch ends before.
    pub async fn until_ready(&mut self, count: usize) -> anyhow::Result<()> {
        while self.ready < count {
            self.step().await?;
        }
        Ok(())
    }

    /// Reads on until so many have succeeded.
    ///
    /// # Errors
    /// When the watch ends before.
    pub async fn until_succeeded(&mut self, count: usize) -> anyhow::Result<()> {
        while self.succeeded < count {
            self.step().await?;
        }
        Ok(())
    }

    /// Reads on until a pod runs; the moment of it.
    ///
    /// # Errors
    /// When the watch ends before.
    pub async fn until_running(&mut self, name: &str) -> anyhow::Result<Instant> {
        loop {
            if let Some(running) = self.seen.get(name).and_then(|seen| seen.running) {
                return Ok(running);
            }
            self.step().await?;
        }
    }

    /// Reads on until none is left.
    ///
    /// # Errors
    /// When the watch ends before.
    pub async fn until_gone(&mut self) -> anyhow::Result<()> {
        while self.present > 0 {
            self.step().await?;
        }
        Ok(())
    }

    /// From the first sight of each pod to that of it Running.
    pub fn added_to_running(&self) -> Latencies {
        self.spans(|seen| seen.running)
    }

    /// From the first sight of each pod to that of it Ready.
    pub fn added_to_ready(&self) -> Latencies {
        self.spans(|seen| seen.ready)
    }

    /// From the first sight of each pod to that of it Succeeded.
    pub fn added_to_succeeded(&self) -> Latencies {
        self.spans(|seen| seen.succeeded)
    }

    fn spans(&self, end: impl Fn(&Seen) -> Option<Instant>) -> Latencies {
        self.seen.values().filter_map(|seen| Some(end(seen)?.saturating_duration_since(seen.added))).collect()
    }

    async fn step(&mut self) -> anyhow::Result<()> {
        let Frame { kind, object } = self.frames.next::<Pod>().await?;
        let now = Instant::now();
        match kind.as_str() {
            "BOOKMARK" => {}
            "DELETED" => self.gone(&object),
            _ => self.changed(object, now),
        }
        Ok(())
    }

    fn gone(&mut self, pod: &Pod) {
        self.present -= 1;
        if self.seen.get(&pod.metadata.name).is_some_and(|seen| seen.ready.is_some()) {
            self.ready -= 1;
        }
    }

    fn changed(&mut self, pod: Pod, now: Instant) {
        let present = &mut self.present;
        let seen = self.seen.entry(pod.metadata.name).or_insert_with(|| {
            *present += 1;
            Seen { added: now, running: None, ready: None, succeeded: None }
        });
        if seen.running.is_none() && pod.status.phase.as_deref() == Some("Running") {
            seen.running = Some(now);
        }
        if seen.succeeded.is_none() && pod.status.phase.as_deref() == Some("Succeeded") {
            seen.succeeded = Some(now);
            self.succeeded += 1;
        }
        let ready = is_ready(&pod.status.conditions);
        if ready && seen.ready.is_none() {
            seen.ready = Some(now);
            self.ready += 1;
        }
    }
}

/// A deadline with words of its own.
///
/// # Errors
/// When the work fails, or is not done in time.
pub async fn within<T>(limit: Duration, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(limit, work).await.map_err(|_| anyhow::anyhow!("not done within {} s", limit.as_secs()))?
}
