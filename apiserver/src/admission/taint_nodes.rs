//! A node of which nothing is known yet gets no pods.
//!
//! Source: the admission plugin `TaintNodesByCondition`.

use async_trait::async_trait;
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};

use super::{Plugin, Review};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const NO_SCHEDULE: &str = "NoSchedule";

pub(super) struct TaintNodes;

#[async_trait]
impl Plugin for TaintNodes {
    fn concerns(&self, review: &Review<'_>) -> bool {
        review.creates::<Node>()
    }

    async fn admit(&self, review: &mut Review<'_>) -> Result<(), ApiError> {
        let spec = review.object_mut::<Node>().spec.get_or_insert_with(NodeSpec::default);
        let taints = spec.taints.get_or_insert_with(Vec::new);
        if !taints.iter().any(|taint| taint.key == NOT_READY && taint.effect == NO_SCHEDULE) {
            taints.push(Taint { key: NOT_READY.to_owned(), effect: NO_SCHEDULE.to_owned(), ..Taint::default() });
        }
        Ok(())
    }
}
