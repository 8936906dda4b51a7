//! How large an object is where Kubernetes keeps it: as protobuf, but for objects of custom kinds, which are kept as JSON.

use serde_json::Value;

use crate::limits;
use crate::schema::{Shape, TypeId};
use crate::status::ApiError;

/// Bytes before what a field holds: its number, and how long it is.
const FIELD_BYTES: usize = 2;

/// Refuses an object that etcd would not take.
///
/// # Errors
/// As upstream, which passes on what etcd says.
pub fn fits(json: &[u8], schema: Option<TypeId>) -> Result<(), ApiError> {
    if json.len() <= limits::OBJECT_BYTES_MAX || schema.is_some_and(|schema| is_small(json, schema)) {
        return Ok(());
    }
    Err(ApiError::Unclassified("etcdserver: request is too large".to_owned()))
}

fn is_small(json: &[u8], schema: TypeId) -> bool {
    let Ok(value) = serde_json::from_slice(json) else { return false };
    bytes(&value, Shape::Object(schema)) <= limits::OBJECT_BYTES_MAX
}

/// About how many bytes a value takes as protobuf.
fn bytes(value: &Value, shape: Shape) -> usize {
    match (shape, value) {
        (Shape::Object(id), Value::Object(members)) => members
            .iter()
            .map(|(name, value)| FIELD_BYTES + id.get().field(name).map_or(0, |field| bytes(value, field.shape)))
            .sum(),
        (Shape::Map(entry), Value::Object(entries)) => {
            entries.iter().map(|(key, value)| 3 * FIELD_BYTES + key.len() + bytes(value, *entry)).sum()
        }
        (Shape::List(element), Value::Array(elements)) => {
            elements.iter().map(|value| FIELD_BYTES + bytes(value, *element)).sum()
        }
        (Shape::Bytes, Value::String(text)) => text.len() / 4 * 3,
        (Shape::Any, value) => value.to_string().len(),
        (_, Value::String(text)) => text.len(),
        _ => FIELD_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};

    #[test]
    fn what_etcd_would_not_take_is_refused() {
        let labels = |count: usize| {
            let all: Vec<String> = (0..count).map(|i| format!(r#""l{i}":"{i:0100}""#)).collect();
            format!(r#"{{"metadata":{{"labels":{{{}}}}}}}"#, all.join(","))
        };
        let text = |bytes: usize| format!(r#"{{"data":{{"k":"{}"}}}}"#, "\\n".repeat(bytes));
        let pods = |count: usize| {
            let container = r#"{"name":"a","image":"b"}"#;
            format!(r#"{{"spec":{{"containers":[{}]}}}}"#, vec![container; count].join(","))
        };
        let (map, pod) = (kinds::of::<ConfigMap>().model.schema(), kinds::of::<Pod>().model.schema());
        for (json, schema, is_taken) in [
            (labels(15_000), map, false),
            (labels(13_500), map, true),
            // As JSON each of these has twice the bytes.
            (text(1_500_000), map, true),
            (text(1_600_000), map, false),
            (text(1_500_000), None, false),
            (pods(70_000), pod, true),
        ] {
            assert_eq!(fits(json.as_bytes(), schema).is_ok(), is_taken, "{}", &json[..60]);
        }
        let error = fits(labels(15_000).as_bytes(), map).expect_err("too large");
        assert_eq!((error.code(), error.reason()), (500, ""));
    }
}
