//! When a pod has to leave a node with `NoExecute` taints. Pure.
//!
//! Source: upstream's taint eviction controller.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};

use super::taints::{NO_EXECUTE, NOT_READY, UNREACHABLE};

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stays,
    /// Goes after this; now, when zero.
    Goes {
        after: SignedDuration,
    },
}

/// Decides on one pod. `since` is when a taint without a time of its own was first seen.
pub fn fate(pod: &Pod, taints: &[Taint], since: Timestamp, default_grace: Duration, now: Timestamp) -> Fate {
    let evicting = taints.iter().filter(|taint| taint.effect == NO_EXECUTE);
    let ends = evicting.filter_map(|taint| {
        let start = taint.time_added.as_ref().map_or(since, |time| time.0);
        patience(pod, taint, default_grace).map(|patience| patience - now.duration_since(start))
    });
    match ends.min() {
        None => Fate::Stays,
        Some(left) => Fate::Goes { after: left.max(SignedDuration::ZERO) },
    }
}

/// For how long the pod bears the taint; `None`: forever.
fn patience(pod: &Pod, taint: &Taint, default_grace: Duration) -> Option<SignedDuration> {
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let tolerating: Vec<&Toleration> = tolerations.filter(|toleration| tolerates(toleration, taint)).collect();
    if tolerating.is_empty() {
        let silence = [NOT_READY, UNREACHABLE].contains(&taint.key.as_str());
        let grace = if silence { default_grace } else { Duration::ZERO };
        return Some(SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX));
    }
    let seconds = tolerating.iter().filter_map(|toleration| toleration.toleration_seconds).min()?;
    Some(SignedDuration::from_secs(seconds.max(0)))
}

/// Source: `ToleratesTaint`. No key tolerates every key, no effect every effect.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let effect = given(&toleration.effect).is_none_or(|effect| effect == taint.effect);
    let key = given(&toleration.key).is_none_or(|key| key == taint.key);
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        Some(operator) => compares(operator, toleration.value.as_deref(), taint.value.as_deref()),
    };
    effect && key && value
}

/// `Lt` and `Gt`: the taint's number is less, or greater, than the toleration's.
fn compares(operator: &str, toleration: Option<&str>, taint: Option<&str>) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    match (operator, number(taint), number(toleration)) {
        ("Lt", Some(taint), Some(bound)) => taint < bound,
        ("Gt", Some(taint), Some(bound)) => taint > bound,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::build::{at, pod, with};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn pods_leave_when_their_patience_ends() {
        let taint = |key: &str, effect: &str, added: Option<i64>| Taint {
            key: key.into(),
            effect: effect.into(),
            value: None,
            time_added: added.map(|second| Time(at(second))),
        };
        let bears = |key: &str, seconds: Option<i64>| Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            toleration_seconds: seconds,
            ..Toleration::default()
        };
        let goes = |seconds| Fate::Goes { after: SignedDuration::from_secs(seconds) };
        let cases = [
            (vec![], vec![taint(UNREACHABLE, "NoSchedule", Some(0))], Fate::Stays),
            (vec![], vec![taint("mine", NO_EXECUTE, Some(0))], goes(0)),
            (vec![], vec![taint(UNREACHABLE, NO_EXECUTE, Some(0))], goes(200)),
            (vec![bears(UNREACHABLE, Some(150))], vec![taint(UNREACHABLE, NO_EXECUTE, Some(0))], goes(50)),
            (vec![bears(UNREACHABLE, Some(150))], vec![taint(UNREACHABLE, NO_EXECUTE, None)], goes(140)),
            (vec![bears(UNREACHABLE, Some(99))], vec![taint(UNREACHABLE, NO_EXECUTE, Some(0))], goes(0)),
            (vec![bears(UNREACHABLE, None)], vec![taint(UNREACHABLE, NO_EXECUTE, Some(0))], Fate::Stays),
            (vec![bears("", None)], vec![taint("mine", NO_EXECUTE, Some(0))], Fate::Stays),
            (
                vec![bears(UNREACHABLE, None)],
                vec![taint(UNREACHABLE, NO_EXECUTE, Some(0)), taint("mine", NO_EXECUTE, Some(0))],
                goes(0),
            ),
        ];
        for (tolerations, taints, expected) in cases {
            let pod = with(pod("a"), |pod| pod.spec.get_or_insert_default().tolerations = Some(tolerations.clone()));
            let fate = fate(&pod, &taints, at(90), Duration::from_secs(300), at(100));
            assert_eq!(fate, expected, "{tolerations:?} {taints:?}");
        }
    }
}
