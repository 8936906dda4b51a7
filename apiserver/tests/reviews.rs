//! Who somebody is and what they may do, acting for others, and requests for certificates.

#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use coracle_apiserver::Identity;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{Client, Server};
use tower::Service as _;

const AUTHENTICATION: &str = "/apis/authentication.k8s.io/v1";
const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// Posts with further headers.
async fn post_as(client: &Client, path: &str, headers: &[(&str, &str)], body: Value) -> (u16, Value) {
    let mut request = Request::builder().method("POST").uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let Ok(response) = client.0.clone().call(request.body(Body::from(body.to_string())).unwrap()).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

fn review(group: &str, kind: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("{group}/v1"), "kind": kind, "spec": spec})
}

#[tokio::test]
async fn who_somebody_is() {
    let server = Server::start().await;
    let client = server.client();
    let question = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = format!("{AUTHENTICATION}/selfsubjectreviews");
    let answer = client.post(&path, question.clone()).await.is(201);
    let expected = json!({"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]});
    assert_eq!(answer["status"]["userInfo"], expected);
    assert!(answer["metadata"]["creationTimestamp"].is_string());

    let headers = [("impersonate-user", "ann"), ("impersonate-group", "g"), ("impersonate-extra-a%2fb", "c")];
    let (code, answer) = post_as(&client, &path, &headers, question.clone()).await;
    let expected = json!({"username": "ann", "groups": ["g", "system:authenticated"], "extra": {"a/b": ["c"]}});
    assert_eq!((code, &answer["status"]["userInfo"]), (201, &expected));
    assert_eq!(post_as(&client, &path, &headers[1..], question.clone()).await.0, 400);
    let nobody = Client(client.0.identified(Identity::new("bob", &[])));
    let (code, refused) = post_as(&nobody, &path, &headers, question).await;
    assert_eq!((code, refused["details"]["kind"].as_str()), (403, Some("users")));
}

#[tokio::test]
async fn whose_a_token_is() {
    let server = Server::start().await;
    let client = server.client();
    let path = format!("{AUTHENTICATION}/tokenreviews");
    let ask = |spec: Value| client.post(&path, review("authentication.k8s.io", "TokenReview", spec));
    let wrong = ask(json!({"token": "wrong"})).await.is(201)["status"].clone();
    assert_eq!(wrong, json!({"error": "invalid bearer token", "user": {}}));
    ask(json!({})).await.is(400);

    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}});
    let uid = client.post(accounts, account).await.is(201)["metadata"]["uid"].clone();
    let request = review("authentication.k8s.io", "TokenRequest", json!({"audiences": ["vault"]}));
    let token = client.post(&format!("{accounts}/sa/token"), request).await.is(201)["status"]["token"].clone();
    let status = ask(json!({"token": token, "audiences": ["vault", "x"]})).await.is(201)["status"].clone();
    assert_eq!(status["audiences"], json!(["vault"]));
    assert_eq!(status["user"]["uid"], uid);
    let request = review("authentication.k8s.io", "TokenRequest", json!({}));
    let own = client.post(&format!("{accounts}/sa/token"), request).await.is(201)["status"]["token"].clone();
    let status = ask(json!({"token": own})).await.is(201)["status"].clone();
    assert_eq!((&status["authenticated"], &status["user"]["uid"]), (&json!(true), &uid));
    assert_eq!(ask(json!({"token": token})).await.is(201)["status"]["authenticated"], Value::Null);
}

/// Tokens could be bound to no secret and no node, and to a pod of another account.
#[tokio::test]
async fn what_a_token_may_be_bound_to() {
    let server = Server::start().await;
    let client = server.client();
    let core = "/api/v1/namespaces/default";
    for name in ["default", "sa"] {
        client.post(&format!("{core}/serviceaccounts"), json!({"metadata": {"name": name}})).await.is(201);
    }
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    client.post(&format!("{core}/pods"), pod).await.is(201);
    client.post(&format!("{core}/secrets"), json!({"metadata": {"name": "s"}})).await.is(201);
    client.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.is(201);
    let bind = async |account: &str, kind: &str, name: &str, uid: &str| {
        let bound = json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid});
        let request = review("authentication.k8s.io", "TokenRequest", json!({"boundObjectRef": bound}));
        client.post(&format!("{core}/serviceaccounts/{account}/token"), request).await
    };
    for (account, kind, name, uid, code) in [
        ("default", "Pod", "p", "", 201),
        ("sa", "Pod", "p", "", 400),
        ("sa", "Pod", "none", "", 404),
        ("sa", "Secret", "none", "", 404),
        ("sa", "ConfigMap", "c", "", 400),
        ("default", "Pod", "p", "other", 409),
    ] {
        let answer = bind(account, kind, name, uid).await.is(code);
        if code == 409 {
            assert_eq!(answer["details"], json!({"kind": "Pod", "name": "p"}));
        }
    }
    for (kind, name, path) in
        [("Secret", "s", format!("{core}/secrets/s")), ("Node", "n", "/api/v1/nodes/n".to_owned())]
    {
        let token = bind("sa", kind, name, "").await.is(201)["status"]["token"].clone();
        let ask = || review("authentication.k8s.io", "TokenReview", json!({"token": token}));
        let reviews = format!("{AUTHENTICATION}/tokenreviews");
        assert_eq!(client.post(&reviews, ask()).await.is(201)["status"]["authenticated"], true, "{kind}");
        client.delete(&path).await.is(200);
        assert_eq!(client.post(&reviews, ask()).await.is(201)["status"]["authenticated"], Value::Null, "{kind}");
    }
    let mut request = review("authentication.k8s.io", "TokenRequest", json!({}));
    request["metadata"] = json!({"name": "other"});
    let answer = client.post(&format!("{core}/serviceaccounts/sa/token"), request).await.is(422);
    assert_eq!(
        (&answer["details"]["name"], &answer["details"]["causes"][0]["field"]),
        (&json!("sa"), &json!("metadata.name"))
    );
}

#[tokio::test]
async fn what_somebody_may_do() {
    let server = Server::start().await;
    let client = server.client();
    let resource = json!({"verb": "get", "resource": "pods", "namespace": "default"});
    for (path, kind, spec, allowed) in [
        ("selfsubjectaccessreviews", "SelfSubjectAccessReview", json!({"resourceAttributes": resource}), true),
        ("subjectaccessreviews", "SubjectAccessReview", json!({"user": "ann", "resourceAttributes": resource}), true),
        (
            "subjectaccessreviews",
            "SubjectAccessReview",
            json!({"user": "system:anonymous", "nonResourceAttributes": {"path": "/", "verb": "get"}}),
            false,
        ),
        (
            "namespaces/default/localsubjectaccessreviews",
            "LocalSubjectAccessReview",
            json!({"user": "ann", "resourceAttributes": resource}),
            true,
        ),
    ] {
        let question = review("authorization.k8s.io", kind, spec);
        let answer = client.post(&format!("{AUTHORIZATION}/{path}"), question).await.is(201);
        assert_eq!(answer["status"], json!({"allowed": allowed}), "{kind}");
    }
    let path = format!("{AUTHORIZATION}/selfsubjectrulesreviews");
    let question = review("authorization.k8s.io", "SelfSubjectRulesReview", json!({"namespace": "default"}));
    let answer = client.post(&path, question).await.is(201);
    assert_eq!(answer["status"]["resourceRules"][0]["verbs"], json!(["*"]));
    let question = review("authorization.k8s.io", "SubjectAccessReview", json!({}));
    let refused = client.post(&format!("{AUTHORIZATION}/subjectaccessreviews"), question).await.is(422);
    assert_eq!(refused["details"]["causes"].as_array().unwrap().len(), 2);
    client.get(&format!("{AUTHORIZATION}/subjectaccessreviews")).await.is(405);
}

fn signing_request(name: &str, request: &str) -> Value {
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": BASE64.encode(request),
            "signerName": "example.test/s",
            "usages": ["client auth"],
            "username": "somebody else",
        },
    })
}

#[tokio::test]
async fn a_certificate_is_asked_for_and_approved() {
    let server = Server::start().await;
    let client = server.client();
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let made = client.post(REQUESTS, signing_request("a", &pem)).await.is(201);
    assert_eq!(made["spec"]["username"], "kubernetes-admin");
    assert_eq!(made["spec"]["groups"], json!(["system:masters", "system:authenticated"]));

    // One that another key has signed: the last byte of the signature is changed.
    let mut lines: Vec<String> = pem.lines().map(str::to_owned).collect();
    let last = lines.len() - 2;
    let mut der = BASE64.decode(&lines[last]).unwrap();
    *der.last_mut().unwrap() ^= 1;
    lines[last] = BASE64.encode(der);
    let forged = client.post(REQUESTS, signing_request("b", &lines.join("\n"))).await.is(422);
    assert_eq!(forged["details"]["causes"][0]["field"], "spec.request");

    let mut approved = made.clone();
    approved["spec"]["usages"] = json!(["any"]);
    approved["status"] = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "KubectlApprove"}]});
    let kept = client.put(&format!("{REQUESTS}/a"), approved.clone()).await.is(200);
    assert_eq!((&kept["spec"], &kept["status"]), (&made["spec"], &json!({})));
    let decided = client.put(&format!("{REQUESTS}/a/approval"), approved.clone()).await.is(200);
    assert_eq!(decided["spec"], made["spec"]);
    assert!(decided["status"]["conditions"][0]["lastUpdateTime"].is_string());
    approved["metadata"]["resourceVersion"] = decided["metadata"]["resourceVersion"].clone();
    approved["status"] = json!({"conditions": []});
    client.put(&format!("{REQUESTS}/a/approval"), approved).await.is(422);
    let found = client.get(&format!("{REQUESTS}?fieldSelector=spec.signerName%3Dexample.test/s")).await.is(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_asks_to_be_one_of_those_who_may_do_everything() {
    let server = Server::start().await;
    let client = server.client();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    client.post(REQUESTS, signing_request("others", &pem)).await.is(201);
    let mut request = signing_request("own", &pem);
    request["spec"]["signerName"] = json!("kubernetes.io/kube-apiserver-client");
    let refused = client.post(REQUESTS, request).await.is(403);
    assert_eq!(
        refused["message"],
        "certificatesigningrequests.certificates.k8s.io \"own\" is forbidden: use of kubernetes.io/kube-apiserver-client signer \
         with system:masters group is not allowed"
    );
}

#[tokio::test]
async fn every_cluster_has_roles_and_an_object_for_each_address() {
    let server = Server::start().await;
    let client = server.client();
    for (path, count) in [
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", 31),
        ("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", 12),
        ("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", 13),
        ("/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations", 8),
        ("/apis/networking.k8s.io/v1/servicecidrs", 1),
    ] {
        let list = client.get(path).await.is(200);
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{path}");
    }
    let local = client.get("/apis/apiregistration.k8s.io/v1/apiservices/v1.apps").await.is(200);
    assert_eq!(local["status"]["conditions"][0]["reason"], "Local");

    const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
    let mut watch = client.watch(&format!("{ADDRESSES}?watch=true")).await;
    let own = watch.told().await;
    let services = "/api/v1/namespaces/default/services";
    let service =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let made = client.post(services, service).await.is(201);
    let address = made["spec"]["clusterIP"].as_str().unwrap();
    let (event, object) = watch.next().await.unwrap();
    assert_eq!((event.as_str(), &object["metadata"]["name"]), ("ADDED", &made["spec"]["clusterIP"]), "after {own}");
    let parent = json!({"resource": "services", "namespace": "default", "name": "s"});
    assert_eq!(object["spec"]["parentRef"], parent);
    client.delete(&format!("{services}/s")).await.is(200);
    assert_eq!(watch.told().await, format!("DELETED {address}"));
}
