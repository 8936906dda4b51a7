//! Keeps a running pod's volumes as they should be: what the API changes reaches their files, tokens are renewed, and a pod
//! that takes more of the disk than it may is evicted.
//!
//! One task a pod, for pods only that have something to keep; it sleeps until it is told, or a time comes. A change of the
//! API is in the files [`VOLUME_SETTLE`] after the watch has told of it.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use coracle_api::quantity::{Quantity, parse_or_zero};
use k8s_openapi::api::core::v1 as core;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use super::dir::is_in_memory;
use super::{Made, PodVolumes, is_api_access, mount_failure, source, usage, volumes};
use crate::limits::{EVICTION_GRACE, VOLUME_RETRY, VOLUME_RETRY_MAX, VOLUME_SETTLE, VOLUME_USAGE_CHECK};
use crate::pod::state::{Event, Outcome};
use crate::pod::worker::Message;

impl PodVolumes {
    /// Starts the keeper, once there is something to keep; one that there is learns of new times.
    pub(super) fn start_keeping(self: &Arc<Self>, made: &Made) {
        let is_kept = volumes(&made.pod).any(|volume| source::is_from_api(volume) && !is_api_access(volume))
            || made.has_api_access
            || !bounds(&made.pod).is_empty();
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        match &*keeper {
            Some(_) => self.retime.notify_one(),
            None if is_kept => {
                let task = keep(Arc::downgrade(self), self.wake.clone(), self.retime.clone());
                *keeper = Some(self.host.tasks.spawn(task).abort_handle());
            }
            None => {}
        }
    }

    /// Writes every volume that the API has anew; whether all went well.
    async fn renew(&self) -> bool {
        let mut made = self.made.lock().await;
        let newest = self.host.pods.get(&self.key);
        if let Some(pod) = newest.filter(|pod| pod.metadata.uid.as_deref() == Some(&*self.uid)) {
            made.pod = pod;
        }
        let (pod, now) = (made.pod.clone(), self.host.clock.wall());
        let mut is_done = true;
        for volume in volumes(&pod).filter(|volume| source::is_from_api(volume)) {
            if is_api_access(volume) && !made.has_api_access {
                continue;
            }
            if let Err(why) = self.write(volume, &mut made, now).await {
                self.tell(&pod, &mount_failure(&volume.name, &why));
                is_done = false;
            }
        }
        is_done
    }

    /// When the next token is to be renewed.
    async fn due(&self) -> Option<Instant> {
        let at = self.made.lock().await.tokens.due()?;
        let left = at.duration_since(self.host.clock.wall());
        Some(Instant::now() + Duration::try_from(left).unwrap_or(Duration::ZERO))
    }

    /// Evicts the pod if it takes more than it may.
    async fn check_usage(&self, bounds: &[Bound]) -> bool {
        let (dir, bounds) = (self.dir(), bounds.to_vec());
        let logs = self.host.logs.pod(&self.key.namespace, &self.key.name, &self.uid).dir().to_owned();
        let _walk = self.host.walks.acquire().await;
        let found = spawn_blocking(move || {
            bounds.into_iter().find_map(|bound| {
                let mut folders: Vec<_> = bound.volumes.iter().map(|volume| dir.volume(volume)).collect();
                if bound.is_whole_pod {
                    folders.extend([dir.containers(), logs.clone()]);
                }
                let mut left = bound.bytes;
                let is_over = folders.iter().any(|folder| {
                    let used = usage::bytes(folder, left);
                    let is_over = used > left;
                    left = left.saturating_sub(used);
                    is_over
                });
                is_over.then_some(bound.message)
            })
        });
        let Ok(Some(message)) = found.await else { return false };
        let outcome = Outcome::failed("Evicted", message).within(EVICTION_GRACE);
        let _ = self.outbox.send(Message::Event(Event::Rejected(outcome))).await;
        true
    }
}

/// How much some folders may take together.
#[derive(Clone, Debug)]
struct Bound {
    volumes: Vec<core::Volume>,
    /// Whether logs and what containers have for themselves count too.
    is_whole_pod: bool,
    bytes: u64,
    message: String,
}

/// Source: kubelet, `emptyDirLimitEviction` and `podEphemeralStorageLimitEviction`, with their messages.
fn bounds(pod: &core::Pod) -> Vec<Bound> {
    let mut bounds: Vec<Bound> = volumes(pod)
        .filter_map(|volume| {
            let limit = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
            let bytes = parse_or_zero(Some(limit)).bytes();
            let message = format!("Usage of EmptyDir volume {:?} exceeds the limit {:?}. ", volume.name, limit.0);
            (bytes > 0).then(|| Bound { volumes: vec![volume.clone()], is_whole_pod: false, bytes, message })
        })
        .collect();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let limits =
        containers.filter_map(|container| container.resources.as_ref()?.limits.as_ref()?.get("ephemeral-storage"));
    let limit = limits.map(|limit| parse_or_zero(Some(limit))).reduce(|sum, limit| sum + limit);
    let bytes = limit.as_ref().map_or(0, Quantity::bytes);
    if bytes > 0 {
        let on_disk = volumes(pod).filter(|volume| volume.empty_dir.is_some() && !is_in_memory(volume));
        let shown = limit.unwrap_or(Quantity::ZERO);
        let message = format!("Pod ephemeral local storage usage exceeds the total limit of containers {shown}. ");
        bounds.push(Bound { volumes: on_disk.cloned().collect(), is_whole_pod: true, bytes, message });
    }
    bounds
}

/// Holds the volumes only while it does something, so that it ends with them.
async fn keep(volumes: Weak<PodVolumes>, wake: Arc<Notify>, retime: Arc<Notify>) {
    let Some(first) = volumes.upgrade() else { return };
    let bounds = bounds(&first.made.lock().await.pod);
    let mut renewal = first.due().await;
    drop(first);
    let mut usage = (!bounds.is_empty()).then(|| Instant::now() + VOLUME_USAGE_CHECK);
    let mut failures = 0;
    loop {
        let what = tokio::select! {
            () = wake.notified() => {
                sleep(VOLUME_SETTLE).await;
                Do::Renew
            }
            () = retime.notified() => Do::Retime,
            () = until(renewal) => Do::Renew,
            () = until(usage) => Do::CheckUsage,
        };
        let Some(volumes) = volumes.upgrade() else { return };
        match what {
            Do::CheckUsage => {
                if volumes.check_usage(&bounds).await {
                    return;
                }
                usage = Some(Instant::now() + VOLUME_USAGE_CHECK);
            }
            Do::Retime => renewal = volumes.due().await,
            Do::Renew if volumes.renew().await => {
                failures = 0;
                renewal = volumes.due().await;
            }
            Do::Renew => {
                renewal =
                    Some(Instant::now() + VOLUME_RETRY.saturating_mul(1 << failures.min(8)).min(VOLUME_RETRY_MAX));
                failures += 1;
            }
        }
    }
}

enum Do {
    Renew,
    Retime,
    CheckUsage,
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
