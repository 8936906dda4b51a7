//! A server over memory, and a client that speaks JSON to it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use coracle_apiserver::{ApiServer, Config, Identity, InProcess, NoNodes, NodeProxy, Pki};
use coracle_store::MemoryStore;
use futures::StreamExt as _;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

pub struct Server {
    pub store: Arc<MemoryStore>,
    pub pki: Arc<Pki>,
    pub server: ApiServer,
    pub shutdown: CancellationToken,
}

impl Server {
    /// Without a socket.
    pub async fn start() -> Self {
        Self::start_with(|config| config.listen = None).await
    }

    pub async fn start_with(set_up: impl FnOnce(&mut Config)) -> Self {
        Self::start_over(Arc::new(NoNodes), set_up).await
    }

    pub async fn start_over(nodes: Arc<dyn NodeProxy>, set_up: impl FnOnce(&mut Config)) -> Self {
        let (store, pki) = (Arc::new(MemoryStore::new()), Arc::new(Pki::in_memory().expect("certificates")));
        let mut config = Config::new(pki.clone());
        config.require_service_accounts = false;
        set_up(&mut config);
        let shutdown = CancellationToken::new();
        let server = coracle_apiserver::start(config, store.clone(), nodes, shutdown.clone());
        Self { server: server.await.expect("it starts"), store, pki, shutdown }
    }

    pub fn client(&self) -> Client {
        Client(self.server.in_process(Identity::admin()))
    }
}

#[derive(Clone)]
pub struct Client(pub InProcess);

/// The code and body of an answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub fn is(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }

    pub fn reason(&self) -> &str {
        self.body["reason"].as_str().unwrap_or_default()
    }
}

impl Client {
    pub async fn send(&self, method: &str, path: &str, media_type: &str, body: impl Into<Body>) -> Response<Body> {
        let request = Request::builder().method(method).uri(path).header("content-type", media_type);
        let Ok(response) = self.0.clone().call(request.body(body.into()).expect("a request")).await;
        response
    }

    pub async fn call(&self, method: &str, path: &str, media_type: &str, body: impl Into<Body>) -> Answer {
        let response = self.send(method, path, media_type, body).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { code, body: serde_json::from_slice(&bytes).unwrap_or(Value::String(text)) }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "application/json", Body::empty()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, "application/json", body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, "application/json", body.to_string()).await
    }

    pub async fn merge(&self, path: &str, body: Value) -> Answer {
        self.call("PATCH", path, "application/merge-patch+json", body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, "application/json", Body::empty()).await
    }

    pub async fn watch(&self, path: &str) -> Watch {
        let response = self.send("GET", path, "application/json", Body::empty()).await;
        assert_eq!(response.status(), 200);
        Watch::of(response)
    }
}

/// The events of a watch.
pub struct Watch {
    body: BodyDataStream,
    read: Vec<u8>,
}

impl Watch {
    pub fn of(response: Response<Body>) -> Self {
        Self { body: response.into_body().into_data_stream(), read: Vec::new() }
    }

    /// The next event's type and object; `None` at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).expect("an event");
                return Some((event["type"].as_str().expect("a type").to_owned(), event["object"].clone()));
            }
            self.read.extend_from_slice(&self.body.next().await?.expect("the watch goes on"));
        }
    }

    /// The next event as `TYPE name`.
    pub async fn told(&mut self) -> String {
        match self.next().await {
            Some((kind, object)) => format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or_default()),
            None => "the end".to_owned(),
        }
    }
}

pub fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().expect("a revision").parse().expect("a number")
}

pub fn config_map(name: &str, label: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"l": label}},
        "data": {"k": "v"},
    })
}

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}
