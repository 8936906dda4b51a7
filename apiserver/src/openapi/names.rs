//! What documents call operations, tags and types.
//!
//! Source: upstream's `GetOperationIDAndTags` and `DefinitionNamer`, and the documents that it publishes.

use coracle_api::kind::Kind;

/// The path of a group and version, without the leading slash: `api/v1`, `apis/apps/v1`.
pub(super) fn group_version_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `core_v1`, `rbacAuthorization_v1`.
pub(super) fn tag(group: &str, version: &str) -> String {
    format!("{}_{version}", lower_first(&group_in_camel_case(group)))
}

/// `create`, `NamespacedPod` in `core/v1`: `createCoreV1NamespacedPod`.
pub(super) fn operation_id(verb: &str, group: &str, version: &str, rest: &str) -> String {
    format!("{verb}{}{}{rest}", group_in_camel_case(group), upper_first(version))
}

/// What a custom kind's type is called: `com.example.stable.v1.CronTab`.
pub(super) fn custom_definition(kind: &Kind) -> String {
    let mut parts: Vec<&str> = kind.group.split('.').collect();
    parts.reverse();
    format!("{}.{}.{}", parts.join("."), kind.version, kind.kind)
}

/// `core` for none; without the `k8s.io` that most have.
fn group_in_camel_case(group: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
    group.split(['.', '-']).map(upper_first).collect()
}

pub(super) fn upper_first(word: &str) -> String {
    let mut rest = word.chars();
    rest.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + rest.as_str())
}

fn lower_first(word: &str) -> String {
    let mut rest = word.chars();
    rest.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kubernetes() {
        for (group, version, tagged, id) in [
            ("", "v1", "core_v1", "listCoreV1NamespacedThing"),
            ("apps", "v1", "apps_v1", "listAppsV1NamespacedThing"),
            ("rbac.authorization.k8s.io", "v1", "rbacAuthorization_v1", "listRbacAuthorizationV1NamespacedThing"),
            (
                "flowcontrol.apiserver.k8s.io",
                "v1",
                "flowcontrolApiserver_v1",
                "listFlowcontrolApiserverV1NamespacedThing",
            ),
            ("stable.example.com", "v1beta1", "stableExampleCom_v1beta1", "listStableExampleComV1beta1NamespacedThing"),
        ] {
            assert_eq!(tag(group, version), tagged);
            assert_eq!(operation_id("list", group, version, "NamespacedThing"), id);
        }
        assert_eq!(group_version_path("", "v1"), "api/v1");
        assert_eq!(group_version_path("apps", "v1"), "apis/apps/v1");
    }
}
