//! The defaults of jobs, cron jobs and disruption budgets.

use k8s_openapi::api::{batch::v1 as batch, policy::v1 as policy};

use super::{Defaults, pod_template, set, set_text};

const RETRIES: i32 = 6;
const SUCCESSES_KEPT: i32 = 3;
const FAILURES_KEPT: i32 = 1;

/// One pod that must succeed, tried a few times.
impl Defaults for batch::Job {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if spec.completions.is_none() && spec.parallelism.is_none() {
            spec.completions = Some(1);
        }
        set(&mut spec.parallelism, 1);
        // What each index may retry bounds what all may.
        set(&mut spec.backoff_limit, if spec.backoff_limit_per_index.is_some() { i32::MAX } else { RETRIES });
        set(&mut spec.completion_mode, "NonIndexed".to_owned());
        set(&mut spec.suspend, false);
        set(&mut spec.manual_selector, false);
        for rule in spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules) {
            rule.on_pod_conditions.iter_mut().flatten().for_each(|pattern| set_text(&mut pattern.status, "True"));
        }
        let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
        set(&mut spec.pod_replacement_policy, replacement.to_owned());
        pod_template(&mut spec.template);
    }
}

/// Jobs may overlap; a few are kept to look at. The template of jobs has no defaults but its pods'.
impl Defaults for batch::CronJob {
    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        set_text(&mut spec.concurrency_policy, "Allow");
        set(&mut spec.suspend, false);
        set(&mut spec.successful_jobs_history_limit, SUCCESSES_KEPT);
        set(&mut spec.failed_jobs_history_limit, FAILURES_KEPT);
        pod_template(&mut spec.job_template.spec.get_or_insert_default().template);
    }
}

impl Defaults for policy::PodDisruptionBudget {}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::{Job, JobSpec};

    use super::*;
    use crate::any::AnyObject;

    #[test]
    fn jobs_have_what_kubernetes_gives_them() {
        let job = |spec: JobSpec| {
            let mut object = AnyObject::new(Job { spec: Some(spec), ..Job::default() });
            crate::defaults::apply(&mut object);
            object.downcast::<Job>().ok().and_then(|job| job.spec).unwrap_or_default()
        };
        let plain = job(JobSpec::default());
        assert_eq!((plain.completions, plain.parallelism, plain.backoff_limit), (Some(1), Some(1), Some(6)));
        let queue = job(JobSpec { parallelism: Some(3), ..JobSpec::default() });
        assert_eq!((queue.completions, queue.parallelism), (None, Some(3)));
        let indexed = job(JobSpec { backoff_limit_per_index: Some(1), ..JobSpec::default() });
        assert_eq!(indexed.backoff_limit, Some(i32::MAX));
        let policy =
            job(JobSpec { pod_failure_policy: Some(batch::PodFailurePolicy::default()), ..JobSpec::default() });
        assert_eq!(policy.pod_replacement_policy.as_deref(), Some("Failed"));
    }
}
