//! A pod that has a node has the zone and the region of the node as labels, where it can read them.
//!
//! Source: the admission plugin `PodTopologyLabels`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::Pod;

use super::{Plugin, Review};
use crate::api::Api;

const LABELS: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

pub(super) struct TopologyLabels;

#[async_trait]
impl Plugin for TopologyLabels {
    fn concerns(&self, review: &Review<'_>) -> bool {
        review.creates::<Pod>()
    }

    async fn admit(&self, review: &mut Review<'_>) -> Result<(), ApiError> {
        let spec = review.object::<Pod>().spec.as_ref();
        let Some(node) = spec.and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty()) else {
            return Ok(());
        };
        let labels = of_node(review.api, &node)?;
        if !labels.is_empty() {
            review.object_mut::<Pod>().metadata.labels.get_or_insert_default().extend(labels);
        }
        Ok(())
    }
}

/// The labels that pods of a node get; none where there is no such node.
///
/// # Errors
/// When the node cannot be read.
pub(crate) fn of_node(api: &Api, node: &str) -> Result<BTreeMap<String, String>, ApiError> {
    let nodes = api.resources.core("nodes");
    let Some(cached) = nodes.cache.get(node) else { return Ok(BTreeMap::new()) };
    let mut labels = nodes.load(&cached)?.meta().labels.clone().unwrap_or_default();
    labels.retain(|key, _| LABELS.contains(&key.as_str()));
    Ok(labels)
}
