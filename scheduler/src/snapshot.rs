//! The nodes, and the pods on them: what is known, and what is assumed because it was just decided.
//!
//! It is kept up to date change by change, and decisions read it in place: deciding is serial and takes microseconds, so
//! there is nothing to copy. An assumed pod counts as if it were bound, until the cache confirms it, the binding fails,
//! or nobody has heard of it for [`CONFIRMATION_TIMEOUT`] after it was bound.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use coracle_client::Key;
use tokio::time::Instant;

use crate::node::{Load, NodeInfo, Offer};
use crate::pod::PodInfo;

/// How long a bound pod may take to show in the cache. Longer than any watch takes to come back.
pub const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(120);

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Snapshot {
    nodes: Vec<NodeInfo>,
    places: HashMap<String, usize>,
    pods: HashMap<Key, Placed>,
    /// When the assumptions end that were bound.
    expiring: BTreeSet<(Instant, Key)>,
}

#[derive(Debug)]
struct Placed {
    pod: Arc<PodInfo>,
    /// It need not exist, or not yet.
    node: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As the cache says.
    Known,
    /// Decided; the binding is on its way.
    Assumed,
    /// Bound; the cache has not said so yet, and should by then.
    Bound(Instant),
}

impl Snapshot {
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.places.get(name).map(|&at| &self.nodes[at])
    }

    /// A node is there, or says something else of itself; what it said before.
    pub fn set_node(&mut self, offer: Offer) -> Option<Offer> {
        if let Some(&at) = self.places.get(&offer.name) {
            return Some(std::mem::replace(&mut self.nodes[at].offer, offer));
        }
        let mut load = Load::default();
        self.pods.values().filter(|placed| placed.node == offer.name).for_each(|placed| load.add(&placed.pod));
        self.places.insert(offer.name.clone(), self.nodes.len());
        self.nodes.push(NodeInfo { offer, load });
        None
    }

    pub fn remove_node(&mut self, name: &str) {
        let Some(at) = self.places.remove(name) else { return };
        self.nodes.swap_remove(at);
        if let Some(moved) = self.nodes.get(at) {
            self.places.insert(moved.offer.name.clone(), at);
        }
    }

    /// The cache knows the pod to be on a node; what was known or assumed of it before.
    pub fn set_pod(&mut self, pod: PodInfo, node: &str) -> Option<Arc<PodInfo>> {
        self.put(Arc::new(pod), node, State::Known)
    }

    /// The pod is decided to go to a node.
    pub fn assume(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.put(pod, node, State::Assumed);
    }

    /// The binding of an assumed pod has succeeded.
    pub fn bound(&mut self, key: &Key, now: Instant) {
        let Some(placed) = self.pods.get_mut(key).filter(|placed| placed.state == State::Assumed) else { return };
        placed.state = State::Bound(now + CONFIRMATION_TIMEOUT);
        self.expiring.insert((now + CONFIRMATION_TIMEOUT, key.clone()));
    }

    /// The binding of an assumed pod has failed; the pod, if the cache does not know better.
    pub fn forget(&mut self, key: &Key) -> Option<Arc<PodInfo>> {
        if self.pods.get(key)?.state == State::Known { None } else { self.remove_pod(key) }
    }

    /// Whether this very pod is on its way to a node, and the cache need not say so yet.
    pub fn is_assumed(&self, key: &Key, uid: &str) -> bool {
        self.pods.get(key).is_some_and(|placed| placed.state != State::Known && placed.pod.uid == uid)
    }

    /// The pod is no more, or needs nothing of its node any more.
    pub fn remove_pod(&mut self, key: &Key) -> Option<Arc<PodInfo>> {
        let placed = self.pods.remove(key)?;
        if let State::Bound(until) = placed.state {
            self.expiring.remove(&(until, key.clone()));
        }
        if let Some(&at) = self.places.get(&placed.node) {
            self.nodes[at].load.remove(&placed.pod);
        }
        Some(placed.pod)
    }

    /// The assumptions that nothing came of.
    pub fn expire(&mut self, now: Instant) -> Vec<Arc<PodInfo>> {
        let mut expired = Vec::new();
        while let Some((until, key)) = self.expiring.first().filter(|(until, _)| *until <= now).cloned() {
            self.expiring.remove(&(until, key.clone()));
            expired.extend(self.remove_pod(&key));
        }
        expired
    }

    /// When [`Snapshot::expire`] has something to do next.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiring.first().map(|(until, _)| *until)
    }

    fn put(&mut self, pod: Arc<PodInfo>, node: &str, state: State) -> Option<Arc<PodInfo>> {
        let before = self.remove_pod(&pod.key);
        if let Some(&at) = self.places.get(node) {
            self.nodes[at].load.add(&pod);
        }
        self.pods.insert(pod.key.clone(), Placed { pod, node: node.to_owned(), state });
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodInfo {
        PodInfo { key: Key::new("default", name), uid: format!("uid-{name}"), ..PodInfo::default() }
    }

    fn pods_on(snapshot: &Snapshot, node: &str) -> Option<i64> {
        snapshot.node(node).map(|node| node.load.pods)
    }

    #[tokio::test(start_paused = true)]
    async fn an_assumption_is_confirmed_forgotten_or_expires() {
        let (mut snapshot, now) = (Snapshot::default(), Instant::now());
        snapshot.set_node(Offer { name: "a".into(), ..Offer::default() });
        ["confirmed", "failed", "lost"].into_iter().for_each(|name| snapshot.assume(Arc::new(pod(name)), "a"));
        assert_eq!(pods_on(&snapshot, "a"), Some(3));
        snapshot.bound(&pod("confirmed").key, now);
        snapshot.bound(&pod("lost").key, now);
        snapshot.set_pod(pod("confirmed"), "a");
        assert!(snapshot.forget(&pod("failed").key).is_some());
        assert!(snapshot.forget(&pod("confirmed").key).is_none());
        assert!(snapshot.expire(now).is_empty());
        let expired = snapshot.expire(now + CONFIRMATION_TIMEOUT);
        assert_eq!(expired.iter().map(|pod| pod.key.name.as_str()).collect::<Vec<_>>(), ["lost"]);
        assert_eq!((pods_on(&snapshot, "a"), snapshot.next_expiry()), (Some(1), None));
    }

    #[test]
    fn a_node_that_comes_late_has_its_pods() {
        let mut snapshot = Snapshot::default();
        snapshot.set_pod(pod("early"), "late");
        snapshot.set_node(Offer { name: "other".into(), ..Offer::default() });
        snapshot.set_node(Offer { name: "late".into(), ..Offer::default() });
        assert_eq!((pods_on(&snapshot, "late"), pods_on(&snapshot, "other")), (Some(1), Some(0)));
        snapshot.remove_node("other");
        assert_eq!((pods_on(&snapshot, "late"), pods_on(&snapshot, "other")), (Some(1), None));
        snapshot.remove_pod(&pod("early").key);
        assert_eq!(pods_on(&snapshot, "late"), Some(0));
    }
}
