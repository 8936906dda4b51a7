//! The TTL after finished controller: deletes jobs that have been over for as long as they say.
//!
//! Source: upstream's ttlafterfinished controller.

use std::sync::Arc;

use coracle_client::{Action, Client, Clock, DeleteOptions, Delta, Error, Informer, Key, WorkQueue};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Preconditions;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::reconciler::{self, Reconciler};

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let workers = context.config.ttl_after_finished_workers;
    let controller = Controller {
        client: context.client.clone(),
        clock: context.clock,
        jobs: context.informers.get(),
        queue: WorkQueue::new(),
    };
    reconciler::run(controller, workers, shutdown).await;
}

struct Controller {
    client: Client,
    clock: Clock,
    jobs: Informer<Job>,
    queue: WorkQueue<Key>,
}

impl Reconciler for Controller {
    type Work = Key;

    fn queue(&self) -> &WorkQueue<Key> {
        &self.queue
    }

    fn wake(self: &Arc<Self>) {
        let queue = self.queue.clone();
        self.jobs.on_change(move |delta| {
            if !matches!(delta, Delta::Deleted(_)) && expires_at(delta.object()).is_some() {
                queue.add(delta.key());
            }
        });
    }

    async fn synced(&self) {
        self.jobs.synced().await;
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, Error> {
        let Some(job) = self.jobs.get(&key) else { return Ok(Action::Done) };
        match plan(&job, self.clock.wall()) {
            Plan::Keep => Ok(Action::Done),
            Plan::Wait(left) => Ok(Action::RequeueAfter(left.unsigned_abs())),
            Plan::Delete => self.delete(&key, &job).await,
        }
    }
}

impl Controller {
    /// Deletes the job as it was seen. One that has changed may be one to keep, and comes again when that is seen.
    async fn delete(&self, key: &Key, job: &Job) -> Result<Action, Error> {
        let exactly =
            Preconditions { uid: job.metadata.uid.clone(), resource_version: job.metadata.resource_version.clone() };
        let options = DeleteOptions {
            propagation_policy: Some("Foreground".to_owned()),
            preconditions: Some(exactly),
            ..DeleteOptions::default()
        };
        match self.client.namespaced::<Job>(&key.namespace).delete(&key.name, &options).await {
            Err(error) if error.is_not_found() => Ok(Action::Done),
            Err(error) if error.is_conflict() => Ok(Action::Retry),
            deleted => deleted.map(|()| Action::Done),
        }
    }
}

/// What to do about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Keep,
    Wait(SignedDuration),
    Delete,
}

fn plan(job: &Job, now: Timestamp) -> Plan {
    match expires_at(job).map(|expiry| expiry.duration_since(now)) {
        None => Plan::Keep,
        Some(left) if left > SignedDuration::ZERO => Plan::Wait(left),
        Some(_) => Plan::Delete,
    }
}

/// When a job is to be deleted: `None` for one that is not over, says nothing about it, or is being deleted.
fn expires_at(job: &Job) -> Option<Timestamp> {
    let seconds =
        job.spec.as_ref()?.ttl_seconds_after_finished.filter(|_| job.metadata.deletion_timestamp.is_none())?;
    let ends = ["Complete", "Failed"];
    let mut conditions = job.status.as_ref()?.conditions.iter().flatten();
    let end = conditions.find(|condition| ends.contains(&condition.type_.as_str()) && condition.status == "True")?;
    let ended = end.last_transition_time.as_ref()?.0;
    ended.checked_add(SignedDuration::from_secs(i64::from(seconds))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::Object;

    fn job(ttl: &str, condition: &str) -> Job {
        let json = format!(
            r#"{{"spec":{{"template":{{}}{ttl}}},"status":{{"conditions":[{{"type":"{condition}","status":"True",
                "lastTransitionTime":"2026-01-01T00:00:00Z"}}]}}}}"#
        );
        Job::decode(json.as_bytes()).expect("a job")
    }

    #[test]
    fn a_job_goes_when_its_time_is_over() {
        let ttl = r#","ttlSecondsAfterFinished":60"#;
        let wait = Plan::Wait(SignedDuration::from_secs(50));
        for (job, second, expected) in [
            (job(ttl, "Complete"), 10, wait),
            (job(ttl, "Failed"), 10, wait),
            (job(ttl, "Complete"), 60, Plan::Delete),
            (job(r#","ttlSecondsAfterFinished":0"#, "Complete"), 0, Plan::Delete),
            (job(ttl, "Suspended"), 99, Plan::Keep),
            (job("", "Complete"), 99, Plan::Keep),
        ] {
            let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
            assert_eq!(plan(&job, now + SignedDuration::from_secs(second)), expected);
        }
    }
}
