//! What can happen in a cluster that lets a pod fit which did not.

use crate::node::{NodeInfo, Offer};
use crate::pod::PodInfo;

/// A change, as the filters are asked about it. Source: `ClusterEvent` and queueing hints.
#[derive(Clone, Copy, Debug)]
pub enum ClusterEvent<'a> {
    /// A node came.
    NodeAdded(&'a NodeInfo),
    /// A node says something else of itself.
    NodeChanged { old: &'a Offer, new: &'a NodeInfo },
    /// A pod left its node, or will not come to it after all.
    PodGone(&'a PodInfo),
}

impl<'a> ClusterEvent<'a> {
    /// The node, where it is about one.
    pub fn node(&self) -> Option<&'a NodeInfo> {
        match self {
            Self::NodeAdded(node) | Self::NodeChanged { new: node, .. } => Some(node),
            Self::PodGone(_) => None,
        }
    }
}
