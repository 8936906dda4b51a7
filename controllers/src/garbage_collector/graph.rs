//! Who owns whom, as far as the caches know. Pure: applying a change says what has to be looked at.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;

use coracle_api::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

/// How many objects are remembered to have been deleted. One that is forgotten is asked for at the server instead.
const GONE_MAX: usize = 10_000;

/// An object of any kind: its metadata, and what kind it is.
pub trait Meta: Debug + Send + Sync {
    fn meta(&self) -> &ObjectMeta;
    fn api_version(&self) -> &str;
    fn kind(&self) -> &str;
}

impl<K: Object> Meta for K {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }

    fn api_version(&self) -> &str {
        K::API_VERSION
    }

    fn kind(&self) -> &str {
        K::KIND
    }
}

/// Something to be looked at, by uid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// It may have to be deleted, or be free to go.
    Collect(String),
    /// Its dependents have to be made orphans.
    Orphan(String),
}

/// All objects by uid.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
    gone: Gone,
}

#[derive(Debug)]
struct Node {
    state: State,
    dependents: BTreeSet<String>,
}

#[derive(Debug)]
enum State {
    /// Somebody's owner that has not been seen.
    Virtual(Coordinates),
    Seen(Arc<dyn Meta>),
}

/// Where an owner is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinates {
    pub api_version: String,
    pub kind: String,
    /// That of the dependent; of no account where the owner's kind is cluster-scoped.
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl Coordinates {
    pub fn of(reference: &OwnerReference, dependent: &ObjectMeta) -> Self {
        Self {
            api_version: reference.api_version.clone(),
            kind: reference.kind.clone(),
            namespace: dependent.namespace.clone().unwrap_or_default(),
            name: reference.name.clone(),
            uid: reference.uid.clone(),
        }
    }

    fn of_object(object: &dyn Meta) -> Self {
        let meta = object.meta();
        Self {
            api_version: object.api_version().to_owned(),
            kind: object.kind().to_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
        }
    }
}

/// What the graph knows of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is there, or its deletion has yet to be seen, which will be a reason to look again.
    Solid,
    /// It was there, and was deleted.
    Gone,
    /// It has not been seen, or is another object than the reference says; or it waited for its dependents to go, when
    /// last seen, which may have been thought better of.
    Unknown,
}

/// An object's place in the graph.
#[derive(Clone, Debug)]
pub enum Look {
    /// There is nothing to do about it.
    Nothing,
    /// The server has to be asked whether it is there.
    Virtual(Coordinates),
    /// It waits for its dependents: those that block it, and are not waiting themselves.
    Waiting { object: Arc<dyn Meta>, blocking: Vec<String>, blocked: bool },
    /// It has owners.
    Owned { object: Arc<dyn Meta>, owners: Vec<(OwnerReference, Known)>, has_dependents: bool, in_circle: bool },
}

/// An object that waits for its dependents to forget it, and these.
#[derive(Clone, Debug)]
pub struct Orphans {
    pub owner: Arc<dyn Meta>,
    pub dependents: Vec<Arc<dyn Meta>>,
}

impl Graph {
    /// Takes the newest state of an object.
    pub fn seen(&mut self, object: Arc<dyn Meta>) -> Vec<Work> {
        let Some(uid) = object.meta().uid.clone() else { return Vec::new() };
        let before = match self.nodes.get_mut(&uid) {
            Some(Node { state: State::Seen(current), .. }) => Some(std::mem::replace(current, object.clone())),
            _ => None,
        };
        if before.as_ref().is_some_and(|before| same_place(before.meta(), object.meta())) {
            return Vec::new();
        }
        let mut work = Vec::new();
        self.relink(&uid, before.as_deref().map(Meta::meta), &object, &mut work);
        let node = self.nodes.entry(uid.clone()).or_insert_with(|| Node::of(State::Seen(object.clone())));
        node.state = State::Seen(object.clone());
        let dependents: Vec<String> = node.dependents.iter().cloned().collect();
        let began =
            |is: fn(&ObjectMeta) -> bool| is(object.meta()) && !before.as_ref().is_some_and(|one| is(one.meta()));
        if began(is_waiting) {
            work.extend(dependents.iter().cloned().map(Work::Collect));
            work.push(Work::Collect(uid.clone()));
        }
        if before.is_none() {
            // They named it before it was seen, and perhaps as something that it is not.
            work.extend(dependents.into_iter().filter(|one| self.misnames(one, &uid)).map(Work::Collect));
        }
        if began(is_orphaning) {
            work.push(Work::Orphan(uid));
        }
        work
    }

    /// Takes a whole kind as it is now: what the graph had of it, and is not among these, is no more.
    pub fn replaced(&mut self, group: &str, kind: &str, objects: Vec<Arc<dyn Meta>>) -> Vec<Work> {
        let listed: HashSet<&str> = objects.iter().filter_map(|object| object.meta().uid.as_deref()).collect();
        let is_of_kind = |object: &dyn Meta| object.kind() == kind && group_of(object.api_version()) == group;
        let vanished: Vec<String> = self
            .nodes
            .iter()
            .filter(|(uid, _)| !listed.contains(uid.as_str()))
            .filter(|(_, node)| matches!(&node.state, State::Seen(object) if is_of_kind(&**object)))
            .map(|(uid, _)| uid.clone())
            .collect();
        let mut work: Vec<Work> = vanished.iter().flat_map(|uid| self.gone(uid)).collect();
        work.extend(objects.into_iter().flat_map(|object| self.seen(object)));
        // An owner that was there when it was asked for, and is not now, went before anybody watched.
        let is_of_kind = |place: &Coordinates| place.kind == kind && group_of(&place.api_version) == group;
        let unseen =
            self.nodes.iter().filter(|(_, node)| matches!(&node.state, State::Virtual(place) if is_of_kind(place)));
        work.extend(unseen.map(|(uid, _)| Work::Collect(uid.clone())));
        work
    }

    /// Moves the links to owners from what the object said before to what it says now.
    fn relink(&mut self, uid: &str, before: Option<&ObjectMeta>, object: &Arc<dyn Meta>, work: &mut Vec<Work>) {
        let now = object.meta();
        for former in owners(before) {
            let kept = owners(Some(now)).find(|one| one.uid == former.uid);
            if kept.is_none()
                && let Some(owner) = self.nodes.get_mut(&former.uid)
            {
                owner.dependents.remove(uid);
            }
            if blocks(former) && !kept.is_some_and(blocks) {
                work.extend(self.is_waiting(&former.uid).then(|| Work::Collect(former.uid.clone())));
            }
        }
        for owner in owners(Some(now)) {
            let had = owners(before).any(|one| one == owner);
            let node = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
                work.push(Work::Collect(owner.uid.clone()));
                Node::of(State::Virtual(Coordinates::of(owner, now)))
            });
            node.dependents.insert(uid.to_owned());
            // A reference that does not fit what has that uid, or to what waits for its dependents, wants a look.
            if !had && self.known(owner, now) != Known::Solid {
                work.push(Work::Collect(uid.to_owned()));
            }
        }
    }

    /// Takes note that the object of this uid is no more.
    pub fn gone(&mut self, uid: &str) -> Vec<Work> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        self.gone.insert(uid);
        let mut work: Vec<Work> = node.dependents.into_iter().map(Work::Collect).collect();
        if let State::Seen(object) = node.state {
            for owner in owners(Some(object.meta())) {
                if let Some(owner) = self.nodes.get_mut(&owner.uid) {
                    owner.dependents.remove(uid);
                }
                work.extend(self.is_waiting(&owner.uid).then(|| Work::Collect(owner.uid.clone())));
                self.drop_if_unused(&owner.uid);
            }
        }
        work
    }

    /// A kind is served no more, and nobody will tell what becomes of its objects. What owns something is asked for at the
    /// server from now on; the rest is forgotten.
    pub fn vanished(&mut self, group: &str, kind: &str) -> Vec<Work> {
        let of_kind = |node: &Node| match &node.state {
            State::Seen(object) if object.kind() == kind && group_of(object.api_version()) == group => {
                Some(object.clone())
            }
            _ => None,
        };
        let vanished: Vec<(String, Arc<dyn Meta>)> =
            self.nodes.iter().filter_map(|(uid, node)| Some((uid.clone(), of_kind(node)?))).collect();
        let mut work = Vec::new();
        for (uid, object) in vanished {
            if let Some(node) = self.nodes.get_mut(&uid) {
                node.state = State::Virtual(Coordinates::of_object(&*object));
                work.extend(node.dependents.iter().cloned().map(Work::Collect));
            }
            for owner in owners(Some(object.meta())) {
                if let Some(owner) = self.nodes.get_mut(&owner.uid) {
                    owner.dependents.remove(&uid);
                }
                work.extend(self.is_waiting(&owner.uid).then(|| Work::Collect(owner.uid.clone())));
                self.drop_if_unused(&owner.uid);
            }
            self.drop_if_unused(&uid);
        }
        work
    }

    /// The server does not have what the virtual node of this uid stands for. Its dependents are to be looked at; what
    /// they say of it is asked for again then, as each may say something else.
    pub fn absent(&mut self, uid: &str) -> Vec<Work> {
        match self.nodes.get(uid) {
            Some(Node { state: State::Virtual(_), dependents }) => {
                dependents.iter().cloned().map(Work::Collect).collect()
            }
            _ => Vec::new(),
        }
    }

    fn drop_if_unused(&mut self, uid: &str) {
        if self.nodes.get(uid).is_some_and(|node| node.dependents.is_empty() && matches!(node.state, State::Virtual(_)))
        {
            self.nodes.remove(uid);
        }
    }

    /// What the graph knows about what has to be looked at.
    pub fn look(&self, uid: &str) -> Look {
        let Some(node) = self.nodes.get(uid) else { return Look::Nothing };
        let object = match &node.state {
            State::Virtual(_) if node.dependents.is_empty() => return Look::Nothing,
            State::Virtual(coordinates) => return Look::Virtual(coordinates.clone()),
            State::Seen(object) => object.clone(),
        };
        let meta = object.meta();
        if is_waiting(meta) {
            let blocking = self.blocking(uid);
            let blocked = !blocking.is_empty() && !self.is_deadlocked(uid);
            let blocking = blocking.into_iter().filter(|one| !self.is_waiting(one)).cloned().collect();
            return Look::Waiting { object, blocking, blocked };
        }
        if meta.deletion_timestamp.is_some() || owners(Some(meta)).next().is_none() {
            return Look::Nothing;
        }
        let known = owners(Some(meta)).map(|owner| (owner.clone(), self.known(owner, meta))).collect();
        let in_circle = node.dependents.iter().any(|one| self.is_waiting(one));
        Look::Owned { owners: known, has_dependents: !node.dependents.is_empty(), in_circle, object }
    }

    /// The object of this uid and its dependents, where it waits for them to become orphans.
    pub fn orphans(&self, uid: &str) -> Option<Orphans> {
        let owner = self.object(uid).filter(|object| is_orphaning(object.meta()))?.clone();
        let dependents = self.nodes.get(uid)?.dependents.iter().filter_map(|one| self.object(one).cloned());
        Some(Orphans { owner, dependents: dependents.collect() })
    }

    fn object(&self, uid: &str) -> Option<&Arc<dyn Meta>> {
        match &self.nodes.get(uid)?.state {
            State::Seen(object) => Some(object),
            State::Virtual(_) => None,
        }
    }

    fn known(&self, owner: &OwnerReference, dependent: &ObjectMeta) -> Known {
        if self.gone.contains(&owner.uid) {
            return Known::Gone;
        }
        match self.object(&owner.uid) {
            Some(object) if fits(&**object, owner, dependent) && !is_waiting(object.meta()) => Known::Solid,
            _ => Known::Unknown,
        }
    }

    /// Whether the dependent's reference is to something that the object of this uid is not.
    fn misnames(&self, dependent: &str, owner: &str) -> bool {
        let Some(object) = self.object(dependent) else { return false };
        let mut references = owners(Some(object.meta())).filter(|one| one.uid == owner);
        references.any(|one| self.known(one, object.meta()) != Known::Solid)
    }

    fn is_waiting(&self, uid: &str) -> bool {
        self.object(uid).is_some_and(|object| is_waiting(object.meta()))
    }

    /// The dependents that the deletion of `owner` has to wait for. It does not wait for itself.
    fn blocking(&self, owner: &str) -> Vec<&String> {
        let dependents = self.nodes.get(owner).map(|node| &node.dependents);
        dependents.into_iter().flatten().filter(|one| *one != owner && self.blocks(one, owner)).collect()
    }

    fn blocks(&self, dependent: &str, owner: &str) -> bool {
        let Some(object) = self.object(dependent) else { return false };
        owners(Some(object.meta())).any(|one| one.uid == owner && blocks(one))
    }

    /// Whether all that this one waits for waits as well, and nothing of that is free to go: a circle that was deleted
    /// in more than one place. (Upstream's wait for ever.)
    fn is_deadlocked(&self, uid: &str) -> bool {
        let (mut visited, mut left) = (HashSet::new(), vec![uid]);
        while let Some(one) = left.pop() {
            if !visited.insert(one) {
                continue;
            }
            let blocking = self.blocking(one);
            if blocking.is_empty() || !self.is_waiting(one) {
                return false;
            }
            left.extend(blocking.into_iter().map(String::as_str));
        }
        true
    }
}

impl Node {
    fn of(state: State) -> Self {
        Self { state, dependents: BTreeSet::new() }
    }
}

fn owners(meta: Option<&ObjectMeta>) -> impl Iterator<Item = &OwnerReference> {
    meta.into_iter().flat_map(|meta| meta.owner_references.iter().flatten())
}

fn blocks(reference: &OwnerReference) -> bool {
    reference.block_owner_deletion == Some(true)
}

/// Whether nothing has changed that the graph is about.
fn same_place(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.owner_references == other.owner_references
        && one.finalizers == other.finalizers
        && one.deletion_timestamp.is_some() == other.deletion_timestamp.is_some()
}

pub fn has_finalizer(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|one| one == finalizer)
}

/// Whether the deletion of an object waits for its dependents.
fn is_waiting(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some() && has_finalizer(meta, FOREGROUND)
}

/// Whether the deletion of an object waits for its dependents to forget it.
fn is_orphaning(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some() && has_finalizer(meta, ORPHAN)
}

/// Empty for the core group, which has no name.
fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Whether `object` is where `reference` says that it is.
fn fits(object: &dyn Meta, reference: &OwnerReference, dependent: &ObjectMeta) -> bool {
    let meta = object.meta();
    object.kind() == reference.kind
        && group_of(object.api_version()) == group_of(&reference.api_version)
        && meta.name.as_deref() == Some(&reference.name)
        && (meta.namespace.is_none() || meta.namespace == dependent.namespace)
}

/// The uids that are certainly no more: a uid is never given twice. The oldest are forgotten first.
#[derive(Debug, Default)]
struct Gone {
    order: VecDeque<String>,
    uids: HashSet<String>,
}

impl Gone {
    fn insert(&mut self, uid: &str) {
        if !self.uids.insert(uid.to_owned()) {
            return;
        }
        self.order.push_back(uid.to_owned());
        if self.order.len() > GONE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.uids.remove(&oldest);
        }
    }

    fn contains(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};

    use super::*;

    fn meta(uid: &str, owner: Option<(&str, &str)>) -> ObjectMeta {
        let reference = |(kind, uid): (&str, &str)| OwnerReference {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            name: uid.to_owned(),
            uid: uid.to_owned(),
            ..OwnerReference::default()
        };
        ObjectMeta {
            name: Some(uid.to_owned()),
            namespace: Some("n".to_owned()),
            uid: Some(uid.to_owned()),
            owner_references: owner.map(|owner| vec![reference(owner)]),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_kind_that_is_served_no_more_leaves_only_what_owns_others() {
        let mut graph = Graph::default();
        let map = |uid: &str, owner| ConfigMap { metadata: meta(uid, owner), ..ConfigMap::default() };
        graph.seen(Arc::new(map("owner", None)));
        graph.seen(Arc::new(map("alone", None)));
        graph.seen(Arc::new(map("owned", Some(("Secret", "s")))));
        graph.seen(Arc::new(Secret { metadata: meta("s", Some(("ConfigMap", "owner"))), ..Secret::default() }));
        assert!(
            matches!(&graph.look("s"), Look::Owned { owners, has_dependents: true, .. } if owners[0].1 == Known::Solid)
        );
        assert_eq!(graph.vanished("", "ConfigMap"), [Work::Collect("s".to_owned())]);
        let mut left: Vec<&str> = graph.nodes.keys().map(String::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["owner", "s"]);
        assert!(
            matches!(graph.look("owner"), Look::Virtual(place) if place.kind == "ConfigMap" && place.name == "owner")
        );
        assert!(
            matches!(&graph.look("s"), Look::Owned { owners, has_dependents: false, .. } if owners[0].1 == Known::Unknown)
        );
        assert_eq!(graph.vanished("", "ConfigMap"), []);
        // Once the kind is back, what it does not have is asked for.
        assert_eq!(graph.replaced("", "ConfigMap", Vec::new()), [Work::Collect("owner".to_owned())]);
    }
}
