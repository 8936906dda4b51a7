//! How many pods to make, or which to delete. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::rank;

/// The most pods that are created or deleted in one go; the rest follow once these were seen.
///
/// Source: `BurstReplicas`.
pub const BURST_PODS_MAX: usize = 500;

/// What is known when a set is looked at.
#[derive(Debug)]
pub struct Observed {
    pub wanted: usize,
    /// The set is being deleted: its pods are the garbage collector's.
    pub deleting: bool,
    /// Every pod that was made or deleted before has been seen since: the cache can be believed.
    pub settled: bool,
    pub active: Vec<Arc<Pod>>,
    /// The pods of all sets of the same owner, needed only where there are too many.
    pub related: Vec<Arc<Pod>>,
    pub now: Timestamp,
}

/// What to do about the number of pods.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    Keep,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

/// Decides. With an unsettled cache nothing is done, so that no pod is made or deleted twice.
pub fn plan(observed: Observed) -> Plan {
    if observed.deleting || !observed.settled {
        return Plan::Keep;
    }
    let (have, want) = (observed.active.len(), observed.wanted);
    if have < want {
        Plan::Create((want - have).min(BURST_PODS_MAX))
    } else if have > want {
        let count = (have - want).min(BURST_PODS_MAX);
        Plan::Delete(rank::expendable(observed.active, count, &observed.related, observed.now))
    } else {
        Plan::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::build::*;

    fn observed(wanted: usize, have: usize) -> Observed {
        let active = (0..have).map(|n| Arc::new(ready(pod(&format!("p{n:04}")), 0))).collect();
        Observed { wanted, deleting: false, settled: true, active, related: Vec::new(), now: at(10) }
    }

    #[test]
    fn makes_the_difference() {
        assert_eq!(plan(observed(3, 3)), Plan::Keep);
        assert_eq!(plan(observed(3, 1)), Plan::Create(2));
        assert_eq!(plan(observed(2000, 0)), Plan::Create(BURST_PODS_MAX));
        let Plan::Delete(pods) = plan(observed(1, 3)) else { panic!("too many are not deleted") };
        assert_eq!(pods.len(), 2);
    }

    #[test]
    fn waits_for_the_cache_and_leaves_a_dying_set_alone() {
        assert_eq!(plan(Observed { settled: false, ..observed(3, 0) }), Plan::Keep);
        assert_eq!(plan(Observed { deleting: true, ..observed(0, 3) }), Plan::Keep);
    }
}
