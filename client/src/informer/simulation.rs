//! Informers against a server that loses, delays, cuts off and forgets: once it is well again, the cache is the truth,
//! and the handlers were told a story that leads to it without a gap. Seeded; a failure names its seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use super::{Delta, Informer, Informers};
use crate::Key;
use crate::testing::{FakeServer, Faults, Random};

const SEEDS: u64 = 60;

/// Longer than the longest delay between two connections.
const SETTLING: Duration = Duration::from_secs(120);

type Story = Arc<Mutex<BTreeMap<Key, Arc<ConfigMap>>>>;

#[test]
fn the_cache_becomes_the_truth_whatever_the_server_does() {
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.expect("a runtime").block_on(simulate(seed));
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}

async fn simulate(seed: u64) {
    let (server, mut random) = (FakeServer::seeded(seed), Random::new(seed ^ 0xC0));
    churn(&server, &mut random, 20).await;
    server.set_faults(Faults {
        lost: 0.2,
        broken: 0.1,
        gone: 0.1,
        delay_max: Duration::from_millis(200),
        events_per_watch: Some(8),
        no_streaming_lists: seed % 2 == 1,
    });
    let shutdown = CancellationToken::new();
    let informers = Informers::new(server.client(), shutdown.clone());
    let informer = informers.get::<ConfigMap>();
    let by_version = informer.index("data", |map| map.data.iter().flatten().map(|(_, v)| v.clone()).collect());
    let early = told(&informer);
    churn(&server, &mut random, 300).await;
    server.compact();
    let late = told(&informer);
    churn(&server, &mut random, 300).await;
    server.set_faults(Faults::default());
    server.put(&config_map("last", 0));
    tokio::time::sleep(SETTLING).await;

    assert!(informer.is_synced());
    let truth = versions(server.all::<ConfigMap>().iter());
    assert_eq!(versions(informer.list().iter().map(|object| &**object)), truth);
    for story in [early, late] {
        assert_eq!(versions(story.lock().expect("not poisoned").values().map(|object| &**object)), truth);
    }
    let indexed: usize = (0..10).map(|data| by_version.count(&data.to_string())).sum();
    assert_eq!(indexed, truth.len());
    shutdown.cancel();
    informers.stopped().await;
}

/// Writes at random, and waits at random between the writes.
async fn churn(server: &FakeServer, random: &mut Random, writes: usize) {
    for _ in 0..writes {
        let name = format!("map-{}", random.below(12));
        match random.below(4) {
            0 => drop(server.remove::<ConfigMap>("default", &name)),
            _ => server.put(&config_map(&name, random.below(10))),
        }
        if random.chance(0.01) {
            server.compact();
        }
        tokio::time::sleep(Duration::from_millis(random.below(60))).await;
    }
}

/// Follows the deltas, each of which must fit to what came before.
fn told(informer: &Informer<ConfigMap>) -> Story {
    let story = Story::default();
    informer.on_change({
        let story = Arc::clone(&story);
        move |delta| {
            let mut story = story.lock().expect("not poisoned");
            match delta {
                Delta::Added(new) => assert!(story.insert(delta.key(), Arc::clone(new)).is_none(), "added twice"),
                Delta::Updated { old, new } => {
                    let known = story.insert(delta.key(), Arc::clone(new)).expect("updated before it was added");
                    assert!(Arc::ptr_eq(&known, old), "an update that skips a state");
                    assert_eq!(old.metadata.uid, new.metadata.uid);
                }
                Delta::Deleted(_) => assert!(story.remove(&delta.key()).is_some(), "deleted before it was added"),
            }
        }
    });
    story
}

fn config_map(name: &str, data: u64) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some("default".into()),
            managed_fields: Some(Vec::new()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("data".into(), data.to_string())])),
        ..ConfigMap::default()
    }
}

fn versions<'a>(objects: impl Iterator<Item = &'a ConfigMap>) -> BTreeMap<Key, Option<String>> {
    objects.map(|object| (Key::of(object), object.metadata.resource_version.clone())).collect()
}
