//! What a terminating namespace says, and whether it may go. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The finalizer that this controller takes away, last.
pub const FINALIZER: &str = "kubernetes";

/// What was found when everything had been asked to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Groups whose resources could not be asked for.
    pub undiscovered: Vec<String>,
    /// Resources that could not be deleted or listed.
    pub undeleted: Vec<String>,
    /// How many objects are left, by resource (`pods.`).
    pub remaining: BTreeMap<String, usize>,
    /// How many of them wait for a finalizer, by its name.
    pub finalizers: BTreeMap<String, usize>,
}

impl Contents {
    fn are_gone(&self) -> bool {
        self.undiscovered.is_empty() && self.undeleted.is_empty() && self.remaining.is_empty()
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Nothing is left.
    Finalize(Namespace),
    /// Look again soon; before, write the status if there is a new one.
    Wait(Option<Namespace>),
}

/// Decides.
pub fn plan(namespace: &Namespace, contents: &Contents, now: Timestamp) -> Plan {
    let mut next = namespace.clone();
    if contents.are_gone() {
        if let Some(finalizers) = next.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        return Plan::Finalize(next);
    }
    let status = next.status.get_or_insert_default();
    status.phase = Some("Terminating".to_owned());
    for condition in conditions(contents, now) {
        set(status, condition);
    }
    Plan::Wait((next.status != namespace.status).then_some(next))
}

/// Source: the types, reasons and messages of upstream's namespace conditions.
fn conditions(contents: &Contents, now: Timestamp) -> [NamespaceCondition; 5] {
    let Contents { undiscovered, undeleted, remaining, finalizers } = contents;
    let condition = |kind: &str, problem: Option<(&str, String)>, (reason, message): (&str, &str)| {
        let (status, reason, message) = match problem {
            Some((reason, message)) => ("True", reason.to_owned(), message),
            None => ("False", reason.to_owned(), message.to_owned()),
        };
        NamespaceCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        }
    };
    let failing =
        |count: usize| format!("Discovery failed for some groups, {count} failing: {}", undiscovered.join(", "));
    let undeletable =
        |count: usize| format!("Failed to delete all resource types, {count} remaining: {}", undeleted.join(", "));
    let counted = |counts: &BTreeMap<String, usize>, verb: &str| {
        let each: Vec<String> =
            counts.iter().map(|(name, count)| format!("{name} {verb} {count} resource instances")).collect();
        each.join(", ")
    };
    [
        condition(
            "NamespaceDeletionDiscoveryFailure",
            (!undiscovered.is_empty()).then(|| ("DiscoveryFailed", failing(undiscovered.len()))),
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        condition(
            "NamespaceDeletionContentFailure",
            (!undeleted.is_empty()).then(|| ("ContentDeletionFailed", undeletable(undeleted.len()))),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        condition(
            "NamespaceContentRemaining",
            (!remaining.is_empty()).then(|| {
                ("SomeResourcesRemain", format!("Some resources are remaining: {}", counted(remaining, "has")))
            }),
            ("ContentRemoved", "All content successfully removed"),
        ),
        condition(
            "NamespaceFinalizersRemaining",
            (!finalizers.is_empty()).then(|| {
                let left = counted(finalizers, "in");
                ("SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {left}"))
            }),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]
}

/// Keeps the time of the last transition where the status does not change.
fn set(status: &mut NamespaceStatus, mut condition: NamespaceCondition) {
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|current| current.type_ == condition.type_) {
        Some(current) => {
            if current.status == condition.status {
                condition.last_transition_time = current.last_transition_time.clone();
            }
            *current = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::build::at;
    use k8s_openapi::api::core::v1::NamespaceSpec;

    fn namespace() -> Namespace {
        let finalizers = Some(vec![FINALIZER.to_owned(), "example.com/mine".to_owned()]);
        Namespace { spec: Some(NamespaceSpec { finalizers }), ..Namespace::default() }
    }

    #[test]
    fn an_empty_namespace_loses_our_finalizer_only() {
        let Plan::Finalize(next) = plan(&namespace(), &Contents::default(), at(0)) else { panic!("waits for nothing") };
        assert_eq!(next.spec.and_then(|spec| spec.finalizers), Some(vec!["example.com/mine".to_owned()]));
    }

    #[test]
    fn what_remains_is_said_once() {
        let contents = Contents {
            remaining: [("pods.".to_owned(), 2)].into(),
            finalizers: [("example.com/hold".to_owned(), 1)].into(),
            ..Contents::default()
        };
        let Plan::Wait(Some(next)) = plan(&namespace(), &contents, at(0)) else { panic!("says nothing") };
        let said: Vec<String> = next
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .map(|one| format!("{} {} {}", one.type_, one.status, one.message.as_deref().unwrap_or_default()))
            .collect();
        assert_eq!(
            said,
            [
                "NamespaceDeletionDiscoveryFailure False All resources successfully discovered",
                "NamespaceDeletionGroupVersionParsingFailure False All legacy kube types successfully parsed",
                "NamespaceDeletionContentFailure False All content successfully deleted, may be waiting on finalization",
                "NamespaceContentRemaining True Some resources are remaining: pods. has 2 resource instances",
                "NamespaceFinalizersRemaining True Some content in the namespace has finalizers remaining: \
             example.com/hold in 1 resource instances",
            ]
        );
        assert_eq!(plan(&next, &contents, at(60)), Plan::Wait(None));
    }
}
