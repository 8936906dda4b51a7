//! Definitions, and the fields and reasons for which they are refused.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use crate::validation::tests::{refused, refused_update};

/// A definition that is right.
fn right() -> Value {
    json!({
        "metadata": {"name": "as.x.test"},
        "spec": {
            "group": "x.test", "scope": "Namespaced",
            "names": {"plural": "as", "kind": "A"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    })
}

/// It, with a value somewhere.
fn with(pointer: &str, value: Value) -> String {
    let mut definition = right();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = definition.pointer_mut(parent).expect("a place");
    match parent {
        Value::Array(list) => list.push(value),
        parent => parent[name] = value,
    }
    definition.to_string()
}

#[test]
fn definitions_are_held_to_their_rules() {
    let version = json!({"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object", "nullable": true}}});
    for (pointer, value, expected) in [
        ("/metadata/name", json!("as.x.test"), &[][..]),
        ("/metadata/name", json!("wrong.x.test"), &["metadata.name Invalid"]),
        ("/spec/group", json!("x"), &["metadata.name Invalid", "spec.group Invalid"]),
        ("/spec/scope", json!("Wide"), &["spec.scope NotSupported"]),
        (
            "/spec/names/kind",
            json!("A_"),
            &["spec.names.singular Invalid", "spec.names.kind Invalid", "spec.names.listKind Invalid"],
        ),
        ("/spec/names/shortNames", json!(["ok", "Not"]), &["spec.names.shortNames[1] Invalid"]),
        ("/spec/names/listKind", json!("A"), &["spec.names.listKind Invalid"]),
        ("/spec/names/categories", json!(["all", "-"]), &["spec.names.categories[1] Invalid"]),
        ("/spec/preserveUnknownFields", json!(true), &["spec.preserveUnknownFields Invalid"]),
        (
            "/spec/versions",
            json!([{"name": "v1", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}}]),
            &["spec.versions Invalid", "status.storedVersions Invalid"],
        ),
        ("/spec/versions/0/schema", Value::Null, &["spec.versions[0].schema.openAPIV3Schema Required"]),
        ("/spec/versions/-", version, &["spec.versions[1].schema.openAPIV3Schema.nullable Forbidden"]),
        ("/spec/versions/0/deprecationWarning", json!("old"), &["spec.versions[0].deprecationWarning Invalid"]),
        (
            "/spec/conversion",
            json!({"strategy": "Webhook"}),
            &["spec.conversion.webhookClientConfig Required", "spec.conversion.conversionReviewVersions Required"],
        ),
        (
            "/spec/conversion",
            json!({"strategy": "Webhook", "webhook": {"clientConfig": {"url": "http://a/?b"}, "conversionReviewVersions": ["v9"]}}),
            &[
                "spec.conversion.webhookClientConfig.url Invalid",
                "spec.conversion.webhookClientConfig.url Invalid",
                "spec.conversion.conversionReviewVersions Invalid",
            ],
        ),
        ("/spec/conversion", json!({"strategy": "Magic"}), &["spec.conversion.strategy NotSupported"]),
        (
            "/spec/versions/0/subresources",
            json!({"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": "", "labelSelectorPath": "x"}}),
            &[
                "spec.subresources.scale.specReplicasPath Invalid",
                "spec.subresources.scale.statusReplicasPath Required",
                "spec.subresources.scale.labelSelectorPath Invalid",
            ],
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            json!([{"name": "", "type": "text", "jsonPath": "spec"}]),
            &[
                "spec.additionalPrinterColumns[0].name Required",
                "spec.additionalPrinterColumns[0].type Invalid",
                "spec.additionalPrinterColumns[0].JSONPath Invalid",
            ],
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".spec.x"}]),
            &["spec.selectableFields[0].jsonPath Invalid"],
        ),
    ] {
        let text = with(pointer, value);
        assert_eq!(refused::<CustomResourceDefinition>(&text), expected, "{text}");
    }
}

#[test]
fn groups_of_kubernetes_need_approval() {
    let mut definition = right();
    definition["metadata"] = json!({"name": "as.x.k8s.io"});
    definition["spec"]["group"] = json!("x.k8s.io");
    let path = "metadata.annotations[api-approved.kubernetes.io]";
    for (annotation, expected) in [
        (None, &[format!("{path} Required")][..]),
        (Some("nobody"), &[format!("{path} Invalid")]),
        (Some("https://github.com/kubernetes/kubernetes/pull/1"), &[]),
        (Some("unapproved, a test"), &[]),
    ] {
        definition["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": annotation.unwrap_or_default()});
        assert_eq!(refused::<CustomResourceDefinition>(&definition.to_string()), expected, "{annotation:?}");
    }
}

/// What is wrong with a schema whose `spec` has these properties.
fn refused_schema(spec: &str) -> Vec<String> {
    let spec: Value = serde_json::from_str(spec).expect("JSON");
    let text =
        with("/spec/versions/0/schema", json!({"openAPIV3Schema": {"type": "object", "properties": {"a": spec}}}));
    let cut = |line: &String| line.replace("spec.validation.openAPIV3Schema.properties[a]", "~");
    refused::<CustomResourceDefinition>(&text).iter().map(cut).collect()
}

#[test]
fn schemas_are_structural() {
    for (spec, expected) in [
        (r#"{"type":"string","default":"x"}"#, &[][..]),
        (r#"{"x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}]}"#, &[]),
        ("{}", &["~.type Required"]),
        (r#"{"type":"array"}"#, &["~.items Required"]),
        (r#"{"type":"array","items":{}}"#, &["~.items.type Required"]),
        (r#"{"type":"text"}"#, &["~.type NotSupported"]),
        (
            r#"{"type":"object","anyOf":[{"properties":{"b":{"type":"string"}}}]}"#,
            &["~.anyOf[0].properties[b].type Forbidden"],
        ),
        (r#"{"type":"string","pattern":"("}"#, &["~.pattern Invalid"]),
        (r#"{"type":"object","x-kubernetes-embedded-resource":true}"#, &["~.properties Required"]),
        (
            r#"{"type":"string","x-kubernetes-preserve-unknown-fields":false}"#,
            &["~.x-kubernetes-preserve-unknown-fields Invalid"],
        ),
        (r#"{"type":"array","uniqueItems":true,"items":{"type":"string"}}"#, &["~.uniqueItems Forbidden"]),
        (
            r#"{"type":"object","properties":{"b":{"type":"string"}},"additionalProperties":false}"#,
            &["~.additionalProperties Forbidden"],
        ),
        (r#"{"type":"string","x-kubernetes-list-type":"set"}"#, &["~.type Invalid"]),
        (
            r#"{"type":"array","x-kubernetes-list-type":"bag","items":{"type":"string"}}"#,
            &["~.x-kubernetes-list-type NotSupported"],
        ),
        (
            r#"{"type":"array","x-kubernetes-list-type":"set","items":{"type":"object"}}"#,
            &["~.items.x-kubernetes-map-type Invalid"],
        ),
        (
            r#"{"type":"array","x-kubernetes-list-type":"map","items":{"type":"object"}}"#,
            &["~.x-kubernetes-list-map-keys Required"],
        ),
        (
            r#"{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k","z"],"items":{"type":"object","properties":{"k":{"type":"string"}}}}"#,
            &["~.x-kubernetes-list-map-keys Invalid", "~.items.properties[k].default Required"],
        ),
        (r#"{"type":"integer","default":"x"}"#, &["~.default TypeInvalid"]),
        (r#"{"type":"object","default":{"z":1}}"#, &["~.default Invalid"]),
        (
            r#"{"type":"object","properties":{"b":{"type":"integer","maximum":1}},"default":{"b":2}}"#,
            &["~.default.b Invalid"],
        ),
        (r#"{"type":"string","nullable":true,"default":null}"#, &[]),
    ] {
        assert_eq!(refused_schema(spec), expected, "{spec}");
    }
    for (schema, expected) in [
        (json!({"properties": {}}), &["spec.validation.openAPIV3Schema.type Required"][..]),
        (json!({"type": "object", "nullable": true}), &["spec.validation.openAPIV3Schema.nullable Forbidden"]),
        // The root is an object like any other, with a type of its own.
        (
            json!({"type": "object", "default": {}}),
            &[
                "spec.validation.openAPIV3Schema.default.apiVersion Required",
                "spec.validation.openAPIV3Schema.default.kind Required",
            ],
        ),
        (json!({"type": "object", "default": {"kind": 5}}), &["spec.validation.openAPIV3Schema.default.kind Invalid"]),
        (json!({"type": "object", "default": {"apiVersion": "a/v1", "kind": "A", "metadata": {}}}), &[]),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            &["spec.validation.openAPIV3Schema.properties[metadata] Forbidden"],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}}}}}),
            &[],
        ),
    ] {
        let text = with("/spec/versions/0/schema", json!({"openAPIV3Schema": schema}));
        assert_eq!(refused::<CustomResourceDefinition>(&text), expected, "{text}");
    }
}

#[test]
fn rules_compile_and_cost_little() {
    let rule = "~.x-kubernetes-validations[0].rule";
    for (spec, expected) in [
        (r#"{"type":"string","x-kubernetes-validations":[{"rule":"self != ''"}]}"#.to_owned(), vec![]),
        (r#"{"type":"string","x-kubernetes-validations":[{"rule":"self.x == 1"}]}"#.to_owned(), vec![format!("{rule} Invalid")]),
        (r#"{"type":"string","x-kubernetes-validations":[{"rule":" "}]}"#.to_owned(), vec![format!("{rule} Required")]),
        (
            r#"{"type":"string","x-kubernetes-validations":[{"rule":"true","reason":"Bad","messageExpression":"1","fieldPath":".z"}]}"#.to_owned(),
            vec!["~.x-kubernetes-validations[0].reason NotSupported".to_owned(), "~.x-kubernetes-validations[0].fieldPath Invalid".to_owned()],
        ),
        (
            r#"{"type":"string","x-kubernetes-validations":[{"rule":"true","messageExpression":"1","optionalOldSelf":true}]}"#.to_owned(),
            vec!["~.x-kubernetes-validations[0].messageExpression Invalid".to_owned(), "~.x-kubernetes-validations[0].optionalOldSelf Invalid".to_owned()],
        ),
        (
            r#"{"type":"array","maxItems":9,"items":{"type":"string","maxLength":9,"x-kubernetes-validations":[{"rule":"self == oldSelf"}]}}"#.to_owned(),
            vec!["~.items.x-kubernetes-validations[0].rule Invalid".to_owned()],
        ),
        (
            r#"{"type":"array","items":{"type":"string"},"x-kubernetes-validations":[{"rule":"self.all(x, self.all(y, x == y))"}]}"#.to_owned(),
            vec![format!("{rule} Forbidden"), format!("{rule} Forbidden"), "spec.validation.openAPIV3Schema Forbidden".to_owned()],
        ),
    ] {
        assert_eq!(refused_schema(&spec), expected, "{spec}");
    }
}

#[test]
fn what_names_a_resource_does_not_change() {
    let mut old = right();
    let mut new = right();
    new["spec"]["scope"] = json!("Cluster");
    new["spec"]["group"] = json!("y.test");
    let group = ["spec.group Invalid"];
    assert_eq!(refused_update::<CustomResourceDefinition>(&old.to_string(), &new.to_string()), group);
    let established = json!([{"type": "Established", "status": "True", "reason": "", "message": ""}]);
    old["status"] = json!({"conditions": established, "storedVersions": ["v1"]});
    new["status"] = json!({"conditions": established, "storedVersions": ["v0", "v1"]});
    let expected = ["spec.scope Invalid", "spec.group Invalid", "status.storedVersions[0] Invalid"];
    assert_eq!(refused_update::<CustomResourceDefinition>(&old.to_string(), &new.to_string()), expected);
}
