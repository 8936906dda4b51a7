//! Every pod has the priority of a class, and at most one class is that of pods which name none.
//!
//! Source: the admission plugin `Priority`.

use async_trait::async_trait;
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{Plugin, Review};
use crate::resource::Resource;
use crate::strategy::typed;

const PREEMPT: &str = "PreemptLowerPriority";

pub(super) struct Priority;

#[async_trait]
impl Plugin for Priority {
    fn concerns(&self, review: &Review<'_>) -> bool {
        review.is_main::<Pod>() || review.is_main::<PriorityClass>()
    }

    async fn admit(&self, review: &mut Review<'_>) -> Result<(), ApiError> {
        if review.object.downcast_ref::<Pod>().is_none() {
            return Ok(());
        }
        match review.old {
            Some(old) => keep(review.object_mut(), typed(old)),
            None => give(review)?,
        }
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), ApiError> {
        let Some(class) = review.object.downcast_ref::<PriorityClass>() else { return Ok(()) };
        if class.global_default != Some(true) {
            return Ok(());
        }
        match default_class(review)? {
            Some(other) if review.old.is_none() || other.metadata.name != class.metadata.name => {
                let name = other.metadata.name.unwrap_or_default();
                let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
                Err(review.forbidden(why))
            }
            _ => Ok(()),
        }
    }
}

fn classes<'r>(review: &'r Review<'_>) -> Option<&'r Resource> {
    review.api.resources.builtin("scheduling.k8s.io", "v1", "priorityclasses").map(|resource| &**resource)
}

/// The class of pods that name none: of several, that of the lowest value.
fn default_class(review: &Review<'_>) -> Result<Option<PriorityClass>, ApiError> {
    let Some(classes) = classes(review) else { return Ok(None) };
    let mut found: Option<PriorityClass> = None;
    for cached in review.api.list_all(classes) {
        let object = classes.load(&cached)?;
        let class = typed::<PriorityClass>(&object);
        if class.global_default == Some(true) && found.as_ref().is_none_or(|other| class.value < other.value) {
            found = Some(class.clone());
        }
    }
    Ok(found)
}

fn named_class(review: &Review<'_>, name: &str) -> Result<Option<PriorityClass>, ApiError> {
    let Some(classes) = classes(review) else { return Ok(None) };
    let Some(cached) = classes.cache.get(name) else { return Ok(None) };
    Ok(Some(typed::<PriorityClass>(&classes.load(&cached)?).clone()))
}

/// What a pod was given stays, whoever leaves it out.
fn keep(pod: &mut Pod, old: &Pod) {
    let (Some(spec), Some(old)) = (&mut pod.spec, &old.spec) else { return };
    if spec.priority.is_none() {
        spec.priority = old.priority;
    }
    if spec.preemption_policy.is_none() {
        spec.preemption_policy.clone_from(&old.preemption_policy);
    }
}

fn give(review: &mut Review<'_>) -> Result<(), ApiError> {
    let named = review.object::<Pod>().spec.as_ref().and_then(|spec| spec.priority_class_name.clone());
    let class = match named.filter(|name| !name.is_empty()) {
        None => default_class(review)?,
        Some(name) => match named_class(review, &name)? {
            None => return Err(review.forbidden(format!("no PriorityClass with name {name} was found"))),
            found => found,
        },
    };
    let class = class.unwrap_or_default();
    let value = class.value.unwrap_or_default();
    let policy = class.preemption_policy.unwrap_or_else(|| PREEMPT.to_owned());
    let Some(spec) = &mut review.object_mut::<Pod>().spec else { return Ok(()) };
    let (own_value, own_policy) = (spec.priority, spec.preemption_policy.clone());
    spec.priority_class_name = class.metadata.name.or(spec.priority_class_name.take());
    spec.priority = Some(value);
    spec.preemption_policy = Some(policy.clone());
    const GIVEN: &str = "must not be provided in pod spec; priority admission controller computed";
    const FROM: &str = "from the given PriorityClass name";
    if let Some(own) = own_value.filter(|own| *own != value) {
        return Err(review.forbidden(format!("the integer value of priority ({own}) {GIVEN} {value} {FROM}")));
    }
    if let Some(own) = own_policy.filter(|own| *own != policy) {
        return Err(review.forbidden(format!("the string value of PreemptionPolicy ({own}) {GIVEN} {policy} {FROM}")));
    }
    Ok(())
}
