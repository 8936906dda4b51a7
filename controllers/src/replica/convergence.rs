//! The replica set controller against a cache that lags behind what it does.

use std::collections::VecDeque;
use std::sync::Arc;

use coracle_client::{Expectations, Key};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;

use super::plan::{Observed, Plan, plan};
use crate::pod::build::*;
use crate::pod_control::uid;

/// What is true, what the controller knows of it, and what it will hear.
struct World {
    wanted: usize,
    pods: Vec<Arc<Pod>>,
    cached_wanted: usize,
    cached: Vec<Arc<Pod>>,
    /// Of pods, in order.
    events: VecDeque<Event>,
    /// Of the set: another informer, that may be faster or slower.
    sizes: VecDeque<usize>,
    expectations: Expectations,
    names: usize,
}

enum Event {
    Added(Arc<Pod>),
    Deleted(Arc<Pod>),
}

fn key() -> Key {
    Key::new("default", "web")
}

impl World {
    fn new() -> Self {
        Self {
            wanted: 0,
            pods: Vec::new(),
            cached_wanted: 0,
            cached: Vec::new(),
            events: VecDeque::new(),
            sizes: VecDeque::new(),
            expectations: Expectations::new(),
            names: 0,
        }
    }

    fn scale(&mut self, wanted: usize) {
        self.wanted = wanted;
        self.sizes.push_back(wanted);
    }

    /// One look; every `failing`th creation is refused.
    fn look(&mut self, failing: usize) {
        let plan = plan(Observed {
            wanted: self.cached_wanted,
            deleting: false,
            settled: self.expectations.satisfied(&key()),
            active: self.cached.clone(),
            related: Vec::new(),
            now: at(0),
        });
        match plan {
            Plan::Keep => {}
            Plan::Create(count) => {
                self.expectations.expect_creations(&key(), count as u64);
                for number in 1..=count {
                    if failing > 0 && number % failing == 0 {
                        self.expectations.creation_observed(&key());
                    } else {
                        self.create();
                    }
                }
            }
            Plan::Delete(pods) => {
                self.expectations.expect_deletions(&key(), pods.iter().map(|pod| uid(pod).to_owned()));
                for pod in pods {
                    if !self.remove(&pod) {
                        self.expectations.deletion_observed(&key(), uid(&pod));
                    }
                }
            }
        }
    }

    fn create(&mut self) {
        self.names += 1;
        let created = Arc::new(pod(&format!("web-{:04}", self.names)));
        self.pods.push(created.clone());
        self.events.push_back(Event::Added(created));
    }

    fn remove(&mut self, pod: &Arc<Pod>) -> bool {
        let Some(at) = self.pods.iter().position(|one| uid(one) == uid(pod)) else { return false };
        self.events.push_back(Event::Deleted(self.pods.remove(at)));
        true
    }

    fn hear_of_pod(&mut self) {
        match self.events.pop_front() {
            None => {}
            Some(Event::Added(pod)) => {
                self.cached.push(pod);
                self.expectations.creation_observed(&key());
            }
            Some(Event::Deleted(pod)) => {
                self.cached.retain(|one| uid(one) != uid(&pod));
                self.expectations.deletion_observed(&key(), uid(&pod));
            }
        }
    }

    fn hear_of_size(&mut self) {
        self.cached_wanted = self.sizes.pop_front().unwrap_or(self.cached_wanted);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Look {
        failing: usize,
    },
    HearOfPod,
    HearOfSize,
    Scale(usize),
    /// Somebody else deletes a pod.
    Kill(usize),
}

fn steps(kills: u32) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop_oneof![3 => Just(0usize), 1 => 2usize..4].prop_map(|failing| Step::Look { failing }),
        8 => Just(Step::HearOfPod),
        2 => Just(Step::HearOfSize),
        2 => (0usize..12).prop_map(Step::Scale),
        kills => (0usize..12).prop_map(Step::Kill),
    ];
    prop::collection::vec(step, 0..150)
}

/// Takes the steps; `check` sees the numbers of pods before and after each look.
fn walk(world: &mut World, steps: Vec<Step>, check: impl Fn(&World, usize, usize)) {
    for step in steps {
        match step {
            Step::Look { failing } => {
                let before = world.pods.len();
                world.look(failing);
                check(world, before, world.pods.len());
            }
            Step::HearOfPod => world.hear_of_pod(),
            Step::HearOfSize => world.hear_of_size(),
            Step::Scale(wanted) => world.scale(wanted),
            Step::Kill(at) => {
                if let Some(pod) = world.pods.get(at).cloned() {
                    world.remove(&pod);
                }
            }
        }
    }
}

/// Everything is heard and looked at until there is nothing left to do.
fn settle(world: &mut World) {
    for _ in 0..10 {
        while !world.events.is_empty() {
            world.hear_of_pod();
        }
        while !world.sizes.is_empty() {
            world.hear_of_size();
        }
        world.look(0);
    }
}

proptest! {
    /// No look ever makes more pods than are wanted, nor fewer, however far behind its cache is.
    #[test]
    fn a_stale_cache_never_makes_a_wrong_number(steps in steps(0)) {
        let mut world = World::new();
        walk(&mut world, steps, |world, before, after| {
            assert!(after <= before.max(world.cached_wanted), "{before} → {after}, wanted {}", world.cached_wanted);
            assert!(after >= before.min(world.cached_wanted), "{before} → {after}, wanted {}", world.cached_wanted);
        });
        settle(&mut world);
        prop_assert_eq!(world.pods.len(), world.wanted);
    }

    /// Where others delete pods too, there are never too many, and in the end as many as are wanted.
    #[test]
    fn what_others_delete_is_replaced(steps in steps(2)) {
        let mut world = World::new();
        walk(&mut world, steps, |world, before, after| {
            assert!(after <= before.max(world.cached_wanted), "{before} → {after}, wanted {}", world.cached_wanted);
        });
        settle(&mut world);
        prop_assert_eq!(world.pods.len(), world.wanted);
    }
}
