//! How long a job waits before it replaces pods that failed: 10 s after the first failure, doubled by each that follows,
//! at most 10 min; a success ends it. Pure.
//!
//! Source: upstream's `backoff_utils.go`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::pod;

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const MAX: SignedDuration = SignedDuration::from_mins(10);

/// The failures of a job since its last success.
///
/// It is not in the job's status. What of it can be read again, from the pods that are still there, is; failed pods that
/// have been deleted since are forgotten over a restart, as upstream forgets all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: usize,
    last_failure: Option<Timestamp>,
}

impl Backoff {
    /// With these pods' ends.
    #[must_use]
    pub fn after(self, succeeded: &[Arc<Pod>], failed: &[Arc<Pod>]) -> Self {
        let last_success = succeeded.iter().map(|pod| finished_at(pod)).max();
        let since_success = failed
            .iter()
            .map(|pod| finished_at(pod))
            .filter(|failed| last_success.is_none_or(|last_success| *failed > last_success));
        let before = if last_success.is_some() { Self::default() } else { self };
        since_success.fold(before, |backoff, at| Self {
            failures: backoff.failures + 1,
            last_failure: backoff.last_failure.max(Some(at)),
        })
    }

    /// How long no pod is to be made yet.
    pub fn left(&self, now: Timestamp) -> SignedDuration {
        self.last_failure.map_or(SignedDuration::ZERO, |last_failure| left(self.failures, last_failure, now))
    }
}

/// What is left of the delay after so many failures in a row, the last of them then.
pub fn left(failures: usize, last_failure: Timestamp, now: Timestamp) -> SignedDuration {
    let Some(doublings) = failures.checked_sub(1) else { return SignedDuration::ZERO };
    let factor = u32::try_from(doublings).ok().and_then(|n| 1i32.checked_shl(n)).filter(|factor| *factor > 0);
    let delay = factor.and_then(|factor| FIRST.checked_mul(factor)).map_or(MAX, |delay| delay.min(MAX));
    (delay - now.duration_since(last_failure)).max(SignedDuration::ZERO)
}

/// When a pod ended: when its last container did; else when it was no longer ready, when it was asked to go, or when it
/// was made.
pub fn finished_at(pod: &Pod) -> Timestamp {
    let created = || pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    containers_finished_at(pod)
        .or_else(|| {
            let ready = pod::condition(pod, "Ready").filter(|ready| ready.status == "False")?;
            ready.last_transition_time.as_ref().map(|time| time.0)
        })
        .or_else(|| {
            let deadline = pod.metadata.deletion_timestamp.as_ref()?.0;
            let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
            deadline.checked_sub(SignedDuration::from_secs(grace)).ok()
        })
        .unwrap_or_else(created)
}

/// `None` when one has not ended.
fn containers_finished_at(pod: &Pod) -> Option<Timestamp> {
    let ended = |status: &ContainerStatus| {
        let terminated = status.state.as_ref()?.terminated.as_ref()?;
        terminated.finished_at.as_ref().map(|time| time.0)
    };
    let ends: Option<Vec<Timestamp>> = pod.status.as_ref()?.container_statuses.iter().flatten().map(ended).collect();
    ends?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::build::*;
    use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn ended(name: &str, second: i64) -> Arc<Pod> {
        let terminated = ContainerStateTerminated { finished_at: Some(Time(at(second))), ..Default::default() };
        let state = Some(ContainerState { terminated: Some(terminated), ..Default::default() });
        Arc::new(with(pod(name), |pod| {
            let statuses = vec![ContainerStatus { state, ..Default::default() }];
            pod.status.get_or_insert_default().container_statuses = Some(statuses);
        }))
    }

    #[test]
    fn delays_double_up_to_ten_minutes() {
        for (failures, seconds) in [(0, 0), (1, 10), (2, 20), (3, 40), (6, 320), (7, 600), (40, 600), (4000, 600)] {
            assert_eq!(left(failures, at(0), at(0)).as_secs(), seconds, "{failures}");
        }
        assert_eq!(left(2, at(0), at(15)).as_secs(), 5);
        assert_eq!(left(2, at(0), at(99)).as_secs(), 0);
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let two = Backoff::default().after(&[], &[ended("a", 10), ended("b", 5)]);
        assert_eq!(two, Backoff { failures: 2, last_failure: Some(at(10)) });
        assert_eq!(two.after(&[], &[ended("c", 20)]), Backoff { failures: 3, last_failure: Some(at(20)) });
        assert_eq!(two.after(&[ended("c", 20)], &[]), Backoff::default());
        let one = two.after(&[ended("c", 20)], &[ended("d", 15), ended("e", 25)]);
        assert_eq!(one, Backoff { failures: 1, last_failure: Some(at(25)) });
    }

    #[test]
    fn a_pod_ended_when_it_says_so_or_else_when_it_seems_so() {
        assert_eq!(finished_at(&ended("a", 7)), at(7));
        let unready = with(ready(pod("b"), 3), |pod| {
            let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
            conditions[0].status = "False".to_owned();
        });
        assert_eq!(finished_at(&unready), at(3));
        let going = with(pod("c"), |pod| {
            pod.metadata.deletion_timestamp = Some(Time(at(40)));
            pod.metadata.deletion_grace_period_seconds = Some(30);
        });
        assert_eq!(finished_at(&going), at(10));
        assert_eq!(finished_at(&pod("d")), at(0));
    }
}
