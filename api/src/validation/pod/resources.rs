//! What containers and pods ask for and are limited to.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::api::core::v1::{PodSpec, ResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::claims;
use crate::field::{Errors, Path};
use crate::pods;
use crate::quantity::{Quantity, parse_or_zero};
use crate::validation::amounts;

const POD_RESOURCES: [&str; 3] = ["cpu", "hugepages-", "memory"];

type Named = fn(&str, &Path<'_>, &mut Errors);

/// What a container asks for; `claimed` are the names that its pod gives to the devices that it claims.
pub(super) fn of_container(
    resources: Option<&ResourceRequirements>,
    claimed: &HashSet<&str>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let Some(resources) = resources else { return };
    requirements(resources, amounts::container_resource_name, path, errors);
    let claims: &[ResourceClaim] = resources.claims.as_deref().unwrap_or_default();
    claims::of_container(claims, claimed, &path.child("claims"), errors);
}

/// What a pod needs beyond its containers: told of as the limits of one.
pub(super) fn overhead(amounts: &BTreeMap<String, Text>, path: &Path<'_>, errors: &mut Errors) {
    let resources = ResourceRequirements { limits: Some(amounts.clone()), ..ResourceRequirements::default() };
    requirements(&resources, amounts::container_resource_name, path, errors);
}

/// What a pod asks for as a whole has room for what its containers ask for.
pub(super) fn of_pod(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let Some(resources) = &spec.resources else { return };
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return errors.forbidden(path, "may not be set for a windows pod");
    }
    if resources.claims.is_some() {
        errors.forbidden(&path.child("claims"), "claims may not be set for Resources at pod-level");
    }
    requirements(resources, pod_resource_name, path, errors);
    room_for_containers(spec, resources, path, errors);
}

fn pod_resource_name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    let before = errors.len();
    amounts::resource_name(name, path, errors);
    if errors.len() == before && !matches!(name, "cpu" | "memory") && !name.starts_with("hugepages-") {
        errors.not_supported(path, name, &POD_RESOURCES);
    }
}

fn room_for_containers(spec: &PodSpec, resources: &ResourceRequirements, path: &Path<'_>, errors: &mut Errors) {
    let requests = path.child("requests");
    for (name, sum) in pods::requests_of_containers(spec) {
        if let Some(text) = resources.requests.as_ref().and_then(|own| own.get(&name))
            && sum > parse_or_zero(Some(text))
        {
            let rule = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.invalid(&requests.key(&name), text, &rule);
        }
    }
    let limit = |name: &str| resources.limits.as_ref().and_then(|own| own.get(name));
    let limits = path.child("limits");
    for (name, sum) in pods::limits_of_containers(spec).into_iter().filter(|(name, _)| is_huge(name)) {
        if let Some(text) = limit(&name).filter(|text| sum > parse_or_zero(Some(text))) {
            let rule = format!("must be greater than or equal to aggregate container limits of {sum}");
            errors.invalid(&limits.key(&name), text, &rule);
        }
    }
    let list = path.child("containers");
    for (i, container) in spec.containers.iter().enumerate() {
        let own = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        for (name, text) in own.into_iter().flatten() {
            if let Some(most) = limit(name).filter(|most| parse_or_zero(Some(text)) > parse_or_zero(Some(most))) {
                let rule = format!("must be less than or equal to pod limits of {}", most.0);
                errors.invalid(&list.index(i).key(name).child("limits"), text, &rule);
            }
        }
    }
}

fn requirements(resources: &ResourceRequirements, named: Named, path: &Path<'_>, errors: &mut Errors) {
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    list(resources.limits.as_ref(), named, &limits_path, errors);
    list(resources.requests.as_ref(), named, &requests_path, errors);
    for (name, text) in resources.requests.iter().flatten() {
        let limit = resources.limits.as_ref().and_then(|limits| limits.get(name));
        fits(name, text, limit, (&requests_path, &limits_path), errors);
    }
    let all = || resources.limits.iter().chain(&resources.requests).flat_map(|list| list.keys());
    if all().any(|name| is_huge(name)) && !all().any(|name| matches!(name.as_str(), "cpu" | "memory")) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

/// What is requested is at most what the limit is, and as much where it can't be promised twice.
fn fits(name: &str, text: &Text, limit: Option<&Text>, paths: (&Path<'_>, &Path<'_>), errors: &mut Errors) {
    let (request, shared) = (parse_or_zero(Some(text)), amounts::may_be_over_committed(name));
    let Some(limit) = limit else {
        if !shared {
            errors.required(paths.1, "Limit must be set for non overcommitable resources");
        }
        return;
    };
    let most = parse_or_zero(Some(limit));
    if request != most && !shared {
        errors.invalid(paths.0, text, &format!("must be equal to {name} limit of {}", limit.0));
    } else if request > most {
        errors.invalid(paths.0, text, &format!("must be less than or equal to {name} limit of {}", limit.0));
    }
}

fn list(list: Option<&BTreeMap<String, Text>>, named: Named, path: &Path<'_>, errors: &mut Errors) {
    for (name, text) in list.into_iter().flatten() {
        let path = path.key(name);
        named(name, &path, errors);
        amounts::amount(name, text, &path, errors);
        if is_huge(name) && !is_whole_pages(name, text) {
            errors.invalid(&path, text, &format!("{} is not positive integer multiple of {name}", text.0));
        }
    }
}

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether the amount is one of pages of the size that the name says: `hugepages-2Mi`.
fn is_whole_pages(name: &str, text: &Text) -> bool {
    let size = Text(name.strip_prefix("hugepages-").unwrap_or_default().to_owned());
    let size = crate::quantity::parse(&size).unwrap_or(Quantity::from_units(0));
    let whole = !size.is_zero() && !size.is_negative() && size.is_whole();
    whole && parse_or_zero(Some(text)).units() % size.units() == 0
}
