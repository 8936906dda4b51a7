//! Any schema of a custom resource, and any object of it: two texts in JSON, one after the other.
#![no_main]

use coracle_api::custom::{Structural, default, prune, validate};
use coracle_fuzz::ask;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use libfuzzer_sys::fuzz_target;
use serde_json::{Deserializer, Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All";

fuzz_target!(|data: &[u8]| {
    let mut texts = Deserializer::from_slice(data).into_iter::<Value>();
    let Some(Ok(schema)) = texts.next() else { return };
    let object = texts.next().and_then(Result::ok).unwrap_or_else(|| json!({"a": [1, "x"], "b": {"c": null}}));
    judge(&schema, object);
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "fuzzes.example.test"},
        "spec": {
            "group": "example.test", "scope": "Namespaced", "names": {"plural": "fuzzes", "kind": "Fuzz"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    ask("POST", DEFINITIONS, "application/json", definition.to_string().as_bytes());
});

/// What is pruned and completed once stays as it is.
fn judge(schema: &Value, mut object: Value) {
    let Ok(props) = serde_json::from_value::<JSONSchemaProps>(schema.clone()) else { return };
    let Ok(schema) = Structural::new(&props) else { return };
    let _ = prune(&mut object, &schema);
    default(&mut object, &schema);
    let _ = validate(&object, Some(&object), &schema);
    let before = object.clone();
    default(&mut object, &schema);
    assert_eq!(object, before, "completed twice");
}
