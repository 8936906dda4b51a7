//! Removes what the schema does not know.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning`, `…/objectmeta`.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::structural::{Additional, Structural};
use super::validate::read_meta;

/// Removes the fields of an object that its schema does not know, and gives a line for each: `unknown field "spec.x"`.
///
/// The object's own `apiVersion`, `kind` and `metadata` stay as they are, as do those of embedded resources, except that
/// the metadata of the latter loses what `ObjectMeta` does not have.
#[must_use]
pub fn prune(object: &mut Value, schema: &Structural) -> Vec<String> {
    let mut pruner = Pruner::default();
    if let Value::Object(map) = object {
        pruner.map(map, Some(schema), true, schema.preserve_unknown_fields);
    }
    pruner.unknown.sort_unstable();
    pruner.unknown.dedup();
    pruner.unknown.into_iter().map(|path| format!("unknown field {path:?}")).collect()
}

/// The same for a part of an object, which may be a resource itself.
pub(super) fn prune_part(value: &mut Value, schema: &Structural, is_resource: bool) {
    let mut pruner = Pruner { path: ".".to_owned(), ..Pruner::default() };
    match value {
        Value::Object(map) => pruner.map(map, Some(schema), is_resource, schema.preserve_unknown_fields),
        value => pruner.value(value, Some(schema), false),
    }
}

#[derive(Default)]
struct Pruner {
    /// Where the walk is.
    path: String,
    unknown: Vec<String>,
}

impl Pruner {
    fn value(&mut self, value: &mut Value, schema: Option<&Structural>, keep: bool) {
        let keep = schema.is_some_and(|s| keep || s.preserve_unknown_fields);
        match value {
            Value::Object(map) => self.map(map, schema, schema.is_some_and(|s| s.embedded_resource), keep),
            Value::Array(list) => {
                let items = schema.and_then(|s| s.items.as_deref());
                // Where unknown fields are kept, elements that nothing is known of are kept too.
                if keep && items.is_none() {
                    return;
                }
                for (i, element) in list.iter_mut().enumerate() {
                    self.below(format_args!("[{i}]"), |pruner| pruner.value(element, items, keep));
                }
            }
            _ => {}
        }
    }

    fn map(&mut self, map: &mut Map<String, Value>, schema: Option<&Structural>, is_resource: bool, keep: bool) {
        let nested = is_resource && !self.path.is_empty();
        map.retain(|key, value| {
            let dot = if self.path.is_empty() { "" } else { "." };
            self.below(format_args!("{dot}{key}"), |pruner| {
                if is_resource && matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
                    if nested && key == "metadata" {
                        pruner.metadata(value);
                    }
                    return true;
                }
                match schema.map(|s| (s.properties.get(key), &s.additional)) {
                    Some((Some(property), _)) => pruner.value(value, Some(property), false),
                    Some((None, Additional::Schema(entry))) => pruner.value(value, Some(entry), false),
                    Some((None, Additional::Any | Additional::Forbidden)) => pruner.value(value, None, false),
                    _ if keep => {}
                    _ => {
                        pruner.unknown.push(pruner.path.clone());
                        return false;
                    }
                }
                true
            })
        });
    }

    /// What `ObjectMeta` does not have goes; what cannot be read as one is left to validation.
    fn metadata(&mut self, value: &mut Value) {
        let Ok(read) = read_meta(value) else { return };
        let Ok(kept) = serde_json::to_value(read) else { return };
        self.lost(value, &kept);
        *value = kept;
    }

    fn lost(&mut self, before: &Value, after: &Value) {
        let (Value::Object(before), Value::Object(after)) = (before, after) else { return };
        for (key, value) in before.iter().filter(|(_, value)| !value.is_null()) {
            self.below(format_args!(".{key}"), |pruner| match after.get(key) {
                Some(kept) => pruner.lost(value, kept),
                None => pruner.unknown.push(pruner.path.clone()),
            });
        }
    }

    fn below<T>(&mut self, step: std::fmt::Arguments<'_>, visit: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.write_fmt(step).expect("text grows");
        let result = visit(self);
        self.path.truncate(length);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custom::tests::schema;

    #[test]
    fn what_is_unknown_goes() {
        let rest = r#""apiVersion":"a/v1","kind":"A","metadata":{"name":"a","x":1}"#;
        for (properties, given, left, unknown) in [
            (r#"{"a":{"type":"object"}}"#, r#"{"a":{"b":1},"c":2}"#, r#"{"a":{}}"#, &["a.b", "c"][..]),
            (
                r#"{"a":{"type":"array","items":{"type":"object","properties":{"b":{"type":"string"}}}}}"#,
                r#"{"a":[{"b":"x"},{"c":1}]}"#,
                r#"{"a":[{"b":"x"},{}]}"#,
                &["a[1].c"],
            ),
            (
                r#"{"a":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"b":{"type":"object"}}}}"#,
                r#"{"a":{"b":{"c":1},"d":{"e":[{"f":1}]}}}"#,
                r#"{"a":{"b":{},"d":{"e":[{"f":1}]}}}"#,
                &["a.b.c"],
            ),
            (
                r#"{"a":{"type":"object","additionalProperties":{"type":"object","properties":{"b":{"type":"string"}}}}}"#,
                r#"{"a":{"k":{"b":"x","c":1}}}"#,
                r#"{"a":{"k":{"b":"x"}}}"#,
                &["a.k.c"],
            ),
            (
                r#"{"a":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}}"#,
                r#"{"a":{"apiVersion":"v1","kind":"K","metadata":{"name":"n","bad":1,"creationTimestamp":null},"spec":{"x":1}}}"#,
                r#"{"a":{"apiVersion":"v1","kind":"K","metadata":{"name":"n"},"spec":{"x":1}}}"#,
                &["a.metadata.bad"],
            ),
            (
                r#"{"a":{"type":"object","x-kubernetes-embedded-resource":true}}"#,
                r#"{"a":{"metadata":{"labels":{"a":null},"name":null}}}"#,
                r#"{"a":{"metadata":{"labels":{"a":""}}}}"#,
                &[],
            ),
            (r#"{"a":{"x-kubernetes-int-or-string":true}}"#, r#"{"a":5}"#, r#"{"a":5}"#, &[]),
        ] {
            let s = schema(&format!(r#"{{"type":"object","properties":{properties}}}"#));
            let whole = |spec: &str| -> Value {
                serde_json::from_str(&spec.replacen('{', &format!("{{{rest},"), 1)).expect("JSON")
            };
            let mut object = whole(given);
            let lines: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
            assert_eq!(prune(&mut object, &s), lines, "{given}");
            assert_eq!(object, whole(left), "{given}");
        }
    }
}
