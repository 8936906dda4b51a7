//! The recreate strategy: nothing of the new template runs while anything of an old one does.
//!
//! Source: upstream's recreate deployment.

use super::rollout::Rollout;

/// Plans the next step.
pub fn step(rollout: &mut Rollout<'_>) {
    rollout.sync_new();
    if rollout.old_replicas() > 0 {
        for old in rollout.old.iter_mut().filter(|old| old.is_active()) {
            old.scale(0, rollout.target);
        }
        return;
    }
    if !old_pods_run(rollout) {
        rollout.sync_or_create_new();
        rollout.grow_new();
    }
}

/// Whether an old pod is left, be it on its way out.
fn old_pods_run(rollout: &Rollout<'_>) -> bool {
    let reported: i32 = rollout.old.iter().map(|old| old.counts.actual).sum();
    let new = rollout.new.as_ref().and_then(|new| new.uid());
    reported > 0 || rollout.pods.iter().any(|(set, count)| Some(set.as_str()) != new && *count > 0)
}
