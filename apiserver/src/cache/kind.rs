//! The objects of one kind: what is there now, what happened lately, and who watches.
//!
//! One lock holds the three together, so that a watcher begins exactly where its list ended. It is never held across an
//! await, and the feed is its only writer of objects.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use coracle_api::custom::CustomModel;

use super::extract::Extractor;
use super::mailbox::{Delivery, Mailbox};
use super::object::{Cached, Change, Event};
use super::select::{Scope, Selection};
use crate::limits;

/// What the cache must know of a kind.
#[derive(Debug)]
pub(crate) struct Layout {
    /// `/registry/GROUP/PLURAL/`: every key of the kind begins with it.
    pub(crate) prefix: Bytes,
    pub(crate) extractor: Extractor,
    /// The field by whose value objects and watchers are found at once, if the kind has one.
    pub(crate) index: Option<usize>,
    /// How objects are stored, of a custom kind, where what is stored may be of an older definition.
    pub(crate) custom: Option<Arc<CustomModel>>,
}

impl Layout {
    /// What is stored in the form that it has now, if that is another one.
    pub(super) fn form(&self, value: &[u8]) -> Option<Bytes> {
        self.custom.as_ref()?.form(value)
    }
}

/// The cache of one kind.
pub(crate) struct KindCache {
    pub(crate) layout: Layout,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Bytes, Arc<Cached>>,
    indexed: HashMap<Box<str>, BTreeSet<Bytes>>,
    /// In the order of their revisions.
    recent: VecDeque<Arc<Event>>,
    recent_bytes: usize,
    /// Everything up to this revision was there when the cache was filled.
    filled_at: u64,
    /// Everything after this revision is in `recent`.
    replayable_after: u64,
    /// The revision of the newest change.
    changed: u64,
    watchers: Watchers,
    /// Whether the kind is served no more: there is nothing to watch.
    is_closed: bool,
}

/// The watchers by what they are interested in, so that an event is offered to those alone that may want it.
#[derive(Default)]
struct Watchers {
    next_id: u64,
    by_interest: HashMap<Interest, Vec<Watcher>>,
    count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Interest {
    All,
    Namespace(Box<str>),
    Object(Box<str>),
    /// Objects whose indexed field has this value.
    Indexed(Box<str>),
}

struct Watcher {
    id: u64,
    selection: Arc<Selection>,
    mailbox: Arc<Mailbox>,
}

/// A watcher's place in the cache; it is given up when this is dropped.
pub(crate) struct Subscription {
    kind: Arc<KindCache>,
    interest: Interest,
    id: u64,
    pub(super) mailbox: Arc<Mailbox>,
}

/// Objects as they were at one revision.
pub(crate) struct Snapshot {
    pub(crate) objects: Vec<Arc<Cached>>,
    pub(crate) revision: u64,
    /// Whether a limit cut it short, and how many more there are when that is known.
    pub(crate) more: bool,
    pub(crate) remaining: Option<u64>,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With everything that is there, as added.
    Present,
    /// With what changes from now on.
    Now,
    /// With what changed after this revision.
    After(u64),
}

/// What a watch begins with.
pub(crate) struct Beginning {
    pub(crate) subscription: Subscription,
    pub(crate) present: Vec<Arc<Cached>>,
    pub(crate) missed: VecDeque<Delivery>,
    /// Everything up to here is in what the watch begins with.
    pub(crate) revision: u64,
}

/// The events since a revision are not all known any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooOld {
    pub(crate) oldest: u64,
}

impl KindCache {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, state: RwLock::default() }
    }

    /// The object whose storage key is `key`, as it is now.
    pub(super) fn current(&self, key: &[u8]) -> Option<Arc<Cached>> {
        self.read().objects.get(key).cloned()
    }

    /// The object `path` (`namespace/name`, or `name`) as it is now.
    pub(crate) fn get(&self, path: &str) -> Option<Arc<Cached>> {
        self.current(&self.key(path))
    }

    /// The storage key of `path`.
    pub(crate) fn key(&self, path: &str) -> Vec<u8> {
        [&self.layout.prefix, path.as_bytes()].concat()
    }

    /// The object that the write at `revision` made, if that is still known.
    pub(crate) fn committed(&self, key: &[u8], revision: u64) -> Option<Arc<Cached>> {
        let state = self.read();
        if let Some(object) = state.objects.get(key).filter(|object| object.revision == revision) {
            return Some(object.clone());
        }
        let at = state.recent.binary_search_by_key(&revision, |event| event.revision).ok()?;
        Some(state.recent[at].object().clone())
    }

    /// The wanted objects, from the one at `from` (a path; all when `None`), at most `limit`.
    ///
    /// `seen` is the cache's progress, read before the call.
    pub(crate) fn list(&self, selection: &Selection, from: Option<&str>, limit: Option<usize>, seen: u64) -> Snapshot {
        let state = self.read();
        let revision = seen.max(state.changed);
        let limit = limit.unwrap_or(usize::MAX);
        let mut objects = Vec::new();
        let mut left = 0;
        self.each(&state, selection, from, |object| {
            if objects.len() < limit {
                if selection.wants(object) {
                    objects.push(object.clone());
                }
                return true;
            }
            left += 1;
            // Whether it is wanted is not asked: there is more to look at. Without a selection the rest is counted.
            selection.is_plain()
        });
        let more = left > 0;
        Snapshot { objects, revision, more, remaining: (more && selection.is_plain()).then_some(left) }
    }

    /// Whether nothing of the kind changed after `revision`: then what is cached is what was there at that revision.
    pub(crate) fn unchanged_since(&self, revision: u64) -> bool {
        self.read().changed <= revision
    }

    /// Begins a watch. Nothing is missed and nothing told twice between what it begins with and what comes after.
    ///
    /// `seen` is the cache's progress, read before the call.
    ///
    /// # Errors
    /// When the events after the start are not all known any more.
    pub(crate) fn watch(
        self: &Arc<Self>,
        selection: Arc<Selection>,
        start: Start,
        seen: u64,
    ) -> Result<Beginning, TooOld> {
        let interest = self.interest(&selection);
        let mut state = self.write();
        let mut present = Vec::new();
        let mut missed = VecDeque::new();
        match start {
            Start::Now => {}
            Start::Present => self.each(&state, &selection, None, |object| {
                if selection.wants(object) {
                    present.push(object.clone());
                }
                true
            }),
            Start::After(revision) if revision < state.replayable_after => {
                return Err(TooOld { oldest: state.replayable_after });
            }
            Start::After(revision) => missed = self.replay(&state, &selection, revision),
        }
        let revision = seen.max(state.changed);
        let (id, mailbox) = state.watchers.add(interest.clone(), selection);
        if state.is_closed {
            mailbox.close();
        }
        let subscription = Subscription { kind: self.clone(), interest, id, mailbox };
        Ok(Beginning { subscription, present, missed, revision })
    }

    /// Takes in a change. Watchers are told before this returns.
    pub(super) fn apply(&self, event: Event) {
        let event = Arc::new(event);
        let mut state = self.write();
        if event.revision <= state.filled_at {
            return;
        }
        match &event.change {
            Change::Put { object, previous } => {
                if let Some(previous) = previous {
                    self.unindex(&mut state, previous);
                }
                self.index(&mut state, object);
                state.objects.insert(object.key.clone(), object.clone());
            }
            Change::Delete { previous } => {
                self.unindex(&mut state, previous);
                state.objects.remove(&previous.key);
            }
        }
        state.changed = event.revision;
        state.remember(event.clone());
        self.tell(&state, &event);
    }

    /// Starts anew from what is there at `revision`. Watchers are cut off; they list again.
    pub(super) fn replace(&self, objects: Vec<Arc<Cached>>, revision: u64) {
        let mut state = self.write();
        let watchers = std::mem::take(&mut state.watchers);
        *state = State { filled_at: revision, replayable_after: revision, changed: revision, ..State::default() };
        state.watchers.next_id = watchers.next_id;
        for object in objects {
            self.index(&mut state, &object);
            state.objects.insert(object.key.clone(), object);
        }
        drop(state);
        for watcher in watchers.by_interest.into_values().flatten() {
            watcher.mailbox.close();
        }
    }

    /// Cuts off all watchers, now and later: the kind is served no more, or in another form.
    pub(super) fn close(&self) {
        let watchers = {
            let mut state = self.write();
            state.is_closed = true;
            state.watchers.count = 0;
            std::mem::take(&mut state.watchers.by_interest)
        };
        for watcher in watchers.into_values().flatten() {
            watcher.mailbox.close();
        }
    }

    /// How many objects, recent events and watchers there are.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        let state = self.read();
        (state.objects.len(), state.recent.len(), state.watchers.count)
    }

    /// Calls `visit` with the objects of a selection's scope in the order of their keys, until it says that it has
    /// enough. Those that an index rules out are passed over, but not where a list goes on.
    fn each(
        &self,
        state: &State,
        selection: &Selection,
        from: Option<&str>,
        mut visit: impl FnMut(&Arc<Cached>) -> bool,
    ) {
        if let Scope::Object(path) = &selection.scope {
            if from.is_none_or(|from| from <= path.as_str())
                && let Some(object) = state.objects.get(self.key(path).as_slice())
            {
                visit(object);
            }
            return;
        }
        let within = match &selection.scope {
            Scope::Namespace(namespace) => self.key(&format!("{namespace}/")),
            _ => self.layout.prefix.to_vec(),
        };
        let first = Bytes::from(from.map(|from| self.key(from)).unwrap_or_default().max(within.clone()));
        let required = self.layout.index.filter(|_| from.is_none()).and_then(|index| selection.required(index));
        if let Some(value) = required {
            let keys = state.indexed.get(value).into_iter().flat_map(|keys| keys.range(first.clone()..));
            let _ = keys.take_while(|key| key.starts_with(&within)).all(|key| visit(&state.objects[key]));
        } else {
            let range = (Bound::Included(first), Bound::Unbounded);
            let objects = state.objects.range(range).take_while(|(key, _)| key.starts_with(&within));
            let _ = objects.into_iter().all(|(_, object)| visit(object));
        }
    }

    fn replay(&self, state: &State, selection: &Selection, after: u64) -> VecDeque<Delivery> {
        let from = state.recent.partition_point(|event| event.revision <= after);
        let recent = state.recent.range(from..);
        recent.filter_map(|event| self.offer(event, selection)).collect()
    }

    fn tell(&self, state: &State, event: &Arc<Event>) {
        if state.watchers.count == 0 {
            return;
        }
        for interest in self.interests_in(event) {
            for watcher in state.watchers.by_interest.get(&interest).into_iter().flatten() {
                if let Some(delivery) = self.offer(event, &watcher.selection) {
                    watcher.mailbox.put(delivery);
                }
            }
        }
    }

    /// What `event` is under `selection`, if anything.
    fn offer(&self, event: &Arc<Event>, selection: &Selection) -> Option<Delivery> {
        let object = event.object();
        let in_scope = match &selection.scope {
            Scope::All => true,
            Scope::Namespace(namespace) => object.namespace() == Some(namespace),
            Scope::Object(path) => object.path() == path,
        };
        let shown = in_scope.then(|| event.shown(|object| selection.wants(object))).flatten()?;
        Some(Delivery { event: event.clone(), shown })
    }

    fn interest(&self, selection: &Selection) -> Interest {
        match &selection.scope {
            Scope::Object(path) => Interest::Object(path.as_str().into()),
            scope => match (self.layout.index.and_then(|index| selection.required(index)), scope) {
                (Some(value), _) => Interest::Indexed(value.into()),
                (None, Scope::Namespace(namespace)) => Interest::Namespace(namespace.as_str().into()),
                (None, _) => Interest::All,
            },
        }
    }

    /// The interests that an event may concern.
    fn interests_in(&self, event: &Event) -> impl Iterator<Item = Interest> {
        let object = event.object();
        let before = match &event.change {
            Change::Put { previous, .. } => previous.as_ref(),
            Change::Delete { .. } => None,
        };
        let value = |object: &Arc<Cached>| self.layout.index.map(|index| object.fields[index].clone());
        let now = value(object);
        let then = before.and_then(value).filter(|then| Some(then) != now.as_ref());
        [
            Some(Interest::All),
            object.namespace().map(|namespace| Interest::Namespace(namespace.into())),
            Some(Interest::Object(object.path().into())),
            now.map(Interest::Indexed),
            then.map(Interest::Indexed),
        ]
        .into_iter()
        .flatten()
    }

    fn index(&self, state: &mut State, object: &Cached) {
        if let Some(index) = self.layout.index {
            state.indexed.entry(object.fields[index].clone()).or_default().insert(object.key.clone());
        }
    }

    fn unindex(&self, state: &mut State, object: &Cached) {
        let Some(index) = self.layout.index else { return };
        let value = &object.fields[index];
        if let Some(keys) = state.indexed.get_mut(value) {
            keys.remove(&object.key);
            if keys.is_empty() {
                state.indexed.remove(value);
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("nothing panics while it holds a kind's cache")
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("nothing panics while it holds a kind's cache")
    }
}

impl State {
    fn remember(&mut self, event: Arc<Event>) {
        self.recent_bytes += event.bytes();
        self.recent.push_back(event);
        while self.recent.len() > limits::RECENT_EVENTS_PER_KIND
            || self.recent_bytes > limits::RECENT_EVENT_BYTES_PER_KIND
        {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.bytes();
            self.replayable_after = oldest.revision;
        }
    }
}

impl Watchers {
    fn add(&mut self, interest: Interest, selection: Arc<Selection>) -> (u64, Arc<Mailbox>) {
        let (id, mailbox) = (self.next_id, Arc::new(Mailbox::default()));
        self.next_id += 1;
        self.count += 1;
        self.by_interest.entry(interest).or_default().push(Watcher { id, selection, mailbox: mailbox.clone() });
        (id, mailbox)
    }

    fn remove(&mut self, interest: &Interest, id: u64) {
        let Some(watchers) = self.by_interest.get_mut(interest) else { return };
        if let Some(at) = watchers.iter().position(|watcher| watcher.id == id) {
            watchers.swap_remove(at);
            self.count -= 1;
        }
        if watchers.is_empty() {
            self.by_interest.remove(interest);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.kind.write().watchers.remove(&self.interest, self.id);
    }
}
