//! The cells of a table of custom objects: what the `additionalPrinterColumns` of a definition point at.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/registry/customresource/tableconvertor`, `k8s.io/client-go/util/jsonpath`.

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition;
use serde_json::Value;

use super::json_path::JsonPath;
use crate::table;

/// One column, its path read.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub type_: String,
    pub format: String,
    pub description: String,
    pub priority: i32,
    path: Option<JsonPath>,
}

impl Column {
    /// The column of a definition. A path that is none gives empty cells.
    #[must_use]
    pub fn new(column: &CustomResourceColumnDefinition) -> Self {
        let described = || format!("Custom resource definition column (in JSONPath format): {}", column.json_path);
        Self {
            name: column.name.clone(),
            type_: column.type_.clone(),
            format: column.format.clone().unwrap_or_default(),
            description: column.description.clone().filter(|d| !d.is_empty()).unwrap_or_else(described),
            priority: column.priority.unwrap_or(0),
            path: JsonPath::parse(&column.json_path).ok(),
        }
    }

    /// The columns of a version, after that of the name; a version that names none shows the age.
    #[must_use]
    pub fn of(columns: Option<&[CustomResourceColumnDefinition]>) -> Vec<Self> {
        match columns {
            Some(columns) if !columns.is_empty() => columns.iter().map(Self::new).collect(),
            _ => vec![Self::new(&age())],
        }
    }

    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(value) = self.path.as_ref().and_then(|path| path.first(object)) else { return Value::Null };
        match (self.type_.as_str(), value) {
            ("string", Value::Null) => "<no value>".into(),
            ("string", Value::String(text)) => text.as_str().into(),
            ("string", value) => value.to_string().into(),
            ("boolean", Value::Bool(_)) => value.clone(),
            ("number", Value::Number(_)) => value.as_f64().map_or(Value::Null, number),
            ("integer", Value::Number(n)) => n.as_i64().or(n.as_f64().map(truncated)).into(),
            ("date", Value::String(text)) => match text.parse() {
                Ok(then) => table::age::since(Some(then), now).into(),
                Err(_) => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    }
}

/// The cells of an object after that of its name.
#[must_use]
pub fn cells(object: &Value, columns: &[Column], now: Timestamp) -> Vec<Value> {
    columns.iter().map(|column| column.cell(object, now)).collect()
}

/// What is shown where a definition has no columns.
fn age() -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: "Age".to_owned(),
        type_: "date".to_owned(),
        description: Some(AGE.to_owned()),
        json_path: ".metadata.creationTimestamp".to_owned(),
        ..CustomResourceColumnDefinition::default()
    }
}

/// Source: the documentation of `ObjectMeta.creationTimestamp`.
const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// A number as Go's encoder writes it: whole ones without a fraction.
fn number(n: f64) -> Value {
    if n.fract() == 0.0 && n.abs() < 9e15 { truncated(n).into() } else { n.into() }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast saturates, which is what is wanted")]
fn truncated(n: f64) -> i64 {
    n as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_of_the_columns_type() {
        let object = serde_json::json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"n": 4, "f": 1.5, "t": "x", "b": true, "l": ["a", 1], "nil": null},
        });
        for (type_, path, cell) in [
            ("integer", ".spec.n", serde_json::json!(4)),
            ("integer", ".spec.f", serde_json::json!(1)),
            ("integer", ".spec.t", Value::Null),
            ("number", ".spec.f", serde_json::json!(1.5)),
            ("string", ".spec.n", serde_json::json!("4")),
            ("string", ".spec.t", serde_json::json!("x")),
            ("string", ".spec.l", serde_json::json!("[\"a\",1]")),
            ("string", ".spec.none", Value::Null),
            ("boolean", ".spec.b", serde_json::json!(true)),
            ("boolean", ".spec.t", Value::Null),
            ("date", ".metadata.creationTimestamp", serde_json::json!("60s")),
            ("date", ".spec.t", serde_json::json!("<invalid>")),
            ("string", "][", Value::Null),
        ] {
            let column = CustomResourceColumnDefinition {
                type_: type_.into(),
                json_path: path.into(),
                ..CustomResourceColumnDefinition::default()
            };
            let now = "2026-01-01T00:01:00Z".parse().expect("a time");
            assert_eq!(cells(&object, &[Column::new(&column)], now), [cell], "{type_} {path}");
        }
    }
}
