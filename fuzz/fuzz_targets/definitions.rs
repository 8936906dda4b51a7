//! Any schema of a custom resource.
#![no_main]

use coracle_fuzz::ask;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All";

fuzz_target!(|data: &[u8]| {
    let Ok(schema) = serde_json::from_slice::<Value>(data) else { return };
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
