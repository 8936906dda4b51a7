//! Pods that no look at their job sees any more: whose job is gone or over, or that have been counted and no longer
//! match. Pure.
//!
//! Source: upstream's `syncOrphanPod`.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use super::account::has_finalizer;
use super::target::{Target, is_finished, is_managed_elsewhere};
use crate::ownership::{Claim, claim, controller_of};
use crate::pod;

/// What to do about one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    Keep,
    /// Nobody will count it: its finalizer goes.
    Untrack,
    /// Its job controls it no longer.
    Release,
}

/// Decides; `job` is the one that controls the pod, if it is there.
pub fn plan(pod: &Pod, job: Option<&Job>) -> Stray {
    let is_jobs =
        controller_of(&pod.metadata).is_none_or(|owner| owner.kind == "Job" && owner.api_version == "batch/v1");
    match job {
        _ if !is_jobs => Stray::Keep,
        Some(job) if is_managed_elsewhere(job) => Stray::Keep,
        Some(job) if !is_finished(job) => {
            let counted = pod::is_finished(pod) && !has_finalizer(pod);
            let target = Target::of(job).filter(|_| counted);
            let matches = target.is_none_or(|target| target.selector.matches(pod.metadata.labels.as_ref()));
            if claim(&job.metadata, matches, &pod.metadata) == Claim::Release { Stray::Release } else { Stray::Keep }
        }
        _ if has_finalizer(pod) => Stray::Untrack,
        _ => Stray::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::Object;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use crate::job::account::TRACKING;
    use crate::pod::build::{in_phase, pod, with};

    fn job(spec: &str, conditions: &str) -> Job {
        let json = format!(
            r#"{{"metadata":{{"name":"j","uid":"u"}},"status":{{"conditions":[{conditions}]}},
                "spec":{{{spec}"template":{{}},"selector":{{"matchLabels":{{"a":"b"}}}}}}}}"#
        );
        Job::decode(json.as_bytes()).expect("a job")
    }

    fn owned(kind: &str) -> Pod {
        let (api_version, kind) = kind.rsplit_once('/').expect("a version and a kind");
        let owner = OwnerReference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            uid: "u".to_owned(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        with(tracked(), |pod| pod.metadata.owner_references = Some(vec![owner]))
    }

    fn tracked() -> Pod {
        with(pod("p"), |pod| pod.metadata.finalizers = Some(vec![TRACKING.to_owned()]))
    }

    #[test]
    fn only_what_nobody_will_count_loses_its_finalizer() {
        let running = job("", "");
        let over = job("", r#"{"type":"Complete","status":"True"}"#);
        let elsewhere = job(r#""managedBy":"a.test/b","#, "");
        let counted = |pod: Pod| in_phase(with(pod, |pod| pod.metadata.finalizers = None), "Succeeded");
        let labelled = |pod: Pod| with(pod, |pod| pod.metadata.labels = Some([("a".into(), "b".into())].into()));
        for (pod, job, expected) in [
            (tracked(), None, Stray::Untrack),
            (owned("batch/v1/Job"), None, Stray::Untrack),
            (owned("batch/v1/Job"), Some(&over), Stray::Untrack),
            (owned("batch/v1/Job"), Some(&running), Stray::Keep),
            (owned("batch/v1/Job"), Some(&elsewhere), Stray::Keep),
            (owned("apps/v1/ReplicaSet"), None, Stray::Keep),
            (pod("p"), None, Stray::Keep),
            (counted(owned("batch/v1/Job")), Some(&running), Stray::Release),
            (labelled(counted(owned("batch/v1/Job"))), Some(&running), Stray::Keep),
            (counted(owned("batch/v1/Job")), Some(&over), Stray::Keep),
        ] {
            assert_eq!(plan(&pod, job), expected, "{:?} {:?}", pod.metadata, job.map(|job| &job.metadata));
        }
    }
}
