//! The collector in a small world whose changes it hears late, those of each kind in order but the kinds in any.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use proptest::prelude::*;

use super::graph::{Coordinates, FOREGROUND, Graph, Known, Look, Meta, ORPHAN, Orphans, Work};
use super::plan::{Owner, Plan, Propagation, plan};
use crate::pod::build::at;

#[derive(Default)]
struct World {
    objects: BTreeMap<String, ObjectMeta>,
    version: u64,
    created: usize,
    /// Two kinds, so two informers.
    events: [VecDeque<Event>; 2],
    graph: Graph,
    work: VecDeque<Work>,
}

#[derive(Debug)]
enum Event {
    Seen(Box<ObjectMeta>),
    Gone(String),
}

fn kind_of(uid: &str) -> usize {
    uid.len() % 2
}

fn reference(uid: &str, block: bool) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: ["ConfigMap", "Secret"][kind_of(uid)].into(),
        name: uid.into(),
        uid: uid.into(),
        block_owner_deletion: Some(block),
        controller: None,
    }
}

/// Uids of both kinds.
fn uid(number: usize) -> String {
    format!("{}{}", if number.is_multiple_of(2) { "a" } else { "bb" }, number / 2)
}

fn erase(meta: &ObjectMeta) -> Arc<dyn Meta> {
    match kind_of(meta.uid.as_deref().unwrap_or_default()) {
        0 => Arc::new(ConfigMap { metadata: meta.clone(), ..ConfigMap::default() }),
        _ => Arc::new(Secret { metadata: meta.clone(), ..Secret::default() }),
    }
}

fn owners(meta: &ObjectMeta) -> Vec<OwnerReference> {
    meta.owner_references.clone().unwrap_or_default()
}

fn is_waiting(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().any(|one| one == FOREGROUND)
}

impl World {
    fn create(&mut self, owners: &[(usize, bool)]) {
        let uid = uid(self.created);
        self.created += 1;
        self.put(ObjectMeta {
            name: Some(uid.clone()),
            namespace: Some("default".into()),
            uid: Some(uid),
            owner_references: Some(owners.iter().map(|(owner, block)| reference(&self::uid(*owner), *block)).collect()),
            ..ObjectMeta::default()
        });
    }

    fn put(&mut self, mut meta: ObjectMeta) {
        self.version += 1;
        meta.resource_version = Some(self.version.to_string());
        let uid = meta.uid.clone().unwrap_or_default();
        if meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().next().is_none() {
            self.objects.remove(&uid);
            self.events[kind_of(&uid)].push_back(Event::Gone(uid));
        } else {
            self.objects.insert(uid.clone(), meta.clone());
            self.events[kind_of(&uid)].push_back(Event::Seen(Box::new(meta)));
        }
    }

    fn delete(&mut self, uid: &str, propagation: Propagation) {
        let Some(mut meta) = self.objects.get(uid).cloned() else { return };
        meta.deletion_timestamp.get_or_insert(Time(at(0)));
        let finalizer = match propagation {
            Propagation::Background => None,
            Propagation::Foreground => Some(FOREGROUND),
            Propagation::Orphan => Some(ORPHAN),
        };
        // The last one to ask decides what becomes of the dependents.
        let finalizers = meta.finalizers.get_or_insert_default();
        finalizers.retain(|one| one != FOREGROUND && one != ORPHAN);
        finalizers.extend(finalizer.map(str::to_owned));
        self.put(meta);
    }

    /// A write that names the version that it was decided on.
    fn patch(&mut self, object: &ObjectMeta, change: impl FnOnce(&mut ObjectMeta)) -> Result<(), Conflict> {
        let uid = object.uid.as_deref().unwrap_or_default();
        let Some(mut meta) = self.objects.get(uid).cloned() else { return Ok(()) };
        if meta.resource_version != object.resource_version {
            return Err(Conflict);
        }
        change(&mut meta);
        self.put(meta);
        Ok(())
    }

    fn hear(&mut self, kind: usize) {
        let work = match self.events[kind].pop_front() {
            None => return,
            Some(Event::Seen(meta)) => self.graph.seen(erase(&meta)),
            Some(Event::Gone(uid)) => self.graph.gone(&uid),
        };
        self.add(work);
    }

    fn add(&mut self, work: Vec<Work>) {
        for one in work {
            if !self.work.contains(&one) {
                self.work.push_back(one);
            }
        }
    }

    /// As the collector does with one item.
    fn step(&mut self) {
        let Some(work) = self.work.pop_front() else { return };
        let result = match &work {
            Work::Collect(uid) => self.collect(uid),
            Work::Orphan(uid) => self.orphan(uid),
        };
        if result.is_err() {
            self.add(vec![work]);
        }
    }

    fn collect(&mut self, uid: &str) -> Result<(), Conflict> {
        match self.graph.look(uid) {
            Look::Nothing => Ok(()),
            Look::Virtual(owner) => {
                if !self.has(&owner) {
                    let work = self.graph.absent(uid);
                    self.add(work);
                }
                Ok(())
            }
            Look::Waiting { object, blocked: false, .. } => self.patch(object.meta(), |meta| forget(meta, FOREGROUND)),
            Look::Waiting { blocking, .. } => {
                self.add(blocking.into_iter().map(Work::Collect).collect());
                Ok(())
            }
            Look::Owned { object, owners, has_dependents, in_circle } => {
                let owners: Vec<_> = owners
                    .into_iter()
                    .map(|(reference, known)| {
                        let owner = self.classify(&reference, known, object.meta());
                        (reference, owner)
                    })
                    .collect();
                let plan = plan(object.meta(), &owners, has_dependents, in_circle);
                self.execute(&*object, plan)
            }
        }
    }

    fn classify(&self, reference: &OwnerReference, known: Known, dependent: &ObjectMeta) -> Owner {
        match known {
            Known::Solid => Owner::Solid,
            Known::Gone => Owner::Absent,
            Known::Unknown if !self.has(&Coordinates::of(reference, dependent)) => Owner::Absent,
            Known::Unknown if is_waiting(&self.objects[&reference.uid]) => Owner::Waiting,
            Known::Unknown => Owner::Solid,
        }
    }

    fn has(&self, owner: &Coordinates) -> bool {
        self.objects.get(&owner.uid).is_some_and(|meta| meta.name.as_deref() == Some(&owner.name))
    }

    fn execute(&mut self, object: &dyn Meta, plan: Plan) -> Result<(), Conflict> {
        match plan {
            Plan::Keep => Ok(()),
            Plan::Unlink(kept) => self.patch(object.meta(), |meta| meta.owner_references = Some(kept)),
            Plan::Delete { unblock, propagation } => {
                let blocks = owners(object.meta()).iter().any(|owner| owner.block_owner_deletion == Some(true));
                if unblock && blocks {
                    return self.patch(object.meta(), |meta| {
                        meta.owner_references
                            .iter_mut()
                            .flatten()
                            .for_each(|one| one.block_owner_deletion = Some(false));
                    });
                }
                let uid = object.meta().uid.clone().unwrap_or_default();
                let Some(meta) = self.objects.get(&uid) else { return Ok(()) };
                if meta.resource_version != object.meta().resource_version {
                    return Err(Conflict);
                }
                let live = owners(meta)
                    .into_iter()
                    .find(|owner| self.objects.get(&owner.uid).is_some_and(|one| !is_waiting(one)));
                assert!(live.is_none(), "{uid} is deleted, which {live:?} still owns");
                self.delete(&uid, propagation);
                Ok(())
            }
        }
    }

    fn orphan(&mut self, uid: &str) -> Result<(), Conflict> {
        let Some(Orphans { owner, dependents }) = self.graph.orphans(uid) else { return Ok(()) };
        for dependent in dependents {
            self.patch(dependent.meta(), |meta| {
                meta.owner_references.iter_mut().for_each(|all| all.retain(|one| one.uid != uid))
            })?;
        }
        self.patch(owner.meta(), |meta| forget(meta, ORPHAN))
    }

    fn settle(&mut self) {
        for _ in 0..5000 {
            (0..2).for_each(|kind| self.hear(kind));
            self.step();
            if self.work.is_empty() && self.events.iter().all(VecDeque::is_empty) {
                return;
            }
        }
        panic!("never comes to rest: {:?}", self.work);
    }
}

struct Conflict;

fn forget(meta: &mut ObjectMeta, finalizer: &str) {
    meta.finalizers.iter_mut().for_each(|all| all.retain(|one| one != finalizer));
}

#[derive(Clone, Debug)]
enum Step {
    Create(Vec<(usize, bool)>),
    Delete(usize, Propagation),
    /// Somebody gives an object other owners.
    Adopt(usize, Vec<(usize, bool)>),
    Hear(usize),
    Work,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let owners = || prop::collection::vec((0usize..12, any::<bool>()), 0..3);
    let propagation =
        prop_oneof![Just(Propagation::Background), Just(Propagation::Foreground), Just(Propagation::Orphan)];
    let step = prop_oneof![
        3 => owners().prop_map(Step::Create),
        2 => (0usize..12, propagation).prop_map(|(at, propagation)| Step::Delete(at, propagation)),
        1 => (0usize..12, owners()).prop_map(|(at, owners)| Step::Adopt(at, owners)),
        5 => (0usize..2).prop_map(Step::Hear),
        5 => Just(Step::Work),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    /// However late it hears of things, the collector never deletes what a live object owns; and once it has heard of
    /// all, nothing is left that has only absent owners, and nothing waits for what is not there.
    #[test]
    fn what_is_owned_stays_and_the_rest_goes(steps in steps()) {
        let mut world = World::default();
        for step in steps {
            match step {
                Step::Create(owners) => world.create(&owners),
                Step::Delete(at, propagation) => world.delete(&uid(at), propagation),
                Step::Adopt(at, owners) => {
                    if let Some(mut meta) = world.objects.get(&uid(at)).cloned() {
                        meta.owner_references = Some(owners.iter().map(|(at, block)| reference(&uid(*at), *block)).collect());
                        world.put(meta);
                    }
                }
                Step::Hear(kind) => world.hear(kind),
                Step::Work => world.step(),
            }
        }
        world.settle();
        for (uid, meta) in &world.objects {
            let owners = owners(meta);
            let orphaned = !owners.is_empty() && owners.iter().all(|owner| !world.objects.contains_key(&owner.uid));
            prop_assert!(!orphaned, "{} has no owner left: {:?}", uid, owners);
            let blocked = world.objects.values().any(|other| self::owners(other).iter().any(|one| {
                one.uid == *uid && one.block_owner_deletion == Some(true)
            }));
            prop_assert!(!is_waiting(meta) || blocked, "{} waits for nothing", uid);
            let orphaning = meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().any(|one| one == ORPHAN);
            prop_assert!(!orphaning, "{} still has to orphan", uid);
        }
    }
}

/// The way of `kubectl delete deployment`: a chain goes from its end when it waits, and from its start when not.
#[test]
fn a_chain_goes_in_the_order_that_was_asked_for() {
    for propagation in [Propagation::Background, Propagation::Foreground] {
        let mut world = World::default();
        world.create(&[]);
        world.create(&[(0, true)]);
        world.create(&[(1, true)]);
        world.settle();
        world.delete(&uid(0), propagation);
        let first_is_left = world.objects.contains_key(&uid(0));
        assert_eq!(first_is_left, propagation == Propagation::Foreground);
        world.settle();
        assert!(world.objects.is_empty(), "{propagation:?} leaves {:?}", world.objects.keys());
    }
}
