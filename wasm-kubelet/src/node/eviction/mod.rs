//! Keeps the node from running short of memory and disk: conditions that keep pods away, and pods that go, the one first
//! that takes more than it asked for and matters least.
//!
//! ```text
//! observe ─▶ [signal] ─▶ [decide] against [threshold]s ─▶ conditions of the node ─▶ [admit]
//!                            └▶ reclaim: logs of the dead, unused images; then the first by [rank], with a [message]
//! ```
//!
//! All of these are pure; [`usage`] counts what pods have, and [`manager`] acts. [`local`] is what a single pod may have,
//! whether the disk is full or not. Source: kubelet, `pkg/kubelet/eviction`.

pub mod admit;
pub mod decide;
pub mod local;
pub mod manager;
pub mod message;
pub mod rank;
pub mod signal;
pub mod threshold;
pub mod usage;

pub use signal::{Level, Observations, Observe, Pressures, Signal};
pub use threshold::{Eviction, Limit, Threshold, ThresholdError, Value, thresholds};
