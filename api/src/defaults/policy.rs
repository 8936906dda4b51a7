//! Limit ranges and the classes of pods.

use std::collections::BTreeMap;

use k8s_openapi::api::{core::v1 as core, scheduling::v1 as scheduling};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::{Defaults, set};

/// A container is limited to the most that it may have, and asks for what it is limited to, or for the least.
impl Defaults for core::LimitRange {
    fn set_defaults(&mut self) {
        let items = self.spec.iter_mut().flat_map(|spec| &mut spec.limits);
        for item in items.filter(|item| item.type_ == "Container") {
            fill(&mut item.default, item.max.as_ref());
            fill(&mut item.default_request, item.default.as_ref());
            fill(&mut item.default_request, item.min.as_ref());
        }
    }
}

/// Takes from `other` what the list has not.
fn fill(list: &mut Option<BTreeMap<String, Text>>, other: Option<&BTreeMap<String, Text>>) {
    for (name, amount) in other.into_iter().flatten() {
        list.get_or_insert_default().entry(name.clone()).or_insert_with(|| amount.clone());
    }
}

/// Pods of a class take the place of others.
impl Defaults for scheduling::PriorityClass {
    fn set_defaults(&mut self) {
        set(&mut self.preemption_policy, "PreemptLowerPriority".to_owned());
    }
}
