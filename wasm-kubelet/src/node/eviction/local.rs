//! What a single pod may have on the disk, whatever else is there: the `sizeLimit` of its volumes, and the
//! `ephemeral-storage` limits of its containers. Pure. Source: kubelet, `localStorageEviction`.

use std::collections::BTreeMap;

use coracle_api::pods::limits;
use coracle_api::quantity::{Quantity, parse_or_zero};
use k8s_openapi::api::core::v1 as core;

const STORAGE: &str = "ephemeral-storage";

/// What a pod is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// By the volumes' names.
    volumes: Vec<(String, Quantity)>,
    /// Of all containers together.
    pod: Option<Quantity>,
    /// By the containers' names.
    containers: Vec<(String, Quantity)>,
}

/// What a pod has, in bytes. A number above every bound of the pod need not be exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub volumes: BTreeMap<String, u64>,
    /// Volumes in memory are none of it.
    pub pod: u64,
    pub containers: BTreeMap<String, u64>,
}

impl Bounds {
    /// The bounds of a pod; `None` for one without.
    pub fn of(pod: &core::Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let volumes = spec.volumes.iter().flatten().filter_map(|volume| {
            let limit = parse_or_zero(Some(volume.empty_dir.as_ref()?.size_limit.as_ref()?));
            (limit > Quantity::ZERO).then(|| (volume.name.clone(), limit))
        });
        let containers = spec.containers.iter().filter_map(|container| {
            let limit = parse_or_zero(Some(container.resources.as_ref()?.limits.as_ref()?.get(STORAGE)?));
            (!limit.is_zero()).then(|| (container.name.clone(), limit))
        });
        let bounds = Self {
            volumes: volumes.collect(),
            pod: limits(spec).get(STORAGE).copied(),
            containers: containers.collect(),
        };
        (!bounds.volumes.is_empty() || bounds.pod.is_some()).then_some(bounds)
    }

    /// From where on numbers need not be exact.
    pub fn bytes_max(&self) -> u64 {
        let each = self.volumes.iter().chain(&self.containers).map(|(_, limit)| limit);
        each.chain(&self.pod).map(Quantity::bytes).max().unwrap_or(0)
    }

    /// Why a pod has to go that has so much.
    pub fn passed(&self, held: &Held) -> Option<String> {
        let is_beyond =
            |held: Option<&u64>, limit: &Quantity| held.is_some_and(|held| Quantity::from_bytes(*held) > *limit);
        if let Some((name, limit)) = self.volumes.iter().find(|(name, limit)| is_beyond(held.volumes.get(name), limit))
        {
            return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit \"{limit}\". "));
        }
        if let Some(limit) = self.pod.as_ref().filter(|limit| is_beyond(Some(&held.pod), limit)) {
            return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "));
        }
        let mut containers = self.containers.iter();
        let (name, limit) = containers.find(|(name, limit)| is_beyond(held.containers.get(name), limit))?;
        Some(format!("Container {name} exceeded its local ephemeral storage limit \"{limit}\". "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;

    fn bounds(spec: &str) -> Option<Bounds> {
        Bounds::of(&core::Pod::decode(format!(r#"{{"metadata":{{"name":"p"}},"spec":{spec}}}"#).as_bytes()).unwrap())
    }

    #[test]
    fn a_pod_without_limits_has_no_bounds() {
        assert_eq!(bounds(r#"{"containers":[{"name":"a"}],"volumes":[{"name":"v","emptyDir":{}}]}"#), None);
        assert_eq!(
            bounds(r#"{"containers":[{"name":"a"}],"volumes":[{"name":"v","emptyDir":{"sizeLimit":"0"}}]}"#),
            None
        );
    }

    #[test]
    fn a_volume_the_pod_or_a_container_may_have_too_much() {
        let bounds = bounds(
            r#"{"containers":[{"name":"a","resources":{"limits":{"ephemeral-storage":"1Mi"}}},
            {"name":"b","resources":{"limits":{"ephemeral-storage":"2Mi"}}}],
            "volumes":[{"name":"v","emptyDir":{"sizeLimit":"512Ki"}},{"name":"m","emptyDir":{"medium":"Memory"}}]}"#,
        )
        .unwrap();
        assert_eq!(bounds.bytes_max(), 3 << 20);
        let passed = |volume, pod, a, b| {
            let volumes = [("v".to_owned(), volume), ("m".to_owned(), u64::MAX)].into();
            let containers = [("a".to_owned(), a), ("b".to_owned(), b)].into();
            bounds.passed(&Held { volumes, pod, containers }).unwrap_or_default()
        };
        let (kib, mib) = (1 << 10, 1 << 20);
        assert_eq!(passed(512 * kib, 3 * mib, mib, 2 * mib), "");
        assert_eq!(passed(513 * kib, 0, 0, 0), "Usage of EmptyDir volume \"v\" exceeds the limit \"512Ki\". ");
        assert_eq!(
            passed(0, 3 * mib + 1, 0, 0),
            "Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. "
        );
        assert_eq!(passed(0, 0, mib + 1, 0), "Container a exceeded its local ephemeral storage limit \"1Mi\". ");
        assert_eq!(passed(0, 0, 0, 2 * mib + 1), "Container b exceeded its local ephemeral storage limit \"2Mi\". ");
    }
}
