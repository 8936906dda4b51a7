//! Gives an object what its schema says it has when nobody says otherwise.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting`.

use serde_json::Value;

use super::structural::{Additional, Structural};

/// Sets the defaults of a schema, at every level that the object has.
///
/// A null stands for nothing where the field is not nullable, and is replaced; without a default it stays.
pub fn default(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                if let Some(default) = &property.default
                    && map.get(name).is_none_or(|value| is_forbidden_null(value, property))
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map {
                let Some(child) = schema.properties.get(name).or(entry(schema)) else { continue };
                if let (true, Some(default)) = (is_forbidden_null(value, child), &child.default) {
                    *value = default.clone();
                }
                self::default(value, child);
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for element in list {
                if let Some(default) = &items.default
                    && is_forbidden_null(element, items)
                {
                    *element = default.clone();
                }
                self::default(element, items);
            }
        }
        _ => {}
    }
}

/// Takes out nulls that no default stands for: where the field is not nullable they are as good as nothing.
///
/// Source: `PruneNonNullableNullsWithoutDefaults`, which is done to what comes from outside, and not to what an apply
/// makes.
pub(super) fn drop_nulls(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(map) => map.retain(|name, value| {
            let Some(child) = schema.properties.get(name).or(entry(schema)) else { return true };
            if is_forbidden_null(value, child) && child.default.is_none() {
                return false;
            }
            drop_nulls(value, child);
            true
        }),
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                list.iter_mut().for_each(|element| drop_nulls(element, items));
            }
        }
        _ => {}
    }
}

fn entry(schema: &Structural) -> Option<&std::sync::Arc<Structural>> {
    match &schema.additional {
        Additional::Schema(entry) => Some(entry),
        _ => None,
    }
}

fn is_forbidden_null(value: &Value, schema: &Structural) -> bool {
    value.is_null() && !schema.nullable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custom::tests::schema;

    #[test]
    fn defaults_are_set_where_nothing_is() {
        let s = schema(
            r#"{"type":"object","properties":{
                "a":{"type":"string","default":"x"},
                "n":{"type":"string","default":"x","nullable":true},
                "p":{"type":"string"},
                "o":{"type":"object","default":{},"properties":{"b":{"type":"integer","default":1}}},
                "q":{"type":"object","properties":{"b":{"type":"integer","default":1}}},
                "l":{"type":"array","items":{"type":"object","properties":{"b":{"type":"integer","default":2}}}},
                "m":{"type":"object","additionalProperties":{"type":"string","default":"d"}}}}"#,
        );
        for (given, expected) in [
            ("{}", r#"{"a":"x","n":"x","o":{"b":1}}"#),
            (r#"{"a":null,"n":null,"p":null,"o":null}"#, r#"{"a":"x","n":null,"o":{"b":1}}"#),
            (
                r#"{"a":"","q":{},"l":[{},{"b":5}]}"#,
                r#"{"a":"","n":"x","o":{"b":1},"q":{"b":1},"l":[{"b":2},{"b":5}]}"#,
            ),
            (r#"{"q":{"b":null,"c":null},"m":null}"#, r#"{"a":"x","n":"x","o":{"b":1},"q":{"b":1,"c":null}}"#),
            (r#"{"m":{"k":null,"j":"y"}}"#, r#"{"a":"x","n":"x","o":{"b":1},"m":{"k":"d","j":"y"}}"#),
        ] {
            let mut value: Value = serde_json::from_str(given).expect("JSON");
            drop_nulls(&mut value, &s);
            default(&mut value, &s);
            assert_eq!(value, serde_json::from_str::<Value>(expected).expect("JSON"), "{given}");
            let once = value.clone();
            default(&mut value, &s);
            assert_eq!(value, once);
        }
        // What an apply leaves of an object all of whose fields went.
        let mut left: Value = serde_json::from_str(r#"{"q":null,"p":null}"#).expect("JSON");
        default(&mut left, &s);
        assert_eq!((&left["q"], &left["p"], &left["a"]), (&Value::Null, &Value::Null, &"x".into()));
    }
}
