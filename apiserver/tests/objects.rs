//! Reading and writing objects over the in-process transport.

#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use serde_json::{Value, json};
use support::{Server, config_map, pod, revision};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn a_write_is_read_and_a_stale_one_refused() {
    let server = Server::start().await;
    let client = server.client();
    let made = client.post(MAPS, config_map("a", "1")).await.is(201);
    assert_eq!(client.get(&format!("{MAPS}/a")).await.is(200), made);
    assert_eq!(client.post(MAPS, config_map("a", "1")).await.reason(), "AlreadyExists");
    let mut changed = made.clone();
    changed["data"]["k"] = "w".into();
    let newer = client.put(&format!("{MAPS}/a"), changed.clone()).await.is(200);
    assert!(revision(&newer) > revision(&made));
    assert_eq!(client.put(&format!("{MAPS}/a"), changed).await.reason(), "Conflict");
    client.put(&format!("{MAPS}/a"), config_map("a", "2")).await.is(200);
}

#[tokio::test]
async fn what_changes_nothing_moves_no_version() {
    let server = Server::start().await;
    let client = server.client();
    let made = client.post(MAPS, config_map("a", "1")).await.is(201);
    let same = client.merge(&format!("{MAPS}/a"), json!({"data": {"k": "v"}})).await.is(200);
    assert_eq!(same, made);
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let server = Server::start().await;
    let client = server.client();
    let made = client.post(&format!("{MAPS}?dryRun=All"), config_map("a", "1")).await.is(201);
    assert_eq!(made["metadata"]["resourceVersion"], Value::Null);
    client.get(&format!("{MAPS}/a")).await.is(404);
    client.post(MAPS, config_map("a", "1")).await.is(201);
    client.merge(&format!("{MAPS}/a?dryRun=All"), json!({"data": {"k": "w"}})).await.is(200);
    client.delete(&format!("{MAPS}/a?dryRun=All")).await.is(200);
    assert_eq!(client.get(&format!("{MAPS}/a")).await.is(200)["data"]["k"], "v");
    assert_eq!(client.post(&format!("{MAPS}?dryRun=Some"), config_map("b", "1")).await.reason(), "Invalid");
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let server = Server::start().await;
    let client = server.client();
    let mut map = config_map("a", "1");
    map["metadata"]["finalizers"] = json!(["example.test/f"]);
    client.post(MAPS, map).await.is(201);
    let held = client.delete(&format!("{MAPS}/a")).await.is(200);
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    client.get(&format!("{MAPS}/a")).await.is(200);
    client.merge(&format!("{MAPS}/a"), json!({"metadata": {"finalizers": null}})).await.is(200);
    client.get(&format!("{MAPS}/a")).await.is(404);
}

#[tokio::test]
async fn a_bound_pod_is_given_its_time() {
    let server = Server::start().await;
    let client = server.client();
    client.post(PODS, pod("unbound")).await.is(201);
    client.delete(&format!("{PODS}/unbound")).await.is(200);
    client.get(&format!("{PODS}/unbound")).await.is(404);
    client.post(PODS, pod("p")).await.is(201);
    let binding = json!({"target": {"kind": "Node", "name": "n"}});
    client.post(&format!("{PODS}/p/binding"), binding.clone()).await.is(201);
    assert_eq!(client.post(&format!("{PODS}/p/binding"), binding).await.reason(), "Conflict");
    let ending = client.delete(&format!("{PODS}/p")).await.is(200);
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    let bound = client.get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn")).await.is(200);
    assert_eq!(bound["items"].as_array().unwrap().len(), 1);
    // The kubelet says that it is over.
    client.delete(&format!("{PODS}/p?gracePeriodSeconds=0")).await.is(200);
    client.get(&format!("{PODS}/p")).await.is(404);
}

#[tokio::test]
async fn nothing_is_made_in_a_namespace_that_goes() {
    let server = Server::start().await;
    let client = server.client();
    assert_eq!(client.post("/api/v1/namespaces/n/configmaps", config_map("a", "1")).await.reason(), "NotFound");
    client.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.is(201);
    client.post("/api/v1/namespaces/n/configmaps", config_map("a", "1")).await.is(201);
    let going = client.delete("/api/v1/namespaces/n").await.is(200);
    assert_eq!(going["status"]["phase"], "Terminating");
    assert_eq!(client.post("/api/v1/namespaces/n/configmaps", config_map("b", "1")).await.reason(), "Forbidden");
    client.put("/api/v1/namespaces/n/finalize", json!({"metadata": {"name": "n"}, "spec": {}})).await.is(200);
    client.get("/api/v1/namespaces/n").await.is(404);
    assert_eq!(client.delete("/api/v1/namespaces/default").await.reason(), "Forbidden");
}

#[tokio::test]
async fn pages_stay_consistent_while_others_write() {
    let server = Server::start().await;
    let client = server.client();
    for name in ["a", "b", "c", "d", "e"] {
        client.post(MAPS, config_map(name, "1")).await.is(201);
    }
    let first = client.get(&format!("{MAPS}?limit=2")).await.is(200);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    client.delete(&format!("{MAPS}/d")).await.is(200);
    client.post(MAPS, config_map("cc", "1")).await.is(201);
    let mut names = Vec::new();
    let mut page = first;
    loop {
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone()));
        let Some(next) = page["metadata"]["continue"].as_str() else { break };
        page = client.get(&format!("{MAPS}?limit=2&continue={next}")).await.is(200);
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_list_can_be_of_the_past_until_it_is_forgotten() {
    let server = Server::start().await;
    let client = server.client();
    let old = revision(&client.post(MAPS, config_map("a", "1")).await.is(201));
    let new = revision(&client.post(MAPS, config_map("b", "1")).await.is(201));
    let path = format!("{MAPS}?resourceVersion={old}&resourceVersionMatch=Exact");
    assert_eq!(client.get(&path).await.is(200)["items"].as_array().unwrap().len(), 1);
    coracle_store::Store::compact(&*server.store, coracle_store::Revision(new)).await.unwrap();
    let gone = client.get(&path).await;
    assert_eq!((gone.code, gone.reason()), (410, "Expired"));
}

#[tokio::test]
async fn services_are_given_what_nobody_has() {
    let server = Server::start().await;
    let client = server.client();
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str, spec: Value| {
        let mut all = json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
        for (key, value) in spec.as_object().unwrap() {
            all["spec"][key] = value.clone();
        }
        all
    };
    let first = client.post(path, service("a", json!({}))).await.is(201);
    let (ip, port) = (&first["spec"]["clusterIP"], &first["spec"]["ports"][0]["nodePort"]);
    let second = client.post(path, service("b", json!({}))).await.is(201);
    assert_ne!((ip, port), (&second["spec"]["clusterIP"], &second["spec"]["ports"][0]["nodePort"]));
    assert_eq!(client.post(path, service("c", json!({"clusterIP": ip}))).await.reason(), "Invalid");
    let taken = json!({"ports": [{"port": 80, "nodePort": port}]});
    assert_eq!(client.post(path, service("c", taken.clone())).await.reason(), "Invalid");
    client.delete(&format!("{path}/a")).await.is(200);
    client.post(path, service("c", json!({"clusterIP": ip, "ports": taken["ports"]}))).await.is(201);
    client.merge(&format!("{path}/c"), json!({"spec": {"type": "ClusterIP"}})).await.is(200);
    client.post(path, service("d", taken)).await.is(201);
}

#[tokio::test]
async fn names_are_made_up() {
    let server = Server::start().await;
    let client = server.client();
    let mut object = pod("");
    object["metadata"] = json!({"generateName": "web-"});
    let first = client.post(PODS, object.clone()).await.is(201);
    let second = client.post(PODS, object).await.is(201);
    assert!(first["metadata"]["name"].as_str().unwrap().starts_with("web-"));
    assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
}

#[tokio::test]
async fn events_are_the_same_under_both_groups() {
    let server = Server::start().await;
    let client = server.client();
    let event = json!({
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "R", "message": "m", "type": "Normal", "source": {"component": "c"},
    });
    client.post("/api/v1/namespaces/default/events", event).await.is(201);
    let path = "/apis/events.k8s.io/v1/namespaces/default/events";
    let shown = client.get(&format!("{path}/e")).await.is(200);
    assert_eq!((&shown["note"], &shown["regarding"]["name"]), (&json!("m"), &json!("p")));
    for selector in ["regarding.name%3Dp", "regarding.kind%3DPod,type%3DNormal"] {
        let found = client.get(&format!("{path}?fieldSelector={selector}")).await.is(200);
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{selector}");
    }
    let found = client.get("/api/v1/events?fieldSelector=source%3Dc").await.is(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn bad_input_is_told_so() {
    let server = Server::start().await;
    let client = server.client();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_map = format!(r#"{{"data":{}1{}}}"#, r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let huge = vec![b' '; 4 << 20];
    for (media_type, body, code) in [
        ("application/json", b"".to_vec(), 400),
        ("application/json", b"{".to_vec(), 400),
        ("application/json", b"\xff\xfe{}".to_vec(), 400),
        ("application/json", b"{\"metadata\":{\"name\":\"\xff\"}}".to_vec(), 400),
        ("application/json", b"[]".to_vec(), 400),
        ("application/json", b"null".to_vec(), 422),
        ("application/json", deep.clone().into_bytes(), 400),
        ("application/json", deep_map.into_bytes(), 400),
        ("application/json", huge.clone(), 413),
        ("application/yaml", b"a: [".to_vec(), 400),
        ("application/yaml", b"\xff".to_vec(), 400),
        ("application/vnd.kubernetes.protobuf", b"k8s\0\x0a".to_vec(), 400),
        ("application/xml", b"<x/>".to_vec(), 415),
    ] {
        let answer = client.call("POST", MAPS, media_type, body.clone()).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(answer.code, code, "{media_type} {shown}: {}", answer.body);
        assert_eq!(answer.body["kind"], "Status", "{shown}");
    }
    client.post(MAPS, config_map("a", "1")).await.is(201);
    for (media_type, body) in [
        ("application/merge-patch+json", deep.clone().into_bytes()),
        ("application/json-patch+json", b"[{\"op\":\"none\"}]".to_vec()),
        ("application/json-patch+json", b"{}".to_vec()),
        ("application/apply-patch+yaml", b"a: 1".to_vec()),
    ] {
        let answer = client.call("PATCH", &format!("{MAPS}/a"), media_type, body).await;
        assert!((400..500).contains(&answer.code), "{media_type}: {} {}", answer.code, answer.body);
    }
    for patch in [r#"{"data":{"x":"1","x":"2"}}"#, r#"{"bogus":1}"#] {
        let strict = format!("{MAPS}/a?fieldValidation=Strict");
        let refused = client.call("PATCH", &strict, "application/merge-patch+json", patch).await.is(422);
        assert_eq!(refused["details"]["causes"][0]["field"], "patch", "{patch}");
    }
    for path in [
        "/api/v1/namespaces/default/configmaps/%ff%00",
        "/api/v1/namespaces/default/configmaps/..%2f..%2fsecrets",
        "/api/v1/namespaces//configmaps",
        "/api/v1/pods?limit=-5&continue=%00",
        "/api/v1/pods?resourceVersion=99999999999999999999",
        "/api/v1/pods?timeoutSeconds=soon",
        "/api/v1/pods?labelSelector=((((",
        "/api/v1/pods?fieldSelector=%5c",
        "/api/v1/a/b/c/d/e/f",
    ] {
        let answer = client.get(path).await;
        assert!((200..500).contains(&answer.code), "{path}: {} {}", answer.code, answer.body);
    }
    assert_eq!(client.get(&format!("/api/v1/pods?x={}", "y".repeat(20_000))).await.code, 400);
}

#[tokio::test]
async fn what_the_server_says_of_itself() {
    let server = Server::start().await;
    let client = server.client();
    assert_eq!(client.get("/readyz").await.body, "ok");
    let verbose = client.get("/readyz?verbose").await.body;
    assert!(verbose.as_str().unwrap().contains("[+]informer-sync ok\n"), "{verbose}");
    assert_eq!(client.get("/readyz/etcd").await.is(200), "ok");
    client.get("/readyz/none").await.is(404);
    assert_eq!(client.get("/version").await.is(200)["minor"], "36");
    let metrics = client.get("/metrics").await.body;
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("apiserver_request_total{verb=\"create\",group=\"\",resource=\"namespaces\"")
    );
    let groups = client.send("GET", "/apis", "", Body::empty()).await;
    assert_eq!(groups.headers()["content-type"], "application/json");
    assert_eq!(client.get("/").await.is(200)["paths"][1], "/api");
    client.get("/openapi/v3/api/v1").await.is(200);
}
