//! Nodes that pretend: they register, give signs of life, and take their pods through their lives.
//!
//! All of a cluster's pretended nodes are one object with one queue. What is to be said of a pod is decided in
//! [`crate::pod`]; here it is sent.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coracle_client::{Action, Client, DeleteOptions, Error, Informer, Key, Patch, WorkQueue, run_workers};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Preconditions, Time};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::pod::{Outcome, Place, Step, plan};

/// Between two signs of life. Source: a quarter of a kubelet's lease.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// Source: kubelet's `nodeLeaseDurationSeconds`.
const LEASE_SECONDS: i32 = 40;

const LEASES: &str = "kube-node-lease";

/// How many pods are written about at once.
const WORKERS: usize = 16;

/// What a node has: more than any test's pods ask for.
const CAPACITY: [(&str, &str); 4] =
    [("cpu", "64"), ("memory", "256Gi"), ("ephemeral-storage", "1Ti"), ("pods", "1000")];

/// The addresses of nodes and of pods begin here. Nothing listens there.
const NODES: u32 = u32::from_be_bytes([10, 0, 0, 1]);
const PODS: u32 = u32::from_be_bytes([10, 244, 0, 1]);

/// Nodes without machines, registered and ready.
pub struct FakeNodes {
    hosts: BTreeMap<String, Host>,
    pods_placed: AtomicU32,
}

struct Host {
    client: Client,
    address: Ipv4Addr,
}

impl FakeNodes {
    /// Registers `count` nodes, `node-0` and so on; `client_of` gives each the client that it speaks through.
    ///
    /// # Errors
    /// When the server refuses one.
    pub async fn register(count: usize, client_of: impl Fn(&str) -> Client) -> Result<Self, Error> {
        let hosts = (0..count).zip(NODES..).map(|(number, address)| {
            let name = format!("node-{number}");
            let client = client_of(&name);
            (name, Host { client, address: Ipv4Addr::from(address) })
        });
        let hosts: BTreeMap<_, _> = hosts.collect();
        for (name, host) in &hosts {
            host.register(name).await?;
        }
        Ok(Self { hosts, pods_placed: AtomicU32::new(0) })
    }

    /// The nodes' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str)
    }

    /// Keeps the nodes alive, and does with the pods that are bound to them what `outcome` says, until `shutdown`.
    pub async fn run(
        self,
        pods: Informer<Pod>,
        outcome: Arc<dyn Fn(&Pod) -> Outcome + Send + Sync>,
        shutdown: CancellationToken,
    ) {
        let (nodes, queue) = (Arc::new(self), WorkQueue::new());
        let (hosts, keys) = (nodes.clone(), queue.clone());
        pods.on_change(move |delta| {
            if hosts.of(delta.object()).is_some() {
                keys.add(delta.key());
            }
        });
        let renewed = shutdown.run_until_cancelled(nodes.renew());
        let reconcile = {
            let nodes = nodes.clone();
            move |key| reconcile(nodes.clone(), pods.clone(), outcome.clone(), key)
        };
        tokio::join!(renewed, run_workers(queue, WORKERS, reconcile, shutdown.clone()));
    }

    fn of(&self, pod: &Pod) -> Option<&Host> {
        self.hosts.get(pod.spec.as_ref()?.node_name.as_deref()?)
    }

    async fn renew(&self) {
        let mut ticks = interval(RENEW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is at once, and registering was a sign of life.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            for (name, host) in &self.hosts {
                let spec = json!({"spec": {"renewTime": MicroTime(Timestamp::now())}});
                // A test may have deleted it; a node without a lease is a case that it may want.
                let _ = host.client.namespaced::<Lease>(LEASES).patch(name, &Patch::Merge(spec)).await;
            }
        }
    }

    fn next_pod_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(PODS.wrapping_add(self.pods_placed.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Named, so that its future does not borrow what the closure owns.
async fn reconcile(
    nodes: Arc<FakeNodes>,
    pods: Informer<Pod>,
    outcome: Arc<dyn Fn(&Pod) -> Outcome + Send + Sync>,
    key: Key,
) -> Result<Action, Error> {
    let Some(pod) = pods.get(&key) else { return Ok(Action::Done) };
    let Some(host) = nodes.of(&pod) else { return Ok(Action::Done) };
    let place = || Place { host: host.address, pod: nodes.next_pod_address() };
    let pods = host.client.namespaced::<Pod>(&key.namespace);
    let sent = match plan(&pod, &*outcome, place, Timestamp::now()) {
        Step::Nothing => Ok(()),
        Step::Report(status) => pods.patch_status(&key.name, &Patch::Strategic(status)).await.map(drop),
        Step::Remove => pods.delete(&key.name, &at_once(&pod)).await,
    };
    match sent {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(Action::Done),
        sent => sent.map(|()| Action::Done),
    }
}

/// This pod, and not a later one of its name.
fn at_once(pod: &Pod) -> DeleteOptions {
    let this = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
    DeleteOptions { grace_period_seconds: Some(0), preconditions: Some(this), ..DeleteOptions::default() }
}

impl Host {
    async fn register(&self, name: &str) -> Result<(), Error> {
        let now = Timestamp::now();
        let nodes = self.client.all::<Node>();
        nodes.create(&self.node(name, now)).await?;
        // The server keeps pods away from a new node until a controller finds it ready; there may be no controller.
        nodes.patch(name, &Patch::Merge(json!({"spec": {"taints": null}}))).await?;
        self.client.namespaced::<Lease>(LEASES).create(&lease(name, now)).await?;
        Ok(())
    }

    fn node(&self, name: &str, now: Timestamp) -> Node {
        let labels = [
            ("kubernetes.io/hostname", name),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", "amd64"),
            ("beta.kubernetes.io/os", "linux"),
            ("beta.kubernetes.io/arch", "amd64"),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let capacity: BTreeMap<_, _> =
            CAPACITY.map(|(resource, amount)| (resource.to_owned(), Quantity(amount.to_owned()))).into();
        let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
        Node {
            metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels.into()), ..ObjectMeta::default() },
            status: Some(NodeStatus {
                addresses: Some(vec![
                    address("InternalIP", self.address.to_string()),
                    address("Hostname", name.to_owned()),
                ]),
                allocatable: Some(capacity.clone()),
                capacity: Some(capacity),
                conditions: Some(conditions(now)),
                node_info: Some(NodeSystemInfo {
                    architecture: "amd64".to_owned(),
                    container_runtime_version: concat!("fake://", env!("CARGO_PKG_VERSION")).to_owned(),
                    kubelet_version: concat!("v1.36.2+coracle-", env!("CARGO_PKG_VERSION")).to_owned(),
                    operating_system: "linux".to_owned(),
                    os_image: "none".to_owned(),
                    ..NodeSystemInfo::default()
                }),
                ..NodeStatus::default()
            }),
            ..Node::default()
        }
    }
}

fn conditions(now: Timestamp) -> Vec<NodeCondition> {
    let all = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "this node pretends to be ready"),
    ];
    let condition = |(kind, status, reason, message): (&str, &str, &str, &str)| NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    all.map(condition).into()
}

fn lease(name: &str, now: Timestamp) -> Lease {
    Lease {
        metadata: ObjectMeta { name: Some(name.to_owned()), namespace: Some(LEASES.into()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}
