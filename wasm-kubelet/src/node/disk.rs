//! Keeps the node's disk from filling with images, and says which images the node has.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use coracle_client::EventType;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::eviction::{Level, Observe};
use crate::images::collect::{Collected, Collector, Disk};
use crate::images::store::Listed;
use crate::images::{Digest, Puller, Reference};
use crate::limits::{IMAGE_COLLECT_EVENTS, IMAGE_COLLECT_PERIOD, NODE_STATUS_IMAGE_NAMES_MAX, NODE_STATUS_IMAGES_MAX};
use crate::pod::Host;

/// The images that this node has on its disk.
pub struct Images {
    host: Arc<Host>,
    observer: Arc<dyn Observe>,
    collector: Arc<Mutex<Collector>>,
}

impl Images {
    /// The images of a node; `observer` looks at its disk.
    pub fn new(host: Arc<Host>, observer: Arc<dyn Observe>) -> Self {
        let collector = Arc::new(Mutex::new(Collector::new(host.puller.store().clone())));
        Self { host, observer, collector }
    }

    /// Looks at the disk now and then, for ever, and tells when too little could be freed.
    pub async fn watch(&self) {
        self.host.pods.synced().await;
        let mut ticks = interval(IMAGE_COLLECT_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told: Option<Instant> = None;
        loop {
            ticks.tick().await;
            if let Some(Collected::TooLittle { wanted_bytes, freed_bytes }) = self.collect(false).await
                && told.is_none_or(|told| told.elapsed() >= IMAGE_COLLECT_EVENTS)
            {
                told = Some(Instant::now());
                let message = format!(
                    "Failed to garbage collect required amount of images. Attempted to free {wanted_bytes} bytes, but \
                     only found {freed_bytes} bytes eligible to free."
                );
                let node = super::reference(&self.host.config.node_name);
                self.host.recorder.event_on(node, EventType::Warning, "FreeDiskSpaceFailed", message);
            }
        }
    }

    /// Looks once. `is_pressed`: every image goes that no pod uses.
    pub async fn collect(&self, is_pressed: bool) -> Option<Collected> {
        let names = names_in_use(&self.host);
        let (host, observer, collector) = (self.host.clone(), self.observer.clone(), self.collector.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let Level { available, capacity } = observer.observe().disk;
            let disk = Disk { bytes: capacity, free_bytes: available };
            let mut collector = collector.lock().unwrap_or_else(PoisonError::into_inner);
            collector.look(disk, is_pressed, &digests(&host.puller, names), SystemTime::now())
        });
        match looked.await {
            Ok(Ok(collected)) => Some(collected),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot remove unused images");
                None
            }
            Err(error) => {
                tracing::error!(%error, "the images' collector panicked");
                None
            }
        }
    }
}

/// The images of this node's pods, as they wrote them and as they were shown.
fn names_in_use(host: &Host) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for pod in host.pods.list() {
        let Some(spec) = &pod.spec else { continue };
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        names.extend(containers.filter_map(|container| container.image.clone()));
        let statuses = pod.status.iter().flat_map(|status| {
            status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
        });
        names.extend(statuses.map(|status| status.image_id.clone()).filter(|id| !id.is_empty()));
    }
    names
}

fn digests(puller: &Puller, names: BTreeSet<String>) -> HashSet<Digest> {
    let digest = |name: String| name.parse().ok().or_else(|| puller.stored(&Reference::parse(&name).ok()?));
    names.into_iter().filter_map(digest).collect()
}

/// `status.images`: the largest ones, each with its names, those by digest first. Source: kubelet, `nodestatus.Images`.
pub fn images(listed: Vec<Listed>) -> Value {
    let mut each: BTreeMap<Digest, (u64, Vec<String>)> = BTreeMap::new();
    for Listed { name, digest, bytes, .. } in listed {
        each.entry(digest).or_insert((bytes, Vec::new())).1.push(name);
    }
    let mut each: Vec<(u64, Vec<String>)> = each.into_values().collect();
    each.sort_by(|(a, _), (b, _)| b.cmp(a));
    let written = each.into_iter().take(NODE_STATUS_IMAGES_MAX).map(|(bytes, mut names)| {
        names.sort_by_key(|name| !name.contains('@'));
        names.truncate(NODE_STATUS_IMAGE_NAMES_MAX);
        json!({"names": names, "sizeBytes": bytes})
    });
    Value::Array(written.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_names_its_largest_images() {
        let listed = |name: &str, bytes: u64| Listed {
            name: name.to_owned(),
            digest: Digest::of(&bytes.to_be_bytes()),
            bytes,
            loaded: SystemTime::UNIX_EPOCH,
            is_loaded: false,
        };
        let few = images(vec![listed("b:v1", 1), listed("r/a:v1", 9), listed("r/a@sha256:x", 9)]);
        assert_eq!(
            few,
            json!([{"names": ["r/a@sha256:x", "r/a:v1"], "sizeBytes": 9}, {"names": ["b:v1"], "sizeBytes": 1}])
        );
        let many =
            images((0..99).flat_map(|size| (0..9).map(move |at| listed(&format!("i{size}-{at}"), size))).collect());
        let many = many.as_array().cloned().unwrap_or_default();
        assert_eq!((many.len(), &many[0]["sizeBytes"]), (50, &json!(98)));
        assert_eq!(many[0]["names"].as_array().map(Vec::len), Some(5));
    }
}
