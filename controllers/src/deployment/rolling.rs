//! The rolling update: the new set grows into the surge, the old ones shrink as far as availability allows.
//!
//! Source: upstream's rolling deployment. It grows and shrinks in separate looks; here one plan does both, within the
//! same two bounds, since the drafts of the growing are what the shrinking counts.

use super::rollout::Rollout;

/// Plans the next step.
pub fn step(rollout: &mut Rollout<'_>) {
    rollout.sync_or_create_new();
    rollout.grow_new();
    shrink_old(rollout);
}

fn shrink_old(rollout: &mut Rollout<'_>) {
    if rollout.old_replicas() == 0 {
        return;
    }
    let new_unavailable = rollout.new.as_ref().map_or(0, |new| new.replicas - new.available_for_sure());
    let most = rollout.replicas() - rollout.available_min() - new_unavailable;
    drop_unhealthy(rollout, most);
    drop_healthy(rollout);
}

/// Takes pods that are not available anyway from the oldest sets first: up to `most`. Without this, an update that
/// replaces a broken template would wait for pods that never come up.
fn drop_unhealthy(rollout: &mut Rollout<'_>, most: i32) {
    let mut left = most.max(0);
    for old in &mut rollout.old {
        let dropped = (old.replicas - old.available()).min(left);
        if dropped > 0 {
            old.scale(old.replicas - dropped, rollout.target);
            left -= dropped;
        }
    }
}

/// Takes available pods from the oldest sets first, as long as enough remain.
fn drop_healthy(rollout: &mut Rollout<'_>) {
    let mut left = (rollout.available() - rollout.available_min()).max(0);
    for old in &mut rollout.old {
        let dropped = old.replicas.min(left);
        if dropped > 0 {
            old.scale(old.replicas - dropped, rollout.target);
            left -= dropped;
        }
    }
}
