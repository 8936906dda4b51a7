//! What the server says of itself: discovery and OpenAPI, in which form, and how clients keep it.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Read as _;

use axum::body::Body;
use bytes::{Buf as _, Bytes};
use flate2::read::GzDecoder;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{Client, Server};
use tower::Service as _;

/// An answer with its headers.
struct Told {
    code: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Told {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn ask(client: &Client, method: &str, path: &str, headers: &[(&str, &str)]) -> Told {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let Ok(response) = client.0.clone().call(request.body(Body::empty()).unwrap()).await;
    let (parts, body) = response.into_parts();
    Told { code: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
}

fn unpacked(gzip: Bytes) -> Vec<u8> {
    let mut out = Vec::new();
    GzDecoder::new(gzip.reader()).read_to_end(&mut out).unwrap();
    out
}

#[tokio::test]
async fn documents_are_kept_by_their_hash() {
    let server = Server::start().await;
    let client = server.client();
    let index = ask(&client, "GET", "/openapi/v3", &[]).await.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let (path, hash) = url.split_once("?hash=").unwrap();
    assert!(hash.len() == 128 && !hash.contains(|c: char| c.is_ascii_lowercase()), "{hash}");

    let document = ask(&client, "GET", url, &[]).await;
    assert_eq!(document.json()["openapi"], "3.0.0");
    assert_eq!(document.header("etag"), format!("\"{hash}\""));
    assert_eq!(document.header("cache-control"), "public, immutable");
    assert!(document.header("expires").ends_with(" GMT"), "{}", document.header("expires"));
    assert_eq!(document.header("content-length"), document.body.len().to_string());

    let plain = ask(&client, "GET", path, &[]).await;
    assert_eq!((plain.header("cache-control"), plain.body == document.body), ("no-cache, private", true));
    let known = ask(&client, "GET", path, &[("if-none-match", document.header("etag"))]).await;
    assert_eq!((known.code, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let moved = ask(&client, "GET", &format!("{path}?hash=12"), &[]).await;
    assert_eq!((moved.code, moved.header("location")), (StatusCode::MOVED_PERMANENTLY, url));
    let head = ask(&client, "HEAD", path, &[]).await;
    assert_eq!((head.header("content-length"), head.body.len()), (document.header("content-length"), 0));
    let packed = ask(&client, "GET", path, &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(unpacked(packed.body), document.body);
    assert_eq!(ask(&client, "GET", "/openapi/v3/apis/none/v1", &[]).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn others_learn_who_issues_tokens() {
    let server = Server::start().await;
    let client = server.client();
    let host = "kubernetes.default.svc.cluster.local";
    let configuration = json!({
        "issuer": format!("https://{host}"),
        "jwks_uri": format!("https://{host}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    for (path, media_type, part, expected) in [
        ("/.well-known/openid-configuration", "application/json", "", configuration),
        ("/openid/v1/jwks", "application/jwk-set+json", "/keys/0/crv", json!("P-256")),
    ] {
        let told = ask(&client, "GET", path, &[]).await;
        assert_eq!((told.code, told.header("content-type")), (StatusCode::OK, media_type), "{path}");
        assert_eq!(told.header("cache-control"), "public, max-age=3600");
        assert_eq!(told.json().pointer(part), Some(&expected), "{path}");
        let all = ask(&client, "GET", "/", &[]).await.json();
        assert!(all["paths"].as_array().unwrap().contains(&path.into()), "{path}");
        let document = ask(&client, "GET", &format!("/openapi/v3{path}"), &[]).await.json();
        let answer = &document["paths"][format!("{path}/")]["get"]["responses"]["200"]["content"];
        assert_eq!(answer[media_type]["schema"], json!({"type": "string"}), "{path}");
    }
}

#[tokio::test]
async fn documents_come_in_the_form_that_is_asked_for() {
    let server = Server::start().await;
    let client = server.client();
    let v2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let v3 = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";
    for (path, accept, code, media_type, begins_with) in [
        ("/openapi/v2", "*/*", 200, "application/json", &b"{\"info\":"[..]),
        ("/openapi/v2", v2, 200, v2, b"\x0a\x032.0"),
        ("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", 200, v2, b"\x0a\x032.0"),
        ("/openapi/v3/api/v1", v3, 200, v3, b"\x0a\x053.0.0"),
        ("/openapi/v3/api/v1", "application/json, */*", 200, "application/json", b"{\"info\":"),
        ("/openapi/v3/api/v1", "text/html", 406, "", b""),
    ] {
        let told = ask(&client, "GET", path, &[("accept", accept)]).await;
        assert_eq!((told.code.as_u16(), told.header("content-type")), (code, media_type), "{path} {accept}");
        assert!(told.body.starts_with(begins_with), "{path} {accept}");
    }
}

#[tokio::test]
async fn discovery_is_kept_by_its_tag() {
    let server = Server::start().await;
    let client = server.client();
    let accept = ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let told = ask(&client, "GET", "/apis", &[accept]).await;
    assert_eq!(told.json()["items"][1]["metadata"]["name"], "apps");
    assert_eq!((told.header("content-type"), told.header("vary")), (accept.1, "Accept"));
    let known = ask(&client, "GET", "/apis", &[accept, ("if-none-match", told.header("etag"))]).await;
    assert_eq!((known.code, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_it() {
    let server = Server::start().await;
    let client = server.client();
    let mut map = support::config_map("large", "l");
    map["data"] = json!({"k": "coracle ".repeat(20_000)});
    client.post("/api/v1/namespaces/default/configmaps", map).await.is(201);
    let path = "/api/v1/namespaces/default/configmaps/large";
    let plain = ask(&client, "GET", path, &[]).await;
    let packed = ask(&client, "GET", path, &[("accept-encoding", "gzip")]).await;
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), ("gzip", "Accept-Encoding"));
    assert!(packed.body.len() < plain.body.len() / 10);
    assert_eq!(unpacked(packed.body), plain.body);
    let small = ask(&client, "GET", "/api/v1/namespaces/default", &[("accept-encoding", "gzip")]).await;
    assert_eq!((small.header("content-encoding"), &small.json()["kind"]), ("", &json!("Namespace")));
    assert_eq!(ask(&client, "HEAD", path, &[]).await.body.len(), 0);
}
