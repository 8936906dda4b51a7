//! The loop: wakes a job when it or one of its pods changes, and brings it one step nearer to its end.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use coracle_client::{
    Action, Delta, Error as ClientError, EventType, Expectations, Index, Informer, Key, Objects, Recorder, WorkQueue,
    reference,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use super::account::{Account, End, Observed, TRACKING, Verdict, account, has_finalizer, is_succeeded};
use super::backoff::Backoff;
use super::scale::{self, Scale};
use super::stray::{self, Stray};
use super::target::{Target, count, is_finished, is_managed_elsewhere};
use super::track::{Tracking, track};
use super::untracked::Untracked;
use super::{draft, execute};
use crate::ownership::{self, Claims, claims, controller_of};
use crate::pod_control::{FIRST_BATCH_PODS, PodControl, uid};
use crate::reconciler::{self, Reconciler};
use crate::written::Written;
use crate::{Context, pod};

/// The label by which the pods of a job carry its uid, if its selector was made for it.
const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let recorder = context.recorder("job-controller", &shutdown);
    let workers = context.config.job_workers;
    reconciler::run(Controller::new(context, recorder), workers, shutdown).await;
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Work {
    Job(Key),
    /// A pod that the looks at its job may not see.
    Pod(Key),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(key) => write!(f, "job {key}"),
            Self::Pod(key) => write!(f, "pod {key}"),
        }
    }
}

struct Controller {
    context: Context,
    recorder: Recorder,
    jobs: Informer<Job>,
    jobs_by_namespace: Index<Job>,
    pods: Informer<Pod>,
    /// The pods that a look is about: see [`values`].
    pods_by_job: Index<Pod>,
    pods_by_owner: Index<Pod>,
    queue: WorkQueue<Work>,
    /// Pods that were made or deleted.
    expectations: Expectations,
    untracked: Untracked,
    /// Statuses.
    written: Written,
    /// The failures of each job, read from its pods when it is first looked at.
    backoffs: Mutex<HashMap<Key, Backoff>>,
}

impl Reconciler for Controller {
    type Work = Work;

    fn queue(&self) -> &WorkQueue<Work> {
        &self.queue
    }

    fn wake(self: &Arc<Self>) {
        let controller = Arc::downgrade(self);
        self.jobs.on_change(move |delta| {
            if let Some(controller) = controller.upgrade() {
                controller.job_changed(delta);
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
        self.jobs.synced().await;
        self.pods.synced().await;
    }

    async fn reconcile(self: Arc<Self>, work: Work) -> Result<Action, ClientError> {
        let done = match &work {
            Work::Job(key) => self.look_at_job(key).await,
            Work::Pod(key) => self.look_at_pod(key).await,
        };
        match done {
            // Nothing can be made in a namespace that goes, and nothing has to.
            Err(error) if error.is_namespace_terminating() => Ok(Action::Done),
            done => done,
        }
    }
}

impl Controller {
    fn new(context: Context, recorder: Recorder) -> Self {
        let (jobs, pods) = (context.informers.get::<Job>(), context.informers.get::<Pod>());
        Self {
            jobs_by_namespace: ownership::by_namespace(&jobs),
            pods_by_job: pods.index("job", values),
            pods_by_owner: ownership::by_controller(&pods),
            queue: WorkQueue::new(),
            expectations: Expectations::new(),
            untracked: Untracked::default(),
            written: Written::default(),
            backoffs: Mutex::default(),
            context,
            recorder,
            jobs,
            pods,
        }
    }

    fn job_changed(&self, delta: &Delta<Job>) {
        let (key, job) = (delta.key(), delta.object());
        self.written.seen(&key, delta);
        match delta {
            Delta::Updated { old, .. } if old.metadata.generation == job.metadata.generation => self.wake_soon(key),
            Delta::Deleted(_) => {
                self.forget(&key);
                self.queue.add(Work::Job(key));
            }
            _ => self.queue.add(Work::Job(key)),
        }
        if matches!(delta, Delta::Deleted(_)) || is_finished(job) {
            let uid = job.metadata.uid.as_deref().unwrap_or_default();
            let pods = self.pods_by_job.get(uid);
            pods.iter().filter(|pod| has_finalizer(pod)).for_each(|pod| self.look_for_stray(pod));
        }
    }

    fn pod_changed(&self, delta: &Delta<Pod>) {
        match delta {
            Delta::Added(pod) if pod::is_deleting(pod) => self.pod_goes(pod, false),
            Delta::Added(pod) => match self.owner_of(&pod.metadata) {
                Some((key, _)) => {
                    self.expectations.creation_observed(&key);
                    self.wake_soon(key);
                }
                None => self.orphan_changed(pod, true),
            },
            Delta::Updated { old, new } => self.pod_updated(old, new),
            Delta::Deleted(pod) => self.pod_goes(pod, true),
        }
    }

    fn pod_updated(&self, old: &Pod, new: &Pod) {
        let changed_owner = controller_of(&old.metadata) != controller_of(&new.metadata);
        if changed_owner && let Some((former, _)) = self.owner_of(&old.metadata) {
            if !has_finalizer(new) {
                self.untracked.observed(&former, uid(new));
            }
            self.wake_soon(former);
        }
        // This is the moment that a deletion was waited for.
        if pod::is_deleting(new) {
            return self.pod_goes(new, false);
        }
        let relabelled = old.metadata.labels != new.metadata.labels;
        match self.owner_of(&new.metadata) {
            Some((key, _)) => {
                if !has_finalizer(new) {
                    self.untracked.observed(&key, uid(new));
                }
                if relabelled {
                    self.look_for_stray(new);
                }
                self.wake_soon(key);
            }
            None => self.orphan_changed(new, relabelled || changed_owner),
        }
    }

    /// A pod is on its way out, or `is_gone`.
    fn pod_goes(&self, pod: &Pod, is_gone: bool) {
        let owner = self.owner_of(&pod.metadata);
        if let Some((key, _)) = &owner
            && (is_gone || !has_finalizer(pod))
        {
            self.untracked.observed(key, uid(pod));
        }
        match owner {
            Some((key, job)) if !is_finished(&job) => {
                self.expectations.deletion_observed(&key, uid(pod));
                self.wake_soon(key);
            }
            _ if !is_gone && has_finalizer(pod) => self.look_for_stray(pod),
            _ => {}
        }
    }

    /// No controller owns the pod: it needs no finalizer, and may be somebody's to adopt.
    fn orphan_changed(&self, pod: &Pod, may_match: bool) {
        if controller_of(&pod.metadata).is_some() {
            return;
        }
        if has_finalizer(pod) {
            self.look_for_stray(pod);
        }
        let (Some(namespace), Some(labels)) = (&pod.metadata.namespace, &pod.metadata.labels) else { return };
        if !may_match {
            return;
        }
        for job in self.jobs_by_namespace.get(namespace) {
            if Target::of(&job).is_some_and(|target| target.selector.matches(Some(labels))) {
                self.wake_soon(Key::of(&*job));
            }
        }
    }

    fn wake_soon(&self, job: Key) {
        self.queue.add_after(Work::Job(job), self.context.config.job_batch_period);
    }

    fn look_for_stray(&self, pod: &Pod) {
        self.queue.add(Work::Pod(Key::of(pod)));
    }

    /// The job that controls an object: the one of its name that has this uid.
    fn owner_of(&self, meta: &ObjectMeta) -> Option<(Key, Arc<Job>)> {
        let owner = controller_of(meta).filter(|owner| owner.kind == "Job" && owner.api_version == "batch/v1")?;
        let key = Key::new(meta.namespace.clone().unwrap_or_default(), owner.name.clone());
        let job = self.jobs.get(&key).filter(|job| job.metadata.uid.as_ref() == Some(&owner.uid))?;
        Some((key, job))
    }

    fn forget(&self, key: &Key) {
        self.expectations.forget(key);
        self.untracked.forget(key);
        self.written.forget(key);
        self.forget_backoff(key);
    }

    fn forget_backoff(&self, key: &Key) {
        self.backoffs.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn now(&self) -> Timestamp {
        self.context.clock.wall()
    }

    fn pods_in(&self, namespace: &str) -> Objects<Pod> {
        self.context.client.namespaced(namespace)
    }

    async fn look_at_pod(&self, key: &Key) -> Result<Action, ClientError> {
        let Some(pod) = self.pods.get(key) else { return Ok(Action::Done) };
        let owner = self.owner_of(&pod.metadata);
        if owner.as_ref().is_some_and(|(job, _)| self.untracked.of(job).contains(uid(&pod))) {
            return Ok(Action::Done);
        }
        let (objects, job) = (self.pods_in(&key.namespace), owner.map(|(_, job)| job));
        match (stray::plan(&pod, job.as_deref()), job) {
            (Stray::Untrack, _) => {
                // Nobody counts it, so nothing is expected: the key is that of no job.
                let nobody = Untracked::default();
                execute::untrack(&objects, &nobody, key, &[pod]).await.1?;
            }
            (Stray::Release, Some(job)) => {
                ownership::release(&job.metadata, &objects, &[pod], Some(TRACKING)).await?;
            }
            _ => {}
        }
        Ok(Action::Done)
    }

    async fn look_at_job(&self, key: &Key) -> Result<Action, ClientError> {
        let Some(job) = self.jobs.get(key) else {
            self.forget(key);
            return Ok(Action::Done);
        };
        // The coming of what is awaited is what wakes us.
        if !self.written.all_seen(key) || is_managed_elsewhere(&job) {
            return Ok(Action::Done);
        }
        if is_finished(&job) {
            self.forget_backoff(key);
            return Ok(Action::Done);
        }
        let Some(target) = Target::of(&job) else {
            let message = "Skipped Job sync because completion mode is unknown";
            self.recorder.event(&*job, EventType::Warning, "UnknownCompletionMode", message);
            return Ok(Action::Done);
        };
        // Both asked before the pods are read: what is met afterwards may not be in this reading.
        let (is_settled, untracked) = (self.expectations.satisfied(key), self.untracked.of(key));
        let pods = self.claim(&target).await?;
        let backoff = self.backoff(&target);
        let observed = Observed { target, pods, is_settled, untracked, backoff, now: self.now() };
        self.advance(&observed).await
    }

    async fn advance(&self, observed: &Observed<'_>) -> Result<Action, ClientError> {
        let account = account(observed);
        let scale::Plan { scale, recheck } = scale::plan(observed, &account);
        let target = &observed.target;
        let control = PodControl {
            recorder: &self.recorder,
            expectations: &self.expectations,
            key: target.key(),
            owner: reference(target.job),
            pods: self.pods_in(target.meta().namespace.as_deref().unwrap_or_default()),
        };
        let deleted = delete(&control, &scale).await;
        let tracking = track(observed, &account, &scale, deleted.is_ok());
        let (made, told) = tokio::join!(
            self.make(&control, observed, &account, &scale),
            self.tell(&control, target, &account, &tracking)
        );
        deleted.and(made).and(told)?;
        Ok(recheck.map_or(Action::Done, |left| Action::RequeueAfter(left.max(SignedDuration::ZERO).unsigned_abs())))
    }

    async fn claim(&self, target: &Target<'_>) -> Result<Vec<Arc<Pod>>, ClientError> {
        let meta = target.meta();
        let mut pods = self.pods_by_job.get(meta.uid.as_deref().unwrap_or_default());
        pods.extend(self.pods_by_job.get(&orphans_of(target)));
        let Claims { mut owned, adopt, release } =
            claims(meta, pods, |pod| &pod.metadata, |labels| target.selector.matches(Some(labels)));
        let objects = self.pods_in(meta.namespace.as_deref().unwrap_or_default());
        let adopted = ownership::take(&self.context.client, target.job, &objects, adopt, Some(TRACKING)).await?;
        owned.extend(adopted);
        ownership::release(meta, &objects, &release, Some(TRACKING)).await?;
        Ok(owned)
    }

    /// The failures until now. At the first look they are read from the pods that have been counted.
    fn backoff(&self, target: &Target<'_>) -> Backoff {
        if let Some(backoff) = self.backoffs.lock().unwrap_or_else(PoisonError::into_inner).get(&target.key()) {
            return *backoff;
        }
        let pods = self.pods_by_owner.get(target.meta().uid.as_deref().unwrap_or_default());
        let counted = pods.into_iter().filter(|pod| pod::is_finished(pod) && !has_finalizer(pod));
        let (succeeded, failed): (Vec<_>, Vec<_>) = counted.partition(|pod| is_succeeded(pod));
        Backoff::default().after(&succeeded, &failed)
    }

    async fn make(
        &self,
        control: &PodControl<'_>,
        observed: &Observed<'_>,
        account: &Account,
        scale: &Scale,
    ) -> Result<(), ClientError> {
        let Scale::Create(indexes) = scale else { return Ok(()) };
        // A template that there are pods of can be created from; unless the last attempt failed.
        let known_good = self.queue.failures(&Work::Job(control.key.clone())) == 0;
        let first_batch = if known_good { observed.pods.len() } else { FIRST_BATCH_PODS };
        control.create(&draft::drafts(&observed.target, account, indexes), first_batch).await
    }

    /// Writes what has changed, then lets the pods go that are written; says that the job is over, if that was all.
    async fn tell(
        &self,
        control: &PodControl<'_>,
        target: &Target<'_>,
        account: &Account,
        tracking: &Tracking,
    ) -> Result<(), ClientError> {
        let mut job = target.job.clone();
        if job.status.as_ref() != Some(&tracking.status) {
            job.status = Some(tracking.status.clone());
            let Some(written) = self.write(&control.key, &job).await? else { return Ok(()) };
            job = written;
            if let Some((reason, message)) = tracking.turn {
                self.recorder.event(target.job, EventType::Normal, reason, message);
            }
        }
        self.backoffs.lock().unwrap_or_else(PoisonError::into_inner).insert(control.key.clone(), account.backoff);
        let (untracked, failure) =
            execute::untrack(&control.pods, &self.untracked, &control.key, &tracking.untrack).await;
        failure?;
        if let Some(status) = tracking.finish(&untracked, self.now()) {
            job.status = Some(status);
            if let Some(job) = self.write(&control.key, &job).await? {
                self.tell_end(&job, target, tracking.verdict());
            }
        }
        Ok(())
    }

    /// `None` when there is no such job any more.
    async fn write(&self, key: &Key, job: &Job) -> Result<Option<Job>, ClientError> {
        match self.context.client.namespaced::<Job>(&key.namespace).update_status(job).await {
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
            Ok(written) => {
                self.written.wrote(key, &written, &self.jobs);
                Ok(Some(written))
            }
        }
    }

    fn tell_end(&self, job: &Job, target: &Target<'_>, verdict: Option<&Verdict>) {
        let Some(verdict) = verdict else { return };
        if verdict.end == End::Failure {
            return self.recorder.event(job, EventType::Warning, &verdict.reason, verdict.message.clone());
        }
        let succeeded = count(job.status.as_ref().and_then(|status| status.succeeded));
        if target.completions.is_some_and(|completions| succeeded > completions) {
            let message = "Too many succeeded pods running after completion count reached";
            self.recorder.event(job, EventType::Warning, "TooManySucceededPods", message);
        }
        self.recorder.event(job, EventType::Normal, "Completed", "Job completed");
    }
}

async fn delete(control: &PodControl<'_>, scale: &Scale) -> Result<(), ClientError> {
    match scale {
        Scale::Keep | Scale::Create(_) => Ok(()),
        Scale::End(pods) => control.delete(pods).await,
        Scale::Remove(pods) => {
            let (bare, failure) = execute::strip(&control.pods, pods).await;
            control.delete(&bare).await.and(failure)
        }
    }
}

/// Where the index by job keeps a pod: with its job, unless it has ended and been counted; an orphan with those of its
/// namespace, and with those that say they are a job's.
fn values(pod: &Pod) -> Vec<String> {
    let meta = &pod.metadata;
    match controller_of(meta) {
        Some(owner) if owner.kind == "Job" && (has_finalizer(pod) || !pod::is_finished(pod)) => vec![owner.uid.clone()],
        Some(_) => Vec::new(),
        None => {
            let said = meta.labels.as_ref().and_then(|labels| labels.get(CONTROLLER_UID));
            said.map(|uid| orphans_that_say(uid)).into_iter().chain([ownership::orphans_key(meta)]).collect()
        }
    }
}

/// Where the orphans are that may match: few, for a selector that was made for its job.
fn orphans_of(target: &Target<'_>) -> String {
    let selector = target.job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let labels = selector.and_then(|selector| selector.match_labels.as_ref());
    let said = labels.and_then(|labels| labels.get(CONTROLLER_UID));
    said.map_or_else(|| ownership::orphans_key(target.meta()), |uid| orphans_that_say(uid))
}

fn orphans_that_say(uid: &str) -> String {
    format!("orphans that say {uid}")
}
