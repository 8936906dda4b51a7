//! What a deployment asks for, as one exact value.

use std::collections::BTreeMap;

use coracle_api::selector::LabelSelector;
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How one template replaces another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// At most `surge` pods too many, at most `unavailable` too few.
    Rolling { surge: i32, unavailable: i32 },
    /// All old ones go before the first new one comes.
    Recreate,
}

/// A deployment's wishes.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    pub name: &'a str,
    pub generation: i64,
    pub replicas: i32,
    pub strategy: Strategy,
    pub paused: bool,
    pub deleting: bool,
    pub min_ready_seconds: i32,
    pub progress_deadline: Option<SignedDuration>,
    /// How many old, empty replica sets are kept; `None` keeps all.
    pub history_limit: Option<usize>,
    pub selector: LabelSelector,
    pub template: &'a PodTemplateSpec,
    pub annotations: &'a BTreeMap<String, String>,
    pub object: &'a Deployment,
}

static NO_ANNOTATIONS: BTreeMap<String, String> = BTreeMap::new();

impl<'a> Target<'a> {
    /// Reads `deployment`; `None` when it has no selector that could be acted on, which the API server does not let
    /// through.
    pub fn of(deployment: &'a Deployment) -> Option<Self> {
        let (meta, spec) = (&deployment.metadata, deployment.spec.as_ref()?);
        let replicas = spec.replicas.unwrap_or(1).max(0);
        Some(Self {
            name: meta.name.as_deref()?,
            generation: meta.generation.unwrap_or_default(),
            replicas,
            strategy: strategy(spec, replicas),
            paused: spec.paused.unwrap_or(false),
            deleting: meta.deletion_timestamp.is_some(),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            progress_deadline: limit(spec.progress_deadline_seconds).map(|s| SignedDuration::from_secs(i64::from(s))),
            history_limit: limit(spec.revision_history_limit).map(|count| usize::try_from(count).unwrap_or(0)),
            selector: LabelSelector::of_typed(Some(&spec.selector)).ok()?,
            template: &spec.template,
            annotations: meta.annotations.as_ref().unwrap_or(&NO_ANNOTATIONS),
            object: deployment,
        })
    }

    /// How many pods there may be beyond `replicas` while rolling.
    pub fn surge(&self) -> i32 {
        match self.strategy {
            Strategy::Rolling { surge, .. } => surge,
            Strategy::Recreate => 0,
        }
    }

    /// How many pods may be missing of `replicas`.
    pub fn unavailable(&self) -> i32 {
        match self.strategy {
            Strategy::Rolling { unavailable, .. } => unavailable.min(self.replicas),
            Strategy::Recreate => 0,
        }
    }

    /// The most pods that there may be.
    pub fn replicas_max(&self) -> i32 {
        self.replicas.saturating_add(self.surge())
    }

    pub fn status(&self) -> DeploymentStatus {
        self.object.status.clone().unwrap_or_default()
    }
}

/// `i32::MAX` is how a manifest says that there is no limit.
fn limit(value: Option<i32>) -> Option<i32> {
    value.filter(|value| *value != i32::MAX)
}

/// Source: upstream resolves the fenceposts of a rolling update with the surge rounded up and the unavailable rounded
/// down, and lets one be unavailable where both are zero.
fn strategy(spec: &DeploymentSpec, replicas: i32) -> Strategy {
    let strategy = spec.strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return Strategy::Recreate;
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".to_owned());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).unwrap_or(&quarter);
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&quarter);
    let (surge, unavailable) = (portion(surge, replicas, Round::Up), portion(unavailable, replicas, Round::Down));
    match (surge, unavailable) {
        (0, 0) => Strategy::Rolling { surge: 0, unavailable: 1 },
        (surge, unavailable) => Strategy::Rolling { surge, unavailable },
    }
}

enum Round {
    Up,
    Down,
}

/// A number, or a percentage of `total`; what is neither (the API server lets none through) is nothing.
fn portion(value: &IntOrString, total: i32, round: Round) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
            let hundredfold = percent.max(0).saturating_mul(i64::from(total));
            let portion = match round {
                Round::Up => hundredfold.saturating_add(99) / 100,
                Round::Down => hundredfold / 100,
            };
            i32::try_from(portion).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_round_towards_more_pods() {
        let percent = |text: &str| IntOrString::String(text.to_owned());
        let cases = [
            (IntOrString::Int(3), 10, 3, 3),
            (percent("25%"), 10, 3, 2),
            (percent("25%"), 4, 1, 1),
            (percent("25%"), 1, 1, 0),
            (percent("0%"), 10, 0, 0),
            (percent("100%"), 7, 7, 7),
            (percent("25%"), 0, 0, 0),
        ];
        for (value, total, up, down) in cases {
            let rounded = (portion(&value, total, Round::Up), portion(&value, total, Round::Down));
            assert_eq!(rounded, (up, down), "{value:?} of {total}");
        }
    }
}
