//! Nodes: not ready until their kubelet says otherwise.
//!
//! Source: `pkg/registry/core/node/strategy.go` and the admission plugin `TaintNodesByCondition`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};

use super::{Strategy, typed, typed_mut};

/// The taint that keeps pods away from a node of which nothing is known yet.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) struct NodeStrategy;

impl Strategy for NodeStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let spec = typed_mut::<Node>(object).spec.get_or_insert_with(NodeSpec::default);
        let taints = spec.taints.get_or_insert_with(Vec::new);
        if !taints.iter().any(|taint| taint.key == NOT_READY && taint.effect == "NoSchedule") {
            taints.push(Taint { key: NOT_READY.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() });
        }
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<Node>(object).status.clone_from(&typed::<Node>(old).status);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<Node>(object).spec.clone_from(&typed::<Node>(old).spec);
    }
}
