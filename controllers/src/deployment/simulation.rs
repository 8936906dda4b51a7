//! A deployment in a small world: replica sets that make pods when they get to it, pods that become ready when they
//! do, and a controller that may look at what was true a moment ago.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, DeploymentStrategy, ReplicaSet,
    ReplicaSetStatus, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;

use super::plan::{Plan, plan};
use super::rollout::Observed;
use super::target::Target;
use super::{conditions, revision};
use crate::pod::build::at;

struct World {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    /// Whether each pod is ready, by the name of its set.
    pods: BTreeMap<String, Vec<bool>>,
    version: i64,
    /// The versions of the sets that the controller wrote last, by name.
    written: BTreeMap<String, i64>,
    now: i64,
}

fn template(image: &str) -> PodTemplateSpec {
    let container = Container { name: "main".into(), image: Some(image.into()), ..Container::default() };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

fn labels() -> BTreeMap<String, String> {
    [("app".to_owned(), "web".to_owned())].into()
}

fn rolling(surge: i32, unavailable: i32) -> DeploymentStrategy {
    let rolling_update = RollingUpdateDeployment {
        max_surge: Some(IntOrString::Int(surge)),
        max_unavailable: Some(IntOrString::Int(unavailable)),
    };
    DeploymentStrategy { type_: Some("RollingUpdate".into()), rolling_update: Some(rolling_update) }
}

fn recreate() -> DeploymentStrategy {
    DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None }
}

impl World {
    fn new(replicas: i32, strategy: DeploymentStrategy) -> Self {
        let spec = DeploymentSpec {
            replicas: Some(replicas),
            strategy: Some(strategy),
            selector: LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() },
            template: template("v1"),
            progress_deadline_seconds: Some(600),
            revision_history_limit: Some(2),
            ..DeploymentSpec::default()
        };
        let metadata = ObjectMeta {
            name: Some("web".into()),
            namespace: Some("default".into()),
            uid: Some("uid-web".into()),
            generation: Some(1),
            ..ObjectMeta::default()
        };
        let deployment = Deployment { metadata, spec: Some(spec), status: None };
        Self { deployment, sets: Vec::new(), pods: BTreeMap::new(), version: 0, written: BTreeMap::new(), now: 0 }
    }

    /// With the first template rolled out.
    fn settled(replicas: i32, strategy: DeploymentStrategy) -> Self {
        let mut world = Self::new(replicas, strategy);
        world.settle();
        world
    }

    fn change(&mut self, change: impl FnOnce(&mut DeploymentSpec)) {
        change(self.deployment.spec.get_or_insert_default());
        *self.deployment.metadata.generation.get_or_insert_default() += 1;
    }

    fn set_image(&mut self, image: &str) {
        self.change(|spec| spec.template = template(image));
    }

    fn plan(&self, sets: &[ReplicaSet]) -> Plan {
        let pods = self.sets.iter().map(|set| (uid(set), self.pods_of(set).len())).collect();
        plan(&Observed {
            target: Target::of(&self.deployment).expect("it has a selector"),
            sets: sets.iter().cloned().map(Arc::new).collect(),
            pods,
            now: at(self.now),
        })
    }

    /// One look of the controller, which sees `sets`. Whether there was nothing to do. As it does, it waits for what it
    /// has written.
    fn look(&mut self, sets: &[ReplicaSet]) -> bool {
        let seen = |written: &(&String, &i64)| {
            sets.iter().any(|set| name(set) == written.0 && version(set) >= *written.1) || self.is_gone(written.0)
        };
        if !self.written.iter().all(|written| seen(&written)) {
            return false;
        }
        let plan = self.plan(sets);
        let idle = plan.create.is_none() && plan.update.is_empty() && plan.delete.is_empty();
        let idle = idle && plan.revision.is_none() && self.deployment.status.as_ref() == Some(&plan.status);
        self.execute(plan);
        idle
    }

    /// As the API server would: a name that is taken and a version that is old are refused, and end the look.
    fn execute(&mut self, plan: Plan) {
        if let Some(mut set) = plan.create
            && !self.sets.iter().any(|one| name(one) == name(&set))
        {
            set.metadata.uid = Some(format!("uid-{}-{}", name(&set), self.version));
            set.metadata.creation_timestamp = Some(Time(at(self.now)));
            set.metadata.generation = Some(1);
            self.write(set);
        }
        for update in plan.update {
            let mut set = update.replica_set;
            let Some(stored) = self.sets.iter().find(|one| name(one) == name(&set)) else { return };
            if stored.metadata.resource_version != set.metadata.resource_version {
                return;
            }
            if stored.spec != set.spec {
                *set.metadata.generation.get_or_insert_default() += 1;
            }
            set.status = stored.status.clone();
            self.write(set);
        }
        for set in &plan.delete {
            assert!(self.pods_of(set).is_empty(), "a set with pods is deleted");
            self.sets.retain(|one| name(one) != name(set));
        }
        if let Some(revision) = plan.revision {
            let annotations = self.deployment.metadata.annotations.get_or_insert_default();
            annotations.insert(revision::REVISION.to_owned(), revision);
        }
        self.deployment.status = Some(plan.status);
    }

    fn write(&mut self, set: ReplicaSet) {
        self.written.insert(name(&set).to_owned(), self.version + 1);
        self.put(set);
    }

    fn is_gone(&self, set: &str) -> bool {
        !self.sets.iter().any(|one| name(one) == set)
    }

    fn put(&mut self, mut set: ReplicaSet) {
        self.version += 1;
        set.metadata.resource_version = Some(self.version.to_string());
        self.sets.retain(|one| name(one) != name(&set));
        self.sets.push(set);
    }

    /// One look of the replica set controller: the pods that are not ready go first.
    fn work_on_set(&mut self, at: usize) {
        let Some(mut set) = self.sets.get(at).cloned() else { return };
        let pods = self.pods.entry(name(&set).to_owned()).or_default();
        pods.sort_by_key(|ready| !ready);
        pods.resize(usize::try_from(replicas(&set)).unwrap_or(0), false);
        let ready = i32::try_from(pods.iter().filter(|ready| **ready).count()).unwrap_or(0);
        set.status = Some(ReplicaSetStatus {
            replicas: replicas(&set),
            ready_replicas: Some(ready),
            available_replicas: Some(ready),
            observed_generation: set.metadata.generation,
            terminating_replicas: Some(0),
            ..ReplicaSetStatus::default()
        });
        if self.sets[at].status != set.status {
            self.put(set);
        }
    }

    fn make_ready(&mut self, at: usize) {
        let mut waiting = self.pods.values_mut().flatten().filter(|ready| !**ready);
        if let Some(ready) = waiting.nth(at) {
            *ready = true;
        }
    }

    /// Everything gets its turn until nothing changes any more.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.now += 1;
            let sets = self.sets.clone();
            let idle = self.look(&sets);
            (0..self.sets.len()).for_each(|at| self.work_on_set(at));
            let waiting = self.pods.values().flatten().filter(|ready| !**ready).count();
            self.pods.values_mut().flatten().for_each(|ready| *ready = true);
            if idle && waiting == 0 && sets == self.sets {
                return;
            }
        }
        panic!("this deployment never comes to rest: {:#?}", self.plan(&self.sets));
    }

    fn pods_of(&self, set: &ReplicaSet) -> &[bool] {
        self.pods.get(name(set)).map(Vec::as_slice).unwrap_or_default()
    }

    fn total(&self) -> usize {
        self.pods.values().map(Vec::len).sum()
    }

    fn ready(&self) -> usize {
        self.pods.values().flatten().filter(|ready| **ready).count()
    }

    fn sizes(&self) -> Vec<(String, i32)> {
        let image = |set: &ReplicaSet| set.spec.as_ref()?.template.as_ref()?.spec.as_ref()?.containers[0].image.clone();
        let mut sizes: Vec<_> = self.sets.iter().map(|set| (image(set).unwrap_or_default(), replicas(set))).collect();
        sizes.sort();
        sizes
    }

    fn progress(&self) -> Option<&DeploymentCondition> {
        conditions::find(self.deployment.status.as_ref()?.conditions.as_ref()?, "Progressing")
    }
}

fn name(set: &ReplicaSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

fn uid(set: &ReplicaSet) -> String {
    set.metadata.uid.clone().unwrap_or_default()
}

fn version(set: &ReplicaSet) -> i64 {
    set.metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn sizes<const N: usize>(sizes: [(&str, i32); N]) -> Vec<(String, i32)> {
    sizes.map(|(image, size)| (image.to_owned(), size)).into()
}

#[test]
fn a_new_deployment_gets_its_pods_and_says_so() {
    let world = World::settled(3, rolling(1, 0));
    assert_eq!(world.sizes(), sizes([("v1", 3)]));
    let progress = world.progress().expect("it has a deadline");
    assert_eq!(progress.reason.as_deref(), Some("NewReplicaSetAvailable"));
    let set = name(&world.sets[0]);
    assert_eq!(progress.message, Some(format!("ReplicaSet \"{set}\" has successfully progressed.")));
    let status = DeploymentStatus { conditions: None, ..world.deployment.status.clone().expect("it was looked at") };
    assert_eq!(
        status,
        DeploymentStatus {
            observed_generation: Some(1),
            replicas: Some(3),
            updated_replicas: Some(3),
            ready_replicas: Some(3),
            available_replicas: Some(3),
            terminating_replicas: Some(0),
            ..DeploymentStatus::default()
        }
    );
}

#[test]
fn going_back_to_a_template_is_a_new_revision_of_its_old_set() {
    let mut world = World::settled(2, rolling(1, 0));
    for image in ["v2", "v3", "v1"] {
        world.set_image(image);
        world.settle();
    }
    assert_eq!(world.sizes(), sizes([("v1", 2), ("v2", 0), ("v3", 0)]));
    let set = world.sets.iter().find(|set| replicas(set) == 2).expect("one is active");
    let annotation = |key: &str| set.metadata.annotations.as_ref().and_then(|all| all.get(key).cloned());
    assert_eq!(annotation(revision::REVISION).as_deref(), Some("4"));
    assert_eq!(annotation("deployment.kubernetes.io/revision-history").as_deref(), Some("1"));
    assert_eq!(world.deployment.metadata.annotations.expect("it is noted")[revision::REVISION], "4");
}

#[test]
fn no_more_history_is_kept_than_wanted() {
    let mut world = World::settled(1, rolling(1, 0));
    for image in ["v2", "v3", "v4", "v5"] {
        world.set_image(image);
        world.settle();
    }
    assert_eq!(world.sizes(), sizes([("v3", 0), ("v4", 0), ("v5", 1)]));
}

#[test]
fn recreating_waits_for_the_last_old_pod() {
    let mut world = World::settled(2, recreate());
    world.set_image("v2");
    for _ in 0..3 {
        let sets = world.sets.clone();
        world.look(&sets);
        assert_eq!(world.sizes(), sizes([("v1", 0)]), "the old pods are still there");
    }
    world.settle();
    assert_eq!(world.sizes(), sizes([("v1", 0), ("v2", 2)]));
}

/// The numbers are those of the documentation: 10 replicas with a surge of 3, 8 old and 5 new, are scaled to 15.
#[test]
fn a_change_of_size_in_the_middle_is_shared_in_proportion() {
    let mut world = World::settled(10, rolling(3, 2));
    world.set_image("bad");
    for _ in 0..6 {
        let sets = world.sets.clone();
        world.look(&sets);
        (0..world.sets.len()).for_each(|at| world.work_on_set(at));
    }
    assert_eq!(world.sizes(), sizes([("bad", 5), ("v1", 8)]));
    world.change(|spec| spec.replicas = Some(15));
    let sets = world.sets.clone();
    world.look(&sets);
    assert_eq!(world.sizes(), sizes([("bad", 7), ("v1", 11)]));
}

#[test]
fn a_paused_deployment_takes_no_new_template_but_scales() {
    let mut world = World::settled(2, rolling(1, 0));
    world.change(|spec| {
        spec.paused = Some(true);
        spec.template = template("v2");
        spec.replicas = Some(4);
    });
    world.settle();
    assert_eq!(world.sizes(), sizes([("v1", 4)]));
    let reason = |world: &World| world.progress().and_then(|progress| progress.reason.clone());
    assert_eq!(reason(&world).as_deref(), Some("DeploymentPaused"));
    world.change(|spec| spec.paused = None);
    let sets = world.sets.clone();
    world.look(&sets);
    assert_eq!(reason(&world).as_deref(), Some("NewReplicaSetCreated"));
    world.settle();
    assert_eq!(world.sizes(), sizes([("v1", 0), ("v2", 4)]));
}

#[test]
fn a_rollout_that_stands_still_for_too_long_says_so_and_may_still_succeed() {
    let mut world = World::settled(1, rolling(1, 0));
    world.set_image("v2");
    let look = |world: &mut World| {
        let sets = world.sets.clone();
        world.look(&sets);
        (0..world.sets.len()).for_each(|at| world.work_on_set(at));
    };
    look(&mut world);
    look(&mut world);
    let recheck = world.plan(&world.sets).recheck.expect("there is a deadline").as_secs();
    assert_eq!(recheck, 601);
    world.now += recheck;
    look(&mut world);
    let progress = world.progress().expect("it has a deadline");
    assert_eq!((progress.status.as_str(), progress.reason.as_deref()), ("False", Some("ProgressDeadlineExceeded")));
    assert_eq!(world.plan(&world.sets).recheck, None);
    world.settle();
    assert_eq!(world.progress().and_then(|progress| progress.reason.as_deref()), Some("NewReplicaSetAvailable"));
}

/// A rollout is not over because nothing is wanted: a look at it must come to rest.
#[test]
fn nothing_is_wanted() {
    let mut world = World::settled(0, rolling(1, 0));
    world.set_image("v2");
    world.settle();
    assert_eq!(world.sizes(), sizes([("v1", 0), ("v2", 0)]));
    let _: Timestamp = at(world.now);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The controller looks, at what was true when last looked at or now.
    Look {
        stale: bool,
    },
    WorkOnSet(usize),
    MakeReady(usize),
    Template(u8),
    Scale(i32),
    Pause(bool),
}

fn steps_of_a_rollout() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|stale| Step::Look { stale }),
        4 => (0usize..4).prop_map(Step::WorkOnSet),
        4 => (0usize..8).prop_map(Step::MakeReady),
        1 => (1u8..4).prop_map(Step::Template),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => steps_of_a_rollout(),
        1 => (0i32..9).prop_map(Step::Scale),
        1 => any::<bool>().prop_map(Step::Pause),
    ]
}

fn walk(world: &mut World, steps: &[Step], mut check: impl FnMut(&World, Step)) {
    let mut seen = world.sets.clone();
    for step in steps.iter().copied() {
        world.now += 1;
        match step {
            Step::Look { stale } => {
                if !stale {
                    seen = world.sets.clone();
                }
                world.look(&seen);
            }
            Step::WorkOnSet(at) => world.work_on_set(at),
            Step::MakeReady(at) => world.make_ready(at),
            Step::Template(version) => world.set_image(&format!("v{version}")),
            Step::Scale(replicas) => world.change(|spec| spec.replicas = Some(replicas)),
            Step::Pause(paused) => world.change(|spec| spec.paused = Some(paused)),
        }
        check(world, step);
    }
}

proptest! {
    /// However the controllers take turns, however stale their view, and however often the template changes: there are
    /// never more pods wanted than the surge allows, nor fewer available ones than promised; and in the end only the
    /// last template's are left.
    #[test]
    fn a_rollout_stays_within_its_bounds_and_ends(
        replicas in 1i32..9, surge in 0i32..4, unavailable in 0i32..4,
        steps in prop::collection::vec(steps_of_a_rollout(), 0..120),
    ) {
        let mut world = World::settled(replicas, rolling(surge, unavailable));
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        let least = usize::try_from((replicas - unavailable).max(0)).expect("not negative");
        walk(&mut world, &steps, |world, step| {
            let wanted: i32 = world.sets.iter().map(self::replicas).sum();
            assert!(wanted <= replicas + surge, "{wanted} wanted after {step:?}: {:?}", world.sizes());
            assert!(world.ready() >= least, "{} ready after {step:?}, at least {least}: {:?}", world.ready(), world.sizes());
        });
        world.settle();
        prop_assert_eq!(world.total(), usize::try_from(replicas).expect("not negative"));
        prop_assert_eq!(world.progress().and_then(|one| one.reason.as_deref()), Some("NewReplicaSetAvailable"));
    }

    /// Whatever is done to it, a deployment comes to rest with what is wanted.
    #[test]
    fn every_deployment_comes_to_rest(
        recreating in any::<bool>(), steps in prop::collection::vec(any_step(), 0..80),
    ) {
        let mut world = World::settled(3, if recreating { recreate() } else { rolling(1, 1) });
        walk(&mut world, &steps, |_, _| {});
        world.change(|spec| spec.paused = None);
        world.settle();
        let wanted = world.deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        prop_assert_eq!(world.total(), usize::try_from(wanted).expect("not negative"));
        prop_assert_eq!(world.sizes().iter().filter(|(_, size)| *size > 0).count(), usize::from(wanted > 0));
    }
}
