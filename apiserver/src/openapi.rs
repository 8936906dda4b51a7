//! OpenAPI v3: which paths there are, what they take, and which kind they are about.
//!
//! Clients read from it whether the server checks fields by itself (`fieldValidation`), and leave the checking to it.
//! Types are not described.

use coracle_api::kind::{Kind, Verb};
use coracle_api::status::ApiError;
use serde_json::{Map, Value, json};

use crate::resource::Resources;
use crate::route::OpenApi;

/// The document that is asked for.
///
/// # Errors
/// When there is none.
pub(crate) fn answer(document: &OpenApi, resources: &Resources) -> Result<Value, ApiError> {
    match document {
        OpenApi::V3Index => Ok(index(resources)),
        OpenApi::V3 { group_version } => group_versions(resources)
            .into_iter()
            .find(|(path, ..)| path == group_version)
            .map(|(path, group, version)| describe(resources, &path, &group, &version))
            .ok_or(ApiError::NoSuchPath),
        OpenApi::V2 => Err(ApiError::NoSuchPath),
    }
}

/// `api/v1`, `apis/GROUP/VERSION`, each with its group and version.
fn group_versions(resources: &Resources) -> Vec<(String, String, String)> {
    let mut all = vec![("api/v1".to_owned(), String::new(), "v1".to_owned())];
    for (group, versions) in resources.groups() {
        for version in versions {
            all.push((format!("apis/{group}/{version}"), group.to_owned(), version.to_owned()));
        }
    }
    all
}

fn index(resources: &Resources) -> Value {
    let path = |(path, ..): (String, String, String)| {
        let url = format!("/openapi/v3/{path}?hash={}", env!("CARGO_PKG_VERSION"));
        (path, json!({"serverRelativeURL": url}))
    };
    let paths: Map<String, Value> = group_versions(resources).into_iter().map(path).collect();
    json!({"paths": paths})
}

fn describe(resources: &Resources, path: &str, group: &str, version: &str) -> Value {
    let kinds = resources.all().iter().map(|resource| resource.kind);
    let mut paths = Map::new();
    for kind in kinds.filter(|kind| kind.group == group && kind.version == version) {
        let place = if kind.namespaced() { "/namespaces/{namespace}" } else { "" };
        let collection = format!("/{path}{place}/{}", kind.plural);
        paths.insert(format!("{collection}/{{name}}"), operations(kind, &ON_OBJECT));
        paths.insert(collection, operations(kind, &ON_COLLECTION));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": paths,
        "components": {"schemas": {}},
    })
}

/// A verb with its method, and the action that upstream calls it.
type Operation = (Verb, &'static str, &'static str);

const ON_OBJECT: [Operation; 4] = [
    (Verb::Get, "get", "get"),
    (Verb::Update, "put", "put"),
    (Verb::Patch, "patch", "patch"),
    (Verb::Delete, "delete", "delete"),
];

const ON_COLLECTION: [Operation; 3] = [
    (Verb::List, "get", "list"),
    (Verb::Create, "post", "post"),
    (Verb::DeleteCollection, "delete", "deletecollection"),
];

fn operations(kind: &Kind, operations: &[Operation]) -> Value {
    let served = operations.iter().filter(|(verb, ..)| kind.verbs.contains(*verb));
    let operations: Map<String, Value> = served
        .map(|(verb, method, action)| {
            let operation = json!({
                "parameters": parameters(*verb).iter().map(|name| json!({"name": name, "in": "query"})).collect::<Vec<_>>(),
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": {"group": &*kind.group, "version": &*kind.version, "kind": &*kind.kind},
            });
            ((*method).to_owned(), operation)
        })
        .collect();
    operations.into()
}

/// What a verb's query may say.
fn parameters(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Create | Verb::Update => &["dryRun", "fieldManager", "fieldValidation"],
        Verb::Patch => &["dryRun", "fieldManager", "fieldValidation", "force"],
        Verb::Delete => &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"],
        Verb::DeleteCollection => &[
            "continue",
            "dryRun",
            "fieldSelector",
            "gracePeriodSeconds",
            "labelSelector",
            "limit",
            "orphanDependents",
            "propagationPolicy",
            "resourceVersion",
            "resourceVersionMatch",
            "timeoutSeconds",
        ],
        Verb::List | Verb::Watch => &[
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "timeoutSeconds",
            "watch",
        ],
        Verb::Get => &[],
    }
}
