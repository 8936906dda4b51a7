//! A change of size, in the middle of a rollout or while paused: every template gets its share.
//!
//! Source: upstream's proportional scaling.

use std::cmp::Reverse;

use super::draft::Draft;
use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS};
use super::rollout::Rollout;
use super::target::{Strategy, Target};

/// Whether an active set was last sized for another size of the deployment. Of no account when recreating, where only
/// the new set ever grows.
pub fn is_due(rollout: &Rollout<'_>) -> bool {
    let target = rollout.target;
    let outdated =
        |draft: &Draft| draft.number(DESIRED_REPLICAS).is_some_and(|size| size != i64::from(target.replicas));
    let rolling = matches!(target.strategy, Strategy::Rolling { .. });
    rolling && rollout.all().filter(|draft| draft.is_active()).any(outdated)
}

/// Plans the sizes.
pub fn step(rollout: &mut Rollout<'_>) {
    let target = rollout.target;
    if let Some(only) = active_or_latest(rollout) {
        only.scale(target.replicas, target);
        return;
    }
    if rollout.new.as_ref().is_some_and(|new| new.is_saturated(target)) {
        rollout.old.iter_mut().filter(|old| old.is_active()).for_each(|old| old.scale(0, target));
        return;
    }
    if matches!(target.strategy, Strategy::Rolling { .. }) {
        share_out(rollout);
    }
}

/// The one set with pods; with none, the new one or else the latest; with several, none.
fn active_or_latest<'r>(rollout: &'r mut Rollout<'_>) -> Option<&'r mut Draft> {
    let active = rollout.all().filter(|draft| draft.is_active()).count();
    match active {
        0 if rollout.new.is_some() => rollout.new.as_mut(),
        0 => rollout.old.last_mut(),
        1 => rollout.old.iter_mut().chain(&mut rollout.new).find(|draft| draft.is_active()),
        _ => None,
    }
}

/// Adds or takes what the deployment's size has changed by, in proportion to the sets' sizes; what rounding leaves
/// goes to the largest.
fn share_out(rollout: &mut Rollout<'_>) {
    let target = rollout.target;
    let allowed = if target.replicas > 0 { target.replicas_max() } else { 0 };
    let change = allowed - rollout.replicas();
    let mut active: Vec<&mut Draft> =
        rollout.old.iter_mut().chain(&mut rollout.new).filter(|draft| draft.is_active()).collect();
    // Of two of one size, the newer grows first and the older shrinks first.
    active.sort_by(|one, other| {
        let by_age = if change > 0 { other.age().cmp(&one.age()) } else { one.age().cmp(&other.age()) };
        Reverse(one.replicas).cmp(&Reverse(other.replicas)).then(by_age)
    });
    let mut left = change;
    let shares: Vec<i32> = active
        .iter()
        .map(|draft| {
            let share = share(draft, target, left);
            left -= share;
            share
        })
        .collect();
    for (at, (draft, share)) in active.into_iter().zip(shares).enumerate() {
        let leftover = if at == 0 { left } else { 0 };
        draft.scale(draft.replicas + share + leftover, target);
    }
}

/// What one set gets of the `left` pods to add (or, negative, to take).
fn share(draft: &Draft, target: &Target<'_>, left: i32) -> i32 {
    if left == 0 {
        return 0;
    }
    let fraction = fraction(draft, target);
    if left > 0 { fraction.clamp(0, left) } else { fraction.clamp(left, 0) }
}

/// By how much the set changes if it keeps its part of the whole.
fn fraction(draft: &Draft, target: &Target<'_>) -> i32 {
    if target.replicas == 0 {
        return -draft.replicas;
    }
    let noted = draft.number(MAX_REPLICAS).filter(|size| *size > 0);
    let before = noted.or_else(|| target.status().replicas.filter(|size| *size > 0).map(i64::from));
    let Some(before) = before else { return 0 };
    let scaled = f64::from(draft.replicas) * f64::from(target.replicas_max()) / before as f64;
    scaled.round() as i32 - draft.replicas
}
