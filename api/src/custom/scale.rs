//! The scale subresource of a custom resource: paths to where its object keeps replicas.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceSubresourceScale;
use serde_json::Value;

use crate::field::{Errors, Path};

/// What is wrong with the replicas of an object, for writes to the object itself.
pub fn validate(object: &Value, scale: &CustomResourceSubresourceScale, errors: &mut Errors) {
    replicas(object, &scale.spec_replicas_path, errors);
    validate_status(object, scale, errors);
}

/// What is wrong with the counted replicas of an object, for writes to its status.
pub fn validate_status(object: &Value, scale: &CustomResourceSubresourceScale, errors: &mut Errors) {
    replicas(object, &scale.status_replicas_path, errors);
    if let Some(path) = &scale.label_selector_path
        && let Some(value) = lookup(object, path, errors)
        && !value.is_string()
    {
        errors.invalid(&Path::new(path), "", &accessor_error(path, value, "string"));
    }
}

/// The value at a path such as `.spec.replicas`, if there is one.
#[must_use]
pub fn get<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.trim_start_matches('.').split('.').try_fold(object, |value, name| value.get(name))
}

/// Sets the value at a path such as `.spec.replicas`, making the objects on the way. Nothing is set, and the answer is
/// false, if something else is in the way.
pub fn set(object: &mut Value, path: &str, value: Value) -> bool {
    let mut at = object;
    for name in path.trim_start_matches('.').split('.') {
        let Some(map) = at.as_object_mut() else { return false };
        at = map.entry(name).or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    *at = value;
    true
}

fn replicas(object: &Value, path: &str, errors: &mut Errors) {
    let Some(value) = lookup(object, path, errors) else { return };
    let field = Path::new(path);
    match value.as_i64() {
        None => errors.invalid(&field, &0, &accessor_error(path, value, "int64")),
        Some(n) if n < 0 => errors.invalid(&field, &n, "should be a non-negative integer"),
        Some(n) if n > i64::from(i32::MAX) => {
            errors.invalid(&field, &n, &format!("should be less than or equal to {}", i32::MAX));
        }
        Some(_) => {}
    }
}

/// As [`get`], and tells where something that has no fields is in the way.
fn lookup<'a>(object: &'a Value, path: &str, errors: &mut Errors) -> Option<&'a Value> {
    let mut at = object;
    for name in path.trim_start_matches('.').split('.') {
        let Some(map) = at.as_object() else {
            errors.invalid(&Path::new(path), &0, &accessor_error(path, at, "map[string]interface {}"));
            return None;
        };
        at = map.get(name)?;
    }
    Some(at)
}

fn accessor_error(path: &str, value: &Value, expected: &str) -> String {
    let found = match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("{path} accessor error: {value} is of the type {found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_judged() {
        let scale = CustomResourceSubresourceScale {
            spec_replicas_path: ".spec.n".into(),
            status_replicas_path: ".status.n".into(),
            label_selector_path: Some(".status.s".into()),
        };
        for (object, expected) in [
            ("{}", &[][..]),
            (r#"{"spec":{"n":3},"status":{"n":0,"s":"a=b"}}"#, &[]),
            (r#"{"spec":{"n":-1}}"#, &[".spec.n: Invalid value: -1: should be a non-negative integer"]),
            (
                r#"{"spec":{"n":"x"}}"#,
                &[".spec.n: Invalid value: 0: .spec.n accessor error: x is of the type string, expected int64"],
            ),
            (
                r#"{"spec":1,"status":{"s":1}}"#,
                &[
                    ".spec.n: Invalid value: 0: .spec.n accessor error: 1 is of the type int64, expected map[string]interface {}",
                    ".status.s: Invalid value: \"\": .status.s accessor error: 1 is of the type int64, expected string",
                ],
            ),
        ] {
            let mut errors = Errors::new();
            validate(&serde_json::from_str(object).expect("JSON"), &scale, &mut errors);
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{object}");
        }
    }

    #[test]
    fn a_path_is_set() {
        let mut object = serde_json::json!({"spec": {"x": 1}});
        assert!(set(&mut object, ".spec.n.m", Value::from(2)));
        assert_eq!(get(&object, ".spec.n.m"), Some(&Value::from(2)));
        assert!(!set(&mut object, ".spec.x.y", Value::from(2)));
    }
}
