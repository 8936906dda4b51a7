//! Lists, gets and the collections that are deleted: which version, how much, of what, and in which form.

#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coracle_apiserver::Identity;
use coracle_store::{Revision, Store as _};
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{Client, Server, config_map, pod, revision};
use tower::Service as _;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// An answer with its headers.
struct Told {
    code: u16,
    headers: HeaderMap,
    text: String,
}

impl Told {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

async fn ask(client: &Client, method: &str, path: &str, headers: &[(&str, &str)]) -> Told {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let Ok(response) = client.0.clone().call(request.body(Body::empty()).unwrap()).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Told { code: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8(body.to_vec()).unwrap() }
}

/// Makes maps of these names and values of the label `l`.
async fn maps(client: &Client, all: &[(&str, &str)]) {
    for (name, label) in all {
        client.post(MAPS, config_map(name, label)).await.is(201);
    }
}

fn names(list: &Value) -> String {
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(name).collect::<Vec<_>>().join(" ")
}

/// `names | whether it goes on | how many remain`
fn page(list: &Value) -> String {
    let meta = &list["metadata"];
    let more = if meta["continue"].is_string() { "more" } else { "end" };
    format!("{} | {more} | {}", names(list), meta["remainingItemCount"])
}

#[tokio::test]
async fn a_page_says_whether_there_is_more_to_look_at() {
    let server = Server::start().await;
    let client = server.client();
    maps(&client, &[("a", "1"), ("b", "2"), ("c", "1"), ("d", "2"), ("e", "2")]).await;
    let now = revision(&client.get(MAPS).await.is(200));
    for (query, expected) in [
        ("", "a b c d e | end | null".to_owned()),
        ("limit=2", "a b | more | 3".to_owned()),
        ("limit=5", "a b c d e | end | null".to_owned()),
        // That none of the rest is wanted is seen when it is looked at, and how many are is not counted.
        ("limit=2&labelSelector=l%3D1", "a c | more | null".to_owned()),
        ("limit=3&labelSelector=l%3D2", "b d e | end | null".to_owned()),
        ("limit=1&fieldSelector=metadata.name%3Da", "a | end | null".to_owned()),
        ("limit=1&fieldSelector=metadata.name!%3Da", "b | more | null".to_owned()),
        // Whatever is known is not cut.
        ("limit=2&resourceVersion=0", "a b c d e | end | null".to_owned()),
        (&format!("limit=2&resourceVersion={now}"), "a b | more | 3".to_owned()),
        (&format!("limit=2&resourceVersion={now}&resourceVersionMatch=NotOlderThan"), "a b | more | 3".to_owned()),
    ] {
        assert_eq!(page(&client.get(&format!("{MAPS}?{query}")).await.is(200)), expected, "{query}");
    }
    // The same of what is past, which the store tells.
    client.delete(&format!("{MAPS}/b")).await.is(200);
    for (query, expected) in [
        ("limit=2", "a b | more | 3"),
        ("limit=2&labelSelector=l%3D1", "a c | more | null"),
        ("limit=3&labelSelector=l%3D2", "b d e | end | null"),
        ("resourceVersionMatch=Exact", "a b c d e | end | null"),
    ] {
        let list = client.get(&format!("{MAPS}?resourceVersion={now}&{query}")).await.is(200);
        assert_eq!((page(&list), revision(&list)), (expected.to_owned(), now), "{query}");
    }
}

#[tokio::test]
async fn what_was_forgotten_goes_on_with_what_there_is() {
    let server = Server::start().await;
    let client = server.client();
    maps(&client, &[("a", "1"), ("b", "1"), ("c", "1")]).await;
    let first = client.get(&format!("{MAPS}?limit=1")).await.is(200);
    client.delete(&format!("{MAPS}/b")).await.is(200);
    let newest = client.post(MAPS, config_map("d", "1")).await.is(201);
    server.store.compact(Revision(revision(&newest))).await.unwrap();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let gone = client.get(&format!("{MAPS}?limit=1&continue={token}")).await.is(410);
    assert_eq!(gone["reason"], "Expired");
    assert!(gone["message"].as_str().unwrap().contains("use the continue token in this response"));
    let token = gone["metadata"]["continue"].as_str().unwrap();
    let decoded: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap();
    assert_eq!(decoded, json!({"v": "meta.k8s.io/v1", "rv": -1, "start": "a\0"}));
    let rest = client.get(&format!("{MAPS}?limit=1&continue={token}")).await.is(200);
    assert_eq!(page(&rest), "c | more | 1");
    assert!(revision(&rest) >= revision(&newest));
    let exact = format!("{MAPS}?resourceVersionMatch=Exact&resourceVersion={}", revision(&first));
    let gone = client.get(&exact).await.is(410);
    assert_eq!(
        (gone["message"].as_str().unwrap(), &gone["metadata"]),
        ("The resourceVersion for the provided list is too old.", &json!({}))
    );
}

#[tokio::test(start_paused = true)]
async fn options_that_cannot_be_met_are_refused() {
    let server = Server::start().await;
    let client = server.client();
    client.post(MAPS, config_map("a", "1")).await.is(201);
    let token = URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"a"}"#);
    for (query, code, reason, message) in [
        ("limit=", 400, "BadRequest", "strconv.ParseInt: parsing \"\": invalid syntax"),
        ("timeoutSeconds=x", 400, "BadRequest", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("continue=!", 400, "BadRequest", "invalid continue token: continue key is not valid"),
        ("resourceVersion=-3", 400, "BadRequest", "invalid resource version: "),
        ("watch=1&resourceVersion=x", 500, "", "resourceVersion: Invalid value: \"x\": "),
        (
            &format!("continue={token}&resourceVersion=5"),
            400,
            "BadRequest",
            "specifying resource version is not allowed when using continue",
        ),
        ("labelSelector=a%20near%20b", 400, "BadRequest", "unable to parse requirement: found 'near', expected: "),
        ("fieldSelector=a", 400, "BadRequest", "invalid selector: 'a'; can't understand 'a'"),
        (
            "fieldSelector=data.k%3Dv",
            400,
            "BadRequest",
            "\"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "sendInitialEvents=true",
            422,
            "Invalid",
            "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden",
        ),
        ("resourceVersion=9999", 504, "Timeout", "Too large resource version: 9999, current: "),
        ("resourceVersion=9999&limit=1", 504, "Timeout", "Too large resource version: 9999, current: "),
    ] {
        for method in ["GET", "DELETE"] {
            let told = ask(&client, method, &format!("{MAPS}?{query}"), &[]).await;
            let status = told.json();
            if method == "DELETE" && (query.contains("watch") || query.contains("resourceVersion")) {
                // There it is a precondition, too.
                continue;
            }
            let told_reason = status["reason"].as_str().unwrap_or_default();
            assert_eq!((told.code, told_reason), (code, reason), "{method} {query}: {status}");
            assert!(status["message"].as_str().unwrap().starts_with(message), "{query}: {status}");
            assert_eq!(told.header("retry-after"), if code == 504 { "1" } else { "" }, "{query}");
        }
    }
    for (path, code) in [
        (format!("{MAPS}/a?resourceVersion=0"), 200),
        (format!("{MAPS}/a?resourceVersion=9999"), 504),
        (format!("{MAPS}/a?resourceVersion=x"), 500),
        (format!("{MAPS}/a?export=true"), 400),
        (format!("{MAPS}/a?export=false&watch=1"), 200),
    ] {
        client.get(&path).await.is(code);
    }
}

#[tokio::test]
async fn fields_are_those_of_the_kind() {
    let server = Server::start().await;
    let client = server.client();
    let refused = [
        (
            "apps/v1/replicasets",
            "status.replicas%3D0",
            "\"status.replicas\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        ("batch/v1/jobs", "status.phase%3DX", "field label \"status.phase\" not supported for Job"),
        ("/v1/pods", "spec.x%3D1", "field label not supported: spec.x"),
        ("/v1/nodes", "metadata.namespace%3D", "field label not supported: metadata.namespace"),
        ("/v1/namespaces", "spec%3D", "field label not supported: spec"),
        ("/v1/services", "spec.ports%3D1", "field label not supported: spec.ports"),
        ("events.k8s.io/v1/events", "involvedObject.name%3Dx", "field label not supported: involvedObject.name"),
    ];
    for (resource, selector, message) in refused {
        let root = if resource.starts_with('/') { "/api" } else { "/apis/" };
        let status = client.get(&format!("{root}{resource}?fieldSelector={selector}")).await.is(400);
        assert_eq!(status["message"], message, "{resource}");
    }
    let job = |name: &str| {
        let container = json!([{"name": "c", "image": "i"}]);
        json!({"metadata": {"name": name}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": container}}}})
    };
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    for name in ["done", "new"] {
        client.post(jobs, job(name)).await.is(201);
    }
    client
        .merge(&format!("{jobs}/done/status"), json!({"status": {"succeeded": 1, "startTime": "2026-01-01T00:00:00Z"}}))
        .await
        .is(200);
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n".into();
    client.post("/api/v1/namespaces/default/pods", bound).await.is(201);
    for (path, expected) in [
        (format!("{jobs}?fieldSelector=status.successful%3D1"), "done"),
        (format!("{jobs}?fieldSelector=status.successful%3D0"), "new"),
        ("/api/v1/pods?fieldSelector=spec.host%3Dn".to_owned(), "p"),
        ("/api/v1/pods?fieldSelector=spec.nodeName!%3Dn".to_owned(), ""),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn,status.phase%3DPending".to_owned(), "p"),
    ] {
        assert_eq!(names(&client.get(&path).await.is(200)), expected, "{path}");
    }
}

#[tokio::test]
async fn a_collection_is_deleted_as_it_is_listed() {
    let server = Server::start().await;
    let client = server.client();
    maps(&client, &[("a", "1"), ("b", "2"), ("c", "1"), ("d", "1")]).await;
    let mut held = config_map("held", "3");
    held["metadata"]["finalizers"] = json!(["example.test/f"]);
    let held = client.post(MAPS, held).await.is(201);
    for (query, told, left) in [
        ("dryRun=All", "a b c d held kube-root-ca.crt | end | null", "a b c d held kube-root-ca.crt"),
        ("limit=1&labelSelector=l%3D1", "a | more | null", "b c d held kube-root-ca.crt"),
        ("labelSelector=l%3D1", "c d | end | null", "b held kube-root-ca.crt"),
        ("fieldSelector=metadata.name%3Db", "b | end | null", "held kube-root-ca.crt"),
        ("labelSelector=l%3D9", " | end | null", "held kube-root-ca.crt"),
    ] {
        let list = client.delete(&format!("{MAPS}?{query}")).await.is(200);
        let told = told.replace(" kube-root-ca.crt", "");
        assert_eq!(list["kind"], "ConfigMapList");
        assert_eq!(page(&list).replace(" kube-root-ca.crt", ""), told, "{query}");
        let now = client.get(MAPS).await.is(200);
        assert_eq!(names(&now).replace(" kube-root-ca.crt", ""), left.replace(" kube-root-ca.crt", ""), "{query}");
    }
    // What is told is the list, and not what became of it.
    let list = client.delete(&format!("{MAPS}?labelSelector=l%3D3")).await.is(200);
    assert_eq!(list["items"][0]["metadata"], held["metadata"]);
    assert!(client.get(&format!("{MAPS}/held")).await.is(200)["metadata"]["deletionTimestamp"].is_string());
    let body = json!({"propagationPolicy": "Never"});
    let refused = client.call("DELETE", MAPS, "application/json", body.to_string()).await.is(422);
    assert_eq!(
        (&refused["details"]["kind"], &refused["details"]["group"]),
        (&json!("DeleteOptions"), &json!("meta.k8s.io"))
    );
}

#[tokio::test]
async fn a_deletion_is_of_what_the_query_says() {
    let server = Server::start().await;
    let client = server.client();
    let made = client.post(MAPS, config_map("a", "1")).await.is(201);
    let uid = made["metadata"]["uid"].as_str().unwrap();
    client.delete(&format!("{MAPS}/a?uid=other")).await.is(409);
    client.delete(&format!("{MAPS}/a?resourceVersion=1")).await.is(409);
    client.delete(&format!("{MAPS}/a?propagationPolicy=")).await.is(422);
    client.delete(&format!("{MAPS}/a?gracePeriodSeconds=soon")).await.is(400);
    let status = client.delete(&format!("{MAPS}/a?uid={uid}&resourceVersion={}", revision(&made))).await.is(200);
    assert_eq!(status["details"], json!({"kind": "configmaps", "name": "a", "uid": uid}));
}

#[tokio::test]
async fn what_is_shown_is_what_is_accepted() {
    let server = Server::start().await;
    let client = server.client();
    let a = &format!("{MAPS}/a");
    client.post(MAPS, config_map("a", "1")).await.is(201);
    client.post("/apis/apps/v1/namespaces/default/deployments", deployment()).await.is(201);
    let scale = "/apis/apps/v1/namespaces/default/deployments/d/scale";
    let beta = "application/json;as=Table;g=meta.k8s.io;v=v1beta1";
    for (path, accept, code, kind, version) in [
        (a.as_str(), "", 200, "ConfigMap", "v1"),
        (a, "application/vnd.kubernetes.protobuf,*/*", 200, "ConfigMap", "v1"),
        (a, "application/vnd.kubernetes.protobuf", 406, "Status", "v1"),
        (a, TABLE, 200, "Table", "meta.k8s.io/v1"),
        (a, beta, 200, "Table", "meta.k8s.io/v1beta1"),
        (a, METADATA, 200, "PartialObjectMetadata", "meta.k8s.io/v1"),
        (a, METADATA_LIST, 406, "Status", "v1"),
        (MAPS, METADATA_LIST, 200, "PartialObjectMetadataList", "meta.k8s.io/v1"),
        (MAPS, METADATA, 406, "Status", "v1"),
        (MAPS, TABLE, 200, "Table", "meta.k8s.io/v1"),
        (scale, TABLE, 200, "Table", "meta.k8s.io/v1"),
        (scale, "", 200, "Scale", "autoscaling/v1"),
        (&format!("{MAPS}/none"), TABLE, 404, "Status", "v1"),
        (&format!("{MAPS}?includeObject=All"), TABLE, 400, "Status", "v1"),
    ] {
        let told = ask(&client, "GET", path, &[("accept", accept)]).await;
        let json = told.json();
        assert_eq!(
            (told.code, &json["kind"], &json["apiVersion"]),
            (code, &json!(kind), &json!(version)),
            "{path} {accept}"
        );
        assert_eq!(told.header("content-type"), "application/json", "{path} {accept}");
    }
    for (include, kind) in
        [("", "PartialObjectMetadata"), ("Metadata", "PartialObjectMetadata"), ("Object", "ConfigMap")]
    {
        let told = ask(&client, "GET", &format!("{a}?includeObject={include}"), &[("accept", TABLE)]).await;
        assert_eq!(told.json()["rows"][0]["object"]["kind"], kind, "{include}");
    }
    let none = ask(&client, "GET", &format!("{a}?includeObject=None"), &[("accept", TABLE)]).await.json();
    assert_eq!(none["rows"][0]["object"], Value::Null);
    let table = ask(&client, "GET", scale, &[("accept", TABLE)]).await.json();
    let heads: Vec<_> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].clone()).collect();
    assert_eq!(heads, ["Name", "Desired", "Available", "Age"]);
    assert_eq!((&table["rows"][0]["cells"][0], &table["rows"][0]["cells"][1]), (&json!("d"), &json!(3)));
}

fn deployment() -> Value {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    json!({
        "metadata": {"name": "d"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template},
    })
}

#[tokio::test]
async fn texts_are_for_programs_and_for_people() {
    let server = Server::start().await;
    let client = server.client();
    client.post(MAPS, config_map("a", "1")).await.is(201);
    let a = &format!("{MAPS}/a");
    let curl = ("user-agent", "curl/8.5.0");
    for (path, headers, begins, ends) in [
        (a.as_str(), vec![], "{\"apiVersion\"", "}\n"),
        (MAPS, vec![], "{\"apiVersion\"", "}\n"),
        (
            a,
            vec![curl],
            "{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"ConfigMap\",\n  \"data\": {\n    \"k\": \"v\"\n  },",
            "\n}",
        ),
        (&format!("{a}?pretty=false"), vec![curl], "{\"apiVersion\"", "}\n"),
        (&format!("{MAPS}?pretty=1"), vec![], "{\n  \"apiVersion\": \"v1\",\n", "\n}"),
        (MAPS, vec![("accept", "application/yaml"), curl], "apiVersion: v1\n", "\n"),
        (&format!("{MAPS}/none"), vec![("accept", "application/yaml")], "apiVersion: v1\ncode: 404\n", "\n"),
        (&format!("{MAPS}/none"), vec![("accept", "text/html")], "{\n  \"", "\n}"),
        ("/apis", vec![curl], "{\n  \"", "\n}"),
        ("/version", vec![], "{\n  \"", "\n}"),
        ("/", vec![], "{\n  \"paths\": [\n    \"/.well-known/openid-configuration\",\n    \"/api\"", "\n}"),
    ] {
        let told = ask(&client, "GET", path, &headers).await;
        assert!(told.text.starts_with(begins) && told.text.ends_with(ends), "{path} {headers:?}: {:?}", told.text);
    }
}

#[tokio::test]
async fn every_answer_is_named_and_kept_by_nobody() {
    let server = Server::start().await;
    let client = server.client();
    for (method, path, code) in [
        ("GET", "/api/v1/pods", 200),
        ("GET", "/api/v1/pods?watch=1&timeoutSeconds=1", 200),
        ("GET", "/api/v1/namespaces/none", 404),
        ("GET", "/nothing", 404),
        ("GET", "/apis/none.example.test/v1/things", 404),
        ("HEAD", "/api/v1/namespaces/default", 405),
        ("OPTIONS", "/api/v1/namespaces/default", 405),
        ("HEAD", "/readyz", 200),
        ("GET", "/metrics", 200),
    ] {
        let given = ask(&client, method, path, &[("audit-id", "mine"), ("origin", "http://example.test")]).await;
        let made = ask(&client, method, path, &[]).await;
        assert_eq!((given.code, given.header("audit-id")), (code, "mine"), "{method} {path}");
        assert_eq!(made.header("audit-id").len(), 36, "{method} {path}");
        assert_eq!(made.header("cache-control"), "no-cache, private", "{method} {path}");
        assert_eq!(given.header("access-control-allow-origin"), "", "{method} {path}");
    }
    let page = ask(&client, "GET", "/nothing", &[]).await;
    assert_eq!((page.text.as_str(), page.header("x-content-type-options")), ("404 page not found\n", "nosniff"));
    let metrics = ask(&client, "GET", "/metrics", &[]).await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(metrics.text.contains("# TYPE apiserver_request_total counter\n"), "{}", metrics.text);
}

#[tokio::test]
async fn answers_tell_the_flow_of_the_request() {
    let server = Server::start().await;
    let uid = async |path: &str| {
        let object = server.client().get(&format!("/apis/flowcontrol.apiserver.k8s.io/v1/{path}")).await.is(200);
        object["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let as_user = |user: &str, groups: &[&str]| Client(server.server.in_process(Identity::new(user, groups)));
    for (client, path, schema, level) in [
        (server.client(), MAPS, "exempt", "exempt"),
        (server.client(), "/apis", "exempt", "exempt"),
        (as_user("ann", &[]), MAPS, "global-default", "global-default"),
        (as_user("ann", &[]), "/api/v1/namespaces/none", "global-default", "global-default"),
        (as_user("ann", &[]), "/api/v1/pods?watch=1&timeoutSeconds=1", "global-default", "global-default"),
        (as_user("system:node:n", &["system:nodes"]), "/api/v1/pods", "system-nodes", "system"),
        (as_user("system:serviceaccount:a:b", &["system:serviceaccounts"]), MAPS, "service-accounts", "workload-low"),
    ] {
        let told = ask(&client, "GET", path, &[]).await;
        let expected =
            (uid(&format!("flowschemas/{schema}")).await, uid(&format!("prioritylevelconfigurations/{level}")).await);
        let own = |name: &str| told.header(name).to_owned();
        assert_eq!(
            (own("x-kubernetes-pf-flowschema-uid"), own("x-kubernetes-pf-prioritylevel-uid")),
            expected,
            "{path} {schema}"
        );
    }
    // A schema that is made counts at once.
    let mine = json!({
        "metadata": {"name": "mine"},
        "spec": {
            "priorityLevelConfiguration": {"name": "workload-high"},
            "matchingPrecedence": 1000,
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "ann"}}],
                "resourceRules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"], "namespaces": ["*"]}],
            }],
        },
    });
    let made = server.client().post("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", mine).await.is(201);
    let told = ask(&as_user("ann", &[]), "GET", MAPS, &[]).await;
    assert_eq!(told.header("x-kubernetes-pf-flowschema-uid"), made["metadata"]["uid"]);
    let log = ask(&server.client(), "GET", "/api/v1/namespaces/default/pods/none/log", &[]).await;
    assert_eq!((log.code, log.header("x-kubernetes-pf-flowschema-uid")), (404, ""));
}
