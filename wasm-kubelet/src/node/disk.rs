//! Keeps the node's disk from filling with images, and says which images the node has.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use coracle_client::EventType;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::describe::conditions;
use super::machine::{Free, Machine};
use crate::images::collect::{Collected, Collector, Disk};
use crate::images::store::Listed;
use crate::images::{Digest, Puller, Reference};
use crate::limits::{IMAGE_COLLECT_EVENTS, IMAGE_COLLECT_PERIOD, NODE_STATUS_IMAGE_NAMES_MAX, NODE_STATUS_IMAGES_MAX};
use crate::pod::Host;

/// Looks at the disk now and then, for ever.
pub async fn collect_images(host: Arc<Host>, machine: Machine) {
    host.pods.synced().await;
    let mut collector = Collector::new(host.puller.store().clone());
    let mut ticks = interval(IMAGE_COLLECT_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let names = names_in_use(&host);
        let (puller, root, machine) = (host.puller.clone(), host.config.root_dir.clone(), machine.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let free = Free::look(&root);
            let is_pressed = conditions(free, &machine).iter().any(|it| it.kind == "DiskPressure" && it.is_true);
            let disk = Disk { bytes: machine.disk_bytes, free_bytes: free.disk_bytes };
            let outcome = collector.look(disk, is_pressed, &digests(&puller, names), SystemTime::now());
            (collector, outcome)
        });
        let Ok((back, outcome)) = looked.await else { return tracing::error!("the images' collector panicked") };
        collector = back;
        match outcome {
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot remove unused images"),
            Ok(Collected::TooLittle { wanted_bytes, freed_bytes })
                if told.is_none_or(|told| told.elapsed() >= IMAGE_COLLECT_EVENTS) =>
            {
                told = Some(Instant::now());
                let message = format!(
                    "Failed to garbage collect required amount of images. Attempted to free {wanted_bytes} bytes, but \
                     only found {freed_bytes} bytes eligible to free."
                );
                let node = super::reference(&host.config.node_name);
                host.recorder.event_on(node, EventType::Warning, "FreeDiskSpaceFailed", message);
            }
            Ok(_) => {}
        }
    }
}

/// The images of this node's pods, as they wrote them and as they were shown.
fn names_in_use(host: &Host) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for pod in host.pods.list() {
        let Some(spec) = pod.spec.as_ref().filter(|spec| spec.node_name.as_ref() == Some(&host.config.node_name))
        else {
            continue;
        };
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
