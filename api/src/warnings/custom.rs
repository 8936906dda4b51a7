//! Custom resources and their definitions.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/registry/{customresource,customresourcedefinition}`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::custom::{Type, is_known_format};
use crate::validation;

/// Finalizers that are new and may be those of others too.
pub(super) fn finalizers(new: &ObjectMeta, old: Option<&ObjectMeta>, warnings: &mut Vec<String>) {
    let had = old.and_then(|old| old.finalizers.as_deref()).unwrap_or_default();
    let mut added: Vec<&String> = new.finalizers.iter().flatten().filter(|one| !had.contains(one)).collect();
    added.sort_unstable();
    added.dedup();
    for finalizer in added.into_iter().filter(|one| !one.contains('/') && !validation::is_standard_finalizer(one)) {
        let with_path = if finalizer.contains('.') { " including a path (/)" } else { "" };
        warnings.push(format!(
            "metadata.finalizers: {finalizer:?}: prefer a domain-qualified finalizer name{with_path} to avoid accidental conflicts with other finalizer writers"
        ));
    }
}

/// Formats that say nothing, of those that are new.
pub(super) fn formats(
    new: &CustomResourceDefinition,
    old: Option<&CustomResourceDefinition>,
    warnings: &mut Vec<String>,
) {
    let had = old.map(unknown_formats).unwrap_or_default();
    let new = unknown_formats(new).into_iter().filter(|format| !had.contains(format));
    warnings.extend(new.map(|format| format!("unrecognized format {format:?}")));
}

fn unknown_formats(definition: &CustomResourceDefinition) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for schema in definition.spec.versions.iter().filter_map(|version| version.schema.as_ref()) {
        let Some(schema) = &schema.open_api_v3_schema else { continue };
        validation::schema_walk::any(schema, &mut |schema| {
            if let Some(format) = schema.format.as_ref().filter(|format| !format.is_empty())
                && !is_known_format(schema.type_.as_deref().and_then(Type::parse), format)
                && !found.contains(format)
            {
                found.push(format.clone());
            }
            false
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finalizers_have_a_domain_and_a_path() {
        let meta = |finalizers: &[&str]| ObjectMeta {
            finalizers: Some(finalizers.iter().map(|&one| one.to_owned()).collect()),
            ..ObjectMeta::default()
        };
        let mut warnings = Vec::new();
        finalizers(&meta(&["z", "a.b", "a.b/c", "orphan", "old"]), Some(&meta(&["old"])), &mut warnings);
        let rest = "to avoid accidental conflicts with other finalizer writers";
        assert_eq!(
            warnings,
            [
                format!(
                    "metadata.finalizers: \"a.b\": prefer a domain-qualified finalizer name including a path (/) {rest}"
                ),
                format!("metadata.finalizers: \"z\": prefer a domain-qualified finalizer name {rest}"),
            ]
        );
    }

    #[test]
    fn formats_are_known() {
        let of = |format: &str| -> CustomResourceDefinition {
            let text = format!(
                r#"{{"spec":{{"group":"","names":{{"kind":"","plural":""}},"scope":"","versions":[{{"name":"v1","served":true,"storage":true,
                "schema":{{"openAPIV3Schema":{{"type":"object","properties":{{"a":{{"type":"integer","format":"int32"}},
                "b":{{"type":"string","format":"{format}"}},"c":{{"type":"array","items":{{"type":"string","format":"date-time"}}}}}}}}}}}}]}}}}"#
            );
            serde_json::from_str(&text).expect("a definition")
        };
        for (new, old, expected) in [
            ("ipv4", None, None),
            ("int32", None, Some("unrecognized format \"int32\"")),
            ("odd", Some("odd"), None),
            ("odd", Some("strange"), Some("unrecognized format \"odd\"")),
        ] {
            let mut warnings = Vec::new();
            formats(&of(new), old.map(of).as_ref(), &mut warnings);
            assert_eq!(warnings.first().map(String::as_str), expected, "{new}");
        }
    }
}
