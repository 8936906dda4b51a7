//! The loop: one pod at a time is decided about, and what follows from the decision runs beside it.

use std::sync::{Arc, Mutex, PoisonError};

use coracle_client::{Client, Clock, Informer, Informers, Recorder};
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::bind::bind;
use crate::decide::{Decision, Rejection, decide};
use crate::follow::State;
use crate::pod::PodInfo;
use crate::report::report;

/// The name by which pods ask for a scheduler that ask for none.
pub const DEFAULT_NAME: &str = "default-scheduler";

/// How many bindings and reports are on their way at once. When there are as many, no pod is decided about until one
/// has arrived: a slow server is pushed no harder.
const WRITES_MAX: usize = 64;

#[derive(Clone, Debug)]
pub struct Config {
    /// The name by which pods ask for this scheduler, and under which it tells what it does.
    pub name: String,
    /// Decides among equally good nodes: the same seed decides alike.
    pub seed: u64,
    pub clock: Clock,
}

impl Default for Config {
    fn default() -> Self {
        Self { name: DEFAULT_NAME.into(), seed: 0, clock: Clock::system() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A defect: the pod that it was about would be lost without a restart.
    #[error("a task of the scheduler panicked")]
    Panicked(#[source] JoinError),
}

/// What the informers' handlers, the loop and the bindings share. Locked for moments only, never across an await.
#[derive(Default)]
pub struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    /// Changes the state, and has the loop look at it.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        self.with(change);
        self.changed.notify_one();
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Schedules until `shutdown`, then waits for what is on its way.
///
/// # Errors
/// [`Error::Panicked`]: only a defect ends it.
pub async fn run(
    config: Config,
    client: Client,
    informers: Informers,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let client = client.named("coracle-scheduler");
    let shared = Arc::new(Shared::default());
    let (nodes, pods) = (informers.get::<Node>(), informers.get::<Pod>());
    follow(&shared, &nodes, &pods, &config.name);
    // Before the caches are whole, a node would look emptier than it is.
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        _ = async { tokio::join!(nodes.synced(), pods.synced()) } => {}
    }
    let recorder = Recorder::start_with_clock(client.clone(), &config.name, None, config.clock, shutdown.clone());
    let mut scheduler = Scheduler {
        shared,
        client,
        pods,
        recorder: recorder.clone(),
        clock: config.clock,
        turn: config.seed,
        writes: JoinSet::new(),
        permits: Arc::new(Semaphore::new(WRITES_MAX)),
    };
    let ended = scheduler.schedule(shutdown).await;
    recorder.stopped().await;
    ended
}

fn follow(shared: &Arc<Shared>, nodes: &Informer<Node>, pods: &Informer<Pod>, name: &str) {
    nodes.on_change({
        let shared = Arc::clone(shared);
        move |delta| shared.change(|state| state.node(delta, Instant::now()))
    });
    pods.on_change({
        let (shared, name) = (Arc::clone(shared), name.to_owned());
        move |delta| shared.change(|state| state.pod(delta, &name, Instant::now()))
    });
}

struct Scheduler {
    shared: Arc<Shared>,
    client: Client,
    pods: Informer<Pod>,
    recorder: Recorder,
    clock: Clock,
    turn: u64,
    writes: JoinSet<()>,
    permits: Arc<Semaphore>,
}

/// What is to be done about a pod that was decided about.
enum Effect {
    Bind { pod: Arc<PodInfo>, node: String },
    Report { pod: Arc<PodInfo>, rejection: Rejection },
}

impl Scheduler {
    async fn schedule(&mut self, shutdown: CancellationToken) -> Result<(), Error> {
        loop {
            let permits = Arc::clone(&self.permits);
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(write) = self.writes.join_next() => write.map_err(Error::Panicked)?,
                (effect, permit) = next(&self.shared, permits, self.turn) => {
                    self.turn = self.turn.wrapping_add(1);
                    self.execute(effect, permit);
                }
            }
        }
        while let Some(write) = self.writes.join_next().await {
            write.map_err(Error::Panicked)?;
        }
        Ok(())
    }

    fn execute(&mut self, effect: Effect, permit: OwnedSemaphorePermit) {
        let (client, recorder) = (self.client.clone(), self.recorder.clone());
        match effect {
            Effect::Bind { pod, node } => {
                let bind = bind(Arc::clone(&self.shared), client, recorder, pod, node);
                self.writes.spawn(async move { (bind.await, drop(permit)).0 });
            }
            Effect::Report { pod, rejection } => {
                let known = self.pods.get(&pod.key);
                let report = report(client, recorder, self.clock, pod, known, rejection);
                self.writes.spawn(async move { (report.await, drop(permit)).0 });
            }
        }
    }
}

/// Waits for a pod that can be tried, and decides about it.
///
/// # Cancel safety
/// A pod is taken and decided about in one step, so none is lost when the future is dropped.
async fn next(shared: &Shared, permits: Arc<Semaphore>, turn: u64) -> (Effect, OwnedSemaphorePermit) {
    let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
    loop {
        let changed = shared.changed.notified();
        let due = match shared.with(|state| step(state, turn, Instant::now())) {
            Ok(effect) => return (effect, permit),
            Err(due) => due,
        };
        match due {
            Some(due) => tokio::select! {
                () = changed => {}
                () = sleep_until(due) => {}
            },
            None => changed.await,
        }
    }
}

/// Decides about the next pod, and counts on the decision; or says when to look again.
fn step(state: &mut State, turn: u64, now: Instant) -> Result<Effect, Option<Instant>> {
    for lost in state.snapshot.expire(now) {
        tracing::warn!(pod = %lost.key, "bound, but never seen bound: it is scheduled again");
        state.queue.upsert(PodInfo::clone(&lost), now);
    }
    let Some(pod) = state.queue.pop(now) else {
        return Err([state.queue.next_due(), state.snapshot.next_expiry()].into_iter().flatten().min());
    };
    match decide(&state.snapshot, &pod, turn) {
        Decision::Node(node) => {
            state.snapshot.assume(Arc::clone(&pod), &node);
            Ok(Effect::Bind { pod, node })
        }
        Decision::Unschedulable(rejection) => {
            state.queue.park(&pod, rejection.filters, now);
            Ok(Effect::Report { pod, rejection })
        }
    }
}
