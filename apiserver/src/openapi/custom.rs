//! The type of a custom kind, from the schema in its definition.
//!
//! Source: upstream's `apiextensions-apiserver/pkg/controller/openapi/builder`.

use coracle_api::kind::Kind;
use serde_json::{Map, Value, json};

use super::schemas::{Version, reference_field, type_field};
use super::text::Definitions;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const META_ABOUT: &str = "Standard object's metadata. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The type that every custom object has parts of.
pub(super) const REFERRED: [&str; 1] = [OBJECT_META];

/// The schema that a definition has for a version.
pub(super) fn schema(definition: &[u8], version: &str) -> Value {
    let mut definition: Value = serde_json::from_slice(definition).unwrap_or_default();
    let versions = definition["spec"]["versions"].as_array_mut();
    let found = versions.and_then(|versions| versions.iter_mut().find(|one| one["name"] == version));
    found.map_or(Value::Null, |found| found["schema"]["openAPIV3Schema"].take())
}

/// The schema of a custom kind, as it is published.
pub(super) fn definition(kind: &Kind, schema: &Value, all: &Definitions<'_>, version: Version) -> Value {
    let mut root = match published(schema, all, version) {
        Value::Object(root) => root,
        _ => Map::new(),
    };
    root.insert("type".into(), "object".into());
    describe_object(&mut root, all, version);
    let kind = json!([{"group": &*kind.group, "version": &*kind.version, "kind": &*kind.kind}]);
    root.insert("x-kubernetes-group-version-kind".into(), kind);
    root.into()
}

/// Adds the fields that every object has.
fn describe_object(schema: &mut Map<String, Value>, all: &Definitions<'_>, version: Version) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        properties.insert("apiVersion".into(), type_field("apiVersion", all, version));
        properties.insert("kind".into(), type_field("kind", all, version));
        properties.insert("metadata".into(), reference_field(OBJECT_META, META_ABOUT, version));
    }
}

/// What a version of a document can say of a schema.
fn published(schema: &Value, all: &Definitions<'_>, version: Version) -> Value {
    let Value::Object(schema) = schema else { return schema.clone() };
    let mut out: Map<String, Value> = schema
        .iter()
        .filter(|(key, _)| version == Version::V3 || !ONLY_IN_V3.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), member(key, value, all, version)))
        .collect();
    if version == Version::V2 {
        simplify(schema, &mut out);
    }
    if is_set(schema, "x-kubernetes-embedded-resource") && !is_set(schema, "x-kubernetes-preserve-unknown-fields") {
        describe_object(&mut out, all, version);
    }
    out.into()
}

/// What the second version has no word for.
const ONLY_IN_V3: [&str; 6] = ["oneOf", "anyOf", "not", "nullable", "default", "example"];

/// What is left of a schema that says more than the second version can: clients would refuse what the server takes.
fn simplify(schema: &Map<String, Value>, out: &mut Map<String, Value>) {
    if is_set(schema, "x-kubernetes-preserve-unknown-fields") {
        ["type", "items", "properties", "additionalProperties", "required"]
            .iter()
            .for_each(|key| drop(out.remove(*key)));
    } else if is_set(schema, "nullable") || is_set(schema, "x-kubernetes-int-or-string") {
        ["type", "items", "properties"].iter().for_each(|key| drop(out.remove(*key)));
    }
}

fn member(key: &str, value: &Value, all: &Definitions<'_>, version: Version) -> Value {
    match (key, value) {
        ("properties", Value::Object(properties)) => {
            properties.iter().map(|(name, schema)| (name.clone(), published(schema, all, version))).collect()
        }
        ("items" | "additionalProperties", schema) => published(schema, all, version),
        (_, value) => value.clone(),
    }
}

fn is_set(schema: &Map<String, Value>, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_version_says_less() {
        let all = Definitions::parse("");
        let table = [
            (json!({"type": "string", "default": "a"}), json!({"type": "string"})),
            (json!({"type": "string", "nullable": true}), json!({})),
            (
                json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
                json!({"x-kubernetes-int-or-string": true}),
            ),
            (
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {}}}),
                json!({"x-kubernetes-preserve-unknown-fields": true}),
            ),
            (
                json!({"type": "array", "items": {"type": "integer", "not": {"minimum": 3}}}),
                json!({"type": "array", "items": {"type": "integer"}}),
            ),
        ];
        for (schema, second) in table {
            assert_eq!(published(&schema, &all, Version::V2), second);
            assert_eq!(published(&schema, &all, Version::V3), schema);
        }
    }
}
