//! The loop: wakes a node when it changes, when a pod comes to it that may have to leave, and when its time is up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use coracle_client::{Action, Delta, Error, Index, Informer, Key, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio_util::sync::CancellationToken;

use super::execute::Execute;
use super::heartbeats::Heartbeats;
use super::plan::{Grace, Observed, plan};
use super::taints::{self, NO_EXECUTE, Readiness, readiness};
use crate::reconciler::{self, Reconciler};
use crate::{Context, pod};

/// Where nodes keep their leases.
const LEASES: &str = "kube-node-lease";

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let workers = context.config.node_workers;
    reconciler::run(Controller::new(context, &shutdown), workers, shutdown).await;
}

struct Controller {
    context: Context,
    execute: Execute,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods: Informer<Pod>,
    pods_by_node: Index<Pod>,
    queue: WorkQueue<Key>,
    heartbeats: Heartbeats,
    some_ready: AtomicBool,
    /// Since when a node has its taints that tell no time: those that a person gave it.
    tainted_since: Mutex<HashMap<String, (Vec<String>, Timestamp)>>,
}

impl Reconciler for Controller {
    type Work = Key;

    fn queue(&self) -> &WorkQueue<Key> {
        &self.queue
    }

    fn wake(self: &Arc<Self>) {
        let controller = Arc::downgrade(self);
        self.leases.on_change(move |delta| {
            let lease = delta.object();
            if let Some(controller) = controller.upgrade()
                && lease.metadata.namespace.as_deref() == Some(LEASES)
            {
                controller.heartbeats.hear_lease(lease, controller.context.clock.now());
            }
        });
        let controller = Arc::downgrade(self);
        self.nodes.on_change(move |delta| {
            if let Some(controller) = controller.upgrade() {
                controller.node_changed(delta);
            }
        });
        let controller = Arc::downgrade(self);
        self.pods.on_change(move |delta| {
            if let Some(controller) = controller.upgrade() {
                controller.pod_changed(delta);
            }
        });
    }

    async fn synced(&self) {
        self.nodes.synced().await;
        self.leases.synced().await;
        self.pods.synced().await;
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, Error> {
        let Some(node) = self.nodes.get(&key) else { return Ok(Action::Done) };
        let plan = plan(&self.observe(&key.name, node.clone()));
        let recheck = plan.recheck;
        self.execute.execute(&node, plan).await?;
        Ok(recheck.map_or(Action::Done, Action::RequeueAfter))
    }
}

impl Controller {
    fn new(context: Context, shutdown: &CancellationToken) -> Self {
        let informers = &context.informers;
        let (nodes, leases, pods) = (informers.get(), informers.get(), informers.get());
        let execute = Execute {
            client: context.client.clone(),
            recorder: context.recorder("node-controller", shutdown),
            clock: context.clock,
        };
        Self {
            pods_by_node: pods.index("node", |pod: &Pod| pod::node_name(pod).map(str::to_owned).into_iter().collect()),
            queue: WorkQueue::new(),
            heartbeats: Heartbeats::default(),
            some_ready: AtomicBool::new(false),
            tainted_since: Mutex::default(),
            context,
            execute,
            nodes,
            leases,
            pods,
        }
    }

    fn node_changed(&self, delta: &Delta<Node>) {
        let key = delta.key();
        match delta {
            Delta::Deleted(_) => {
                self.heartbeats.forget(&key.name);
                self.tainted_since().remove(&key.name);
            }
            Delta::Added(node) | Delta::Updated { new: node, .. } => {
                self.heartbeats.hear_node(node, self.context.clock.now());
                self.queue.add(key);
            }
        }
        if !matches!(delta, Delta::Updated { old, new } if readiness(old) == readiness(new)) {
            self.note_readiness();
        }
    }

    /// The first node that is ready, and the last that is not any more, change what becomes of all the others.
    fn note_readiness(&self) {
        let nodes = self.nodes.list();
        let some_ready = nodes.iter().any(|node| readiness(node) == Some(Readiness::Ready));
        if self.some_ready.swap(some_ready, Ordering::Relaxed) != some_ready {
            nodes.iter().for_each(|node| self.queue.add(Key::of(&**node)));
        }
    }

    fn pod_changed(&self, delta: &Delta<Pod>) {
        let pod = match delta {
            Delta::Added(pod) => pod,
            Delta::Updated { old, new } if concerns_eviction(old, new) => new,
            _ => return,
        };
        let node = pod::node_name(pod).map(Key::cluster).and_then(|key| self.nodes.get(&key));
        if let Some(node) = node.filter(|node| drives_pods_away(node)) {
            self.queue.add(Key::of(&*node));
        }
    }

    fn observe(&self, name: &str, node: Arc<Node>) -> Observed {
        let config = &self.context.config;
        let (now, wall) = (self.context.clock.now(), self.context.clock.time().0);
        Observed {
            pods: self.pods_by_node.get(name),
            silent_for: now.saturating_duration_since(self.heartbeats.last(name, now)),
            some_ready: self.some_ready.load(Ordering::Relaxed),
            tainted_since: self.untimed_since(name, &node, wall),
            grace: Grace {
                silence: config.node_monitor_grace,
                startup: config.node_startup_grace,
                eviction: config.pod_eviction_grace,
            },
            now: wall,
            node,
        }
    }

    fn untimed_since(&self, name: &str, node: &Node, now: Timestamp) -> Timestamp {
        let untimed = taints::current(node).iter().filter(|taint| taint.time_added.is_none());
        let untimed: Vec<String> = untimed.map(|taint| format!("{}:{}", taint.key, taint.effect)).collect();
        let mut since = self.tainted_since();
        match since.get(name) {
            Some((same, since)) if *same == untimed => *since,
            _ => {
                since.insert(name.to_owned(), (untimed, now));
                now
            }
        }
    }

    fn tainted_since(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Vec<String>, Timestamp)>> {
        self.tainted_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a change of a pod may change how long it stays where it is, or what it may say of itself there.
fn concerns_eviction(old: &Pod, new: &Pod) -> bool {
    let tolerations = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.tolerations.clone());
    pod::node_name(old) != pod::node_name(new)
        || tolerations(old) != tolerations(new)
        || pod::is_ready(old) != pod::is_ready(new)
}

fn drives_pods_away(node: &Node) -> bool {
    readiness(node) == Some(Readiness::Unknown) || taints::current(node).iter().any(|taint| taint.effect == NO_EXECUTE)
}
