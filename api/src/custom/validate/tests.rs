//! What upstream answers, side by side with what it is asked.

use serde_json::Value;

use super::validate;
use crate::custom::tests::schema;

fn refused(properties: &str, object: &str, old: Option<&str>) -> Vec<String> {
    let s = schema(&format!(r#"{{"type":"object","properties":{properties}}}"#));
    let read = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    validate(&read(object), old.map(read).as_ref(), &s).iter().map(ToString::to_string).collect()
}

#[test]
fn values_are_judged_by_their_schema() {
    for (properties, object, expected) in [
        (
            r#"{"a":{"type":"integer","minimum":1,"maximum":10}}"#,
            r#"{"a":"x"}"#,
            &[r#"a: Invalid value: "string": a in body must be of type integer: "string""#][..],
        ),
        (
            r#"{"a":{"type":"integer","minimum":1,"maximum":10}}"#,
            r#"{"a":30}"#,
            &["a: Invalid value: 30: a in body should be less than or equal to 10"],
        ),
        (
            r#"{"a":{"type":"number","minimum":1.5,"exclusiveMinimum":true,"multipleOf":2}}"#,
            r#"{"a":1.5}"#,
            &[
                "a: Invalid value: 1.5: a in body should be a multiple of 2",
                "a: Invalid value: 1.5: a in body should be greater than 1.5",
            ],
        ),
        (
            r#"{"a":{"type":"string","enum":["x","y"]}}"#,
            r#"{"a":"z"}"#,
            &[r#"a: Unsupported value: "z": supported values: "x", "y""#],
        ),
        (r#"{"a":{"type":"object","required":["b"]}}"#, r#"{"a":{}}"#, &["a.b: Required value"]),
        (
            r#"{"a":{"type":"string"}}"#,
            r#"{"a":null}"#,
            &[r#"a: Invalid value: "null": a in body must be of type string: "null""#],
        ),
        (r#"{"a":{"type":"string","nullable":true}}"#, r#"{"a":null}"#, &[]),
        (r#"{"a":{"type":"string","maxLength":2}}"#, r#"{"a":"abc"}"#, &["a: Too long: may not be more than 2 bytes"]),
        (
            r#"{"a":{"type":"string","minLength":2,"pattern":"^x"}}"#,
            r#"{"a":"a"}"#,
            &[r#"a: Invalid value: "a": a in body should be at least 2 chars long"#],
        ),
        (
            r#"{"a":{"type":"string","pattern":"^x"}}"#,
            r#"{"a":"a"}"#,
            &[r#"a: Invalid value: "a": a in body should match '^x'"#],
        ),
        (
            r#"{"a":{"type":"string","format":"date"}}"#,
            r#"{"a":"a"}"#,
            &[r#"a: Invalid value: "a": a in body must be of type date: "a""#],
        ),
        (
            r#"{"a":{"type":"array","maxItems":1,"items":{"type":"string"}}}"#,
            r#"{"a":["x",1]}"#,
            &[
                r#"a[1]: Invalid value: "integer": a[1] in body must be of type string: "integer""#,
                "a: Too many: 2: must have at most 1 item",
            ],
        ),
        (
            r#"{"a":{"type":"object","additionalProperties":{"type":"string"},"minProperties":1}}"#,
            r#"{"a":{"k":1}}"#,
            &[r#"a.k: Invalid value: "integer": a.k in body must be of type string: "integer""#],
        ),
        (
            r#"{"a":{"type":"integer"}}"#,
            r#"{"a":1.5}"#,
            &[
                r#"a: Invalid value: "number": a in body must be of type integer: "number""#,
                r#"<nil>: Invalid value: "": Checked value must be of type integer (default format) in a"#,
            ],
        ),
        (
            r#"{"a":{"type":"integer","format":"int32","maximum":3000000000}}"#,
            r#"{"a":2147483648}"#,
            &[
                r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in a"#,
                r#"<nil>: Invalid value: "": Maximum boundary value must be of type integer with format int32 in a"#,
            ],
        ),
        (
            r#"{"a":{"type":"string","format":"date-time"}}"#,
            r#"{"a":5}"#,
            &[r#"a: Invalid value: "int64": a in body must be of type date-time: "int64""#],
        ),
        (
            r#"{"a":{"type":"string","enum":[null,"x"],"nullable":true}}"#,
            r#"{"a":null}"#,
            &["a: Unsupported value: null"],
        ),
        (r#"{"a":{"type":"number","enum":[1.0]}}"#, r#"{"a":1}"#, &[]),
        (
            r#"{"a":{"type":"object","properties":{"b":{"type":"string"}},"additionalProperties":false,"minProperties":3}}"#,
            r#"{"a":{"c":1,"b":2}}"#,
            &[
                "a: Invalid value: 2: a in body should have at least 3 properties",
                r#"a: Invalid value: "c": a.c in body is a forbidden property"#,
                r#"a.b: Invalid value: "integer": a.b in body must be of type string: "integer""#,
            ],
        ),
        (
            r#"{"a":{"type":"object","allOf":[{"required":["x"]},{"required":["x"]}]}}"#,
            r#"{"a":{}}"#,
            &[
                "a.x: Required value",
                r#"<nil>: Invalid value: "": "a" must validate all the schemas (allOf). None validated"#,
            ],
        ),
        (
            r#"{"a":{"type":"object","minProperties":1}}"#,
            r#"{"a":{}}"#,
            &["a: Invalid value: 0: a in body should have at least 1 properties"],
        ),
        (r#"{"a":{"x-kubernetes-int-or-string":true}}"#, r#"{"a":"x"}"#, &[]),
        (
            r#"{"a":{"x-kubernetes-int-or-string":true}}"#,
            r#"{"a":true}"#,
            &[r#"a: Invalid value: "boolean": a in body must be of type integer,string: "boolean""#],
        ),
        (
            r#"{"a":{"type":"object","oneOf":[{"required":["x"]},{"required":["y"]}]}}"#,
            r#"{"a":{"x":1,"y":2}}"#,
            &[
                r#"<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
            ],
        ),
        (
            r#"{"a":{"type":"object","anyOf":[{"required":["x"]},{"required":["y"]}]}}"#,
            r#"{"a":{}}"#,
            &[r#"<nil>: Invalid value: "": "a" must validate at least one schema (anyOf)"#, "a.x: Required value"],
        ),
        (
            r#"{"a":{"type":"integer","allOf":[{"minimum":2}],"not":{"enum":[1]}}}"#,
            r#"{"a":1}"#,
            &[
                "a: Invalid value: 1: a in body should be greater than or equal to 2",
                r#"<nil>: Invalid value: "": "a" must validate all the schemas (allOf). None validated"#,
                r#"<nil>: Invalid value: "": "a" must not validate the schema (not)"#,
            ],
        ),
        (
            r#"{"a":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}}}"#,
            r#"{"a":["x","y","x","x"]}"#,
            &[r#"a[2]: Duplicate value: "x""#],
        ),
        (
            r#"{"a":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object"}}}"#,
            r#"{"a":[{"k":1,"v":1},{"k":2},{"k":1}]}"#,
            &[r#"a[2]: Duplicate value: {"k":1}"#],
        ),
        (
            r#"{"a":{"type":"object","x-kubernetes-embedded-resource":true}}"#,
            r#"{"a":{"kind":"A_","metadata":{"name":"x/y"}}}"#,
            &["a.apiVersion: Required value", "a.kind", "a.metadata.name"],
        ),
        (
            r#"{"a":{"type":"object","x-kubernetes-embedded-resource":true}}"#,
            r#"{"a":{"apiVersion":"v1","kind":"A","metadata":{"name":null,"labels":{"a":null}}}}"#,
            &[],
        ),
        (
            r#"{"a":{"type":"object","x-kubernetes-embedded-resource":true}}"#,
            r#"{"a":{"apiVersion":"v1","kind":"A","metadata":{"finalizers":"x"}}}"#,
            &[
                r#"a.metadata: Invalid value: {"finalizers":"x"}: json: cannot unmarshal string into Go struct field ObjectMeta.finalizers of type []string"#,
            ],
        ),
    ] {
        let found = refused(properties, object, None);
        assert_eq!(found.len(), expected.len(), "{object}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{object}: {found}");
        }
    }
}

#[test]
fn what_was_wrong_and_is_untouched_is_tolerated() {
    let properties = r#"{"a":{"type":"string","maxLength":1},"b":{"type":"integer"},
        "l":{"type":"array","items":{"type":"string","maxLength":1}},
        "m":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],
            "items":{"type":"object","properties":{"k":{"type":"string"},"v":{"type":"string","maxLength":1}}}},
        "s":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}}}"#;
    for (old, new, refused_fields) in [
        (r#"{"a":"long","b":1}"#, r#"{"a":"long","b":2}"#, &[][..]),
        (r#"{"a":"long"}"#, r#"{"a":"longer"}"#, &["a"]),
        // Elements without keys are nobody's.
        (r#"{"l":["long"]}"#, r#"{"l":["long"],"b":1}"#, &[]),
        (r#"{"l":["long"]}"#, r#"{"l":["long","x"]}"#, &["l[0]"]),
        (r#"{"m":[{"k":"1","v":"long"}]}"#, r#"{"m":[{"k":"0"},{"k":"1","v":"long"}]}"#, &[]),
        (r#"{"s":["x","x"]}"#, r#"{"s":["x","x","y"]}"#, &[]),
        (r#"{"s":["x"]}"#, r#"{"s":["x","x"]}"#, &["s[1]"]),
    ] {
        let found = refused(properties, new, Some(old));
        let fields: Vec<&str> = found.iter().filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(fields, refused_fields, "{new}");
    }
}
