//! Which pods the cluster cannot do without. Source: kubelet, `IsCriticalPod`.

use k8s_openapi::api::core::v1 as core;

/// Source: `scheduling.SystemCriticalPriority`.
pub const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// Whether the node keeps a pod whatever it is short of: it comes from the node itself, or its priority says so.
pub fn is_critical(pod: &core::Pod) -> bool {
    let annotation = |name: &str| pod.metadata.annotations.as_ref()?.get(name);
    let is_static = annotation("kubernetes.io/config.source").is_some_and(|source| source != "api");
    let is_mirror = annotation("kubernetes.io/config.mirror").is_some();
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    is_static || is_mirror || priority >= CRITICAL_PRIORITY
}
