//! What pretended containers are said to have written, and the API server's way to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::body::Body;
use coracle_apiserver::{NodeAddress, NodeProxy, ProxyError};
use http::{Request, Response, StatusCode};

/// Texts by `namespace/pod/container`.
#[derive(Default)]
pub(crate) struct Logs {
    texts: Mutex<HashMap<String, String>>,
}

impl Logs {
    pub(crate) fn set(&self, namespace: &str, pod: &str, container: &str, text: String) {
        let key = format!("{namespace}/{pod}/{container}");
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).insert(key, text);
    }

    fn get(&self, key: &str) -> String {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }
}

/// Answers in the place of kubelets.
pub(crate) struct Proxy(pub(crate) Arc<Logs>);

#[async_trait]
impl NodeProxy for Proxy {
    async fn send(&self, _node: &NodeAddress, request: Request<Body>) -> Result<Response<Body>, ProxyError> {
        let mut response = Response::new(Body::empty());
        match request.uri().path().strip_prefix("/containerLogs/") {
            Some(key) => *response.body_mut() = Body::from(self.0.get(key)),
            None => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        Ok(response)
    }
}
