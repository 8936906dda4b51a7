//! Resource quotas.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec, ScopedResourceSelectorRequirement};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::rules::IMMUTABLE;
use super::{Validate, amounts, meta};
use crate::field::{Errors, Path};

impl Validate for ResourceQuota {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        spec(self.spec.as_ref(), errors);
        status(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        spec(self.spec.as_ref(), errors);
        let scopes = |quota: &ResourceQuota| {
            let mut scopes = quota.spec.as_ref().and_then(|spec| spec.scopes.clone()).unwrap_or_default();
            scopes.sort();
            scopes.dedup();
            scopes
        };
        if scopes(self) != scopes(old) {
            let scopes = self.spec.as_ref().map(|spec| &spec.scopes);
            errors.invalid(&Path::new("spec").child("scopes"), &scopes, IMMUTABLE);
        }
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        status(self, errors);
    }
}

/// Scopes of pods that can't both hold.
const OPPOSITES: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];
const COMPUTE: [&str; 6] = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

fn amounts(list: Option<&BTreeMap<String, Text>>, path: &Path<'_>, errors: &mut Errors) {
    for (name, text) in list.into_iter().flatten() {
        let path = path.key(name);
        amounts::quota_resource_name(name, &path, errors);
        amounts::amount(name, text, &path, errors);
    }
}

fn status(quota: &ResourceQuota, errors: &mut Errors) {
    let Some(status) = &quota.status else { return };
    let path = Path::new("status");
    amounts(status.hard.as_ref(), &path.child("hard"), errors);
    amounts(status.used.as_ref(), &path.child("used"), errors);
}

fn spec(spec: Option<&ResourceQuotaSpec>, errors: &mut Errors) {
    let Some(spec) = spec else { return };
    let path = Path::new("spec");
    amounts(spec.hard.as_ref(), &path.child("hard"), errors);
    scopes(spec, &path.child("scopes"), errors);
    let selector_path = path.child("scopeSelector");
    if let Some(selector) = &spec.scope_selector {
        let requirements = selector.match_expressions.as_deref().unwrap_or_default();
        selectors(spec, requirements, &selector_path.child("matchExpressions"), errors);
    }
}

fn scopes(spec: &ResourceQuotaSpec, path: &Path<'_>, errors: &mut Errors) {
    let scopes = spec.scopes.as_deref().unwrap_or_default();
    for scope in scopes {
        if counts(scope, "").is_none() {
            errors.invalid(path, scopes, "unsupported scope");
        }
        for _ in misplaced(spec, scope) {
            errors.invalid(path, scopes, "unsupported scope applied to resource");
        }
    }
    conflicts(scopes, path, errors);
}

fn selectors(
    spec: &ResourceQuotaSpec,
    requirements: &[ScopedResourceSelectorRequirement],
    path: &Path<'_>,
    errors: &mut Errors,
) {
    for requirement in requirements {
        let scope = requirement.scope_name.as_str();
        if counts(scope, "").is_none() {
            errors.invalid(&path.child("scopeName"), scope, "unsupported scope");
        }
        for _ in misplaced(spec, scope) {
            errors.invalid(path, &spec.scope_selector, "unsupported scope applied to resource");
        }
        let operator = requirement.operator.as_str();
        let takes_no_values =
            !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && counts(scope, "").is_some();
        if takes_no_values && operator != "Exists" {
            let rule = "must be 'Exist' only operator when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort and ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.invalid(&path.child("operator"), operator, rule);
        }
        let values = requirement.values.as_deref().unwrap_or_default();
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let rule = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.required(&path.child("values"), rule);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let rule = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.invalid(&path.child("values"), values, rule);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
    }
    let scopes: Vec<String> = requirements.iter().map(|requirement| requirement.scope_name.clone()).collect();
    conflicts(&scopes, path, errors);
}

fn conflicts(scopes: &[String], path: &Path<'_>, errors: &mut Errors) {
    for pair in OPPOSITES {
        if pair.iter().all(|scope| scopes.iter().any(|own| own == scope)) {
            errors.invalid(path, scopes, "conflicting scopes");
        }
    }
}

/// Whether objects in the scope have the resource; `None` for a scope that is none.
fn counts(scope: &str, resource: &str) -> Option<bool> {
    match scope {
        "BestEffort" => Some(resource == "pods"),
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            Some(resource == "pods" || COMPUTE.contains(&resource))
        }
        "VolumeAttributesClass" => Some(matches!(resource, "persistentvolumeclaims" | "requests.storage")),
        _ => None,
    }
}

/// The resources that the quota limits and the scope has not.
fn misplaced<'q>(spec: &'q ResourceQuotaSpec, scope: &'q str) -> impl Iterator<Item = &'q String> {
    let names = spec.hard.iter().flatten().map(|(name, _)| name);
    names.filter(move |name| amounts::is_standard_of_quota(name) && counts(scope, name) == Some(false))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceQuota;

    use crate::validation::tests::{refused, refused_update};

    fn quota(spec: &str) -> String {
        format!(r#"{{"metadata":{{"name":"q","namespace":"n"}},"spec":{{{spec}}}}}"#)
    }

    #[test]
    fn quotas_count_what_there_is() {
        for (spec, expected) in [
            (r#""hard":{"pods":"1","count/jobs.batch":"2","requests.a.test/gpu":"1","requests.cpu":"1m"}"#, &[][..]),
            (r#""hard":{"odd":"1"}"#, &["spec.hard[odd] Invalid", "spec.hard[odd] Invalid"]),
            (r#""hard":{"storage":"1"}"#, &["spec.hard[storage] Invalid"]),
            (r#""hard":{"pods":"-1"}"#, &["spec.hard[pods] Invalid"]),
            (r#""hard":{"pods":"1.5"}"#, &["spec.hard[pods] Invalid"]),
            (r#""scopes":["Odd"]"#, &["spec.scopes Invalid"]),
            (r#""hard":{"services":"1"},"scopes":["BestEffort"]"#, &["spec.scopes Invalid"]),
            (r#""scopes":["BestEffort","NotBestEffort"]"#, &["spec.scopes Invalid"]),
            (
                r#""scopeSelector":{"matchExpressions":[{"scopeName":"BestEffort","operator":"In"}]}"#,
                &[
                    "spec.scopeSelector.matchExpressions.operator Invalid",
                    "spec.scopeSelector.matchExpressions.values Required",
                ],
            ),
            (
                r#""scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"Exists","values":["a"]}]}"#,
                &["spec.scopeSelector.matchExpressions.values Invalid"],
            ),
        ] {
            assert_eq!(refused::<ResourceQuota>(&quota(spec)), expected, "{spec}");
        }
    }

    #[test]
    fn scopes_stay() {
        let (old, new) = (quota(r#""scopes":["BestEffort"]"#), quota(r#""scopes":["Terminating"]"#));
        assert_eq!(refused_update::<ResourceQuota>(&old, &old), [""; 0]);
        assert_eq!(refused_update::<ResourceQuota>(&old, &new), ["spec.scopes Invalid"]);
    }
}
