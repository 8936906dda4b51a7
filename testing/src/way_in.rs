//! The way in for a test: a call of the API server, for as long as there is one.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use coracle_apiserver::InProcess;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;
use tower::Service;

/// What a client is told that outlives its cluster.
#[derive(Debug, thiserror::Error)]
#[error("the cluster of this client has ended")]
pub(crate) struct Ended;

/// Answers as the API server does, until `ended`.
#[derive(Clone)]
pub(crate) struct WayIn {
    pub(crate) inside: InProcess,
    pub(crate) ended: CancellationToken,
}

impl Service<Request<kube::client::Body>> for WayIn {
    type Response = Response<Body>;
    type Error = Ended;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Ended>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let (mut inside, ended) = (self.inside.clone(), self.ended.clone());
        Box::pin(async move {
            match ended.run_until_cancelled(async move { inside.call(request).await }).await {
                Some(Ok(response)) => Ok(response),
                None => Err(Ended),
            }
        })
    }
}
