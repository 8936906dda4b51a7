//! Which nodes a pod can run on. A filter looks at one node and says why not; it also says which events could change
//! its mind, so that a rejected pod is not tried again for nothing.

pub mod affinity;
pub mod fit;
pub mod node_name;
pub mod ports;
pub mod taints;
pub mod unschedulable;

use crate::event::ClusterEvent;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// The filters in the order that they are asked in; the first that rejects a node decides about it. Cheap ones and
/// those that reject most come first. Source: the default plugins' order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    Unschedulable,
    NodeName,
    Taints,
    Affinity,
    Ports,
    Fit,
}

impl Filter {
    pub const ALL: [Self; 6] =
        [Self::Unschedulable, Self::NodeName, Self::Taints, Self::Affinity, Self::Ports, Self::Fit];

    /// Why the pod cannot run on the node; empty when it can, as far as this filter goes.
    pub fn reasons(self, pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
        match self {
            Self::Unschedulable => unschedulable::reason(pod, node).into_iter().collect(),
            Self::NodeName => node_name::reason(pod, node).into_iter().collect(),
            Self::Taints => taints::reason(pod, node).into_iter().collect(),
            Self::Affinity => affinity::reason(pod, node).into_iter().collect(),
            Self::Ports => ports::reason(pod, node).into_iter().collect(),
            Self::Fit => fit::reasons(pod, node),
        }
    }

    /// Whether the event could make this filter accept a node that it rejected.
    pub fn is_helped(self, pod: &PodInfo, event: &ClusterEvent<'_>) -> bool {
        match self {
            Self::Unschedulable => unschedulable::is_helped(pod, event),
            Self::NodeName => node_name::is_helped(pod, event),
            Self::Taints => taints::is_helped(pod, event),
            Self::Affinity => affinity::is_helped(pod, event),
            Self::Ports => ports::is_helped(pod, event),
            Self::Fit => fit::is_helped(pod, event),
        }
    }
}

/// What an event does for a pod that fits nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Help {
    None,
    /// It is worth a try.
    Fits,
    /// Who rejected the pod is pleased, but others reject it there: from now on these are in the way too.
    Shifted(FilterSet),
}

/// A set of filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterSet(u8);

impl FilterSet {
    pub fn insert(&mut self, filter: Filter) {
        self.0 |= 1 << filter as u8;
    }

    /// What the event does for a pod that these rejected everywhere (or nobody, as there was no node). A node must please
    /// more than who rejected others: it helps only if the pod fits there.
    pub fn help(self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Help {
        let could = self == Self::default() || self.iter().any(|filter| filter.is_helped(pod, event));
        if !could {
            return Help::None;
        }
        let rejects = |node| Filter::ALL.into_iter().filter(move |filter| !filter.reasons(pod, node).is_empty());
        let mut now = self;
        event.node().into_iter().flat_map(rejects).for_each(|filter| now.insert(filter));
        if event.node().is_some_and(|node| rejects(node).next().is_some()) { Help::Shifted(now) } else { Help::Fits }
    }

    pub fn iter(self) -> impl Iterator<Item = Filter> {
        Filter::ALL.into_iter().filter(move |&filter| self.0 & (1 << filter as u8) != 0)
    }
}
