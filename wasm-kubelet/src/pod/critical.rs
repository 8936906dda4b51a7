//! Which pods the cluster cannot do without. Source: kubelet, `IsCriticalPod`.

use k8s_openapi::api::core::v1 as core;

/// Source: `scheduling.SystemCriticalPriority`.
pub const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// Whether the node keeps a pod whatever it is short of: it comes from the node itself, or its priority says so. Its own
/// annotations say nothing of where it comes from, since whoever writes it may write them.
pub fn is_critical(pod: &core::Pod, is_static: bool) -> bool {
    is_static || pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0) >= CRITICAL_PRIORITY
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;

    #[test]
    fn the_nodes_own_pods_and_those_of_the_highest_priorities_are_critical() {
        let table = [
            (false, 0, false),
            (true, 0, true),
            (false, CRITICAL_PRIORITY - 1, false),
            (false, CRITICAL_PRIORITY, true),
        ];
        for (is_static, priority, want) in table {
            // What it says itself of where it comes from counts for nothing.
            let json = format!(
                r#"{{"metadata":{{"name":"p","annotations":{{"kubernetes.io/config.source":"file","kubernetes.io/config.mirror":"x"}}}},
                "spec":{{"containers":[],"priority":{priority}}}}}"#
            );
            let pod = core::Pod::decode(json.as_bytes()).unwrap();
            assert_eq!(is_critical(&pod, is_static), want, "{is_static} {priority}");
        }
    }
}
