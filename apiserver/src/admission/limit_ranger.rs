//! Containers get what the limit ranges of their namespace give them, and pods and claims that do not keep within the
//! ranges are refused.
//!
//! Source: the admission plugin `LimitRanger`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use coracle_api::pods;
use coracle_api::quantity::Quantity;
use coracle_api::quota::{Amounts, amounts};
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::{Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::{Plugin, Review};
use crate::strategy::{Part, typed};

/// The annotation that tells what was given.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

pub(super) struct LimitRanger;

#[async_trait]
impl Plugin for LimitRanger {
    fn concerns(&self, review: &Review<'_>) -> bool {
        let is_going = review.old.is_some_and(|old| old.meta().deletion_timestamp.is_some());
        let is_looked_at =
            review.creates::<Pod>() || review.part == Part::Resize || review.is_main::<PersistentVolumeClaim>();
        is_looked_at && !is_going
    }

    async fn admit(&self, review: &mut Review<'_>) -> Result<(), ApiError> {
        if review.object.downcast_ref::<Pod>().is_none() {
            return Ok(());
        }
        for range in review.neighbours("limitranges")? {
            complete(review.object_mut(), typed(&range));
        }
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), ApiError> {
        for range in review.neighbours("limitranges")? {
            let items = typed::<LimitRange>(&range).spec.iter().flat_map(|spec| &spec.limits);
            let wrong: Vec<String> = match review.object.downcast_ref::<Pod>() {
                Some(pod) => items.flat_map(|item| wrong_with_pod(pod, item)).collect(),
                None => items.flat_map(|item| wrong_with_claim(review.object(), item)).collect(),
            };
            // What is wrong with several containers is told once.
            let mut told: Vec<&str> = Vec::new();
            for one in &wrong {
                if !told.contains(&one.as_str()) {
                    told.push(one);
                }
            }
            match told.as_slice() {
                [] => {}
                [one] => return Err(review.forbidden(*one)),
                several => return Err(review.forbidden(format!("[{}]", several.join(", ")))),
            }
        }
        Ok(())
    }
}

type List = Option<BTreeMap<String, Text>>;

/// Gives containers what the range gives to those that say nothing.
fn complete(pod: &mut Pod, range: &LimitRange) {
    let items = range.spec.iter().flat_map(|spec| &spec.limits).filter(|item| item.type_ == "Container");
    let (mut limits, mut requests) = (BTreeMap::new(), BTreeMap::new());
    for item in items {
        limits.extend(item.default.clone().unwrap_or_default());
        requests.extend(item.default_request.clone().unwrap_or_default());
    }
    if limits.is_empty() && requests.is_empty() {
        return;
    }
    let Some(spec) = &mut pod.spec else { return };
    let mut told = Vec::new();
    for container in &mut spec.containers {
        fill(container, "container", &requests, &limits, &mut told);
    }
    for container in spec.init_containers.iter_mut().flatten() {
        fill(container, "init container", &requests, &limits, &mut told);
    }
    if !told.is_empty() {
        let told = format!("LimitRanger plugin set: {}", told.join("; "));
        pod.metadata.annotations.get_or_insert_default().insert(ANNOTATION.to_owned(), told);
    }
}

fn fill(
    container: &mut Container,
    word: &str,
    requests: &BTreeMap<String, Text>,
    limits: &BTreeMap<String, Text>,
    told: &mut Vec<String>,
) {
    let resources = container.resources.get_or_insert_default();
    for (what, own, given) in [("request", &mut resources.requests, requests), ("limit", &mut resources.limits, limits)]
    {
        let missing = |own: &List, name: &String| own.as_ref().is_none_or(|own| !own.contains_key(name));
        let given: Vec<_> = given.iter().filter(|(name, _)| missing(own, name)).collect();
        if given.is_empty() {
            continue;
        }
        let names: Vec<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
        told.push(format!("{} {what} for {word} {}", names.join(", "), container.name));
        let own = own.get_or_insert_default();
        own.extend(given.into_iter().map(|(name, amount)| (name.clone(), amount.clone())));
    }
}

fn wrong_with_pod(pod: &Pod, item: &LimitRangeItem) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    match item.type_.as_str() {
        "Container" => spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .flat_map(|container| {
                let resources = container.resources.clone().unwrap_or_default();
                wrong_with(item, &amounts(resources.requests.as_ref()), &amounts(resources.limits.as_ref()))
            })
            .collect(),
        "Pod" => {
            // What a pod costs beside its containers is not asked for by whoever makes it.
            let bare = PodSpec { overhead: None, ..spec.clone() };
            wrong_with(item, &pods::requests(&bare), &pods::limits(&bare))
        }
        _ => Vec::new(),
    }
}

/// Every bound of the range that is not kept.
fn wrong_with(item: &LimitRangeItem, requests: &Amounts, limits: &Amounts) -> Vec<String> {
    let type_ = &item.type_;
    let mut wrong = Vec::new();
    for (name, bound) in amounts(item.min.as_ref()) {
        let rule = format!("minimum {name} usage per {type_} is {bound}");
        match (requests.get(&name), limits.get(&name)) {
            (None, _) => wrong.push(format!("{rule}.  No request is specified")),
            (Some(request), _) if *request < bound => wrong.push(format!("{rule}, but request is {request}")),
            (_, Some(limit)) if *limit < bound => wrong.push(format!("{rule}, but limit is {limit}")),
            _ => {}
        }
    }
    for (name, bound) in amounts(item.max.as_ref()) {
        let rule = format!("maximum {name} usage per {type_} is {bound}");
        match (requests.get(&name), limits.get(&name)) {
            (_, None) => wrong.push(format!("{rule}.  No limit is specified")),
            (_, Some(limit)) if *limit > bound => wrong.push(format!("{rule}, but limit is {limit}")),
            (Some(request), _) if *request > bound => wrong.push(format!("{rule}, but request is {request}")),
            _ => {}
        }
    }
    for (name, bound) in amounts(item.max_limit_request_ratio.as_ref()) {
        wrong.extend(wrong_ratio(&name, type_, bound, requests.get(&name), limits.get(&name)));
    }
    wrong
}

fn wrong_ratio(
    name: &str,
    type_: &str,
    bound: Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let rule = format!("{name} max limit to request ratio per {type_} is {bound}");
    let Some(request) = request.filter(|request| !request.is_zero()) else {
        return Some(format!("{rule}, but no request is specified or request is 0"));
    };
    let Some(limit) = limit.filter(|limit| !limit.is_zero()) else {
        return Some(format!("{rule}, but no limit is specified or limit is 0"));
    };
    let (limit, request) = (limit.milli(), request.milli());
    let over = i128::from(limit) * 1000 > i128::from(bound.milli()) * i128::from(request);
    #[allow(clippy::cast_precision_loss, reason = "a ratio that is only shown")]
    let ratio = limit as f64 / request as f64;
    over.then(|| format!("{rule}, but provided ratio is {ratio:.6}"))
}

/// A claim has no limits: what it asks for is what it is.
fn wrong_with_claim(claim: &PersistentVolumeClaim, item: &LimitRangeItem) -> Vec<String> {
    const TYPE: &str = "PersistentVolumeClaim";
    if item.type_ != TYPE {
        return Vec::new();
    }
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = amounts(resources.and_then(|resources| resources.requests.as_ref()));
    let least = amounts(item.min.as_ref()).into_iter().map(|(name, bound)| ("minimum", name, bound));
    let most = amounts(item.max.as_ref()).into_iter().map(|(name, bound)| ("maximum", name, bound));
    let wrong = |(word, name, bound): (&str, String, Quantity)| {
        let rule = format!("{word} {name} usage per {TYPE} is {bound}");
        match requests.get(&name) {
            None => Some(format!("{rule}.  No request is specified")),
            Some(request) if word == "minimum" && *request < bound => Some(format!("{rule}, but request is {request}")),
            Some(request) if word == "maximum" && *request > bound => Some(format!("{rule}, but request is {request}")),
            Some(_) => None,
        }
    };
    least.chain(most).filter_map(wrong).collect()
}
