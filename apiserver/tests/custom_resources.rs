//! Kinds that are defined while the server runs, from their definition to their end.

#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{Client, Server};
use tower::Service as _;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.test/v1/namespaces/default/widgets";
const WIDGET: &str = "/apis/example.test/v1/namespaces/default/widgets/w";

/// A definition of widgets whose objects have a `spec` of these properties.
fn widgets(properties: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.test"},
        "spec": {
            "group": "example.test",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": properties},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                        "ready": {"type": "integer", "maximum": 5}
                    }},
                }}},
            }],
        },
    })
}

fn widget(spec: &Value) -> Value {
    json!({"apiVersion": "example.test/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})
}

/// Defines a kind, and waits until it is served.
async fn define(client: &Client, definition: Value) -> Value {
    let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
    client.post(DEFINITIONS, definition).await.is(201);
    until(client, &name, |definition| condition(definition, "Established").starts_with("True")).await
}

/// The first state of a definition of which something is true.
async fn until(client: &Client, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut watch = client.watch(&format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name%3D{name}")).await;
    loop {
        let (_, definition) = watch.next().await.expect("the watch goes on");
        if holds(&definition) {
            return definition;
        }
    }
}

/// A condition as `status reason: message`.
fn condition(definition: &Value, kind: &str) -> String {
    let conditions = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    let text = |name: &str| found.and_then(|one| one[name].as_str()).unwrap_or_default().to_owned();
    format!("{} {}: {}", text("status"), text("reason"), text("message"))
}

/// What causes a refusal names, as `field: message`.
fn causes(answer: &Value) -> Vec<String> {
    let causes = answer["details"]["causes"].as_array().cloned().unwrap_or_default();
    let text = |cause: &Value, name: &str| cause[name].as_str().unwrap_or_default().to_owned();
    causes.iter().map(|cause| format!("{}: {}", text(cause, "field"), text(cause, "message"))).collect()
}

/// An answer with its warnings.
async fn told(client: &Client, method: &str, path: &str, media_type: &str, body: Value) -> (u16, Vec<String>, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", media_type);
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let Ok(response) = client.0.clone().call(request.body(body).unwrap()).await;
    let warnings = warnings(response.headers());
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, warnings, serde_json::from_slice(&bytes).unwrap())
}

fn warnings(headers: &HeaderMap) -> Vec<String> {
    let text = |value: &http::HeaderValue| {
        let quoted = value.to_str().unwrap().strip_prefix("299 - ").unwrap().to_owned();
        serde_json::from_str(&quoted).unwrap()
    };
    headers.get_all("warning").iter().map(text).collect()
}

async fn shown(client: &Client, path: &str, accept: &str) -> Value {
    let request = Request::builder().uri(path).header("accept", accept).body(Body::empty()).unwrap();
    let Ok(response) = client.0.clone().call(request).await;
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_kind_comes_is_described_and_goes_with_its_objects() {
    let server = Server::start().await;
    let client = server.client();
    client.get(WIDGETS).await.is(404);
    let defined = define(&client, widgets(&json!({"size": {"type": "integer"}}))).await;
    assert_eq!(condition(&defined, "NamesAccepted"), "True NoConflicts: no conflicts found");
    let expected = "True InitialNamesAccepted: the initial names have been accepted";
    assert_eq!(condition(&defined, "Established"), expected);
    assert_eq!(defined["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(defined["status"]["acceptedNames"]["listKind"], "WidgetList");
    assert_eq!(defined["metadata"]["generation"], 1);

    let found = client.get("/apis/example.test/v1").await.is(200);
    assert_eq!(
        found["resources"][0]["verbs"],
        json!(["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"])
    );
    assert_eq!(found["resources"][0]["shortNames"], json!(["wd"]));
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let groups = shown(&client, "/apis", aggregated).await;
    let groups = groups["items"].as_array().unwrap().clone();
    let own = groups.iter().find(|group| group["metadata"]["name"] == "example.test").unwrap();
    assert_eq!(own["versions"][0]["resources"][0]["responseKind"]["kind"], "Widget");
    let document = client.get("/openapi/v3/apis/example.test/v1").await.is(200);
    let size = "/components/schemas/test.example.v1.Widget/properties/spec/properties/size/type";
    assert_eq!(document.pointer(size), Some(&json!("integer")));
    let all = client.get("/openapi/v2").await.is(200);
    assert!(all["definitions"]["test.example.v1.Widget"].is_object());

    let mut held = widget(&json!({}));
    held["metadata"]["finalizers"] = json!(["example.test/f"]);
    client.post(WIDGETS, held).await.is(201);
    let going = client.delete(&format!("{DEFINITIONS}/widgets.example.test")).await.is(200);
    assert_eq!(going["kind"], "CustomResourceDefinition");
    assert_eq!(going["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert!(condition(&going, "Terminating").starts_with("True InstanceDeletionPending"));
    let in_progress = "True InstanceDeletionInProgress: CustomResource deletion is in progress";
    until(&client, "widgets.example.test", |one| condition(one, "Terminating") == in_progress).await;
    let mut watch = client.watch(&format!("{WIDGETS}?watch=1")).await;
    while watch.next().await.unwrap().1["metadata"]["deletionTimestamp"].is_null() {}
    let mut other = widget(&json!({}));
    other["metadata"]["name"] = "other".into();
    let refused = client.post(WIDGETS, other).await.is(403);
    assert_eq!(
        refused["message"],
        r#"widgets.example.test "other" is forbidden: create not allowed while custom resource definition is terminating"#
    );
    let found = client.get("/apis/example.test/v1").await.is(200);
    assert_eq!(found["resources"][0]["verbs"], json!(["delete", "deletecollection", "get", "list", "watch"]));
    let mut gone =
        client.watch(&format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name%3Dwidgets.example.test")).await;
    client.merge(WIDGET, json!({"metadata": {"finalizers": null}})).await.is(200);
    let mut last = String::new();
    loop {
        let (kind, definition) = gone.next().await.unwrap();
        if kind == "DELETED" {
            break;
        }
        last = condition(&definition, "Terminating");
    }
    assert_eq!(last, "False InstanceDeletionCompleted: removed all instances");
    // It is gone for good once the catalog was made without it, as the name is free again then.
    define(&client, widgets(&json!({}))).await;
    assert_eq!(client.get(WIDGETS).await.is(200)["items"], json!([]));
}

#[tokio::test]
async fn objects_are_judged_by_their_schema() {
    let server = Server::start().await;
    let client = server.client();
    let mut definition = widgets(&json!({
        "size": {"type": "integer", "format": "int32", "minimum": 1},
        "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}},
        "limit": {"x-kubernetes-int-or-string": true},
        "when": {"type": "string", "format": "date-time"},
        "note": {"type": "string", "nullable": true, "maxLength": 3},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
    }));
    let version = &mut definition["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] = json!([
        {"rule": "!has(self.size) || self.size < 10", "messageExpression": "'size is ' + string(self.size)", "fieldPath": ".size"},
        {"rule": "!has(self.note) || self.note == null || self.note != 'no'", "reason": "FieldValueForbidden", "message": "say something"},
    ]);
    version["subresources"] =
        json!({"scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.ready"}});
    define(&client, definition).await;
    for (spec, expected) in [
        (json!({"size": 3, "limit": "5%", "note": null, "when": "2026-01-02T03:04:05Z"}), vec![]),
        (
            json!({"size": "x"}),
            vec![
                r#"spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#,
                r".spec.size: Invalid value: 0: .spec.size accessor error: x is of the type string, expected int64",
                "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
            ],
        ),
        (
            json!({"size": 0}),
            vec!["spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"],
        ),
        (
            json!({"color": "green"}),
            vec![
                r#"spec.color: Unsupported value: "green": supported values: "red", "blue""#,
                "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
            ],
        ),
        (
            json!({"ports": [{"name": "a"}, {"name": "a", "port": 1}]}),
            vec![r#"spec.ports[1]: Duplicate value: {"name":"a"}"#],
        ),
        (
            json!({"when": "now", "note": "long", "template": {"kind": ""}}),
            vec![
                "spec.note: Too long: may not be more than 3 bytes",
                r#"spec.when: Invalid value: "now": spec.when in body must be of type date-time: "now""#,
                "spec.template.apiVersion: Required value",
                r#"spec.template.kind: Invalid value: "": must not be empty"#,
                "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
            ],
        ),
        (json!({"size": 12}), vec!["spec.size: Invalid value: size is 12"]),
        (json!({"note": "no"}), vec!["spec: Forbidden: say something"]),
    ] {
        let answer = client.post(&format!("{WIDGETS}?dryRun=All"), widget(&spec)).await;
        assert_eq!(answer.code, if expected.is_empty() { 201 } else { 422 }, "{spec}: {}", answer.body);
        let prefixed: Vec<String> = causes(&answer.body);
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        // The message of a cause has no field.
        assert_eq!(prefixed, expected, "{spec}");
    }
    let made = client.post(WIDGETS, widget(&json!({"bogus": 1, "limit": 5}))).await.is(201);
    assert_eq!(made["spec"], json!({"color": "red", "limit": 5}));
    for (path, body, message) in [
        (
            "?fieldValidation=Strict&dryRun=All",
            json!({"bogus": 1, "ports": [{"name": "a", "x": 1}]}),
            r#"unknown field "spec.bogus", unknown field "spec.ports[0].x""#,
        ),
        (
            "?fieldValidation=Strict&dryRun=All",
            json!({"template": {"apiVersion": "v1", "kind": "P", "metadata": {"odd": 1}}}),
            r#"unknown field "spec.template.metadata.odd""#,
        ),
    ] {
        let refused = client.post(&format!("{WIDGETS}{path}"), widget(&body)).await.is(400);
        let message =
            format!("Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: {message}");
        assert_eq!(refused["message"], message);
    }
    for (within, message) in [
        (
            json!({"metadata": "x"}),
            r#"metadata: Invalid value: "x": json: cannot unmarshal string into Go value of type v1.ObjectMeta"#,
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            r#"metadata: Invalid value: {"labels":{"a":1}}: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"#,
        ),
        (json!({"apiVersion": 5}), "apiVersion: Invalid value: 5: must be a string"),
    ] {
        let refused = client.post(WIDGETS, widget(&json!({"template": within, "bogus": 1}))).await.is(400);
        let message = format!("Widget in version \"v1\" cannot be handled as a Widget: spec.template.{message}");
        assert_eq!(refused["message"], message);
    }
    let within = json!({"apiVersion": "v1", "kind": "P", "metadata": {"labels": {"a": null}, "name": null}});
    let made = client.merge(WIDGET, json!({"spec": {"template": within}})).await.is(200);
    assert_eq!(made["spec"]["template"]["metadata"], json!({"labels": {}}));
    let yaml = "apiVersion: example.test/v1\nkind: Widget\nmetadata: {name: two}\nspec: {size: 2}\n";
    let made = client.call("POST", WIDGETS, "application/yaml", yaml).await.is(201);
    assert_eq!(made["spec"]["size"], 2);
    client.call("PATCH", WIDGET, "application/strategic-merge-patch+json", "{}").await.is(415);
    assert_eq!(client.put(&format!("{WIDGETS}/none"), widget(&json!({}))).await.code, 400);
}

#[tokio::test]
async fn methods_mean_what_the_handler_of_custom_kinds_makes_of_them() {
    let server = Server::start().await;
    let client = server.client();
    define(&client, widgets(&json!({}))).await;
    let mut cluster = widgets(&json!({}));
    cluster["metadata"]["name"] = "gears.example.test".into();
    cluster["spec"]["scope"] = "Cluster".into();
    cluster["spec"]["names"] = json!({"plural": "gears", "kind": "Gear"});
    cluster["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    define(&client, cluster).await;
    let (json, merge) = ("application/json", "application/merge-patch+json");
    let everywhere = "/apis/example.test/v1/widgets";
    let gears = "/apis/example.test/v1/gears";
    let no_page = "404 page not found\n";
    let not_named = "name must be provided";
    let unknown_type = "the body of the request was in an unknown format - accepted media types include: \
        application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    for (method, path, media_type, code, message) in [
        // The body alone says the name.
        ("POST", &*format!("{WIDGETS}/other"), json, 201, ""),
        ("POST", &*format!("{WIDGETS}/other"), json, 409, r#"widgets.example.test "w" already exists"#),
        ("PUT", WIDGETS, json, 400, not_named),
        ("PATCH", WIDGETS, merge, 400, not_named),
        ("PATCH", WIDGETS, json, 415, unknown_type),
        ("OPTIONS", WIDGET, json, 405, r#" is not supported on resources of kind "widgets.example.test""#),
        (
            "DELETE",
            &*format!("{gears}/g/status"),
            json,
            405,
            r#"delete is not supported on resources of kind "gears.example.test""#,
        ),
        ("GET", &*format!("{WIDGET}/status"), json, 404, r#"widgets.example.test "w" not found"#),
        ("POST", everywhere, json, 404, no_page),
        ("PUT", everywhere, json, 404, no_page),
        ("DELETE", everywhere, json, 404, no_page),
        ("GET", &*format!("{everywhere}/w"), json, 404, no_page),
        ("GET", "/apis/example.test/v1/namespaces/default/gears", json, 404, no_page),
        ("GET", everywhere, json, 200, ""),
        ("GET", WIDGET, json, 200, ""),
    ] {
        let answer = client.call(method, path, media_type, widget(&json!({})).to_string()).await;
        let told = answer.body.as_str().or(answer.body["message"].as_str()).unwrap_or_default();
        assert_eq!((answer.code, told), (code, message), "{method} {path}");
    }
}

#[tokio::test]
async fn an_apply_that_takes_the_last_field_of_an_object_leaves_null() {
    let server = Server::start().await;
    let client = server.client();
    define(
        &client,
        widgets(&json!({
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "maybe": {"type": "object", "nullable": true, "properties": {"a": {"type": "string"}}},
            "list": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        })),
    )
    .await;
    let apply = async |name: &str, spec: Value| {
        let mut widget = widget(&spec);
        widget["metadata"]["name"] = name.into();
        let path = format!("{WIDGETS}/{name}?fieldManager=m");
        client.call("PATCH", &path, "application/apply-patch+yaml", widget.to_string()).await
    };
    let is_null =
        |field: &str| format!(r#"{field}: Invalid value: "null": {field} in body must be of type object: "null""#);
    for (i, (first, then, left, refused)) in [
        (json!({"map": {"a": "1"}}), json!({"map": {}}), Value::Null, vec![is_null("spec.map")]),
        (json!({"map": {"a": "1"}}), json!({}), Value::Null, vec![is_null("spec")]),
        (json!({"map": {"a": "1", "b": "2"}}), json!({"map": {"a": "1"}}), json!({"map": {"a": "1"}}), vec![]),
        (json!({"maybe": {"a": "1"}}), json!({"maybe": {}}), json!({"maybe": null}), vec![]),
        (json!({"map": {"a": "1"}, "list": ["x"]}), json!({"map": {"a": "1"}}), json!({"map": {"a": "1"}}), vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("w{i}");
        apply(&name, first.clone()).await.is(201);
        let answer = apply(&name, then.clone()).await;
        assert_eq!(causes(&answer.body), refused, "{first} {then}");
        assert_eq!(answer.body["spec"], left, "{first} {then}");
    }
}

#[tokio::test]
async fn a_refusal_tells_its_warnings_too() {
    let server = Server::start().await;
    let client = server.client();
    let mut definition = widgets(&json!({"size": {"type": "integer"}}));
    definition["spec"]["versions"][0]["deprecated"] = true.into();
    define(&client, definition).await;
    let (json, merge) = ("application/json", "application/merge-patch+json");
    let deprecated = "example.test/v1 Widget is deprecated";
    let unknown = r#"unknown field "spec.odd""#;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, image: &str| {
        let container =
            json!({"name": "c", "image": image, "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]});
        json!({"metadata": {"name": name}, "spec": {"containers": [container], "odd": 1}})
    };
    let hides = r#"spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply"#;
    for (method, path, media_type, body, code, told_with) in [
        ("POST", WIDGETS, json, widget(&json!({"odd": 1})), 201, vec![deprecated, unknown]),
        ("POST", WIDGETS, json, widget(&json!({"odd": 1})), 409, vec![deprecated, unknown]),
        ("POST", WIDGETS, json, widget(&json!({"odd": 1, "size": "x"})), 422, vec![deprecated, unknown]),
        ("PATCH", WIDGET, merge, json!({"spec": {"odd": 1, "size": "x"}}), 422, vec![deprecated, unknown]),
        (
            "POST",
            &*format!("{WIDGETS}?fieldValidation=Strict"),
            json,
            widget(&json!({"odd": 1})),
            400,
            vec![deprecated],
        ),
        ("GET", &*format!("{WIDGETS}/none"), json, Value::Null, 404, vec![deprecated]),
        // What is told of an object is told once it is found to be right.
        ("POST", pods, json, pod("p", ""), 422, vec![unknown]),
        ("POST", pods, json, pod("p", "i"), 201, vec![unknown, hides]),
        ("POST", pods, json, pod("p", "i"), 409, vec![unknown, hides]),
        (
            "GET",
            "/api/v1/namespaces/default/endpoints/none",
            json,
            Value::Null,
            404,
            vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"],
        ),
    ] {
        let (answered, warnings, answer) = told(&client, method, path, media_type, body).await;
        assert_eq!(
            (answered, warnings),
            (code, told_with.into_iter().map(str::to_owned).collect()),
            "{method} {path}: {answer}"
        );
    }
}

#[tokio::test]
async fn definitions_are_refused_with_their_causes() {
    let server = Server::start().await;
    let client = server.client();
    for (properties, expected) in [
        (
            json!({"a": {"type": "string", "x-kubernetes-validations": [{"rule": "self.x == 1"}]}}),
            vec![concat!(
                r#"spec.validation.openAPIV3Schema.properties[spec].properties[a].x-kubernetes-validations[0].rule: Invalid value: "#,
                r#"{"Rule":"self.x == 1","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: "#,
                "compilation failed: ERROR: <input>:1:5: type 'string' does not support field selection\n | self.x == 1\n | ....^"
            )],
        ),
        (
            json!({"a": {"type": "string", "default": 1}}),
            vec![
                r#"spec.validation.openAPIV3Schema.properties[spec].properties[a].default: Invalid value: "integer":  in body must be of type string: "integer""#,
            ],
        ),
        (
            json!({"a": {"type": "array", "items": [{"type": "string"}]}, "b": {}}),
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].properties[a].items: Forbidden: items must be a schema object and not an array",
            ],
        ),
        (
            json!({"a": {"type": "object", "x-kubernetes-preserve-unknown-fields": false}}),
            vec![
                "spec.validation.openAPIV3Schema.properties[spec].properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
            ],
        ),
    ] {
        let answer = client.post(DEFINITIONS, widgets(&properties)).await.is(422);
        assert_eq!(causes(&answer), expected, "{properties}");
    }
    let mut definition = widgets(&json!({"a": {"type": "string"}}));
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    second["selectableFields"] = json!([{"jsonPath": ".spec.a"}]);
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    let answer = client.post(DEFINITIONS, definition).await.is(422);
    let rule = "may only be set when `version.schema.openAPIV3Schema` is not included";
    assert_eq!(causes(&answer), [format!("spec.versions[1].selectableFields: Invalid value: \"\": {rule}")]);
    let mut definition = widgets(&json!({}));
    definition["spec"]["versions"][0]["storage"] = false.into();
    let answer = client.post(DEFINITIONS, definition).await.is(422);
    assert!(
        causes(&answer)[0].starts_with(r#"spec.versions: Invalid value: [{"Name":"v1","Served":true,"#),
        "{answer}"
    );
    let mut definition = widgets(&json!({"f": {"type": "string", "format": "odd"}}));
    let (code, warnings, _) = told(&client, "POST", DEFINITIONS, "application/json", definition.take()).await;
    assert_eq!((code, warnings), (201, vec!["unrecognized format \"odd\"".to_owned()]));
}

#[tokio::test]
async fn what_was_wrong_before_a_definition_changed_may_stay() {
    let server = Server::start().await;
    let client = server.client();
    let properties = |max: u32| {
        json!({"note": {"type": "string", "maxLength": max}, "size": {"type": "integer"},
            "part": {"type": "object", "properties": {"n": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": format!("self.n < {max}"), "message": "too much"}]}})
    };
    define(&client, widgets(&properties(9))).await;
    client.post(WIDGETS, widget(&json!({"note": "long", "part": {"n": 5}}))).await.is(201);
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let patch = json!([{"op": "replace", "path": schema, "value": properties(2)}]);
    let path = format!("{DEFINITIONS}/widgets.example.test");
    client.call("PATCH", &path, "application/json-patch+json", patch.to_string()).await.is(200);
    // The new schema is in force once it refuses.
    while client.post(&format!("{WIDGETS}?dryRun=All"), widget(&json!({"note": "long"}))).await.code != 422 {
        tokio::task::yield_now().await;
    }
    let merge = "application/merge-patch+json";
    let (code, warnings, body) = told(&client, "PATCH", WIDGET, merge, json!({"spec": {"size": 1}})).await;
    assert_eq!((code, warnings), (200, vec!["spec.part: Invalid value: too much".to_owned()]), "{body}");
    let refused = client.merge(WIDGET, json!({"spec": {"note": "longer"}})).await.is(422);
    assert_eq!(causes(&refused)[0], "spec.note: Too long: may not be more than 2 bytes");
    let finalizers = json!({"metadata": {"finalizers": ["plain", "a.b", "a.b/c"]}});
    let (code, warnings, body) = told(&client, "PATCH", WIDGET, merge, finalizers).await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(warnings[0], "spec.part: Invalid value: too much");
    assert!(warnings[1].contains("prefer a domain-qualified finalizer name including a path (/)"), "{warnings:?}");
    assert!(warnings[2].contains("prefer a domain-qualified finalizer name to avoid"), "{warnings:?}");
}

#[tokio::test]
async fn spec_status_and_scale_are_written_apart() {
    let server = Server::start().await;
    let client = server.client();
    let mut definition = widgets(&json!({"n": {"type": "integer"}, "selector": {"type": "string"}}));
    definition["spec"]["versions"][0]["subresources"] = json!({
        "status": {},
        "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.ready", "labelSelectorPath": ".spec.selector"},
    });
    define(&client, definition).await;
    let (status, scale) = (format!("{WIDGET}/status"), format!("{WIDGET}/scale"));
    let mut given = widget(&json!({"selector": "a=b"}));
    given["status"] = json!({"ready": 1});
    let made = client.post(WIDGETS, given).await.is(201);
    assert_eq!((&made["status"], &made["metadata"]["generation"]), (&Value::Null, &json!(1)));
    let missing = client.get(&scale).await.is(500);
    assert_eq!(missing["message"], r#"Internal error occurred: the spec replicas field ".spec.n" does not exist"#);
    let empty = client.merge(&scale, json!({"metadata": {"labels": {}}})).await.is(400);
    assert_eq!(empty["message"], r#"the spec replicas field ".spec.n" cannot be empty"#);

    let told = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"n": 7}, "status": {"ready": 2, "free": {"x": 1}}});
    let changed = client.merge(&status, told).await.is(200);
    assert_eq!((&changed["spec"], &changed["metadata"]["labels"]), (&json!({"selector": "a=b"}), &Value::Null));
    assert_eq!((&changed["status"]["ready"], &changed["metadata"]["generation"]), (&json!(2), &json!(1)));
    let refused = client.merge(&status, json!({"status": {"ready": 9}})).await.is(422);
    assert_eq!(causes(&refused), ["status.ready: Invalid value: 9: ready in body should be less than or equal to 5"]);
    let changed = client.merge(WIDGET, json!({"spec": {"n": 3}, "status": {"ready": 4}})).await.is(200);
    assert_eq!((&changed["status"]["ready"], &changed["metadata"]["generation"]), (&json!(2), &json!(2)));

    let found = client.get(&scale).await.is(200);
    assert_eq!((&found["spec"]["replicas"], &found["status"]), (&json!(3), &json!({"replicas": 2, "selector": "a=b"})));
    let table = shown(&client, &scale, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let heads: Vec<&Value> = table["columnDefinitions"].as_array().unwrap().iter().map(|head| &head["name"]).collect();
    assert_eq!(heads, ["Name", "Desired", "Available", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("w"), json!(3), json!(2)]);
    let scaled = client.merge(&scale, json!({"spec": {"replicas": 5}})).await.is(200);
    assert_eq!((&scaled["kind"], &scaled["spec"]["replicas"]), (&json!("Scale"), &json!(5)));
    let now = client.get(WIDGET).await.is(200);
    assert_eq!((&now["spec"]["n"], &now["metadata"]["generation"]), (&json!(5), &json!(3)));
    let refused = client.merge(&scale, json!({"spec": {"replicas": -1}})).await.is(422);
    assert_eq!(refused["details"]["kind"], "Widget");
    assert_eq!(causes(&refused), [".spec.n: Invalid value: -1: should be a non-negative integer"]);
    client.get(&format!("{WIDGET}/none")).await.is(404);
}

#[tokio::test]
async fn one_object_has_several_versions() {
    let server = Server::start().await;
    let client = server.client();
    let mut definition = widgets(&json!({"a": {"type": "string"}}));
    let version = |name: &str, served: bool, properties: Value| {
        let mut version = widgets(&properties)["spec"]["versions"][0].clone();
        version["name"] = name.into();
        version["served"] = served.into();
        version["storage"] = (name == "v2").into();
        version
    };
    let mut old = version("v1beta1", true, json!({"a": {"type": "string"}, "old": {"type": "string", "default": "x"}}));
    old["deprecated"] = true.into();
    let new = version("v2", true, json!({"a": {"type": "string"}, "n": {"type": "integer", "default": 1}}));
    definition["spec"]["versions"] = json!([old, version("v1", false, json!({"a": {"type": "string"}})), new]);
    define(&client, definition).await;
    client.get(WIDGETS).await.is(404);
    let old = WIDGETS.replace("/v1/", "/v1beta1/");
    let mut given = widget(&json!({"a": "b", "old": "y"}));
    given["apiVersion"] = "example.test/v1beta1".into();
    let (code, warnings, made) = told(&client, "POST", &old, "application/json", given).await;
    assert_eq!((code, &made["apiVersion"]), (201, &json!("example.test/v1beta1")), "{made}");
    assert_eq!(warnings, ["example.test/v1beta1 Widget is deprecated; use example.test/v2 Widget"]);
    let new = client.get(&WIDGET.replace("/v1/", "/v2/")).await.is(200);
    assert_eq!((&new["apiVersion"], &new["spec"]), (&json!("example.test/v2"), &json!({"a": "b", "n": 1})));
    let group = client.get("/apis/example.test").await.is(200);
    assert_eq!(group["preferredVersion"]["version"], "v2");
    let names: Vec<&Value> = group["versions"].as_array().unwrap().iter().map(|one| &one["version"]).collect();
    assert_eq!(names, ["v2", "v1beta1"]);
    let path = format!("{DEFINITIONS}/widgets.example.test");
    let storage = json!([
        {"op": "replace", "path": "/spec/versions/0/storage", "value": true},
        {"op": "replace", "path": "/spec/versions/2/storage", "value": false},
    ]);
    let moved = client.call("PATCH", &path, "application/json-patch+json", storage.to_string()).await.is(200);
    assert_eq!(
        (&moved["status"]["storedVersions"], &moved["metadata"]["generation"]),
        (&json!(["v2", "v1beta1"]), &json!(2))
    );
    let removal = json!([{"op": "remove", "path": "/spec/versions/2"}]);
    let refused = client.call("PATCH", &path, "application/json-patch+json", removal.to_string()).await.is(422);
    assert!(
        causes(&refused)[0].starts_with(r#"status.storedVersions[0]: Invalid value: "v2": missing from spec.versions"#)
    );
    client.merge(&format!("{path}/status"), json!({"status": {"storedVersions": ["v1beta1"]}})).await.is(200);
    client.call("PATCH", &path, "application/json-patch+json", removal.to_string()).await.is(200);
}

#[tokio::test]
async fn a_webhook_is_not_asked_and_that_is_said() {
    let server = Server::start().await;
    let client = server.client();
    let mut definition = widgets(&json!({}));
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"service": {"name": "s", "namespace": "n"}}}});
    let defined = define(&client, definition).await;
    assert_eq!(defined["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["port"], 443);
    let other = WIDGETS.replace("/v1/", "/v2/");
    assert_eq!(client.get(&other).await.is(200)["items"], json!([]));
    let in_other = |spec: Value| {
        let mut widget = widget(&spec);
        widget["apiVersion"] = "example.test/v2".into();
        widget
    };
    let other_widget = WIDGET.replace("/v1/", "/v2/");
    client.get(&other_widget).await.is(404);
    let failed = |version: &str| {
        format!(
            "conversion webhook for example.test/{version}, Kind=Widget failed: this server does not call conversion webhooks"
        )
    };
    let refuses = |answer: support::Answer, version: &str| {
        assert_eq!((answer.code, answer.reason()), (500, ""), "{}", answer.body);
        assert_eq!(answer.body["message"], failed(version));
    };
    refuses(client.post(&other, in_other(json!({}))).await, "v2");
    // What is wrong comes first.
    client.post(&other, in_other(json!(5))).await.is(422);
    client.post(WIDGETS, widget(&json!({}))).await.is(201);
    refuses(client.get(&other).await, "v1");
    refuses(client.get(&other_widget).await, "v1");
    refuses(client.merge(&other_widget, json!({"spec": {}})).await, "v1");
    refuses(client.delete(&other_widget).await, "v1");
    client.get(&format!("{other_widget}2")).await.is(404);
    client.get(WIDGET).await.is(200);
}

#[tokio::test]
async fn fields_are_selected_by() {
    let server = Server::start().await;
    let client = server.client();
    let mut definition =
        widgets(&json!({"color": {"type": "string"}, "on": {"type": "boolean"}, "n": {"type": "integer"}}));
    definition["spec"]["versions"][0]["selectableFields"] =
        json!([{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.on"}]);
    define(&client, definition).await;
    for (name, spec) in [("a", json!({"color": "red", "on": true})), ("b", json!({"color": "blue"})), ("c", json!({}))]
    {
        let mut object = widget(&spec);
        object["metadata"]["name"] = name.into();
        client.post(WIDGETS, object).await.is(201);
    }
    for (selector, expected) in [
        ("spec.color=red", vec!["a"]),
        ("spec.color!=red", vec!["b", "c"]),
        ("spec.color=", vec!["c"]),
        ("spec.on=true,metadata.namespace=default", vec!["a"]),
        ("metadata.name=b", vec!["b"]),
    ] {
        let list = client.get(&format!("{WIDGETS}?fieldSelector={}", selector.replace('=', "%3D"))).await.is(200);
        let names: Vec<&str> =
            list["items"].as_array().unwrap().iter().filter_map(|one| one["metadata"]["name"].as_str()).collect();
        assert_eq!(names, expected, "{selector}");
    }
    let refused = client.get(&format!("{WIDGETS}?fieldSelector=spec.n%3D1")).await.is(400);
    assert_eq!(refused["message"], "field label not supported: spec.n");
    let found =
        client.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.test").await.is(200);
    assert_eq!(found["spec"]["versions"][0]["selectableFields"][1]["jsonPath"], ".spec.on");
    let mut watch = client.watch(&format!("{WIDGETS}?watch=1&fieldSelector=spec.color%3Dred")).await;
    assert_eq!(watch.told().await, "ADDED a");
    let paint = async |name: &str, color: &str| {
        client.merge(&format!("{WIDGETS}/{name}"), json!({"spec": {"color": color}})).await.is(200);
    };
    paint("b", "red").await;
    assert_eq!(watch.told().await, "ADDED b");
    paint("a", "green").await;
    assert_eq!(watch.told().await, "DELETED a");
    client.delete(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred")).await.is(200);
    assert_eq!(watch.told().await, "DELETED b");
    assert_eq!(client.get(WIDGETS).await.is(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn objects_are_shown_as_tables_and_as_metadata() {
    let server = Server::start().await;
    let client = server.client();
    let mut definition = widgets(&json!({"color": {"type": "string"}, "n": {"type": "integer"}}));
    definition["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
        {"name": "N", "type": "integer", "jsonPath": ".spec.n", "priority": 1, "format": "int32", "description": "how many"},
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
        {"name": "Odd", "type": "date", "jsonPath": ".spec.color"},
    ]);
    define(&client, definition).await;
    let mut given = widget(&json!({"color": "red", "n": 2}));
    given["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    client.post(WIDGETS, given).await.is(201);
    let table = shown(&client, WIDGETS, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await;
    let heads: Vec<String> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|head| format!("{} {} {} {}", head["name"], head["type"], head["format"], head["priority"]))
        .collect();
    assert_eq!(
        heads,
        [
            r#""Name" "string" "name" 0"#,
            r#""Color" "string" "" 0"#,
            r#""N" "integer" "int32" 1"#,
            r#""Ready" "string" "" 0"#,
            r#""Odd" "date" "" 0"#
        ]
    );
    assert_eq!(table["rows"][0]["cells"], json!(["w", "red", 2, "True", "<invalid>"]));
    let metadata = shown(&client, WIDGET, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await;
    assert_eq!((&metadata["kind"], &metadata["spec"]), (&json!("PartialObjectMetadata"), &Value::Null));
}

#[tokio::test]
async fn names_are_had_by_who_comes_first() {
    let server = Server::start().await;
    let client = server.client();
    define(&client, widgets(&json!({}))).await;
    let mut second = widgets(&json!({}));
    second["metadata"]["name"] = "others.example.test".into();
    second["spec"]["names"] = json!({"plural": "others", "kind": "Other", "shortNames": ["wd"]});
    client.post(DEFINITIONS, second).await.is(201);
    let expected = "False ShortNamesConflict: \"wd\" is already in use";
    let refused = until(&client, "others.example.test", |one| condition(one, "NamesAccepted") == expected).await;
    assert_eq!(condition(&refused, "Established"), "False NotAccepted: not all names are accepted");
    client.get("/apis/example.test/v1/others").await.is(404);
    // Deleted without ever having been served, it goes at once.
    let mut gone =
        client.watch(&format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name%3Dothers.example.test")).await;
    client.delete(&format!("{DEFINITIONS}/others.example.test")).await.is(200);
    let mut last = String::new();
    loop {
        let (kind, definition) = gone.next().await.unwrap();
        if kind == "DELETED" {
            break;
        }
        last = condition(&definition, "Terminating");
    }
    assert_eq!(last, "False NeverEstablished: resource was never established");

    let mut own = widgets(&json!({}));
    own["metadata"] =
        json!({"name": "widgets.x.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}});
    own["spec"]["group"] = "x.k8s.io".into();
    let defined = define(&client, own).await;
    let conformant = condition(&defined, "KubernetesAPIApprovalPolicyConformant");
    assert_eq!(conformant, "False UnapprovedAnnotation: not approved: \"unapproved, a test\"");
}
