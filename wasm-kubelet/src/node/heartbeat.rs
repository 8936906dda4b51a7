//! Registers the node, renews its lease, and writes its status when that changes or has not been written for long.
//! Source: kubelet's `tryRegisterWithAPIServer`, `syncNodeStatus`, and the node lease controller.

use std::sync::Arc;

use coracle_client::{Client, Clock, Error, Patch};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::describe::{Condition, Description, SHUTTING_DOWN, conditions, labels_patch, node, status_patch};
use super::disk;
use super::eviction::Pressures;
use crate::config::Config;
use crate::images::ImageStore;
use crate::limits::{LEASE_RENEW_MIN, LEASE_RENEWALS, NODE_STATUS_CHECK, NODE_STATUS_REPORT};

/// Where leases of nodes live.
const LEASES: &str = "kube-node-lease";
/// Pause after an attempt at registering that failed.
const REGISTER_RETRY: Duration = Duration::from_millis(100);

/// The node's life in the API.
pub struct Heartbeat {
    pub client: Client,
    pub clock: Clock,
    pub config: Arc<Config>,
    pub description: Description,
    /// What the node has of images.
    pub images: ImageStore,
    /// Cancelled once the node shuts down.
    pub closing: CancellationToken,
    /// What the node is short of.
    pub pressures: watch::Receiver<Pressures>,
}

/// What was last written.
#[derive(Default)]
struct Reported {
    uid: String,
    conditions: Vec<(Condition, Timestamp)>,
    images: Value,
    at: Option<Instant>,
}

impl Heartbeat {
    /// Registers the node: when this returns, the API has it, `Ready`.
    ///
    /// # Cancel safety
    /// May be dropped; registering twice is the same as once.
    pub async fn register(&self) -> String {
        let mut told = String::new();
        loop {
            match self.try_register().await {
                Ok(uid) => return uid,
                Err(error) => {
                    // Once for each reason: an API server that is not there yet is asked often.
                    let why = error.to_string();
                    if why != told {
                        tracing::warn!(error = &error as &dyn std::error::Error, "cannot register the node");
                        told = why;
                    }
                    self.clock.sleep(REGISTER_RETRY).await;
                }
            }
        }
    }

    async fn try_register(&self) -> Result<String, Error> {
        let nodes = self.client.all::<Node>();
        let conditions = self.now_true(&[]);
        let object = match nodes.create(&node(&self.description, &conditions, self.clock.wall())).await {
            Err(error) if error.is_already_exists() => {
                let patch = Patch::Strategic(labels_patch(&self.description));
                let there = nodes.patch(&self.description.name, &patch).await?;
                self.write(&conditions, &self.images()).await?;
                there
            }
            other => other?,
        };
        let uid = object.metadata.uid.unwrap_or_default();
        self.renew(&uid).await?;
        Ok(uid)
    }

    /// Goes on until `shutdown`.
    pub async fn run(&self, uid: String, shutdown: CancellationToken) {
        let mut reported =
            Reported { uid, conditions: self.now_true(&[]), images: json!([]), at: Some(Instant::now()) };
        let mut lease = ticks((self.config.lease / LEASE_RENEWALS).max(LEASE_RENEW_MIN));
        let mut status = ticks(NODE_STATUS_CHECK);
        let mut is_closing = false;
        let mut pressures = self.pressures.clone();
        loop {
            let outcome = tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.closing.cancelled(), if !is_closing => {
                    is_closing = true;
                    self.check(&mut reported).await
                }
                Ok(()) = pressures.changed() => self.check(&mut reported).await,
                _ = lease.tick() => self.renew(&reported.uid).await,
                _ = status.tick() => self.check(&mut reported).await,
            };
            if let Err(error) = outcome {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot tell the API server that the node lives"
                );
            }
        }
    }

    /// Writes the status if it has changed, or was not written for long; registers again when the node was deleted.
    async fn check(&self, reported: &mut Reported) -> Result<(), Error> {
        let now_true = self.now_true(&reported.conditions);
        let images = self.images();
        let is_old = reported.at.is_none_or(|at| at.elapsed() >= NODE_STATUS_REPORT);
        let is_there = self.client.all::<Node>().find(&self.description.name).await?;
        let is_ours = is_there.as_ref().is_some_and(|node| node.metadata.uid.as_deref() == Some(&reported.uid));
        if !is_ours {
            tracing::info!(node = self.description.name, "the node is not in the API any more: registering it again");
            reported.uid = self.try_register().await?;
        } else if is_old
            || now_true != reported.conditions
            || images != reported.images
            || is_there.is_some_and(|node| is_ready(&node) != says_ready(&now_true))
        {
            self.write(&now_true, &images).await?;
        } else {
            return Ok(());
        }
        let uid = std::mem::take(&mut reported.uid);
        *reported = Reported { uid, conditions: now_true, images, at: Some(Instant::now()) };
        Ok(())
    }

    /// The conditions as they are, each with the time since when.
    fn now_true(&self, before: &[(Condition, Timestamp)]) -> Vec<(Condition, Timestamp)> {
        let now = self.clock.wall();
        let since = |condition: &Condition| {
            let same = before.iter().find(|(old, _)| old.kind == condition.kind && old.is_true == condition.is_true);
            same.map_or(now, |(_, since)| *since)
        };
        let mut conditions = conditions(*self.pressures.borrow());
        if self.closing.is_cancelled() {
            conditions.iter_mut().filter(|it| it.kind == "Ready").for_each(|ready| *ready = SHUTTING_DOWN);
        }
        conditions
            .into_iter()
            .map(|condition| {
                let since = since(&condition);
                (condition, since)
            })
            .collect()
    }

    /// As `status.images` has them.
    fn images(&self) -> Value {
        disk::images(self.images.list().unwrap_or_default())
    }

    async fn write(&self, conditions: &[(Condition, Timestamp)], images: &Value) -> Result<(), Error> {
        let mut status = status_patch(&self.description, conditions, self.clock.wall());
        status["status"]["images"] = images.clone();
        let patch = Patch::Strategic(status);
        self.client.all::<Node>().patch_status(&self.description.name, &patch).await.map(drop)
    }

    async fn renew(&self, uid: &str) -> Result<(), Error> {
        let leases = self.client.namespaced::<Lease>(LEASES);
        let name = &self.description.name;
        let spec = json!({
            "holderIdentity": name,
            "leaseDurationSeconds": self.lease_seconds(),
            "renewTime": self.clock.micro_time(),
        });
        match leases.patch(name, &Patch::Merge(json!({ "spec": spec }))).await {
            Err(error) if error.is_not_found() => leases.create(&self.lease(uid)).await.map(drop),
            other => other.map(drop),
        }
    }

    /// Leases are told in whole seconds, of which there must be one.
    fn lease_seconds(&self) -> i32 {
        let whole = self.config.lease.as_millis().div_ceil(1000);
        i32::try_from(whole).unwrap_or(i32::MAX).max(1)
    }

    fn lease(&self, uid: &str) -> Lease {
        let name = &self.description.name;
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: name.clone(),
            uid: uid.to_owned(),
            ..OwnerReference::default()
        };
        Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(LEASES.into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(name.clone()),
                lease_duration_seconds: Some(self.lease_seconds()),
                renew_time: Some(self.clock.micro_time()),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn says_ready(conditions: &[(Condition, Timestamp)]) -> bool {
    conditions.iter().any(|(condition, _)| condition.kind == "Ready" && condition.is_true)
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}
