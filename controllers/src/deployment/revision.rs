//! Revisions: which replica set is the template's, which number it has, and how many old ones are kept.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::draft::{Counts, Draft};
use super::target::Target;
use super::template;
use crate::ownership::controller_reference;

pub const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// How much of [`REVISION_HISTORY`] is kept; the oldest revisions are dropped first.
const HISTORY_BYTES_MAX: usize = 2000;

/// A deployment's annotations that say something of the deployment alone.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// Finds the replica set of the target's template, and the others. Where two have it, the oldest is the one.
pub fn split(target: &Target<'_>, sets: &[Arc<ReplicaSet>]) -> (Option<Draft>, Vec<Draft>) {
    let mut drafts: Vec<Draft> = sets.iter().cloned().map(Draft::of).collect();
    drafts.sort_by(|one, other| one.age().cmp(&other.age()));
    let new = drafts.iter().position(|draft| has_template(draft, target)).map(|at| drafts.remove(at));
    (new, drafts)
}

fn has_template(draft: &Draft, target: &Target<'_>) -> bool {
    let template = draft.stored.as_ref().and_then(|set| set.spec.as_ref()?.template.as_ref());
    template.is_some_and(|template| template::same(template, target.template))
}

/// The number that the new replica set has to have: one more than any old one.
pub fn next(old: &[Draft]) -> i64 {
    old.iter().map(Draft::revision).max().unwrap_or(0) + 1
}

/// Brings the new set's annotations up to date: the deployment's own, and `revision`, where that is higher than the
/// one it has. A set that had a revision before is one that was rolled back to, and remembers it.
///
/// Source: `SetNewReplicaSetAnnotations`.
pub fn annotate(draft: &mut Draft, target: &Target<'_>, revision: i64) {
    let copied = target.annotations.iter().filter(|(key, _)| !NOT_COPIED.contains(&key.as_str()));
    draft.annotations.extend(copied.map(|(key, value)| (key.clone(), value.clone())));
    let before = draft.annotations.get(REVISION).cloned();
    if before.as_ref().is_some_and(|before| !before.is_empty() && before.parse::<i64>().is_err()) {
        return;
    }
    if draft.revision() < revision {
        draft.annotations.insert(REVISION.to_owned(), revision.to_string());
        if let Some(before) = before {
            let history = draft.annotations.get(REVISION_HISTORY).map(String::as_str).unwrap_or_default();
            let history = remember(history, &before);
            draft.annotations.insert(REVISION_HISTORY.to_owned(), history);
        }
    }
}

fn remember(history: &str, revision: &str) -> String {
    let mut revisions: Vec<&str> = history.split(',').filter(|one| !one.is_empty()).collect();
    revisions.push(revision);
    let mut joined = revisions.join(",");
    while joined.len() > HISTORY_BYTES_MAX && revisions.len() > 1 {
        revisions.remove(0);
        joined = revisions.join(",");
    }
    joined
}

/// The replica set of the target's template, before it is created, and without pods.
pub fn draft(target: &Target<'_>, revision: i64) -> Draft {
    let collisions = target.object.status.as_ref().and_then(|status| status.collision_count);
    let hash = template::hash(target.template, collisions);
    let mut draft = Draft {
        stored: None,
        name: format!("{}-{hash}", target.name),
        replicas: 0,
        annotations: BTreeMap::new(),
        min_ready_seconds: target.min_ready_seconds,
        counts: Counts::default(),
        failure: None,
    };
    annotate(&mut draft, target, revision);
    draft.note_size(target);
    draft
}

/// The object of a [`draft`].
pub fn object(draft: &Draft, target: &Target<'_>) -> ReplicaSet {
    let hash = draft.name.rsplit('-').next().unwrap_or_default().to_owned();
    let mut template = target.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(template::HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(draft.name.clone()),
            namespace: target.object.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(draft.annotations.clone()),
            owner_references: Some(vec![controller_reference(target.object)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(draft.replicas),
            min_ready_seconds: Some(draft.min_ready_seconds),
            selector: selector(target, hash),
            template: Some(template),
        }),
        status: None,
    }
}

fn selector(target: &Target<'_>, hash: String) -> LabelSelector {
    let mut selector = target.object.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default();
    selector.match_labels.get_or_insert_default().insert(template::HASH_LABEL.to_owned(), hash);
    selector
}

/// The old replica sets that are beyond the history limit: the lowest revisions, of those that are empty and settled.
pub fn surplus(target: &Target<'_>, old: &[Draft]) -> Vec<Arc<ReplicaSet>> {
    let Some(limit) = target.history_limit else { return Vec::new() };
    let mut alive: Vec<&Draft> = old.iter().filter(|draft| !is_deleting(draft)).collect();
    let surplus = alive.len().saturating_sub(limit);
    alive.sort_by(|one, other| by_revision(one, other));
    let empty = alive.into_iter().take(surplus).filter(|draft| is_empty(draft));
    empty.filter_map(|draft| draft.stored.clone()).collect()
}

fn by_revision(one: &Draft, other: &Draft) -> Ordering {
    one.revision().cmp(&other.revision()).then_with(|| one.age().cmp(&other.age()))
}

fn is_deleting(draft: &Draft) -> bool {
    draft.stored.as_ref().is_some_and(|set| set.metadata.deletion_timestamp.is_some())
}

fn is_empty(draft: &Draft) -> bool {
    draft.replicas == 0 && draft.counts.actual == 0 && draft.is_observed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_drops_the_oldest() {
        assert_eq!(remember("", "1"), "1");
        assert_eq!(remember("1,3", "5"), "1,3,5");
        let long = (1000..1500).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let kept = remember(&long, "7");
        assert!(kept.len() <= HISTORY_BYTES_MAX && kept.ends_with("1499,7"));
    }
}
