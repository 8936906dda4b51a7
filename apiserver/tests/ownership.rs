//! Who owns which fields: server-side apply and what every other write does to `metadata.managedFields`.

#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use support::{Answer, Client, Server, pod};
use tower::Service as _;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn apply(client: &Client, path: &str, query: &str, config: &Value) -> Answer {
    client.call("PATCH", &format!("{path}?{query}"), "application/apply-patch+yaml", config.to_string()).await
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn deployment(replicas: i32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "replicas": replicas,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }})
}

/// Manager, operation, subresource and fields of each entry; all have a time.
fn owners(object: &Value) -> Vec<(String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    entries
        .iter()
        .map(|entry| {
            let who = ["manager", "operation", "subresource"].map(|name| text(entry, name)).join(" ");
            (who.trim_end().to_owned(), entry["fieldsV1"].clone())
        })
        .collect()
}

fn names(object: &Value) -> Vec<String> {
    owners(object).into_iter().map(|(who, _)| who).collect()
}

#[tokio::test]
async fn apply_creates_merges_and_conflicts() {
    let server = Server::start().await;
    let client = server.client();
    let path = format!("{MAPS}/a");
    let made = apply(&client, &path, "fieldManager=one", &map(json!({"x": "1"}))).await.is(201);
    assert_eq!(owners(&made), [("one Apply".to_owned(), json!({"f:data": {"f:x": {}}}))]);
    assert_eq!(client.get(&path).await.is(200), made);
    let same = apply(&client, &path, "fieldManager=one", &map(json!({"x": "1"}))).await.is(200);
    assert_eq!(same, made, "nothing has changed, the version least of all");
    let refused = apply(&client, &path, "fieldManager=two", &map(json!({"x": "2"}))).await.is(409);
    assert_eq!(refused["message"], r#"Apply failed with 1 conflict: conflict with "one": .data.x"#);
    assert_eq!(
        refused["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.x"}])
    );
    let forced = apply(&client, &path, "fieldManager=two&force=true&dryRun=All", &map(json!({"x": "2"}))).await.is(200);
    assert_eq!(names(&forced), ["two Apply"]);
    assert_eq!(client.get(&path).await.is(200), made, "it was a dry run");
    apply(&client, &path, "fieldManager=two&force=true", &map(json!({"x": "2"}))).await.is(200);
    let both = apply(&client, &path, "fieldManager=one", &map(json!({"y": "1"}))).await.is(200);
    assert_eq!((&both["data"], names(&both).len()), (&json!({"x": "2", "y": "1"}), 2));
}

#[tokio::test]
async fn what_cannot_be_applied_is_refused() {
    let server = Server::start().await;
    let client = server.client();
    let path = format!("{MAPS}/a");
    let good = map(json!({"x": "1"}));
    let with = |path: &str, value: Value| {
        let mut config = good.clone();
        *config.pointer_mut(path).unwrap() = value;
        config
    };
    let long = "m".repeat(129);
    for (query, config, code, message) in [
        ("", good.clone(), 422, "fieldManager: Required value: is required for apply patch"),
        (&format!("fieldManager={long}"), good.clone(), 422, "fieldManager: Too long"),
        ("fieldManager=a%07b", good.clone(), 422, "invalid character U+0007 (at position 1)"),
        ("fieldManager=m", with("/apiVersion", "v2".into()), 400, "invalid object type: /v2, Kind=ConfigMap"),
        ("fieldManager=m", with("/metadata", json!({"name": "b"})), 400, "does not match the name on the URL"),
        ("fieldManager=m", with("/metadata", json!({})), 400, "name must be provided"),
        (
            "fieldManager=m",
            with("/metadata", json!({"name": "a", "managedFields": []})),
            400,
            "metadata.managedFields must be nil",
        ),
        ("fieldManager=m", with("/metadata", json!({"name": "a", "uid": "u"})), 409, "uid mismatch"),
        ("fieldManager=m", with("/data", json!({"x": {}})), 500, ".data.x: expected string"),
        ("fieldManager=m", with("/data", json!([])), 500, ".data: expected map"),
        ("fieldManager=m", json!([1]), 400, "error decoding YAML"),
    ] {
        let refused = apply(&client, &path, query, &config).await.is(code);
        assert!(refused["message"].as_str().unwrap().contains(message), "{refused}");
    }
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: \"1\"\n  x: \"2\"\n";
    let strict = format!("{path}?fieldManager=m&fieldValidation=Strict");
    let refused = client.call("PATCH", &strict, "application/apply-patch+yaml", twice).await.is(400);
    assert!(refused["message"].as_str().unwrap().starts_with("error strict decoding YAML"), "{refused}");
    client.get(&path).await.is(404);
    let cbor = client.call("PATCH", &strict, "application/apply-patch+cbor", twice).await;
    assert_eq!((cbor.code, cbor.reason()), (415, "UnsupportedMediaType"));
    let forced = client.merge(&format!("{path}?force=true"), json!({})).await.is(422);
    assert_eq!(forced["details"]["causes"][0]["field"], "force");
    client.call("PATCH", &format!("{path}?fieldManager=m"), "application/apply-patch+yaml", twice).await.is(201);
}

#[tokio::test]
async fn every_write_is_somebodys() {
    let server = Server::start().await;
    let client = server.client();
    let mut made = client.post(&format!("{PODS}?fieldManager=creator"), pod("p")).await.is(201);
    let fields = json!({"f:spec": {
        "f:containers": {"k:{\"name\":\"c\"}": {
            ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
            "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
        }},
        "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {}, "f:schedulerName": {},
        "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
    }});
    assert_eq!(owners(&made), [("creator Update".to_owned(), fields)], "what admission adds is nobody's");
    let path = format!("{PODS}/p");
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}], "phase": "Running"}});
    let running = client.merge(&format!("{path}/status?fieldManager=kubelet"), status.clone()).await.is(200);
    assert_eq!(names(&running), ["creator Update", "kubelet Update status"]);
    assert_eq!(
        owners(&running)[1].1,
        json!({"f:status": {
            "f:conditions": {".": {}, "k:{\"type\":\"Ready\"}": {
                ".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {},
            }},
            "f:phase": {},
        }})
    );
    let again = client.merge(&format!("{path}/status?fieldManager=kubelet"), status).await.is(200);
    assert_eq!(again, running, "the version does not move");
    client.post(&format!("{path}/binding"), json!({"target": {"kind": "Node", "name": "n"}})).await.is(201);
    assert_eq!(owners(&client.get(&path).await.is(200)), owners(&running), "a binding is nobody's");
    // A PUT without managers keeps them; one that empties them forgets them.
    made["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    made["metadata"].as_object_mut().unwrap().remove("managedFields");
    made["spec"] = client.get(&path).await.is(200)["spec"].clone();
    made["metadata"]["labels"] = json!({"l": "1"});
    let put = client.put(&format!("{path}?fieldManager=labeller"), made.clone()).await.is(200);
    assert_eq!(names(&put), ["creator Update", "kubelet Update status", "labeller Update"]);
    assert_eq!(owners(&put)[2].1, json!({"f:metadata": {"f:labels": {".": {}, "f:l": {}}}}));
    let forgotten = client.merge(&path, json!({"metadata": {"managedFields": [{}]}})).await.is(200);
    assert_eq!(forgotten["metadata"].get("managedFields"), None);
    let untracked = client.merge(&path, json!({"metadata": {"labels": {"l": "2"}}})).await.is(200);
    assert_eq!(untracked["metadata"].get("managedFields"), None);
    let config = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"m": "1"}}});
    let applied = apply(&client, &path, "fieldManager=one", &config).await.is(200);
    assert_eq!(names(&applied), ["one Apply", "before-first-apply Update"]);
}

#[tokio::test]
async fn the_managers_can_be_patched() {
    // Client-side apply becomes server-side apply by such a patch of kubectl's.
    let server = Server::start().await;
    let client = server.client();
    let made =
        client.post(&format!("{MAPS}?fieldManager=kubectl-client-side-apply"), map(json!({"x": "1"}))).await.is(201);
    let mut managed = made["metadata"]["managedFields"].clone();
    managed[0]["manager"] = "kubectl".into();
    managed[0]["operation"] = "Apply".into();
    let patch = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": managed},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]},
    ]);
    let path = format!("{MAPS}/a");
    let answer = client.call("PATCH", &path, "application/json-patch+json", patch.to_string()).await.is(200);
    assert_eq!(names(&answer), ["kubectl Apply"]);
    let applied = apply(&client, &path, "fieldManager=kubectl", &map(json!({"y": "1"}))).await.is(200);
    assert_eq!(applied["data"], json!({"y": "1"}));
}

#[tokio::test]
async fn scales_have_owners() {
    let server = Server::start().await;
    let client = server.client();
    let path = format!("{DEPLOYMENTS}/d");
    let made = apply(&client, &path, "fieldManager=one", &deployment(1)).await.is(201);
    assert_eq!(owners(&made)[0].1["f:spec"]["f:replicas"], json!({}));
    let scale = json!({"spec": {"replicas": 3}});
    let scaled = client.merge(&format!("{path}/scale?fieldManager=scaler"), scale.clone()).await.is(200);
    assert_eq!((&scaled["spec"]["replicas"], scaled["metadata"].get("managedFields")), (&json!(3), None));
    let live = client.get(&path).await.is(200);
    assert_eq!(names(&live), ["one Apply", "scaler Update scale"]);
    assert_eq!(owners(&live)[1].1, json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(owners(&live)[0].1["f:spec"].get("f:replicas"), None);
    client.merge(&format!("{path}/scale?fieldManager=scaler"), scale).await.is(200);
    assert_eq!(client.get(&path).await.is(200), live, "nothing has changed");
    let refused = apply(&client, &path, "fieldManager=one", &deployment(1)).await.is(409);
    let expected = r#"Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using apps/v1: .spec.replicas"#;
    assert_eq!(refused["message"], expected);
    let config =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 5}});
    let query = "fieldManager=other&force=true";
    let scaled = apply(&client, &format!("{path}/scale"), query, &config).await.is(200);
    assert_eq!(scaled["spec"]["replicas"], 5);
    assert_eq!(names(&client.get(&path).await.is(200)), ["other Apply scale", "one Apply"]);
}

#[tokio::test]
async fn status_is_applied_apart() {
    let server = Server::start().await;
    let client = server.client();
    let path = format!("{DEPLOYMENTS}/d");
    client.post(DEPLOYMENTS, deployment(1)).await.is(201);
    let status =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "status": {"replicas": 1}});
    let applied = apply(&client, &format!("{path}/status"), "fieldManager=c", &status).await.is(200);
    assert_eq!(owners(&applied)[0], ("c Apply status".to_owned(), json!({"f:status": {"f:replicas": {}}})));
    let elsewhere = format!("{DEPLOYMENTS}/none/status");
    let mut other = status.clone();
    other["metadata"]["name"] = "none".into();
    apply(&client, &elsewhere, "fieldManager=c", &other).await.is(404);
}

#[tokio::test]
async fn clients_are_known_by_their_agents() {
    let server = Server::start().await;
    let client = server.client();
    for (agent, name) in [(Some("kubectl/v1.32 (linux)"), "kubectl Update"), (None, "unknown Update")] {
        let mut object = map(json!({"x": "1"}));
        object["metadata"]["name"] = name.to_lowercase().replace(' ', "-").into();
        let mut request = Request::post(MAPS).header("content-type", "application/json");
        if let Some(agent) = agent {
            request = request.header("user-agent", agent);
        }
        let Ok(response) = client.0.clone().call(request.body(Body::from(object.to_string())).unwrap()).await;
        assert_eq!(response.status(), 201);
        let made = client.get(&format!("{MAPS}/{}", object["metadata"]["name"].as_str().unwrap())).await.is(200);
        assert_eq!(names(&made), [name]);
    }
}
