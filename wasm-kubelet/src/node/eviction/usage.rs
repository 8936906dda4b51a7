//! What pods use of what may run short: the memory of their guests, and what lies in their folders.

use std::sync::Arc;

use coracle_api::pods::requests;
use coracle_api::quantity::{Quantity, parse_or_zero};
use k8s_openapi::api::core::v1 as core;

use super::local::Held;
use super::message::Share;
use super::rank::Candidate;
use super::signal::Resource;
use crate::logs::PodLogs;
use crate::pod::volumes::usage::{Taken, taken};
use crate::pod::volumes::{PodDir, is_in_memory};
use crate::pod::worker::Shared;

/// Where a pod has what it has.
#[derive(Clone, Debug)]
pub struct Places {
    pub dir: PodDir,
    pub logs: PodLogs,
}

/// A pod as a candidate for eviction. Blocks.
pub fn candidate(resource: Resource, shared: Arc<Shared>, pod: &core::Pod, places: &Places) -> Candidate<Arc<Shared>> {
    let spec = pod.spec.as_ref();
    let requested = spec.map(requests).and_then(|requests| requests.get(resource.as_str()).map(Quantity::bytes));
    Candidate {
        priority: spec.and_then(|spec| spec.priority).unwrap_or(0),
        used: match resource {
            Resource::Memory => memory(&shared) + places.in_memory(),
            Resource::Storage => places.on_disk().bytes,
            Resource::Inodes => places.on_disk().inodes,
            Resource::Pids => 0,
        },
        requested: requested.unwrap_or(0),
        pod: shared,
    }
}

/// What each container of a pod uses, and what it asked for. Ephemeral containers can ask for nothing, and are not blamed.
/// Blocks.
pub fn shares(resource: Resource, shared: &Shared, pod: &core::Pod, places: &Places) -> Vec<Share> {
    let used = |name: &str| match resource {
        Resource::Memory => container_memory(shared, name),
        Resource::Storage => Some(places.of_container(name, u64::MAX)),
        Resource::Inodes | Resource::Pids => None,
    };
    let spec = pod.spec.iter();
    let containers = spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let shares = containers.filter_map(|container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        Some(Share {
            container: container.name.clone(),
            used: Quantity::from_bytes(used(&container.name)?),
            requested: parse_or_zero(requests.and_then(|requests| requests.get(resource.as_str()))),
        })
    });
    shares.collect()
}

/// What a pod has of what is bounded; numbers beyond `bytes_max` are not exact. Blocks.
pub fn held(pod: &core::Pod, places: &Places, bytes_max: u64) -> Held {
    let spec = pod.spec.as_ref();
    let mut held = Held { pod: taken(places.logs.dir(), bytes_max).bytes, ..Held::default() };
    held.pod += taken(&places.dir.containers(), bytes_max).bytes;
    for volume in spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).filter(|it| it.empty_dir.is_some()) {
        let bytes = taken(&places.dir.volume(volume), bytes_max).bytes;
        if !is_in_memory(volume) {
            held.pod += bytes;
        }
        held.volumes.insert(volume.name.clone(), bytes);
    }
    for container in spec.iter().flat_map(|spec| &spec.containers) {
        held.containers.insert(container.name.clone(), places.of_container(&container.name, bytes_max));
    }
    held
}

impl Places {
    fn on_disk(&self) -> Taken {
        taken(self.dir.on_disk(), u64::MAX) + taken(self.logs.dir(), u64::MAX)
    }

    /// What a pod writes into volumes of medium `Memory` is memory that it uses.
    fn in_memory(&self) -> u64 {
        taken(self.dir.in_memory(), u64::MAX).bytes
    }

    /// What a container logs, and what it has for itself.
    fn of_container(&self, name: &str, bytes_max: u64) -> u64 {
        taken(&self.logs.container(name), bytes_max).bytes + taken(&self.dir.container(name), bytes_max).bytes
    }
}

fn memory(shared: &Shared) -> u64 {
    shared.guests().iter().filter_map(|slot| slot.live.as_ref()).map(|live| live.usage().memory_bytes).sum()
}

fn container_memory(shared: &Shared, name: &str) -> Option<u64> {
    let guests = shared.guests();
    let slot = guests.iter().find(|slot| *slot.name == *name)?;
    slot.live.as_ref().map(|live| live.usage().memory_bytes)
}
