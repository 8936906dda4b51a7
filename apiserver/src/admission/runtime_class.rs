//! A pod of a runtime class is counted with what the class costs, and runs where the class can.
//!
//! Source: the admission plugin `RuntimeClass`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::{Plugin, Review};
use crate::strategy::typed;

pub(super) struct RuntimeClasses;

#[async_trait]
impl Plugin for RuntimeClasses {
    fn concerns(&self, review: &Review<'_>) -> bool {
        review.creates::<Pod>()
            && review.object::<Pod>().spec.as_ref().is_some_and(|spec| {
                spec.runtime_class_name.is_some() || spec.overhead.as_ref().is_some_and(|overhead| !overhead.is_empty())
            })
    }

    async fn admit(&self, review: &mut Review<'_>) -> Result<(), ApiError> {
        let Some(class) = class(review)? else { return Ok(()) };
        let Some(spec) = &mut review.object_mut::<Pod>().spec else { return Ok(()) };
        let overhead = class.overhead.as_ref().and_then(|overhead| overhead.pod_fixed.as_ref());
        let merged = match set_overhead(spec, overhead) {
            Ok(()) => schedule(spec, &class),
            refused => refused,
        };
        merged.map_err(|why| review.forbidden(why))
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), ApiError> {
        let costs =
            class(review)?.is_some_and(|class| class.overhead.is_some_and(|overhead| overhead.pod_fixed.is_some()));
        let spec = review.object::<Pod>().spec.as_ref();
        match spec.and_then(|spec| spec.overhead.as_ref()).filter(|overhead| !overhead.is_empty()) {
            Some(_) if !costs => {
                Err(review
                    .forbidden("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"))
            }
            _ => Ok(()),
        }
    }
}

/// The class that the pod names.
fn class(review: &Review<'_>) -> Result<Option<RuntimeClass>, ApiError> {
    let spec = review.object::<Pod>().spec.as_ref();
    let Some(name) = spec.and_then(|spec| spec.runtime_class_name.as_deref()) else { return Ok(None) };
    let classes = review.api.resources.builtin("node.k8s.io", "v1", "runtimeclasses");
    let found = classes.and_then(|classes| Some((classes, classes.cache.get(name)?)));
    let Some((classes, cached)) = found else {
        return Err(review.forbidden(format!("pod rejected: RuntimeClass \"{name}\" not found")));
    };
    Ok(Some(typed::<RuntimeClass>(&classes.load(&cached)?).clone()))
}

fn set_overhead(spec: &mut PodSpec, overhead: Option<&BTreeMap<String, Text>>) -> Result<(), String> {
    let Some(overhead) = overhead else { return Ok(()) };
    if spec.overhead.as_ref().is_some_and(|own| !own.is_empty() && own != overhead) {
        return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned());
    }
    spec.overhead = Some(overhead.clone());
    Ok(())
}

fn schedule(spec: &mut PodSpec, class: &RuntimeClass) -> Result<(), String> {
    let Some(scheduling) = &class.scheduling else { return Ok(()) };
    for (key, value) in scheduling.node_selector.iter().flatten() {
        let own = spec.node_selector.get_or_insert_default();
        if let Some(other) = own.get(key).filter(|other| *other != value) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {other}"
            ));
        }
        own.insert(key.clone(), value.clone());
    }
    let mut all = spec.tolerations.take().unwrap_or_default();
    all.extend(scheduling.tolerations.iter().flatten().cloned());
    spec.tolerations = Some(merged(&all)).filter(|tolerations| !tolerations.is_empty());
    Ok(())
}

/// The tolerations without those that others cover. Source: `MergeTolerations`.
fn merged(all: &[Toleration]) -> Vec<Toleration> {
    let mut merged: Vec<Toleration> = Vec::new();
    for (i, one) in all.iter().enumerate() {
        let is_covered = merged.iter().any(|other| covers(other, one));
        if !is_covered && !all[i + 1..].iter().any(|other| other != one && covers(other, one)) {
            merged.push(one.clone());
        }
    }
    merged
}

/// Whether what `one` tolerates, `other` does, too.
fn covers(other: &Toleration, one: &Toleration) -> bool {
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    let operator = said(&other.operator);
    let has_key = said(&one.key) == said(&other.key) || (said(&other.key).is_empty() && operator == "Exists");
    let has_effect = said(&one.effect) == said(&other.effect) || said(&other.effect).is_empty();
    let lasts = match other.toleration_seconds.filter(|_| said(&other.effect) == "NoExecute") {
        Some(seconds) => one.toleration_seconds.is_some_and(|own| own <= seconds),
        None => true,
    };
    let has_value = match operator.as_str() {
        "" | "Equal" => said(&one.operator) == "Equal" && said(&one.value) == said(&other.value),
        operator => operator == "Exists",
    };
    other == one || (has_key && has_effect && lasts && has_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A toleration of `key operator value effect seconds`, with `-` for what is not said.
    fn toleration(text: &str) -> Toleration {
        let mut words = text.split(' ').map(|word| Some(word.to_owned()).filter(|word| word != "-"));
        let mut word = || words.next().flatten();
        let (key, operator, value, effect) = (word(), word(), word(), word());
        let toleration_seconds = word().and_then(|word| word.parse().ok());
        Toleration { key, operator, value, effect, toleration_seconds }
    }

    #[test]
    fn tolerations_that_others_cover_are_left_out() {
        for (all, expected) in [
            ("a Equal 1 -, b Exists - -", "a Equal 1 -, b Exists - -"),
            ("a Equal 1 -, a Equal 1 -", "a Equal 1 -"),
            ("a Equal 1 NoSchedule, a Exists - -", "a Exists - -"),
            ("a Exists - -, a Equal 1 NoSchedule", "a Exists - -"),
            ("- Exists - -, a Exists - NoExecute 5, b Equal x -", "- Exists - -"),
            ("a Exists - NoExecute 10, a Exists - NoExecute 20", "a Exists - NoExecute 20"),
            ("a Exists - NoExecute, a Exists - NoExecute 20", "a Exists - NoExecute"),
            ("a Equal 1 -, a Equal 2 -", "a Equal 1 -, a Equal 2 -"),
        ] {
            let read = |text: &str| text.split(", ").map(toleration).collect::<Vec<_>>();
            assert_eq!(merged(&read(all)), read(expected), "{all}");
        }
    }
}
