//! Labels and the selectors of them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::field::{Errors, Path};
use crate::names;

pub(super) fn labels(labels: Option<&BTreeMap<String, String>>, path: &Path<'_>, errors: &mut Errors) {
    for (key, value) in labels.into_iter().flatten() {
        errors.invalid_each(path, key, names::qualified(key));
        errors.invalid_each(path, value, names::label_value(value));
    }
}

pub(super) fn selector(selector: Option<&LabelSelector>, path: &Path<'_>, errors: &mut Errors) {
    let Some(selector) = selector else { return };
    labels(selector.match_labels.as_ref(), &path.child("matchLabels"), errors);
    let list = path.child("matchExpressions");
    for (i, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let path = list.index(i);
        let values = requirement.values.as_deref().unwrap_or_default();
        values_fit(&requirement.operator, values.len(), &path, errors);
        errors.invalid_each(&path.child("key"), &requirement.key, names::qualified(&requirement.key));
        let list = path.child("values");
        for (i, value) in values.iter().enumerate() {
            errors.invalid_each(&list.index(i), value, names::label_value(value));
        }
    }
}

/// An operator takes as many values as it can compare with.
pub(super) fn values_fit(operator: &str, count: usize, path: &Path<'_>, errors: &mut Errors) {
    let values = path.child("values");
    match operator {
        "In" | "NotIn" if count == 0 => {
            errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            errors.forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
}
