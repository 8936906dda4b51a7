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
    let mut tolerations: Vec<Toleration> = scheduling.tolerations.clone().unwrap_or_default();
    for own in spec.tolerations.take().unwrap_or_default() {
        if !tolerations.contains(&own) {
            tolerations.push(own);
        }
    }
    spec.tolerations = Some(tolerations).filter(|tolerations| !tolerations.is_empty());
    Ok(())
}
