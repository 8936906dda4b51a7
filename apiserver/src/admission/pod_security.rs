//! Pods keep to the standard that the labels of their namespace ask for, and what makes pods is warned of what would not.
//!
//! Source: the admission plugin `PodSecurity`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use coracle_api::pod_security::{LABEL_PREFIX, Level, Policy, Standard, details, reasons};
use coracle_api::status::{ApiError, GroupKind};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    Container, Namespace, Pod, PodSpec, PodTemplate, PodTemplateSpec, ReplicationController,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Plugin, Review};
use crate::cache::{Scope, Selection};
use crate::strategy::{Part, typed};

/// Pods of a namespace that are looked at when it asks for more: the rest are told of as not looked at.
const PODS_CHECKED_MAX: usize = 3000;

pub(super) struct PodSecurity;

#[async_trait]
impl Plugin for PodSecurity {
    fn concerns(&self, review: &Review<'_>) -> bool {
        match review.part {
            Part::Main => review.is_main::<Namespace>() || (described(review).is_some() && asks(review)),
            Part::EphemeralContainers | Part::Resize => asks(review),
            _ => false,
        }
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), ApiError> {
        if review.object.downcast_ref::<Namespace>().is_some() {
            return check_labels(review);
        }
        let Some(pod) = review.object.downcast_ref::<Pod>() else { return Ok(()) };
        let (Some(spec), Some(policy)) = (&pod.spec, policy(review)?) else { return Ok(()) };
        if !is_significant(review, pod) {
            return Ok(());
        }
        match policy.enforce.violations(&pod.metadata, spec).as_slice() {
            [] => Ok(()),
            wrong => {
                let standard = policy.enforce.to_string();
                Err(review.forbidden(format!("violates PodSecurity {standard:?}: {}", details(wrong))))
            }
        }
    }

    fn warnings(&self, review: &Review<'_>) -> Result<Vec<String>, ApiError> {
        if review.object.downcast_ref::<Namespace>().is_some() {
            return warnings_of_pods(review);
        }
        let (Some((meta, spec)), Some(policy)) = (described(review), policy(review)?) else { return Ok(Vec::new()) };
        if review.object.downcast_ref::<Pod>().is_some_and(|pod| !is_significant(review, pod)) {
            return Ok(Vec::new());
        }
        Ok(match policy.warn.violations(meta, spec).as_slice() {
            [] => Vec::new(),
            wrong => vec![format!("would violate PodSecurity {:?}: {}", policy.warn.to_string(), details(wrong))],
        })
    }
}

/// Whether the namespace asks for anything at all: most do not.
fn asks(review: &Review<'_>) -> bool {
    let namespaces = review.api.resources.core("namespaces");
    let found = namespaces.cache.get(review.object.namespace());
    found.is_some_and(|found| std::str::from_utf8(&found.body).is_ok_and(|body| body.contains(LABEL_PREFIX)))
}

/// What the namespace asks for.
fn policy(review: &Review<'_>) -> Result<Option<Policy>, ApiError> {
    let namespaces = review.api.resources.core("namespaces");
    let Some(found) = namespaces.cache.get(review.object.namespace()) else { return Ok(None) };
    Ok(Some(Policy::of(namespaces.load(&found)?.meta().labels.as_ref()).0))
}

/// The pod that the object is, or is to make.
fn described<'r>(review: &'r Review<'_>) -> Option<(&'r ObjectMeta, &'r PodSpec)> {
    let object = &*review.object;
    if let Some(pod) = object.downcast_ref::<Pod>() {
        return Some((&pod.metadata, pod.spec.as_ref()?));
    }
    let template: &PodTemplateSpec = if let Some(template) = object.downcast_ref::<PodTemplate>() {
        template.template.as_ref()?
    } else if let Some(controller) = object.downcast_ref::<ReplicationController>() {
        controller.spec.as_ref()?.template.as_ref()?
    } else if let Some(set) = object.downcast_ref::<ReplicaSet>() {
        set.spec.as_ref()?.template.as_ref()?
    } else if let Some(deployment) = object.downcast_ref::<Deployment>() {
        &deployment.spec.as_ref()?.template
    } else if let Some(set) = object.downcast_ref::<DaemonSet>() {
        &set.spec.as_ref()?.template
    } else if let Some(set) = object.downcast_ref::<StatefulSet>() {
        &set.spec.as_ref()?.template
    } else if let Some(job) = object.downcast_ref::<Job>() {
        &job.spec.as_ref()?.template
    } else {
        &object.downcast_ref::<CronJob>()?.spec.job_template.spec.as_ref()?.template
    };
    static NO_META: std::sync::LazyLock<ObjectMeta> = std::sync::LazyLock::new(ObjectMeta::default);
    Some((template.metadata.as_ref().unwrap_or(&NO_META), template.spec.as_ref()?))
}

/// Whether a change of a pod is one by which it could fall short: another image, or another container.
fn is_significant(review: &Review<'_>, pod: &Pod) -> bool {
    let Some(old) = review.old.map(typed::<Pod>) else { return true };
    let (Some(new), Some(old)) = (&pod.spec, &old.spec) else { return true };
    let images = |containers: &[Container]| -> Vec<Option<String>> {
        containers.iter().map(|container| container.image.clone()).collect()
    };
    let init = |spec: &PodSpec| images(spec.init_containers.as_deref().unwrap_or_default());
    let ephemeral = |spec: &PodSpec| -> BTreeMap<String, Option<String>> {
        let containers = spec.ephemeral_containers.iter().flatten();
        containers.map(|container| (container.name.clone(), container.image.clone())).collect()
    };
    let had = ephemeral(old);
    images(&new.containers) != images(&old.containers)
        || init(new) != init(old)
        || ephemeral(new).iter().any(|(name, image)| had.get(name) != Some(image))
}

/// Refuses labels that say nothing, but lets stay what was there.
fn check_labels(review: &Review<'_>) -> Result<(), ApiError> {
    let (_, errors) = Policy::of(review.object.meta().labels.as_ref());
    let had = review.old.map(|old| Policy::of(old.meta().labels.as_ref()).1);
    if errors.is_empty() || had.is_some_and(|had| had == errors) {
        return Ok(());
    }
    let kind = GroupKind::of(&review.resource.kind);
    Err(ApiError::Invalid { kind, name: review.object.name().to_owned(), errors })
}

/// Warns of the pods that there are and that fall short of what their namespace asks for from now on.
fn warnings_of_pods(review: &Review<'_>) -> Result<Vec<String>, ApiError> {
    let Some(old) = review.old else { return Ok(Vec::new()) };
    let enforce = Policy::of(review.object.meta().labels.as_ref()).0.enforce;
    let was = Policy::of(old.meta().labels.as_ref()).0.enforce;
    let is_eased = enforce.version == was.version && enforce.level <= was.level;
    if enforce == was || enforce.level == Level::Privileged || is_eased {
        return Ok(Vec::new());
    }
    let pods = review.api.resources.core("pods");
    let scope = Scope::Namespace(review.object.name().to_owned());
    let found = pods.cache.list(&Selection::of(scope), None, None, review.api.cache.seen()).objects;
    let mut warned: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for cached in found.iter().take(PODS_CHECKED_MAX) {
        let object = pods.load(cached)?;
        let pod = typed::<Pod>(&object);
        let wrong = pod.spec.as_ref().map(|spec| enforce.violations(&pod.metadata, spec)).unwrap_or_default();
        if !wrong.is_empty() {
            warned.entry(reasons(&wrong)).or_default().push(object.name().to_owned());
        }
    }
    Ok(told_of_pods(review.object.name(), enforce, warned, found.len()))
}

fn told_of_pods(namespace: &str, enforce: Standard, warned: BTreeMap<String, Vec<String>>, pods: usize) -> Vec<String> {
    let mut told = Vec::new();
    if pods > PODS_CHECKED_MAX {
        told.push(format!(
            "new PodSecurity enforce level only checked against the first {PODS_CHECKED_MAX} of {pods} existing pods"
        ));
    }
    if !warned.is_empty() {
        let enforce = enforce.to_string();
        told.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level {enforce:?}"
        ));
    }
    let mut each: Vec<String> = warned
        .into_iter()
        .filter_map(|(reasons, names)| {
            let first = names.iter().min()?;
            Some(match names.len() {
                1 => format!("{first}: {reasons}"),
                2 => format!("{first} (and 1 other pod): {reasons}"),
                several => format!("{first} (and {} other pods): {reasons}", several - 1),
            })
        })
        .collect();
    each.sort();
    told.extend(each);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_told_of_together_with_those_like_them() {
        let pods = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let labels = BTreeMap::from([(format!("{LABEL_PREFIX}enforce"), "restricted".to_owned())]);
        let enforce = Policy::of(Some(&labels)).0.enforce;
        let warned = BTreeMap::from([
            ("hostPort".to_owned(), pods("z")),
            ("privileged".to_owned(), pods("d c")),
            ("host namespaces".to_owned(), pods("e b a")),
        ]);
        assert_eq!(
            told_of_pods("n", enforce, warned, PODS_CHECKED_MAX + 1),
            [
                "new PodSecurity enforce level only checked against the first 3000 of 3001 existing pods",
                "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"restricted:latest\"",
                "a (and 2 other pods): host namespaces",
                "c (and 1 other pod): privileged",
                "z: hostPort",
            ]
        );
        assert!(told_of_pods("n", enforce, BTreeMap::new(), 1).is_empty());
    }
}
