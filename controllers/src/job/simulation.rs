//! A job in a small world: nodes that end pods when they get to it, people who delete them, a controller whose caches are
//! behind, whose requests fail, and that is stopped between any two of them and started again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use coracle_api::Object;
use coracle_client::{Expectations, Key};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::account::{Observed, account, has_finalizer, is_succeeded};
use super::backoff::Backoff;
use super::draft::drafts;
use super::scale::{self, Scale};
use super::target::{Target, index_of, is_finished};
use super::track::{Tracking, track};
use super::untracked::Untracked;
use crate::pod;
use crate::pod::build::{at, in_phase, with};
use crate::pod_control::uid;

/// What is true, and what the controller knows.
struct World {
    job: Job,
    pods: BTreeMap<String, Arc<Pod>>,
    version: i64,
    now: i64,
    /// The uids of the pods that ended while they were tracked, and the indexes that some of them were for.
    succeeded: BTreeMap<String, Option<usize>>,
    failed: BTreeSet<String>,
    controller: Controller,
}

struct Controller {
    job: Job,
    pods: BTreeMap<String, Arc<Pod>>,
    /// What it has not heard yet. Jobs and pods come by different ways.
    jobs_to_hear: VecDeque<Job>,
    pods_to_hear: VecDeque<(Arc<Pod>, bool)>,
    expectations: Expectations,
    untracked: Untracked,
    /// The version of the last status that it wrote.
    written: i64,
    backoff: Option<Backoff>,
}

/// The controller was stopped, or a request of it failed.
struct Stopped;

/// How many requests go well before one does not.
struct Luck(usize);

impl Luck {
    fn holds(&mut self) -> Result<(), Stopped> {
        self.0 = self.0.checked_sub(1).ok_or(Stopped)?;
        Ok(())
    }
}

fn key() -> Key {
    Key::new("default", "j")
}

fn version_of(job: &Job) -> i64 {
    job.metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

impl World {
    fn new(spec: &str) -> Self {
        let json = format!(
            r#"{{"metadata":{{"name":"j","namespace":"default","uid":"uid-j","resourceVersion":"1"}},
                "spec":{{"backoffLimit":100000,{spec},"template":{{"spec":{{"containers":[]}}}}}}}}"#
        );
        let job = Job::decode(json.as_bytes()).expect("a job");
        let mut world = Self {
            controller: Controller::new(&job, &BTreeMap::new()),
            job,
            pods: BTreeMap::new(),
            version: 1,
            now: 0,
            succeeded: BTreeMap::new(),
            failed: BTreeSet::new(),
        };
        world.restart();
        world
    }

    fn restart(&mut self) {
        self.controller = Controller::new(&self.job, &self.pods);
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    fn put_job(&mut self, mut job: Job) {
        job.metadata.resource_version = Some(self.next_version());
        self.controller.jobs_to_hear.push_back(job.clone());
        self.job = job;
    }

    fn suspend(&mut self, suspend: bool) {
        let mut job = self.job.clone();
        job.spec.get_or_insert_default().suspend = Some(suspend);
        self.put_job(job);
    }

    fn put_pod(&mut self, pod: Pod) {
        let version = self.next_version();
        let pod = Arc::new(with(pod, |pod| pod.metadata.resource_version = Some(version)));
        // As the API server: what has ended, is to go, and nobody holds, goes.
        let gone = pod::is_deleting(&pod) && pod::is_finished(&pod) && !has_finalizer(&pod);
        match gone {
            true => self.pods.remove(uid(&pod)),
            false => self.pods.insert(uid(&pod).to_owned(), pod.clone()),
        };
        if has_finalizer(&pod) {
            let going = pod::is_deleting(&pod) && !self.waits_for_the_end();
            match pod::phase(&pod) {
                pod::Phase::Succeeded => drop(self.succeeded.insert(uid(&pod).to_owned(), index_of(&pod))),
                pod::Phase::Failed => drop(self.failed.insert(uid(&pod).to_owned())),
                _ if going => drop(self.failed.insert(uid(&pod).to_owned())),
                _ => {}
            }
        }
        self.controller.pods_to_hear.push_back((pod, gone));
    }

    fn waits_for_the_end(&self) -> bool {
        Target::of(&self.job).is_some_and(|target| target.replaces_failed_only)
    }

    fn create(&mut self, draft: &Pod) {
        let name = format!("p{:05}", self.version);
        let created = Some(Time(at(self.now)));
        self.put_pod(with(draft.clone(), |pod| {
            pod.metadata.uid = Some(format!("uid-{name}"));
            pod.metadata.name = Some(name);
            pod.metadata.creation_timestamp = created;
        }));
    }

    fn change(&mut self, uid: &str, change: impl FnOnce(Pod) -> Pod) {
        if let Some(pod) = self.pods.get(uid).cloned() {
            self.put_pod(change(Pod::clone(&pod)));
        }
    }

    fn delete(&mut self, uid: &str) {
        let now = Some(Time(at(self.now)));
        self.change(uid, |pod| with(pod, |pod| pod.metadata.deletion_timestamp = now));
    }

    fn lose_finalizer(&mut self, uid: &str) {
        self.change(uid, |pod| with(pod, |pod| pod.metadata.finalizers = None));
    }

    /// A pod of those that have not ended.
    fn running(&self, at: usize) -> Option<String> {
        let running: Vec<_> = self.pods.values().filter(|pod| !pod::is_finished(pod)).collect();
        running.get(at % running.len().max(1)).map(|pod| uid(pod).to_owned())
    }

    /// A pod that is going fails; the others end as they do.
    fn end(&mut self, at: usize, phase: &str) {
        if let Some(uid) = self.running(at) {
            self.change(&uid, |pod| {
                let phase = if pod::is_deleting(&pod) { "Failed" } else { phase };
                in_phase(pod, phase)
            });
        }
    }

    fn active(&self) -> usize {
        self.pods.values().filter(|pod| pod::is_active(pod)).count()
    }

    fn hear_of_job(&mut self) {
        if let Some(job) = self.controller.jobs_to_hear.pop_front() {
            self.controller.job = job;
        }
    }

    fn hear_of_pod(&mut self) {
        let Some((pod, gone)) = self.controller.pods_to_hear.pop_front() else { return };
        let controller = &mut self.controller;
        let known = match gone {
            true => controller.pods.remove(uid(&pod)).is_some(),
            false => controller.pods.insert(uid(&pod).to_owned(), pod.clone()).is_some(),
        };
        if gone || !has_finalizer(&pod) {
            controller.untracked.observed(&key(), uid(&pod));
        }
        if gone || pod::is_deleting(&pod) {
            controller.expectations.deletion_observed(&key(), uid(&pod));
        } else if !known {
            controller.expectations.creation_observed(&key());
        }
    }

    /// One look, as `reconcile` has it; whether there was nothing to do.
    fn look(&mut self, luck: usize) -> bool {
        let job = self.controller.job.clone();
        if version_of(&job) < self.controller.written || is_finished(&job) {
            return is_finished(&job);
        }
        let version = self.version;
        let target = Target::of(&job).expect("a target");
        let observed = Observed {
            is_settled: self.controller.expectations.satisfied(&key()),
            untracked: self.controller.untracked.of(&key()),
            pods: self.controller.pods_in_sight(),
            backoff: self.controller.backoff(),
            now: at(self.now),
            target,
        };
        let _ = self.advance(&observed, &mut Luck(luck));
        self.version == version
    }

    fn advance(&mut self, observed: &Observed<'_>, luck: &mut Luck) -> Result<(), Stopped> {
        let account = account(observed);
        let scale = scale::plan(observed, &account).scale;
        let deleted = self.remove(&scale, luck);
        let tracking = track(observed, &account, &scale, deleted.is_ok());
        if let Scale::Create(indexes) = &scale {
            self.make(&drafts(&observed.target, &account, indexes), luck);
        }
        self.tell(observed, account.backoff, &tracking, luck)?;
        deleted
    }

    fn remove(&mut self, scale: &Scale, luck: &mut Luck) -> Result<(), Stopped> {
        let (pods, strips) = match scale {
            Scale::Keep | Scale::Create(_) => return Ok(()),
            Scale::Remove(pods) => (pods, true),
            Scale::End(pods) => (pods, false),
        };
        for seen in pods {
            if strips && has_finalizer(seen) {
                luck.holds()?;
                // Only as it was seen.
                match self.pods.get(uid(seen)) {
                    Some(pod) if pod.metadata.resource_version != seen.metadata.resource_version => {
                        return Err(Stopped);
                    }
                    _ => self.lose_finalizer(uid(seen)),
                }
            }
            luck.holds()?;
            self.controller.expectations.expect_deletions(&key(), [uid(seen).to_owned()]);
            match self.pods.get(uid(seen)) {
                Some(pod) if !pod::is_deleting(pod) => self.delete(uid(seen)),
                Some(_) => {}
                None => self.controller.expectations.deletion_observed(&key(), uid(seen)),
            }
        }
        Ok(())
    }

    /// What is refused is not expected.
    fn make(&mut self, drafts: &[Arc<Pod>], luck: &mut Luck) {
        for draft in drafts {
            if luck.holds().is_err() {
                return;
            }
            self.controller.expectations.expect_creations(&key(), 1);
            self.create(draft);
        }
    }

    fn tell(
        &mut self,
        observed: &Observed<'_>,
        backoff: Backoff,
        tracking: &Tracking,
        luck: &mut Luck,
    ) -> Result<(), Stopped> {
        let mut job = observed.target.job.clone();
        if job.status.as_ref() != Some(&tracking.status) {
            job.status = Some(tracking.status.clone());
            job = self.write(job, luck)?;
        }
        self.controller.backoff = Some(backoff);
        let mut untracked = std::collections::HashSet::new();
        for pod in &tracking.untrack {
            luck.holds()?;
            self.controller.untracked.expect(&key(), [uid(pod).to_owned()]);
            self.lose_finalizer(uid(pod));
            untracked.insert(uid(pod).to_owned());
        }
        if let Some(status) = tracking.finish(&untracked, at(self.now)) {
            job.status = Some(status);
            self.write(job, luck)?;
        }
        Ok(())
    }

    fn write(&mut self, job: Job, luck: &mut Luck) -> Result<Job, Stopped> {
        luck.holds()?;
        if job.metadata.resource_version != self.job.metadata.resource_version {
            return Err(Stopped);
        }
        self.put_job(job);
        self.controller.written = self.version;
        Ok(self.job.clone())
    }

    /// Everything is heard, ended and looked at until the job is over.
    fn settle(&mut self) {
        self.suspend(false);
        for _ in 0..200 {
            if is_finished(&self.job) {
                return;
            }
            self.hear_all();
            self.look(usize::MAX);
            self.hear_all();
            self.now += 600;
            self.end(0, "Succeeded");
        }
        panic!("the job does not end: {:?}\n{:?}", self.job.status, self.pods);
    }

    fn hear_all(&mut self) {
        while !self.controller.jobs_to_hear.is_empty() {
            self.hear_of_job();
        }
        while !self.controller.pods_to_hear.is_empty() {
            self.hear_of_pod();
        }
    }
}

impl Controller {
    fn new(job: &Job, pods: &BTreeMap<String, Arc<Pod>>) -> Self {
        Self {
            job: job.clone(),
            pods: pods.clone(),
            jobs_to_hear: VecDeque::new(),
            pods_to_hear: VecDeque::new(),
            expectations: Expectations::new(),
            untracked: Untracked::default(),
            written: 0,
            backoff: None,
        }
    }

    fn pods_in_sight(&self) -> Vec<Arc<Pod>> {
        self.pods.values().filter(|pod| has_finalizer(pod) || !pod::is_finished(pod)).cloned().collect()
    }

    fn backoff(&self) -> Backoff {
        self.backoff.unwrap_or_else(|| {
            let counted = self.pods.values().filter(|pod| pod::is_finished(pod) && !has_finalizer(pod)).cloned();
            let (succeeded, failed): (Vec<_>, Vec<_>) = counted.partition(|pod| is_succeeded(pod));
            Backoff::default().after(&succeeded, &failed)
        })
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The controller looks; so many of its requests go well.
    Look(usize),
    HearOfPod,
    HearOfJob,
    Succeed(usize),
    Fail(usize),
    /// Somebody deletes a pod.
    Delete(usize),
    Restart,
    Suspend(bool),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop_oneof![3 => Just(usize::MAX), 2 => 0usize..8].prop_map(Step::Look),
        10 => Just(Step::HearOfPod),
        5 => Just(Step::HearOfJob),
        4 => (0usize..9).prop_map(Step::Succeed),
        2 => (0usize..9).prop_map(Step::Fail),
        1 => (0usize..9).prop_map(Step::Delete),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Suspend),
        3 => prop_oneof![Just(1i64), Just(30), Just(600)].prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..300)
}

/// Takes the steps. At no time do more pods run than may.
fn walk(world: &mut World, steps: Vec<Step>, parallelism: usize) {
    for step in steps {
        match step {
            Step::Look(luck) => drop(world.look(luck)),
            Step::HearOfPod => world.hear_of_pod(),
            Step::HearOfJob => world.hear_of_job(),
            Step::Succeed(at) => world.end(at, "Succeeded"),
            Step::Fail(at) => world.end(at, "Failed"),
            Step::Delete(at) => {
                if let Some(uid) = world.running(at) {
                    world.delete(&uid);
                }
            }
            Step::Restart => world.restart(),
            Step::Suspend(suspend) if !is_finished(&world.job) => world.suspend(suspend),
            Step::Suspend(_) => {}
            Step::Wait(seconds) => world.now += seconds,
        }
        assert!(world.active() <= parallelism, "{} pods run", world.active());
    }
    world.settle();
}

/// What the status says at the end: active, succeeded, failed, completed indexes.
fn told(world: &World) -> (Option<i32>, usize, usize, Option<String>) {
    let status = world.job.status.clone().unwrap_or_default();
    let count = super::target::count;
    let uncounted = status.uncounted_terminated_pods.unwrap_or_default();
    assert_eq!((uncounted.succeeded, uncounted.failed), (None, None));
    (status.active, count(status.succeeded), count(status.failed), status.completed_indexes)
}

proptest! {
    /// Every pod that ends is counted once, and as many succeed as are asked for.
    #[test]
    fn every_pod_is_counted_once(steps in steps(), replaces_failed in any::<bool>()) {
        let policy = if replaces_failed { "Failed" } else { "TerminatingOrFailed" };
        let spec = format!(r#""completions":7,"parallelism":3,"podReplacementPolicy":"{policy}""#);
        let mut world = World::new(&spec);
        walk(&mut world, steps, 3);
        prop_assert_eq!(world.succeeded.len(), 7);
        prop_assert_eq!(told(&world), (None, 7, world.failed.len(), None));
    }

    /// Every index succeeds once.
    #[test]
    fn every_index_is_completed_once(steps in steps(), per_index in any::<bool>()) {
        let limit = if per_index { r#","backoffLimitPerIndex":100000"# } else { "" };
        let spec = format!(r#""completions":7,"parallelism":3,"completionMode":"Indexed"{limit}"#);
        let mut world = World::new(&spec);
        walk(&mut world, steps, 3);
        prop_assert_eq!(told(&world), (None, 7, world.failed.len(), Some("0-6".to_owned())));
        let mut indexes: Vec<usize> = world.succeeded.values().copied().flatten().collect();
        indexes.sort_unstable();
        prop_assert_eq!(indexes, (0..7).collect::<Vec<_>>());
    }

    /// Without a number of completions, one success is enough, and what runs then ends by itself.
    #[test]
    fn a_work_queue_ends_with_its_pods(steps in steps()) {
        let mut world = World::new(r#""parallelism":3"#);
        walk(&mut world, steps, 3);
        prop_assert_eq!(told(&world), (None, world.succeeded.len(), world.failed.len(), None));
        prop_assert!((1..=3).contains(&world.succeeded.len()));
    }
}
