//! Operations in the words of the third version.

use serde_json::{Map, Value, json};

use super::operations::{Answer, Body, Operation, PATCH, Path};
use super::parameters::{Parameter, Place};
use super::schemas::Version;
use super::v2::{extensions, meaning, patches, place};

/// What the document begins with.
pub(super) fn head(info: &Value) -> Map<String, Value> {
    Map::from_iter([("openapi".to_owned(), "3.0.0".into()), ("info".to_owned(), info.clone())])
}

/// How requests prove who they are from.
pub(super) fn security_schemes() -> Value {
    let token = json!({
        "description": "Bearer Token authentication",
        "in": "header",
        "name": "authorization",
        "type": "apiKey",
    });
    json!({"BearerToken": token})
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
    out.insert("tags".into(), json!([operation.tag]));
    if !operation.parameters.is_empty() {
        out.insert("parameters".into(), operation.parameters.iter().map(|one| parameter(one)).collect());
    }
    if let Some(body) = &operation.body {
        out.insert("requestBody".into(), request_body(operation, body));
    }
    let mut responses: Map<String, Value> = operation
        .answers
        .iter()
        .map(|(code, answer)| ((*code).to_owned(), response(operation, code, answer)))
        .collect();
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    out.insert("responses".into(), responses.into());
    extensions(operation, &mut out);
    out.into()
}

fn request_body(operation: &Operation, body: &Body) -> Value {
    let (name, is_required, types) = match body {
        Body::Required(name) => (name.as_str(), true, vec!["*/*"]),
        Body::Optional(name) => (name.as_str(), false, vec!["*/*"]),
        Body::Patch => (PATCH, true, patches(operation)),
    };
    let mut out = json!({"content": content(&types, &Version::V3.reference(name))});
    if is_required {
        out["required"] = true.into();
    }
    out
}

fn response(operation: &Operation, code: &str, answer: &Answer) -> Value {
    let content = match answer {
        Answer::TextOf(media_type) => content(&[media_type], &json!({"type": "string"})),
        Answer::Text => content(&["text/plain"], &json!({"type": "string"})),
        Answer::Object(name) => {
            let mut types = vec!["application/json", "application/yaml"];
            types.extend(operation.streams.then_some("application/json;stream=watch"));
            content(&types, &Version::V3.reference(name))
        }
    };
    json!({"description": meaning(code), "content": content})
}

fn content(types: &[&str], schema: &Value) -> Value {
    types.iter().map(|one| ((*one).to_owned(), json!({"schema": schema}))).collect::<Map<_, _>>().into()
}

fn parameter(parameter: &Parameter) -> Value {
    let mut out = json!({
        "name": parameter.name,
        "in": place(parameter.place),
        "description": parameter.about,
        "schema": {"type": parameter.form, "uniqueItems": true},
    });
    if parameter.place == Place::Path {
        out["required"] = true.into();
    }
    out
}
