//! coracle-kubelet
