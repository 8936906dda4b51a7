//! What a job's failure policy says of a pod that failed. Pure.
//!
//! Source: upstream's `pod_failure_policy.go`.

use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::pod_control::name;

/// What becomes of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It counts; no rule says otherwise.
    Count,
    /// It does not count.
    Ignore,
    /// It is the pod's index that has failed, for good.
    FailIndex,
    /// It is the job that has failed.
    FailJob { message: String },
}

/// The first rule that the pod matches decides.
pub fn ruling(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Ruling {
    let rules = policy.iter().flat_map(|policy| &policy.rules).enumerate();
    for (at, rule) in rules {
        let matched = match (&rule.on_exit_codes, &rule.on_pod_conditions) {
            (Some(codes), _) => exit_of(pod, codes).map(|(container, code)| {
                format!("Container {container} for pod {} failed with exit code {code}", full_name(pod))
            }),
            (None, Some(patterns)) => {
                condition_of(pod, patterns).map(|kind| format!("Pod {} has condition {kind}", full_name(pod)))
            }
            (None, None) => None,
        };
        let Some(matched) = matched else { continue };
        match rule.action.as_str() {
            "Ignore" => return Ruling::Ignore,
            "FailIndex" => return Ruling::FailIndex,
            "Count" => return Ruling::Count,
            "FailJob" => return Ruling::FailJob { message: format!("{matched} matching FailJob rule at index {at}") },
            _ => {}
        }
    }
    Ruling::Count
}

fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), name(pod))
}

/// The first container that ended as required, and its code.
fn exit_of<'p>(pod: &'p Pod, required: &PodFailurePolicyOnExitCodesRequirement) -> Option<(&'p str, i32)> {
    let status = pod.status.as_ref()?;
    let ended = |container: &'p ContainerStatus| {
        let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
        let is_meant = required.container_name.as_ref().is_none_or(|name| *name == container.name);
        let is_required = match required.operator.as_str() {
            "In" => required.values.contains(&code),
            "NotIn" => !required.values.contains(&code),
            _ => false,
        };
        (is_meant && code != 0 && is_required).then_some((container.name.as_str(), code))
    };
    let containers = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    containers.into_iter().find_map(ended)
}

fn condition_of<'p>(pod: &'p Pod, patterns: &[PodFailurePolicyOnPodConditionsPattern]) -> Option<&'p str> {
    let conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let mut matching = conditions.filter(|condition| {
        patterns.iter().any(|pattern| {
            // The API server completes the pattern with this.
            let status = pattern.status.as_deref().unwrap_or("True");
            condition.type_ == pattern.type_ && condition.status == status
        })
    });
    matching.next().map(|condition| condition.type_.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::build::*;
    use coracle_api::Object;
    use k8s_openapi::api::batch::v1::Job;

    fn policy(rules: &str) -> PodFailurePolicy {
        let json = format!(r#"{{"spec":{{"template":{{}},"podFailurePolicy":{{"rules":{rules}}}}}}}"#);
        let job = Job::decode(json.as_bytes()).expect("a job");
        job.spec.and_then(|spec| spec.pod_failure_policy).expect("a policy")
    }

    fn failed(status: &str) -> Pod {
        let json = format!(r#"{{"metadata":{{"name":"p","namespace":"n"}},"status":{status}}}"#);
        in_phase(Pod::decode(json.as_bytes()).expect("a pod"), "Failed")
    }

    fn exited(codes: &[(&str, i32)]) -> Pod {
        let container = |(name, code): &(&str, i32)| {
            format!(
                r#"{{"name":"{name}","image":"","imageID":"","ready":false,"restartCount":0,
                    "state":{{"terminated":{{"exitCode":{code}}}}}}}"#
            )
        };
        let containers: Vec<_> = codes.iter().map(container).collect();
        failed(&format!(r#"{{"containerStatuses":[{}]}}"#, containers.join(",")))
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = policy(
            r#"[
                {"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget","status":"True"}]},
                {"action":"FailIndex","onExitCodes":{"containerName":"main","operator":"In","values":[3]}},
                {"action":"Count","onExitCodes":{"operator":"In","values":[4,42]}},
                {"action":"FailJob","onExitCodes":{"operator":"NotIn","values":[1,2]}},
                {"action":"FailJob","onPodConditions":[{"type":"ConfigIssue"}]}
            ]"#,
        );
        let disrupted = failed(r#"{"conditions":[{"type":"DisruptionTarget","status":"True"}]}"#);
        let undisrupted = failed(r#"{"conditions":[{"type":"DisruptionTarget","status":"False"}]}"#);
        let misconfigured = failed(r#"{"conditions":[{"type":"ConfigIssue","status":"True"}]}"#);
        let fails = |message: &str| Ruling::FailJob { message: message.to_owned() };
        for (pod, expected) in [
            (disrupted, Ruling::Ignore),
            (undisrupted, Ruling::Count),
            (exited(&[("main", 3)]), Ruling::FailIndex),
            (
                exited(&[("side", 3)]),
                fails("Container side for pod n/p failed with exit code 3 matching FailJob rule at index 3"),
            ),
            (exited(&[("main", 42)]), Ruling::Count),
            (exited(&[("main", 1)]), Ruling::Count),
            (
                exited(&[("side", 0), ("main", 9)]),
                fails("Container main for pod n/p failed with exit code 9 matching FailJob rule at index 3"),
            ),
            (misconfigured, fails("Pod n/p has condition ConfigIssue matching FailJob rule at index 4")),
        ] {
            assert_eq!(ruling(Some(&policy), &pod), expected);
        }
        assert_eq!(ruling(None, &exited(&[("main", 9)])), Ruling::Count);
    }
}
