//! Any rule in CEL, compiled and run on an object.
#![no_main]

use coracle_api::custom::cel::compile_rule;
use coracle_api::custom::{Structural, validate};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|rule: &str| {
    let schema = json!({
        "type": "object",
        "properties": {
            "size": {"type": "integer"}, "name": {"type": "string"}, "at": {"type": "string", "format": "date-time"},
            "list": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10}},
            "map": {"type": "object", "additionalProperties": {"type": "number"}},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
        },
        "x-kubernetes-validations": [{"rule": rule, "messageExpression": rule}],
    });
    let object = |size: i64| -> Value {
        json!({
            "size": size, "name": "a name", "at": "2026-01-01T00:00:00Z", "list": ["a", "b", "a"],
            "map": {"x": 1.5, "y": -2}, "any": {"deep": [1, "2", null, {"er": true}]},
        })
    };
    let props: JSONSchemaProps = serde_json::from_value(schema).expect("a schema");
    let Ok(schema) = Structural::new(&props) else { return };
    let rule = &props.x_kubernetes_validations.as_ref().expect("one rule")[0];
    let _ = compile_rule(rule, &schema, true);
    let _ = validate(&object(3), Some(&object(2)), &schema);
});
