//! Every kind of the table is told of, in both versions, and nothing that is referred to is missing.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use coracle_api::kind::{Kind, Verb};
use coracle_api::kinds;
use serde_json::{Value, json};

use super::document::{self, Encoding, Served, Subject};
use super::names;
use super::schemas::Version;

fn written(served: Vec<Served>, version: Version) -> Value {
    let mut out = Vec::new();
    document::write(Subject { served, paths: Vec::new() }, version, Encoding::Json, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn built_in() -> Vec<Served> {
    kinds::all().iter().map(|kind| Served { kind: kind.clone(), definition: None }).collect()
}

fn types(document: &Value, version: Version) -> &Value {
    match version {
        Version::V2 => &document["definitions"],
        Version::V3 => &document["components"]["schemas"],
    }
}

/// Every reference in a value.
fn references<'a>(value: &'a Value, found: &mut HashSet<&'a str>) {
    match value {
        Value::Object(entries) => {
            found.extend(entries.get("$ref").and_then(Value::as_str));
            entries.values().for_each(|value| references(value, found));
        }
        Value::Array(elements) => elements.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn path_of(kind: &Kind) -> String {
    let namespace = if kind.namespaced() { "/namespaces/{namespace}" } else { "" };
    format!("/{}{namespace}/{}", names::group_version_path(&kind.group, &kind.version), kind.plural)
}

#[test]
fn every_kind_is_told_of_and_every_reference_resolves() {
    for version in [Version::V2, Version::V3] {
        let document = written(built_in(), version);
        let types = types(&document, version).as_object().unwrap();
        let stands_for = |name: &str, kind: &Kind| {
            let wanted = json!({"group": &*kind.group, "version": &*kind.version, "kind": name});
            let is_it = |schema: &Value| schema["x-kubernetes-group-version-kind"] == json!([wanted]);
            types.values().any(is_it)
        };
        for kind in kinds::all() {
            assert!(stands_for(&kind.kind, kind), "{version:?} has no {}", kind.kind);
            if kind.verbs.contains(Verb::List) {
                assert!(stands_for(&kind.list_kind(), kind), "{version:?} has no {}", kind.list_kind());
            }
            let collection = &document["paths"][path_of(kind)];
            assert_eq!(collection["get"].is_object(), kind.verbs.contains(Verb::List), "{}", kind.plural);
            assert_eq!(collection["post"].is_object(), kind.verbs.contains(Verb::Create), "{}", kind.plural);
            let object = &document["paths"][format!("{}/{{name}}", path_of(kind))];
            for (verb, method) in
                [(Verb::Get, "get"), (Verb::Update, "put"), (Verb::Patch, "patch"), (Verb::Delete, "delete")]
            {
                assert_eq!(object[method].is_object(), kind.verbs.contains(verb), "{method} {}", kind.plural);
            }
            for subresource in &*kind.subresources {
                let path = format!("{}/{{name}}/{}", path_of(kind), subresource.name);
                assert!(document["paths"][&path].is_object(), "{version:?} has no {path}");
            }
        }
        let mut referred = HashSet::new();
        references(&document, &mut referred);
        for reference in referred {
            assert!(document.pointer(&reference[1..]).is_some(), "{version:?}: {reference}");
        }
    }
}

#[test]
fn operations_are_called_as_in_kubernetes() {
    let document = written(built_in(), Version::V3);
    for (path, method, id) in [
        ("/api/v1/namespaces/{namespace}/pods", "post", "createCoreV1NamespacedPod"),
        ("/api/v1/pods", "get", "listCoreV1PodForAllNamespaces"),
        ("/api/v1/namespaces/{namespace}/pods", "delete", "deleteCoreV1CollectionNamespacedPod"),
        ("/api/v1/namespaces/{namespace}/pods/{name}", "get", "readCoreV1NamespacedPod"),
        ("/api/v1/namespaces/{namespace}/pods/{name}/log", "get", "readCoreV1NamespacedPodLog"),
        ("/api/v1/namespaces/{namespace}/pods/{name}/eviction", "post", "createCoreV1NamespacedPodEviction"),
        ("/api/v1/namespaces/{namespace}/pods/{name}/exec", "get", "connectCoreV1GetNamespacedPodExec"),
        ("/api/v1/nodes/{name}/proxy/{path}", "put", "connectCoreV1PutNodeProxyWithPath"),
        ("/api/v1/namespaces/{name}/finalize", "put", "replaceCoreV1NamespaceFinalize"),
        ("/api/v1/watch/namespaces/{namespace}/pods", "get", "watchCoreV1NamespacedPodList"),
        (
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
            "put",
            "replaceAppsV1NamespacedDeploymentScale",
        ),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}", "patch", "patchRbacAuthorizationV1ClusterRole"),
    ] {
        assert_eq!(document["paths"][path][method]["operationId"], id, "{method} {path}");
    }
    let mut ids = HashSet::new();
    for operation in document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        if let Some(id) = operation["operationId"].as_str() {
            assert!(ids.insert(id), "{id} is there twice");
        }
    }
}

#[test]
fn custom_kinds_are_told_of_by_their_schemas() {
    let kind = Kind {
        group: "stable.example.com".into(),
        kind: "CronTab".into(),
        plural: "crontabs".into(),
        singular: "crontab".into(),
        subresources: (&[]).into(),
        ..kinds::find("", "v1", "configmaps").unwrap().clone()
    };
    let schema = json!({
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}}},
    });
    let definition = json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}});
    for version in [Version::V2, Version::V3] {
        let served = Served { kind: kind.clone(), definition: Some(definition.to_string().into()) };
        let document = written(vec![served], version);
        let made = &types(&document, version)["com.example.stable.v1.CronTab"];
        assert_eq!(made["properties"]["spec"]["properties"]["replicas"], json!({"type": "integer"}));
        assert!(made["properties"]["metadata"].is_object() && made["properties"]["apiVersion"].is_object());
        assert!(types(&document, version)["com.example.stable.v1.CronTabList"].is_object());
        let patch = &document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]["patch"];
        assert_eq!(patch["operationId"], "patchStableExampleComV1NamespacedCronTab");
        assert!(!patch.to_string().contains("strategic"));
    }
}
