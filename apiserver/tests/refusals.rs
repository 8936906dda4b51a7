//! What is refused about requests: codes, reasons, words and causes, as upstream has them.

#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use serde_json::{Value, json};
use support::{Answer, Client, Server, config_map, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn told(answer: &Answer) -> Told<'_> {
    (answer.code, answer.reason(), answer.body["message"].as_str().unwrap_or_default())
}

/// Code, reason and message of a refusal.
type Told<'t> = (u16, &'t str, &'t str);

/// Answers that are refusals, each with its method, path, media type and body.
async fn refuses(client: &Client, table: &[(&str, String, &str, &str, Told<'_>)]) {
    for (method, path, media_type, body, expected) in table {
        let answer = client.call(method, path, media_type, (*body).to_owned()).await;
        assert_eq!(told(&answer), *expected, "{method} {path} {media_type} {body}: {}", answer.body);
    }
}

async fn with_objects() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client();
    client.post(MAPS, config_map("a", "1")).await.is(201);
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    client.post(DEPLOYMENTS, json!({"metadata": {"name": "d"}, "spec": spec})).await.is(201);
    (server, client)
}

const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const UNPROCESSABLE: Told<'static> = (422, "Invalid", "the server rejected our request due to an error in our request");

#[tokio::test]
async fn patches() {
    let (_server, client) = with_objects().await;
    let (map, deployment) = (format!("{MAPS}/a"), format!("{DEPLOYMENTS}/d"));
    let of_map = |media_type, body, expected| ("PATCH", map.clone(), media_type, body, expected);
    let of_deployment = |body, expected| ("PATCH", deployment.clone(), STRATEGIC, body, expected);
    let many = Value::from(vec![json!({"op": "test", "path": "/kind", "value": "ConfigMap"}); 10_001]).to_string();
    refuses(
        &client,
        &[
            ("PATCH", format!("{MAPS}/none"), JSON_PATCH, "{", (404, "NotFound", "configmaps \"none\" not found")),
            ("PATCH", format!("{MAPS}/none"), STRATEGIC, "[]", (404, "NotFound", "configmaps \"none\" not found")),
            of_map(JSON_PATCH, r#"[{"op":"test","path":"/data/k","value":"x"}]"#, UNPROCESSABLE),
            of_map(JSON_PATCH, r#"[{"op":"grow","path":"/data/k"}]"#, UNPROCESSABLE),
            of_map(JSON_PATCH, r#"[{"path":"/data/k"}]"#, UNPROCESSABLE),
            of_map(JSON_PATCH, r#"[{"op":"replace","path":"/x/y","value":1}]"#, UNPROCESSABLE),
            of_map(
                JSON_PATCH,
                &many,
                (
                    413,
                    "RequestEntityTooLarge",
                    "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001",
                ),
            ),
            of_map(
                JSON_PATCH,
                "{}",
                (
                    400,
                    "BadRequest",
                    "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
                ),
            ),
            of_map(MERGE, "null", (400, "BadRequest", "Invalid JSON Patch")),
            of_map(
                STRATEGIC,
                "{nope",
                (400, "BadRequest", "invalid character 'n' looking for beginning of object key string"),
            ),
            of_map(
                JSON,
                "{}",
                (
                    415,
                    "UnsupportedMediaType",
                    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
                ),
            ),
            of_deployment(
                r#"{"spec":{"replicas":"x"}}"#,
                (
                    422,
                    "Invalid",
                    " \"\" is invalid: patch: Invalid value: \"map[spec:map[replicas:x]]\": unrecognized type: int32",
                ),
            ),
            of_deployment(
                r#"{"spec":{"template":{"spec":{"containers":[{"image":"x"}]}}}}"#,
                (500, "", "map: map[image:x] does not contain declared merge key: name"),
            ),
            of_deployment(
                r#"{"spec":{"$retainKeys":["replicas"],"paused":true}}"#,
                (400, "BadRequest", "invalid patch format of retainKeys"),
            ),
            of_map(
                MERGE,
                r#"{"metadata":{"namespace":"other","name":"b"}}"#,
                (
                    400,
                    "BadRequest",
                    "the namespace of the provided object does not match the namespace sent on the request",
                ),
            ),
            of_map(
                MERGE,
                r#"{"metadata":{"name":"b"}}"#,
                (400, "BadRequest", "the name of the object (b) does not match the name on the URL (a)"),
            ),
            of_map(
                MERGE,
                r#"{"metadata":{"resourceVersion":"x"}}"#,
                (500, "", "strconv.ParseUint: parsing \"x\": invalid syntax"),
            ),
        ],
    )
    .await;
    let unread = client.call("PATCH", &map, MERGE, r#"{"data":{"k":{}}}"#).await.is(422);
    let cause = &unread["details"]["causes"][0];
    assert_eq!(cause["field"], "patch");
    let message = cause["message"].as_str().unwrap();
    let why = "json: cannot unmarshal object into Go struct field ConfigMap.data of type string";
    assert!(message.starts_with(r#"Invalid value: "{\"apiVersion\":\"v1\""#) && message.ends_with(why), "{message}");
    assert!(message.contains("managedFields"), "{message}");
    let strict = format!("{map}?fieldValidation=Strict");
    for (media_type, patch, why) in [
        (
            JSON_PATCH,
            r#"[{"op":"test","path":"/kind","value":"ConfigMap","foo":1}]"#,
            r#"json patch unknown field "[0].foo""#,
        ),
        (MERGE, r#"{"data":{"x":"1","x":"2"},"bogus":1}"#, r#"duplicate field "data.x", unknown field "bogus""#),
        (STRATEGIC, r#"{"bogus":1,"also":1}"#, r#"unknown field "also", unknown field "bogus""#),
    ] {
        let refused = client.call("PATCH", &strict, media_type, patch).await.is(422);
        let message = refused["details"]["causes"][0]["message"].as_str().unwrap();
        assert!(message.ends_with(&format!(": strict decoding error: {why}")), "{patch}: {message}");
    }
    for body in ["null", "[]"] {
        client.call("PATCH", &map, JSON_PATCH, body).await.is(200);
    }
    client.call("PATCH", &map, STRATEGIC, "null").await.is(200);
}

#[tokio::test]
async fn bodies() {
    let (_server, client) = with_objects().await;
    let post = |body, expected| ("POST", MAPS.to_owned(), JSON, body, expected);
    refuses(
        &client,
        &[
            post(
                "null",
                (
                    422,
                    "Invalid",
                    "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
                ),
            ),
            post(
                "",
                (
                    400,
                    "BadRequest",
                    "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)",
                ),
            ),
            post(
                r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}"#,
                (
                    400,
                    "BadRequest",
                    "Pod in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion",
                ),
            ),
            post(
                r#"{"metadata":{"name":"b","resourceVersion":"5"}}"#,
                (500, "", "resourceVersion should not be set on objects to be created"),
            ),
            post(
                r#"{"metadata":{"name":"b","namespace":"other"}}"#,
                (
                    400,
                    "BadRequest",
                    "the namespace of the provided object does not match the namespace sent on the request",
                ),
            ),
            (
                "POST",
                MAPS.to_owned(),
                "text/html",
                "<x/>",
                (
                    415,
                    "UnsupportedMediaType",
                    "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
                ),
            ),
            (
                "PUT",
                format!("{MAPS}/a"),
                JSON,
                r#"{"metadata":{}}"#,
                (400, "BadRequest", "the name of the object (a based on URL) was undeterminable: name must be provided"),
            ),
            (
                "DELETE",
                format!("{MAPS}/a"),
                JSON,
                r#"{"apiVersion":"v1","kind":"Pod"}"#,
                (
                    400,
                    "BadRequest",
                    "no kind \"Pod\" is registered for version \"v1\" in scheme \"pkg/apis/meta/internalversion/scheme/register.go:27\"",
                ),
            ),
            (
                "DELETE",
                format!("{MAPS}/a"),
                JSON,
                r#"{"preconditions":{"uid":"x"},"kind":"DeleteOptions","apiVersion":"apps/v1","gracePeriodSeconds":"x"}"#,
                (
                    400,
                    "BadRequest",
                    "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
                ),
            ),
            (
                "POST",
                "/api/v1/namespaces/none/configmaps".to_owned(),
                JSON,
                r#"{"metadata":{"name":"b"}}"#,
                (404, "NotFound", "namespaces \"none\" not found"),
            ),
        ],
    )
    .await;
    // What is no number is as no version; and what lives in no namespace loses the one that it says.
    client.post(MAPS, json!({"metadata": {"name": "c", "resourceVersion": "x"}})).await.is(201);
    let node = client.post("/api/v1/nodes", json!({"metadata": {"name": "n", "namespace": "x"}})).await.is(201);
    assert_eq!(node["metadata"]["namespace"], Value::Null);
    let large = client.call("POST", MAPS, JSON, vec![b' '; 4 << 20]).await;
    let told_large = (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728");
    assert_eq!(told(&large), told_large);
    // Causes and details that have a form of their own.
    let lease = json!({"metadata": {"name": "l"}, "spec": {}});
    client.post(LEASES, lease.clone()).await.is(201);
    let unversioned = client.put(&format!("{LEASES}/l"), lease).await.is(422);
    assert_eq!(unversioned["details"]["kind"], "leases");
    for (preconditions, what) in [(json!({"uid": "x"}), "UID"), (json!({"resourceVersion": "1"}), "ResourceVersion")] {
        let body = json!({"preconditions": preconditions}).to_string();
        let conflict = client.call("DELETE", &format!("{MAPS}/a"), JSON, body).await.is(409);
        assert_eq!(conflict["details"]["kind"], "ConfigMap");
        let begins = format!("Operation cannot be fulfilled on ConfigMap \"a\": the {what} in the precondition (");
        assert!(conflict["message"].as_str().unwrap().starts_with(&begins), "{conflict}");
    }
}

#[tokio::test]
async fn options() {
    let (_server, client) = with_objects().await;
    let long = "x".repeat(129);
    let map = r#"{"metadata":{"name":"b"}}"#;
    for (method, path, body, expected) in [
        (
            "POST",
            format!("{MAPS}?dryRun="),
            map,
            (
                422,
                "Invalid",
                "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"\"]: supported values: \"All\"",
            ),
        ),
        (
            "PUT",
            format!("{MAPS}/a?dryRun=All&dryRun=Some"),
            map,
            (
                422,
                "Invalid",
                "UpdateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"All\",\"Some\"]: supported values: \"All\"",
            ),
        ),
        (
            "POST",
            format!("{MAPS}?fieldValidation=X"),
            map,
            (
                422,
                "Invalid",
                "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"X\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
            ),
        ),
        (
            "POST",
            format!("{MAPS}?fieldManager={long}"),
            map,
            (
                422,
                "Invalid",
                "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes",
            ),
        ),
        (
            "POST",
            format!("{MAPS}?fieldManager=a%e2%80%8b"),
            map,
            (
                422,
                "Invalid",
                "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\u{200b}\": invalid character U+200B (at position 1)",
            ),
        ),
        (
            "DELETE",
            format!("{MAPS}/a?gracePeriodSeconds="),
            "",
            (400, "BadRequest", "strconv.ParseInt: parsing \"\": invalid syntax"),
        ),
        (
            "DELETE",
            format!("{MAPS}/a?propagationPolicy="),
            "",
            (
                422,
                "Invalid",
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
            ),
        ),
        (
            "DELETE",
            format!("{MAPS}/a?dryRun="),
            "",
            (
                422,
                "Invalid",
                "DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"\"]: supported values: \"All\"",
            ),
        ),
        (
            "GET",
            format!("{MAPS}/a?resourceVersion=x"),
            "",
            (500, "", "resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax"),
        ),
        (
            "GET",
            format!("{MAPS}?resourceVersion=x"),
            "",
            (
                400,
                "BadRequest",
                "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
        ),
        ("GET", format!("{MAPS}?limit=x"), "", (400, "BadRequest", "strconv.ParseInt: parsing \"x\": invalid syntax")),
    ] {
        refuses(&client, &[(method, path, JSON, body, expected)]).await;
    }
    // One object is not watched by its name.
    assert_eq!(client.get(&format!("{MAPS}/a?watch=1")).await.is(200)["kind"], "ConfigMap");
}

#[tokio::test]
async fn connections() {
    let (_server, client) = with_objects().await;
    let mut several = pod("p");
    several["spec"]["containers"] = json!([{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]);
    several["spec"]["initContainers"] = json!([{"name": "i", "image": "i"}]);
    client.post(PODS, several).await.is(201);
    let ask = |path: &str, code, reason, message| ("POST", format!("{PODS}/{path}"), JSON, "", (code, reason, message));
    let choose = "a container name must be specified for pod p, choose one of: [i c d]";
    refuses(
        &client,
        &[
            ask("none/exec", 404, "NotFound", "pods \"none\" not found"),
            ask("p/exec?dryRun=All", 400, "BadRequest", "dryRun is not supported"),
            ask("p/exec", 400, "BadRequest", choose),
            ask("p/attach?container=x", 400, "BadRequest", "container x is not valid for pod p"),
            ask("p/exec?container=c", 400, "BadRequest", "pod p does not have a host assigned"),
            ask("p/portforward", 400, "BadRequest", "pod p does not have a host assigned"),
        ],
    )
    .await;
    client.post(&format!("{PODS}/p/binding"), json!({"target": {"name": "n"}})).await.is(201);
    refuses(&client, &[ask("p/portforward", 404, "NotFound", "nodes \"n\" not found")]).await;
    client.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.is(201);
    refuses(
        &client,
        &[
            ask("p/portforward", 400, "BadRequest", "Upgrade request required"),
            ask("p/exec?container=i", 400, "BadRequest", "Upgrade request required"),
        ],
    )
    .await;
    let log = client.get(&format!("{PODS}/p/log?tailLines=-1")).await.is(422);
    assert_eq!((&log["details"]["kind"], &log["details"]["name"]), (&json!("PodLogOptions"), &json!("p")));
}

#[tokio::test]
async fn health() {
    let (_server, client) = with_objects().await;
    for endpoint in ["healthz", "livez", "readyz"] {
        let response = client.send("GET", &format!("/{endpoint}"), "", Body::empty()).await;
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let text = client.get(&format!("/{endpoint}?verbose&exclude=etcd&exclude=none")).await.is(200);
        let text = text.as_str().unwrap();
        assert!(text.starts_with("[+]ping ok\n[+]log ok\n[+]etcd excluded: ok\n"), "{text}");
        let warning = "warn: some health checks cannot be excluded: no matches for \"none\"\n";
        assert!(text.ends_with(&format!("{warning}{endpoint} check passed\n")), "{text}");
        assert_eq!(text.contains("[+]informer-sync ok\n"), endpoint == "readyz");
        assert_eq!(client.get(&format!("/{endpoint}/poststarthook/rbac/bootstrap-roles")).await.is(200), "ok");
        client.get(&format!("/{endpoint}/none")).await.is(404);
    }
}
