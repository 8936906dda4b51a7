//! Logs come from the kubelet of the pod's node.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use coracle_apiserver::{NodeAddress, NodeProxy, ProxyError};
use http::{Request, Response};
use serde_json::json;
use support::{Server, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A kubelet that has one line to say, and remembers what it was asked.
#[derive(Default)]
struct Kubelet {
    asked: Mutex<Vec<(NodeAddress, String)>>,
}

#[async_trait]
impl NodeProxy for Kubelet {
    async fn send(&self, node: &NodeAddress, request: Request<Body>) -> Result<Response<Body>, ProxyError> {
        let path = request.uri().to_string();
        let is_there = !path.contains("previous");
        self.asked.lock().unwrap().push((node.clone(), path));
        Ok(if is_there {
            Response::new(Body::from("hello\n"))
        } else {
            Response::builder().status(404).body(Body::from("previous terminated container not found")).unwrap()
        })
    }
}

#[tokio::test]
async fn logs_are_passed_on() {
    let kubelet = Arc::new(Kubelet::default());
    let server = Server::start_over(kubelet.clone(), |config| config.listen = None).await;
    let client = server.client();
    let node = json!({
        "metadata": {"name": "n"},
        "status": {
            "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "127.0.0.7"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 4567}},
        },
    });
    client.post("/api/v1/nodes", node).await.is(201);
    client.post(PODS, pod("p")).await.is(201);
    assert_eq!(client.get(&format!("{PODS}/p/log")).await.is(200), "", "it runs nowhere yet");
    client.post(&format!("{PODS}/p/binding"), json!({"target": {"name": "n"}})).await.is(201);
    for query in ["", "?follow=true&tailLines=5&sinceTime=2026-01-01T00%3A00%3A00Z"] {
        assert_eq!(client.get(&format!("{PODS}/p/log{query}")).await.is(200), "hello\n");
    }
    let previous = client.get(&format!("{PODS}/p/log?previous=true")).await;
    assert_eq!((previous.code, &previous.body["message"]), (400, &json!("previous terminated container not found")));
    for (query, code) in [("?container=other", 400), ("?tailLines=-1", 422), ("?tailLines=x", 400)] {
        client.get(&format!("{PODS}/p/log{query}")).await.is(code);
    }
    client.get(&format!("{PODS}/none/log")).await.is(404);
    let asked = kubelet.asked.lock().unwrap();
    let address = NodeAddress { name: "n".to_owned(), address: "127.0.0.7".to_owned(), port: 4567 };
    let path = "/containerLogs/default/p/c";
    let followed = format!("{path}?follow=true&sinceTime=2026-01-01T00%3A00%3A00Z&tailLines=5");
    let expected = [path.to_owned(), followed, format!("{path}?previous=true")];
    assert_eq!(*asked, expected.map(|path| (address.clone(), path)));
}
