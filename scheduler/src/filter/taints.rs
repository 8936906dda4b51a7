//! Taints keep pods off a node that do not tolerate them. Source: `TaintToleration`.

use std::fmt;

use k8s_openapi::api::core::v1::Taint as TypedTaint;

use crate::event::ClusterEvent;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

/// What a pod tolerates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toleration {
    /// Empty: any key.
    pub key: String,
    /// `None`: any value.
    pub value: Option<String>,
    /// `None`: any effect.
    pub effect: Option<String>,
}

impl Taint {
    pub fn parse(typed: &TypedTaint) -> Self {
        Self {
            key: typed.key.clone(),
            value: typed.value.clone().unwrap_or_default(),
            effect: match typed.effect.as_str() {
                "PreferNoSchedule" => Effect::PreferNoSchedule,
                "NoExecute" => Effect::NoExecute,
                _ => Effect::NoSchedule,
            },
        }
    }
}

impl Effect {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}: {}}}", self.key, self.value)
    }
}

impl Toleration {
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.as_deref().is_none_or(|effect| effect == taint.effect.as_str())
            && (self.key.is_empty() || self.key == taint.key)
            && self.value.as_ref().is_none_or(|value| *value == taint.value)
    }
}

/// The taints with one of `effects` that the pod does not tolerate.
pub fn untolerated<'a>(pod: &'a PodInfo, node: &'a NodeInfo, effects: &'a [Effect]) -> impl Iterator<Item = &'a Taint> {
    let taints = node.offer.taints.iter().filter(|taint| effects.contains(&taint.effect));
    taints.filter(|taint| !pod.tolerations.iter().any(|toleration| toleration.tolerates(taint)))
}

pub fn reason(pod: &PodInfo, node: &NodeInfo) -> Option<String> {
    let taint = untolerated(pod, node, &[Effect::NoSchedule, Effect::NoExecute]).next()?;
    Some(format!("node(s) had untolerated taint {taint}"))
}

pub fn is_helped(pod: &PodInfo, event: &ClusterEvent<'_>) -> bool {
    match event {
        ClusterEvent::NodeAdded(node) => reason(pod, node).is_none(),
        ClusterEvent::NodeChanged { old, new } => old.taints != new.offer.taints && reason(pod, new).is_none(),
        ClusterEvent::PodGone(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_match_by_key_value_and_effect() {
        let taint = Taint { key: "role".into(), value: "db".into(), effect: Effect::NoSchedule };
        let cases = [
            ("role", Some("db"), None, true),
            ("role", Some("db"), Some("NoSchedule"), true),
            ("role", Some("db"), Some("NoExecute"), false),
            ("role", Some("web"), None, false),
            ("role", None, None, true),
            ("other", None, None, false),
            ("", None, None, true),
            ("", None, Some("NoExecute"), false),
        ];
        for (key, value, effect, expected) in cases {
            let toleration =
                Toleration { key: key.into(), value: value.map(str::to_owned), effect: effect.map(str::to_owned) };
            assert_eq!(toleration.tolerates(&taint), expected, "{toleration:?}");
        }
    }
}
