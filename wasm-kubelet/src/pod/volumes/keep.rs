//! Keeps a running pod's volumes as they should be: what the API changes reaches their files, and tokens are renewed.
//!
//! One task a pod, for pods only that have something to keep; it sleeps until it is told, or a time comes. A change of the
//! API is in the files [`VOLUME_SETTLE`] after the watch has told of it.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Made, PodVolumes, is_api_access, mount_failure, source, volumes};
use crate::limits::{VOLUME_RETRY, VOLUME_RETRY_MAX, VOLUME_SETTLE};

impl PodVolumes {
    /// Starts the keeper, once there is something to keep; one that there is learns of new times.
    pub(super) fn start_keeping(self: &Arc<Self>, made: &Made) {
        let is_kept = volumes(&made.pod).any(|volume| source::is_from_api(volume) && !is_api_access(volume))
            || made.has_api_access;
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
        if let Some(pod) = self.host.pods.of(&self.key, &self.uid) {
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
}

/// Holds the volumes only while it does something, so that it ends with them.
async fn keep(volumes: Weak<PodVolumes>, wake: Arc<Notify>, retime: Arc<Notify>) {
    let Some(first) = volumes.upgrade() else { return };
    let mut renewal = first.due().await;
    drop(first);
    let mut failures = 0;
    loop {
        let what = tokio::select! {
            () = wake.notified() => {
                sleep(VOLUME_SETTLE).await;
                Do::Renew
            }
            () = retime.notified() => Do::Retime,
            () = until(renewal) => Do::Renew,
        };
        let Some(volumes) = volumes.upgrade() else { return };
        match what {
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
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
