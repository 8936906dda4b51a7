//! The objects of a kind by key and by index. Pure: applying a change says what has changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coracle_api::Object;

use super::Delta;
use super::packed::{Held, Packed};
use crate::Key;

pub(super) struct Cache<K> {
    is_packed: bool,
    objects: BTreeMap<Key, Held<K>>,
    indexes: HashMap<&'static str, IndexMap<K>>,
}

struct IndexMap<K> {
    values: fn(&K) -> Vec<String>,
    objects: HashMap<String, BTreeMap<Key, Held<K>>>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self::new(false)
    }
}

impl<K> Cache<K> {
    /// An empty one, whose objects may be packed by those who are done with them.
    pub(super) fn new(is_packed: bool) -> Self {
        Self { is_packed, objects: BTreeMap::new(), indexes: HashMap::new() }
    }
}

impl<K: Object> Cache<K> {
    pub(super) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.objects.get(key).map(Held::open)
    }

    pub(super) fn packed(&self, key: &Key) -> Option<Packed<K>> {
        self.objects.get(key).map(Held::packed)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Arc<K>> {
        self.objects.values().map(Held::open)
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn indexed(&self, index: &str, value: &str) -> impl Iterator<Item = &Held<K>> {
        self.indexes.get(index).and_then(|index| index.objects.get(value)).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn add_index(&mut self, name: &'static str, values: fn(&K) -> Vec<String>) {
        let objects = &self.objects;
        self.indexes.entry(name).or_insert_with(|| {
            let mut index = IndexMap { values, objects: HashMap::new() };
            for (key, held) in objects {
                index.insert(key, &held.open(), held);
            }
            index
        });
    }

    /// Takes a newer state of an object. An object that has its key but another uid is deleted first.
    pub(super) fn apply(&mut self, object: K) -> Vec<Delta<K>> {
        let key = Key::of(&object);
        let (held, new) = if self.is_packed {
            let new = Arc::new(object);
            (Held::Packed(Packed::of(new.clone())), new)
        } else {
            // What was read has room to grow; its clone has none.
            let new = Arc::new(object.clone());
            (Held::Open(new.clone()), new)
        };
        let old = self.objects.insert(key.clone(), held.clone()).map(|old| old.open());
        self.index(&key, old.as_deref(), Some((&*new, &held)));
        let Some(old) = old else { return vec![Delta::Added(new)] };
        match old.metadata().uid == new.metadata().uid {
            true => vec![Delta::Updated { old, new }],
            false => vec![Delta::Deleted(old), Delta::Added(new)],
        }
    }

    /// Takes an object out. Its last state comes with the event, and is what a handler is told.
    pub(super) fn remove(&mut self, last: K) -> Option<Delta<K>> {
        let key = Key::of(&last);
        let old = self.objects.remove(&key)?;
        self.index(&key, Some(&*old.open()), None);
        Some(Delta::Deleted(Arc::new(last)))
    }

    /// Makes the cache hold `listed` and nothing else: first what vanished, then what is new or newer.
    pub(super) fn replace(&mut self, listed: BTreeMap<Key, K>) -> Vec<Delta<K>> {
        let vanished: Vec<Key> = self.objects.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
        let mut deltas = Vec::new();
        for key in vanished {
            let Some(old) = self.objects.remove(&key).map(|old| old.open()) else { continue };
            self.index(&key, Some(&old), None);
            deltas.push(Delta::Deleted(old));
        }
        for (key, object) in listed {
            let unchanged = self.get(&key).is_some_and(|known| {
                let (known, listed) = (known.metadata(), object.metadata());
                known.resource_version == listed.resource_version && known.uid == listed.uid
            });
            if !unchanged {
                deltas.extend(self.apply(object));
            }
        }
        deltas
    }

    fn index(&mut self, key: &Key, old: Option<&K>, new: Option<(&K, &Held<K>)>) {
        for index in self.indexes.values_mut() {
            if let Some(old) = old {
                index.remove(key, old);
            }
            if let Some((new, held)) = new {
                index.insert(key, new, held);
            }
        }
    }
}

impl<K> IndexMap<K> {
    fn insert(&mut self, key: &Key, object: &K, held: &Held<K>) {
        for value in (self.values)(object) {
            self.objects.entry(value).or_default().insert(key.clone(), held.clone());
        }
    }

    fn remove(&mut self, key: &Key, object: &K) {
        for value in (self.values)(object) {
            let Some(objects) = self.objects.get_mut(&value) else { continue };
            objects.remove(key);
            if objects.is_empty() {
                self.objects.remove(&value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn object(name: &str, uid: &str, version: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("a".into()),
                uid: Some(uid.into()),
                resource_version: Some(version.into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn listed(objects: Vec<ConfigMap>) -> BTreeMap<Key, ConfigMap> {
        objects.into_iter().map(|object| (Key::of(&object), object)).collect()
    }

    fn told(deltas: &[Delta<ConfigMap>]) -> Vec<String> {
        let version = |object: &ConfigMap| object.metadata.resource_version.clone().unwrap_or_default();
        let name = |object: &ConfigMap| object.metadata.name.clone().unwrap_or_default();
        let line = |delta: &Delta<ConfigMap>| match delta {
            Delta::Added(new) => format!("+{}@{}", name(new), version(new)),
            Delta::Updated { old, new } => format!("{}@{}->{}", name(new), version(old), version(new)),
            Delta::Deleted(old) => format!("-{}@{}", name(old), version(old)),
        };
        deltas.iter().map(line).collect()
    }

    fn pack(cache: &Cache<ConfigMap>) {
        cache.objects.values().for_each(|held| held.packed().pack());
    }

    #[test]
    fn a_relist_tells_exactly_what_was_missed() {
        for is_packed in [false, true] {
            let mut cache = Cache::new(is_packed);
            let first = vec![object("kept", "1", "1"), object("changed", "2", "2"), object("gone", "3", "3")];
            cache.replace(listed(first));
            pack(&cache);
            let second = vec![object("kept", "1", "1"), object("changed", "2", "9"), object("new", "4", "8")];
            assert_eq!(told(&cache.replace(listed(second))), ["-gone@3", "changed@2->9", "+new@8"]);
        }
    }

    #[test]
    fn a_recreated_object_is_deleted_and_added() {
        let mut cache = Cache::default();
        cache.apply(object("a", "1", "1"));
        assert_eq!(told(&cache.apply(object("a", "2", "5"))), ["-a@1", "+a@5"]);
    }

    #[test]
    fn indexes_follow_every_change() {
        let names = |cache: &Cache<ConfigMap>, version: &str| -> Vec<String> {
            cache.indexed("version", version).filter_map(|held| held.open().metadata.name.clone()).collect()
        };
        for is_packed in [false, true] {
            let mut cache = Cache::new(is_packed);
            cache.apply(object("early", "1", "1"));
            cache.add_index("version", |object| object.metadata.resource_version.iter().cloned().collect());
            assert_eq!(names(&cache, "1"), ["early"]);
            cache.apply(object("late", "2", "1"));
            pack(&cache);
            assert_eq!(names(&cache, "1"), ["early", "late"]);
            cache.apply(object("early", "1", "2"));
            assert_eq!((names(&cache, "1"), names(&cache, "2")), (vec!["late".into()], vec!["early".into()]));
            cache.remove(object("late", "2", "3"));
            cache.replace(BTreeMap::new());
            assert!(cache.indexes["version"].objects.is_empty());
        }
    }
}
