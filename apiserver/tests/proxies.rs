//! Requests that are passed on to what services, pods and nodes serve.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use coracle_apiserver::{NodeAddress, NodeProxy, ProxyError};
use http::Response;
use serde_json::json;
use support::{Server, pod};
use tokio::net::TcpListener;

/// Serves what it was asked, on a port of its own.
async fn echo() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(|request: Request| async move {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1024).await.unwrap();
        let token = parts.headers.contains_key("authorization");
        let told = format!("{} {} {} {token}", parts.method, parts.uri, String::from_utf8_lossy(&body));
        (http::StatusCode::IM_A_TEAPOT, [("x-own", "yes")], told)
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

#[derive(Default)]
struct Node(Mutex<Vec<String>>);

#[async_trait]
impl NodeProxy for Node {
    async fn send(&self, node: &NodeAddress, request: Request<Body>) -> Result<Response<Body>, ProxyError> {
        self.0.lock().unwrap().push(format!("{}:{} {} {}", node.name, node.port, request.method(), request.uri()));
        Ok(Response::new("pods".into()))
    }
}

#[tokio::test]
async fn whatever_is_asked_is_passed_on() {
    let node = Arc::new(Node::default());
    let server = Server::start_over(node.clone(), |config| config.listen = None).await;
    let (client, port) = (server.client(), echo().await);
    let default = "/api/v1/namespaces/default";
    client.post(&format!("{default}/pods"), pod("p")).await.is(201);
    assert_eq!(client.get(&format!("{default}/pods/p/proxy/")).await.code, 400, "it has no address yet");
    let status = json!({"status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    client.merge(&format!("{default}/pods/p/status"), status).await.is(200);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"ports": [{"name": "web", "port": 80}]}});
    client.post(&format!("{default}/services"), service).await.is(201);
    assert_eq!(client.get(&format!("{default}/services/s:web/proxy/")).await.code, 404, "nobody made endpoints");
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "s"},
        "subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"name": "web", "port": port}]}]});
    client.post(&format!("{default}/endpoints"), endpoints).await.is(201);
    for (method, url, body, code, told) in [
        ("GET", format!("pods/p:{port}/proxy/a//b?q=1&r=%20"), "", 418, "GET /a//b?q=1&r=%20  false"),
        ("POST", format!("pods/http:p:{port}/proxy/x"), "hello", 418, "POST /x hello false"),
        ("DELETE", "services/s:web/proxy/".to_owned(), "", 418, "DELETE /  false"),
        ("PUT", "services/s:80/proxy/put".to_owned(), "b", 418, "PUT /put b false"),
        ("GET", "services/s:81/proxy/".to_owned(), "", 503, ""),
        ("GET", "services/s/proxy/".to_owned(), "", 503, ""),
        ("GET", "services/ftp:s:web/proxy/".to_owned(), "", 400, ""),
        ("GET", "pods/none/proxy/".to_owned(), "", 404, ""),
        ("GET", "pods/p:1/proxy/".to_owned(), "", 503, ""),
        ("GET", "pods/p/exec".to_owned(), "", 400, ""),
        ("GET", "pods/none/portforward".to_owned(), "", 404, ""),
    ] {
        let answer = client.call(method, &format!("{default}/{url}"), "text/plain", body.to_owned()).await;
        assert_eq!(answer.code, code, "{method} {url}: {}", answer.body);
        if code == 418 {
            assert_eq!(answer.body, told, "{url}");
        }
    }
    let moved = client.send("GET", &format!("{default}/services/s:web/proxy?a=b"), "text/plain", Body::empty()).await;
    assert_eq!(moved.status(), 301);
    assert_eq!(moved.headers()["location"], format!("{default}/services/s:web/proxy/?a=b"));
}

#[tokio::test]
async fn a_node_is_asked_through_its_kubelet() {
    let node = Arc::new(Node::default());
    let server = Server::start_over(node.clone(), |config| config.listen = None).await;
    let client = server.client();
    client.post("/api/v1/nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})).await.is(201);
    assert_eq!(client.get("/api/v1/nodes/n/proxy/pods?a=b").await.is(200), "pods");
    client.get("/api/v1/nodes/n:77/proxy/metrics").await.is(200);
    client.get("/api/v1/nodes/none/proxy/").await.is(404);
    assert_eq!(*node.0.lock().unwrap(), ["n:10250 GET /pods?a=b", "n:77 GET /metrics"]);
}
