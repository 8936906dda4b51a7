//! What a disruption budget says about an eviction: a pod's end is counted in the budget before the pod is deleted, so that
//! two evictions at once do not both take the last that is allowed.
//!
//! Source: `pkg/registry/core/pod/storage/eviction.go`.

use std::sync::Arc;

use coracle_api::any::AnyObject;
use coracle_api::pods;
use coracle_api::selector::LabelSelector;
use coracle_api::status::{ApiError, GroupResource};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Call;
use crate::cache::Cached;
use crate::strategy::{typed, typed_mut};
use crate::writer::{Lost, Writer};
use crate::{clock, limits};

/// Ends of pods that the controller has not confirmed yet: more are refused until it has.
const UNCONFIRMED_MAX: usize = 2000;
/// Seconds after which the controller may have seen a budget that is new to it.
const PROCESSED_SECONDS: u32 = 10;
const ALLOWED: &str = "DisruptionAllowed";

/// Takes the end of a pod out of its budget, if it has one.
///
/// # Errors
/// When the budget does not allow it, or the pod has more than one.
pub(super) async fn take(call: &Call, dry_run: bool) -> Result<(), ApiError> {
    call.api.be_fresh().await?;
    let pod = call.writer(true).current(call.namespace(), call.name()).await?;
    let pod = call.resource().load(&pod)?;
    let pod = typed::<Pod>(&pod);
    if has_no_budget(pod) {
        return Ok(());
    }
    let Some(resource) = call.api.resources.builtin("policy", "v1", "poddisruptionbudgets").cloned() else {
        return Ok(());
    };
    let mut found: Vec<(Arc<Cached>, AnyObject)> = Vec::new();
    for cached in call.api.list_all(&resource) {
        let budget = resource.load(&cached)?;
        if budget.namespace() == call.namespace() && guards(typed(&budget), pod) {
            found.push((cached, budget));
        }
    }
    let (mut current, mut budget) = match found.len() {
        0 => return Ok(()),
        1 => found.remove(0),
        _ => return Err(ApiError::ManyDisruptionBudgets),
    };
    let writer = Writer { api: &call.api, resource: &resource, dry_run };
    for _ in 0..limits::WRITE_TRIES_MAX {
        let Some(spent) = decide(typed(&budget), pod, Time(clock::now()))? else { return Ok(()) };
        if dry_run {
            return Ok(());
        }
        typed_mut::<PodDisruptionBudget>(&mut budget).status = Some(spent);
        budget.meta_mut().resource_version = None;
        match writer.replace(&current, &budget).await {
            Ok(_) | Err(Lost::Raced(None)) => return Ok(()),
            Err(Lost::Refused(error)) => return Err(error),
            Err(Lost::Raced(Some(newer))) => {
                budget = resource.load(&newer)?;
                current = newer;
            }
        }
    }
    Err(writer.modified(budget.name()))
}

/// A pod that has ended, not begun, or is ending disrupts nothing.
fn has_no_budget(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() || matches!(pods::phase(pod), "Succeeded" | "Failed" | "Pending")
}

fn guards(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some()
        && labels.is_some_and(|labels| !labels.is_empty())
        && LabelSelector::of_typed(selector).is_ok_and(|selector| selector.matches(labels))
}

/// The status of the budget once the pod has ended; none where the budget does not count this pod.
///
/// # Errors
/// When the budget does not allow it.
fn decide(budget: &PodDisruptionBudget, pod: &Pod, now: Time) -> Result<Option<PodDisruptionBudgetStatus>, ApiError> {
    let name = budget.metadata.name.as_deref().unwrap_or_default();
    let mut status = budget.status.clone().unwrap_or_default();
    let (healthy, desired) = (status.current_healthy.unwrap_or(0), status.desired_healthy.unwrap_or(0));
    if !pods::is_ready(pod) {
        let policy = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
        if policy == Some("AlwaysAllow") || (healthy >= desired && desired > 0) {
            return Ok(None);
        }
    }
    if status.observed_generation.unwrap_or(0) < budget.metadata.generation.unwrap_or(0) {
        let message = format!("The disruption budget {name} is still being processed by the server.");
        return Err(ApiError::DisruptionBudget { message, retry_after_seconds: Some(PROCESSED_SECONDS) });
    }
    let forbidden = |reason: &str| ApiError::Forbidden {
        resource: GroupResource { group: "policy".into(), resource: "poddisruptionbudget".into() },
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let allowed = status.disruptions_allowed.unwrap_or(0);
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    let disrupted = status.disrupted_pods.get_or_insert_default();
    if disrupted.len() > UNCONFIRMED_MAX {
        return Err(forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller"));
    }
    if allowed == 0 {
        let message = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        return Err(ApiError::DisruptionBudget { message, retry_after_seconds: None });
    }
    disrupted.insert(pod.metadata.name.clone().unwrap_or_default(), now.clone());
    status.disruptions_allowed = Some(allowed - 1);
    if allowed == 1 {
        no_more(&mut status, budget.metadata.generation, now);
    }
    Ok(Some(status))
}

/// Says that nothing more is allowed.
fn no_more(status: &mut PodDisruptionBudgetStatus, generation: Option<i64>, now: Time) {
    let condition = Condition {
        type_: ALLOWED.to_owned(),
        status: "False".to_owned(),
        reason: "InsufficientPods".to_owned(),
        message: String::new(),
        last_transition_time: now,
        observed_generation: generation,
    };
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|condition| condition.type_ == ALLOWED) {
        Some(own) => *own = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::object::Object;

    #[test]
    fn budgets_are_honoured() {
        let pod = |ready: &str| {
            let json = format!(
                r#"{{"metadata":{{"name":"p","labels":{{"a":"b"}}}},"status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"{ready}"}}]}}}}"#
            );
            Pod::decode(json.as_bytes()).expect("a pod")
        };
        let told = |pod: &Pod, spec: &str, status: &str| {
            let json = format!(
                r#"{{"metadata":{{"name":"b","generation":1}},"spec":{{"selector":{{"matchLabels":{{"a":"b"}}}}{spec}}},"status":{{{status}}}}}"#
            );
            let budget = PodDisruptionBudget::decode(json.as_bytes()).expect("a budget");
            assert!(guards(&budget, pod) && !has_no_budget(pod));
            match decide(&budget, pod, Time(clock::now())) {
                Ok(None) => "free".to_owned(),
                Ok(Some(status)) => {
                    let conditions = status.conditions.map_or(0, |conditions| conditions.len());
                    format!("{} left, {conditions} conditions", status.disruptions_allowed.unwrap_or(0))
                }
                Err(error) => format!("{} {:?}", error.code(), error.retry_after_seconds()),
            }
        };
        let always = r#","unhealthyPodEvictionPolicy":"AlwaysAllow""#;
        let seen = r#""observedGeneration":1"#;
        for (ready, spec, status, expected) in [
            ("True", "", r#""disruptionsAllowed":2"#.to_owned(), "429 Some(10)"),
            ("True", "", format!(r#"{seen},"disruptionsAllowed":2"#), "1 left, 0 conditions"),
            ("True", "", format!(r#"{seen},"disruptionsAllowed":1"#), "0 left, 1 conditions"),
            ("True", "", format!(r#"{seen},"disruptionsAllowed":0"#), "429 None"),
            ("True", always, format!(r#"{seen},"disruptionsAllowed":0"#), "429 None"),
            ("True", "", format!(r#"{seen},"disruptionsAllowed":-1"#), "403 None"),
            ("False", always, format!(r#"{seen},"disruptionsAllowed":0"#), "free"),
            ("False", "", format!(r#"{seen},"currentHealthy":2,"desiredHealthy":2"#), "free"),
            ("False", "", format!(r#"{seen},"currentHealthy":1,"desiredHealthy":2"#), "429 None"),
        ] {
            assert_eq!(told(&pod(ready), spec, &status), expected, "{ready} {spec} {status}");
        }
    }
}
