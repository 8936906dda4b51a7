//! Pods that no API server gave this node: each is a file of a folder, and runs for as long as the file is there.
//!
//! ```text
//! folder ─▶ [folder] ─▶ [manifest]: a pod, or why not ─▶ [store] ─▶ workers
//!                                                          │ ▲ status, kept on disk by [saved]
//!                                        API ◀─ [mirror] ◀─┘
//! ```
//!
//! Invariants: nothing on the way from the file to the running pod asks the API server; what a static pod is, the file
//! alone says; the API's pods of the same name are [`mirror`]s, which nobody here runs. Source: kubelet, `pkg/kubelet/config`
//! and `pkg/kubelet/pod`.

pub mod folder;
pub mod manifest;
pub mod mirror;
mod references;
mod saved;
pub mod store;

use k8s_openapi::api::core::v1::Pod;

pub use folder::Folder;
pub use mirror::Mirrors;
pub use store::StaticPods;

/// Where a pod comes from; `file` for a static one.
const SOURCE: &str = "kubernetes.io/config.source";
/// What tells a static pod from what its file said before.
const HASH: &str = "kubernetes.io/config.hash";
/// When its file was first seen to say so.
const SEEN: &str = "kubernetes.io/config.seen";
/// Of a mirror: the [`HASH`] of the pod that it shows.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether the API's pod only shows one that a kubelet runs by itself.
pub fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, MIRROR).is_some()
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}
