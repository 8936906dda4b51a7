//! The node shuts down in order: its pods end within the time that it was given, those that matter most the last, and
//! what became of them is told. Called by [`crate::Kubelet::run`] where [`NodeShutdown`] grants any time at all.
//!
//! Source: kubelet, `nodeshutdown`; there a signal of systemd begins it, and here that of this process.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::EventType;
use futures::future::join_all;
use tokio::time::timeout;

use crate::config::NodeShutdown;
use crate::limits::KILL_WAIT;
use crate::pod::Workers;
use crate::pod::critical::CRITICAL_PRIORITY;
use crate::pod::state::Outcome;
use crate::pod::worker::Shared;

/// Pods from some priority on, and how long they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Period {
    priority: i32,
    grace: Duration,
}

/// Ends all pods, one group after the other; new ones are refused from now on.
pub async fn shut_down(workers: &Workers, shutdown: NodeShutdown) {
    let host = workers.host();
    host.closing.cancel();
    host.recorder.event_on(
        super::reference(&host.config.node_name),
        EventType::Normal,
        "NodeShutdown",
        "Shutdown manager detected shutdown event",
    );
    let pods = workers.all().into_iter().map(|shared| (priority(workers, &shared), shared)).collect();
    for (grace, pods) in groups(&periods(shutdown), pods) {
        tracing::info!(pods = pods.len(), grace_seconds = grace.as_secs(), "pods end, since the node shuts down");
        join_all(pods.iter().map(|shared| shared.end(outcome(grace)))).await;
        let reported = join_all(pods.iter().map(|shared| shared.reported()));
        if timeout(grace + KILL_WAIT, reported).await.is_err() {
            tracing::warn!("some pods did not end in time, or the API server could not be told");
        }
    }
}

fn outcome(grace: Duration) -> Outcome {
    Outcome::failed("Terminated", "Pod was terminated in response to imminent node shutdown.")
        .disruption()
        .within(grace)
}

/// What becomes of a pod that comes too late.
pub fn refusal() -> Outcome {
    Outcome::failed("NodeShutdown", "Pod was rejected: Pod was rejected as the node is shutting down.")
}

fn priority(workers: &Workers, shared: &Arc<Shared>) -> i32 {
    let pod = workers.host().pods.of(&shared.key, &shared.uid);
    pod.and_then(|pod| pod.spec.as_ref()?.priority).unwrap_or(0)
}

/// By rising priority. Source: `migrateConfig`.
fn periods(shutdown: NodeShutdown) -> [Period; 2] {
    let critical = shutdown.critical_pods.min(shutdown.grace);
    [
        Period { priority: 0, grace: shutdown.grace.saturating_sub(critical) },
        Period { priority: CRITICAL_PRIORITY, grace: critical },
    ]
}

/// The pods of each period that has any, in order: each is of the last period that does not lie above it, or of the first.
/// Source: `groupByPriority`.
fn groups<P>(periods: &[Period], pods: Vec<(i32, P)>) -> Vec<(Duration, Vec<P>)> {
    let mut groups: Vec<(Duration, Vec<P>)> = periods.iter().map(|period| (period.grace, Vec::new())).collect();
    for (priority, pod) in pods {
        let above = periods.partition_point(|period| period.priority <= priority);
        if let Some((_, group)) = groups.get_mut(above.saturating_sub(1)) {
            group.push(pod);
        }
    }
    groups.retain(|(_, pods)| !pods.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_matter_most_end_last() {
        let seconds = Duration::from_secs;
        let of = |grace, critical, pods: &[i32]| {
            let shutdown = NodeShutdown { grace: seconds(grace), critical_pods: seconds(critical) };
            groups(&periods(shutdown), pods.iter().map(|priority| (*priority, *priority)).collect())
        };
        assert_eq!(
            of(30, 10, &[CRITICAL_PRIORITY + 1000, -5, 0, CRITICAL_PRIORITY, CRITICAL_PRIORITY - 1]),
            [
                (seconds(20), vec![-5, 0, CRITICAL_PRIORITY - 1]),
                (seconds(10), vec![CRITICAL_PRIORITY + 1000, CRITICAL_PRIORITY]),
            ]
        );
        assert_eq!(of(30, 0, &[1]), [(seconds(30), vec![1])]);
        assert_eq!(of(10, 30, &[1]), [(seconds(0), vec![1])], "no more than there is");
        assert_eq!(of(30, 10, &[]), []);
    }
}
