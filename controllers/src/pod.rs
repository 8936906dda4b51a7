//! What the controllers ask about a pod, answered from the object alone.
//!
//! Nothing here knows a client or a clock: where an answer depends on the time, the time is an argument.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Pending,
    Unknown,
    Running,
    Succeeded,
    Failed,
}

/// The phase; a pod that nobody has reported on is pending.
pub fn phase(pod: &Pod) -> Phase {
    match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some("Unknown") => Phase::Unknown,
        _ => Phase::Pending,
    }
}

/// Whether all its containers have ended for good.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), Phase::Succeeded | Phase::Failed)
}

/// Whether somebody has asked for its deletion.
pub fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether it counts as a replica: neither finished nor going.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_deleting(pod)
}

/// The condition of type `kind`.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// Whether it may be given traffic.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Since when it has been ready, if it is.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// How far a pod is from having been ready for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    Available,
    /// Ready; available once this has passed.
    In(SignedDuration),
    NotReady,
}

/// Whether the pod has been ready for `min_ready`.
///
/// Source: a pod is available once it has been ready for `minReadySeconds`.
pub fn availability(pod: &Pod, min_ready: SignedDuration, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::NotReady;
    }
    if min_ready.is_zero() {
        return Availability::Available;
    }
    match ready_since(pod) {
        None => Availability::NotReady,
        Some(since) => {
            let left = min_ready - now.duration_since(since);
            if left <= SignedDuration::ZERO { Availability::Available } else { Availability::In(left) }
        }
    }
}

/// The node that it was bound to.
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Its addresses, the primary one first.
pub fn addresses(pod: &Pod) -> Vec<&str> {
    let Some(status) = &pod.status else { return Vec::new() };
    let listed: Vec<&str> = status.pod_ips.iter().flatten().map(|address| address.ip.as_str()).collect();
    if listed.is_empty() { status.pod_ip.as_deref().into_iter().filter(|ip| !ip.is_empty()).collect() } else { listed }
}

/// Its most restarted container's count: of the main ones, then of the sidecars.
pub fn restarts(pod: &Pod) -> (i32, i32) {
    let Some(status) = &pod.status else { return (0, 0) };
    let most = |statuses: &Option<Vec<k8s_openapi::api::core::v1::ContainerStatus>>, counts: &dyn Fn(&str) -> bool| {
        statuses.iter().flatten().filter(|one| counts(&one.name)).map(|one| one.restart_count).max().unwrap_or(0)
    };
    let is_sidecar = |name: &str| {
        let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        containers.into_iter().any(|one| one.name == name && one.restart_policy.as_deref() == Some("Always"))
    };
    (most(&status.container_statuses, &|_| true), most(&status.init_container_statuses, &is_sidecar))
}

#[cfg(test)]
pub(crate) mod build {
    //! Pods for tests, in the words of what a test is about.

    use super::*;
    use k8s_openapi::api::core::v1::{PodIP, PodSpec, PodStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

    pub fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).expect("in range")
    }

    pub fn pod(name: &str) -> Pod {
        Pod {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("default".into()),
                uid: Some(format!("uid-{name}")),
                creation_timestamp: Some(Time(at(0))),
                ..Default::default()
            },
            spec: Some(PodSpec::default()),
            status: Some(PodStatus { phase: Some("Pending".into()), ..Default::default() }),
        }
    }

    pub fn with(mut pod: Pod, change: impl FnOnce(&mut Pod)) -> Pod {
        change(&mut pod);
        pod
    }

    pub fn on(pod: Pod, node: &str) -> Pod {
        with(pod, |pod| pod.spec.get_or_insert_default().node_name = Some(node.into()))
    }

    pub fn in_phase(pod: Pod, phase: &str) -> Pod {
        with(pod, |pod| pod.status.get_or_insert_default().phase = Some(phase.into()))
    }

    pub fn ready(pod: Pod, since: i64) -> Pod {
        let pod = in_phase(pod, "Running");
        with(pod, |pod| {
            pod.status.get_or_insert_default().conditions.get_or_insert_default().push(PodCondition {
                type_: "Ready".into(),
                status: "True".into(),
                last_transition_time: Some(Time(at(since))),
                ..Default::default()
            })
        })
    }

    pub fn deleting(pod: Pod) -> Pod {
        with(pod, |pod| pod.metadata.deletion_timestamp = Some(Time(at(0))))
    }

    pub fn addressed(pod: Pod, ip: &str) -> Pod {
        with(pod, |pod| {
            let status = pod.status.get_or_insert_default();
            status.pod_ip = Some(ip.into());
            status.pod_ips = Some(vec![PodIP { ip: ip.into() }]);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::build::*;
    use super::*;

    #[test]
    fn available_after_min_ready() {
        let cases = [
            (pod("a"), 0, 100, Availability::NotReady),
            (ready(pod("a"), 0), 0, 0, Availability::Available),
            (ready(pod("a"), 0), 10, 4, Availability::In(SignedDuration::from_secs(6))),
            (ready(pod("a"), 0), 10, 10, Availability::Available),
        ];
        for (pod, min_ready, now, expected) in cases {
            assert_eq!(availability(&pod, SignedDuration::from_secs(min_ready), at(now)), expected);
        }
    }

    #[test]
    fn active_until_finished_or_going() {
        assert!(is_active(&pod("a")));
        assert!(!is_active(&in_phase(pod("a"), "Failed")));
        assert!(!is_active(&in_phase(pod("a"), "Succeeded")));
        assert!(!is_active(&deleting(ready(pod("a"), 0))));
    }
}
