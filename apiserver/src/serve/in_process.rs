//! The transport of components that share the process: a call instead of a socket, with the same handlers behind it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http::{Request, Response};
use tower::Service;

use crate::api::Api;
use crate::auth::Identity;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A service that answers as the API server does, for one identity. Cloning it is cheap.
#[derive(Clone)]
pub struct InProcess {
    api: Arc<Api>,
    identity: Identity,
}

impl InProcess {
    pub(crate) fn new(api: Arc<Api>, identity: Identity) -> Self {
        Self { api, identity }
    }

    /// The same way in, for somebody else.
    #[must_use]
    pub fn identified(&self, identity: Identity) -> Self {
        Self { api: self.api.clone(), identity }
    }
}

/// Marks a request that did not come from outside: the bounds on requests in flight are not for it.
#[derive(Clone, Copy)]
pub(crate) struct Inside;

impl<B> Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let api = self.api.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.identity.clone());
        request.extensions_mut().insert(Inside);
        Box::pin(async move { Ok(api.handle(request).await) })
    }
}
