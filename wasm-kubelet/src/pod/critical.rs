//! Which pods the cluster cannot do without. Source: kubelet, `IsCriticalPod`.

use k8s_openapi::api::core::v1 as core;

/// Source: `scheduling.SystemCriticalPriority`.
pub const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// Whether the node keeps a pod whatever it is short of: it comes from the node itself, or its priority says so. Its own
/// annotations say nothing of where it comes from, since whoever writes it may write them.
pub fn is_critical(pod: &core::Pod, is_static: bool) -> bool {
    is_static || pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0) >= CRITICAL_PRIORITY
}
