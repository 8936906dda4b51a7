//! Failures by index: each pod carries how often its index has failed before, and tells it to the one that replaces it.
//! Pure.
//!
//! So that this is not lost, the last failed pod of an index keeps its finalizer until it has been replaced.
//!
//! Source: upstream's `indexed_job_utils.go`.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::PodFailurePolicy;
use k8s_openapi::api::core::v1::Pod;

use super::backoff::{self, finished_at};
use super::failure_policy::{Ruling, ruling};

/// How often the index of a pod had failed before it.
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

/// How often it had failed without that counting.
pub const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// The last failed pod of each index that is to be tried again.
pub type Replaced = HashMap<usize, Arc<Pod>>;

/// Finds them; `index_of` gives the index of a pod, if that is to be tried again.
pub fn replaced<'a>(failed: impl Iterator<Item = &'a Arc<Pod>>, index_of: impl Fn(&Pod) -> Option<usize>) -> Replaced {
    let rank = |pod: &Pod| (all_failures(pod), finished_at(pod));
    let mut replaced = Replaced::new();
    for pod in failed {
        let Some(index) = index_of(pod) else { continue };
        let last = replaced.entry(index).or_insert_with(|| pod.clone());
        if rank(pod) > rank(last) {
            *last = pod.clone();
        }
    }
    replaced
}

/// What the annotations of a pod say, that replaces `before`: failures, and failures that do not count.
pub fn failures_with(policy: Option<&PodFailurePolicy>, before: Option<&Pod>) -> (usize, usize) {
    let Some(before) = before else { return (0, 0) };
    let (failures, ignored) = (failures(before), ignored_failures(before));
    match ruling(policy, before) {
        Ruling::Ignore => (failures, ignored + 1),
        _ => (failures + 1, ignored),
    }
}

/// How long an index whose last pod was `before` waits for its next.
pub fn left(before: Option<&Arc<Pod>>, now: Timestamp) -> SignedDuration {
    before.map_or(SignedDuration::ZERO, |pod| backoff::left(all_failures(pod) + 1, finished_at(pod), now))
}

/// How often the index of a pod had failed before it.
pub fn failures(pod: &Pod) -> usize {
    annotation(pod, FAILURES)
}

fn ignored_failures(pod: &Pod) -> usize {
    annotation(pod, IGNORED_FAILURES)
}

fn all_failures(pod: &Pod) -> usize {
    failures(pod) + ignored_failures(pod)
}

/// 0 for what somebody has made unreadable; the API's counts are `i32`.
fn annotation(pod: &Pod, key: &str) -> usize {
    let text = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    let number = text.and_then(|text| text.parse::<i32>().ok());
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::target::{COMPLETION_INDEX, index_of};
    use crate::pod::build::*;

    fn failed(name: &str, index: &str, failures: &str, created: i64) -> Arc<Pod> {
        Arc::new(with(in_phase(pod(name), "Failed"), |pod| {
            let annotations = [(COMPLETION_INDEX, index), (FAILURES, failures)];
            pod.metadata.annotations = Some(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
            pod.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(created)));
        }))
    }

    #[test]
    fn the_last_failure_of_an_index_is_the_one_that_is_replaced() {
        let pods =
            [failed("a", "3", "0", 0), failed("b", "3", "1", 20), failed("c", "4", "0", 0), failed("d", "5", "0", 0)];
        let replaced = replaced(pods.iter(), |pod| index_of(pod).filter(|index| *index != 5));
        let mut found: Vec<_> = replaced.iter().map(|(index, pod)| (*index, pod.metadata.name.as_deref())).collect();
        found.sort_unstable();
        assert_eq!(found, [(3, Some("b")), (4, Some("c"))]);
        assert_eq!(failures_with(None, Some(&pods[1])), (2, 0));
        assert_eq!(failures_with(None, None), (0, 0));
        assert_eq!(left(Some(&pods[1]), at(25)).as_secs(), 15, "twenty seconds after the second failure");
        assert_eq!(left(None, at(25)), SignedDuration::ZERO);
        assert_eq!(failures(&failed("e", "0", "-4", 0)), 0);
    }
}
