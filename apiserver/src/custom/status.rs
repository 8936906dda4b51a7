//! The conditions of a definition.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/helpers.go` and the controllers that set them.

use std::borrow::Cow;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use coracle_api::validation;

use crate::clock;

/// The finalizer that holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

pub(super) const NAMES_ACCEPTED: &str = "NamesAccepted";
pub(super) const ESTABLISHED: &str = "Established";
const TERMINATING: &str = "Terminating";
const CONFORMANT: &str = "KubernetesAPIApprovalPolicyConformant";

/// What a condition is to say.
pub(crate) struct Condition {
    pub(super) type_: &'static str,
    pub(super) is_true: bool,
    pub(super) reason: &'static str,
    pub(super) message: Cow<'static, str>,
}

impl Condition {
    const fn new(type_: &'static str, is_true: bool, reason: &'static str, message: &'static str) -> Self {
        Self { type_, is_true, reason, message: Cow::Borrowed(message) }
    }
}

pub(super) const NOT_ACCEPTED: Condition =
    Condition::new(ESTABLISHED, false, "NotAccepted", "not all names are accepted");
const INITIAL_NAMES: Condition =
    Condition::new(ESTABLISHED, true, "InitialNamesAccepted", "the initial names have been accepted");
const INVALID_BUNDLE: Condition =
    Condition::new(ESTABLISHED, false, "InvalidCABundle", "The conversion webhook CABundle is invalid");
pub(crate) const DELETION_PENDING: Condition = Condition::new(
    TERMINATING,
    true,
    "InstanceDeletionPending",
    "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
);
pub(super) const DELETION_IN_PROGRESS: Condition =
    Condition::new(TERMINATING, true, "InstanceDeletionInProgress", "CustomResource deletion is in progress");
pub(super) const DELETION_COMPLETED: Condition =
    Condition::new(TERMINATING, false, "InstanceDeletionCompleted", "removed all instances");
pub(super) const NEVER_ESTABLISHED: Condition =
    Condition::new(TERMINATING, false, "NeverEstablished", "resource was never established");

/// Sets a condition. Its time is that of the last change of whether it is true.
pub(crate) fn set(definition: &mut CustomResourceDefinition, condition: &Condition) {
    let Condition { type_, is_true, reason, message } = condition;
    let status = if *is_true { "True" } else { "False" };
    let conditions = definition.status.get_or_insert_default().conditions.get_or_insert_default();
    let at = conditions.iter().position(|one| one.type_ == *type_).unwrap_or_else(|| {
        let type_ = (*type_).to_owned();
        conditions.push(CustomResourceDefinitionCondition { type_, ..Default::default() });
        conditions.len() - 1
    });
    let own = &mut conditions[at];
    if own.status != status {
        own.status = status.to_owned();
        own.last_transition_time = Some(Time(clock::now()));
    }
    own.reason = Some((*reason).to_owned());
    own.message = Some(message.clone().into_owned());
}

/// Says that a definition is established that has got its names. Whether that is new.
pub(super) fn establish(definition: &mut CustomResourceDefinition) -> bool {
    let is_new = is_true(definition, NAMES_ACCEPTED) && !is_true(definition, ESTABLISHED);
    if is_new && validation::ca_bundle(definition).is_none_or(validation::is_ca_bundle) {
        set(definition, &INITIAL_NAMES);
        return true;
    }
    if is_new {
        set(definition, &INVALID_BUNDLE);
    }
    false
}

/// Says of an API of a group of Kubernetes' own whether it was approved.
pub(super) fn conform(definition: &mut CustomResourceDefinition) {
    if let Some((is_true, reason, message)) = validation::approval_of(definition) {
        set(definition, &Condition { type_: CONFORMANT, is_true, reason, message: message.into() });
    }
}

pub(super) fn is_true(definition: &CustomResourceDefinition, type_: &str) -> bool {
    find(definition, type_).is_some_and(|condition| condition.status == "True")
}

pub(super) fn has(definition: &CustomResourceDefinition, type_: &str) -> bool {
    find(definition, type_).is_some()
}

fn find<'d>(definition: &'d CustomResourceDefinition, type_: &str) -> Option<&'d CustomResourceDefinitionCondition> {
    definition.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}
