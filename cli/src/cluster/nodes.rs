//! The API server's way to the nodes: by a call to those of this process, over TLS to all others.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use coracle_apiserver::{NodeAddress, NodeProxy, Pki, ProxyError, TlsNodes};
use http::{Request, Response};
use tower::ServiceExt;

use crate::failure::Result;

/// The nodes of this process by name, and the way to the others.
pub struct Nodes {
    here: RwLock<HashMap<String, Router>>,
    elsewhere: TlsNodes,
}

impl Nodes {
    /// No nodes here yet.
    ///
    /// # Errors
    /// When no client certificate can be made.
    pub fn new(pki: &Pki) -> Result<Self> {
        Ok(Self { here: RwLock::default(), elsewhere: TlsNodes::new(pki)? })
    }

    pub fn add(&self, name: &str, router: Router) {
        self.here.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), router);
    }

    pub fn remove(&self, name: &str) {
        self.here.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn router(&self, name: &str) -> Option<Router> {
        self.here.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

#[async_trait]
impl NodeProxy for Nodes {
    async fn send(&self, node: &NodeAddress, request: Request<Body>) -> Result<Response<Body>, ProxyError> {
        match self.router(&node.name) {
            Some(router) => Ok(router.oneshot(request).await.unwrap_or_else(|never| match never {})),
            None => self.elsewhere.send(node, request).await,
        }
    }
}
