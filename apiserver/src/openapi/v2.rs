//! Operations in the words of the second version (Swagger).

use serde_json::{Map, Value, json};

use super::operations::{Answer, Body, Operation, PATCH, Path};
use super::parameters::{Parameter, Place};
use super::schemas::Version;

const PRODUCED: [&str; 2] = ["application/json", "application/yaml"];
const STREAMED: &str = "application/json;stream=watch";

/// What the document begins with.
pub(super) fn head(info: &Value) -> Map<String, Value> {
    let token = json!({
        "description": "Bearer Token authentication",
        "in": "header",
        "name": "authorization",
        "type": "apiKey",
    });
    Map::from_iter([
        ("swagger".to_owned(), "2.0".into()),
        ("info".to_owned(), info.clone()),
        ("security".to_owned(), json!([{"BearerToken": []}])),
        ("securityDefinitions".to_owned(), json!({"BearerToken": token})),
    ])
}

pub(super) fn path(path: &Path) -> Value {
    let mut item: Map<String, Value> =
        path.operations.iter().map(|one| (one.method.to_owned(), operation(one))).collect();
    if !path.parameters.is_empty() {
        item.insert("parameters".into(), path.parameters.iter().map(|one| parameter(one)).collect());
    }
    item.into()
}

fn operation(operation: &Operation) -> Value {
    let mut out = Map::new();
    out.insert("description".into(), operation.about.as_str().into());
    out.insert("operationId".into(), operation.id.as_str().into());
    out.insert("schemes".into(), json!(["https"]));
    out.insert("tags".into(), json!([operation.tag]));
    out.insert("consumes".into(), consumed(operation).into());
    out.insert("produces".into(), produced(operation).into());
    let parameters: Vec<Value> =
        operation.body.iter().map(body).chain(operation.parameters.iter().map(|one| parameter(one))).collect();
    if !parameters.is_empty() {
        out.insert("parameters".into(), parameters.into());
    }
    let mut responses: Map<String, Value> =
        operation.answers.iter().map(|(code, answer)| ((*code).to_owned(), response(code, answer))).collect();
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    out.insert("responses".into(), responses.into());
    extensions(operation, &mut out);
    out.into()
}

/// What either version says in words of Kubernetes' own.
pub(super) fn extensions(operation: &Operation, out: &mut Map<String, Value>) {
    if let Some(action) = operation.action {
        out.insert("x-kubernetes-action".into(), action.as_str().into());
    }
    if let Some((group, version, kind)) = &operation.kind {
        let kind = json!({"group": group, "version": version, "kind": kind});
        out.insert("x-kubernetes-group-version-kind".into(), kind);
    }
}

/// The kinds of patches that are taken. A custom kind has no strategy for its lists.
pub(super) fn patches(operation: &Operation) -> Vec<&'static str> {
    let all = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ];
    all.into_iter().filter(|patch| !(operation.is_custom && patch.contains("strategic"))).collect()
}

fn consumed(operation: &Operation) -> Vec<&'static str> {
    match operation.body {
        Some(Body::Patch) => patches(operation),
        _ => vec!["*/*"],
    }
}

fn produced(operation: &Operation) -> Vec<&'static str> {
    match operation.answers.first() {
        Some((_, Answer::Text)) => vec!["*/*"],
        Some((_, Answer::TextOf(media_type))) => vec![media_type],
        _ if operation.streams => PRODUCED.into_iter().chain([STREAMED]).collect(),
        _ => PRODUCED.to_vec(),
    }
}

fn body(body: &Body) -> Value {
    let (name, is_required) = match body {
        Body::Required(name) => (name.as_str(), true),
        Body::Optional(name) => (name.as_str(), false),
        Body::Patch => (PATCH, true),
    };
    let mut out = json!({"in": "body", "name": "body", "schema": Version::V2.reference(name)});
    if is_required {
        out["required"] = true.into();
    }
    out
}

fn response(code: &str, answer: &Answer) -> Value {
    let schema = match answer {
        Answer::Object(name) => Version::V2.reference(name),
        Answer::Text | Answer::TextOf(_) => json!({"type": "string"}),
    };
    json!({"description": meaning(code), "schema": schema})
}

/// What a code says.
pub(super) fn meaning(code: &str) -> &'static str {
    match code {
        "201" => "Created",
        "202" => "Accepted",
        _ => "OK",
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let mut out = json!({
        "name": parameter.name,
        "in": place(parameter.place),
        "type": parameter.form,
        "description": parameter.about,
        "uniqueItems": true,
    });
    if parameter.place == Place::Path {
        out["required"] = true.into();
    }
    out
}

pub(super) fn place(place: Place) -> &'static str {
    match place {
        Place::Path => "path",
        Place::Query => "query",
    }
}
