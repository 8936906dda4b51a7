//! The kinds of `resource.k8s.io`: devices that nodes have, and claims to them.

mod claim;
mod class;
mod config;
mod slice;
mod status;

use k8s_openapi::api::resource::v1::{DeviceSelector, DeviceToleration};

use super::rules::{named, required_one_of, text};
use crate::custom::cel::{Gives, Scope};
use crate::field::{Errors, Path};
use crate::names;

const DRIVER_BYTES_MAX: usize = 63;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
const SELECTORS_MAX: usize = 32;
const EXPRESSION_BYTES_MAX: usize = 10 * 1024;
const TOLERATIONS_MAX: usize = 16;
const CONDITIONS_MAX: usize = 4;

/// The name of a driver: a DNS subdomain, in which case does not matter.
fn driver(name: &str, path: &Path<'_>, errors: &mut Errors) {
    if name.len() > DRIVER_BYTES_MAX {
        errors.too_long(path, DRIVER_BYTES_MAX);
    }
    named(name, |name| names::dns_subdomain(&name.to_lowercase()), path, errors);
}

/// The name of a pool: DNS subdomains between slashes.
fn pool(name: &str, path: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > names::SUBDOMAIN_BYTES_MAX {
        errors.too_long(path, names::SUBDOMAIN_BYTES_MAX);
    }
    for part in name.split('/') {
        errors.invalid_each(path, part, names::dns_subdomain(part));
    }
}

/// The name of an attribute or a capacity: an identifier, of a domain if it is not the driver's own.
fn qualified(name: &str, path: &Path<'_>, errors: &mut Errors) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [name] => identifier(name, path, errors),
        [domain, name] => {
            if domain.is_empty() {
                errors.invalid(path, "", "the domain must not be empty");
            } else {
                driver(domain, path, errors);
            }
            if name.is_empty() {
                errors.invalid(path, "", "the name must not be empty");
            } else {
                identifier(name, path, errors);
            }
        }
        _ => errors.invalid(path, name, "must not contain more than one slash"),
    }
}

fn identifier(name: &str, path: &Path<'_>, errors: &mut Errors) {
    const BYTES_MAX: usize = 32;
    if name.len() > BYTES_MAX {
        errors.too_long(path, BYTES_MAX);
    }
    errors.invalid_each(path, name, names::c_identifier(name));
}

/// The name of an attribute together with its domain.
fn fully_qualified(name: &str, path: &Path<'_>, errors: &mut Errors) {
    qualified(name, path, errors);
    if !name.contains('/') {
        let rule = "a fully qualified name must be a domain and a name separated by a slash";
        errors.invalid(path, name, rule);
    }
}

/// A list may only be so long. Whether it is longer, and then need not be looked at.
fn too_many<T>(list: &[T], max: usize, path: &Path<'_>, errors: &mut Errors) -> bool {
    if list.len() > max {
        errors.too_many(path, list.len(), max);
    }
    list.len() > max
}

fn selectors(selectors: &[DeviceSelector], list: &Path<'_>, errors: &mut Errors) {
    if too_many(selectors, SELECTORS_MAX, list, errors) {
        return;
    }
    for (i, selector) in selectors.iter().enumerate() {
        let path = list.index(i);
        let path = path.child("cel");
        match selector.cel.as_ref().map(|cel| cel.expression.as_str()) {
            None => errors.required(&path, ""),
            Some("") => errors.required(&path.child("expression"), ""),
            Some(text) if text.len() > EXPRESSION_BYTES_MAX => {
                errors.too_long(&path.child("expression"), EXPRESSION_BYTES_MAX);
            }
            Some(text) => {
                if let Err(wrong) = Scope::of_device().compile(text, Gives::PerhapsBool) {
                    errors.invalid(&path.child("expression"), text, &wrong);
                }
            }
        }
    }
}

fn tolerations(tolerations: &[DeviceToleration], list: &Path<'_>, errors: &mut Errors) {
    if too_many(tolerations, TOLERATIONS_MAX, list, errors) {
        return;
    }
    for (i, toleration) in tolerations.iter().enumerate() {
        let path = list.index(i);
        let (key, value) = (text(toleration.key.as_ref()), text(toleration.value.as_ref()));
        if !key.is_empty() {
            errors.invalid_each(&path.child("key"), key, names::qualified(key));
        }
        let operator = text(toleration.operator.as_ref());
        match operator {
            "Exists" if !value.is_empty() => {
                errors.invalid(&path.child("value"), value, "must be empty for operator `Exists`");
            }
            "Equal" => errors.invalid_each(&path.child("value"), value, names::label_value(value)),
            _ => {}
        }
        // Without an operator it is `Equal`.
        required_one_of(operator, &["Equal", "Exists"], &path.child("operator"), errors);
        let effect = text(toleration.effect.as_ref());
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            errors.not_supported(&path.child("effect"), effect, &EFFECTS);
        }
    }
}

/// What must come true before a pod is bound, and what must not.
fn binding_conditions(awaited: &[String], failures: &[String], path: &Path<'_>, errors: &mut Errors) {
    for (field, conditions) in [("bindingConditions", awaited), ("bindingFailureConditions", failures)] {
        let list = path.child(field);
        if too_many(conditions, CONDITIONS_MAX, &list, errors) {
            continue;
        }
        for (i, condition) in conditions.iter().enumerate() {
            errors.invalid_each(&list.index(i), condition, names::qualified(condition));
            if conditions[..i].contains(condition) {
                errors.duplicate(&list.index(i), condition);
            }
            if field == "bindingFailureConditions" && awaited.contains(condition) {
                let rule = "bindingFailureConditions must not overlap with bindingConditions";
                errors.invalid(&list.index(i), condition, rule);
            }
        }
    }
    if awaited.is_empty() && !failures.is_empty() {
        let rule = "bindingConditions are required to use bindingFailureConditions";
        errors.invalid(&path.child("bindingConditions"), awaited, rule);
    }
    if failures.is_empty() && !awaited.is_empty() {
        let rule = "bindingFailureConditions are required to use bindingConditions";
        errors.invalid(&path.child("bindingFailureConditions"), failures, rule);
    }
}
