//! One way to send requests, whatever carries them: the transport below is any tower service.
//!
//! There is no queue between a caller and the transport: in-process, a request runs in the task that sends it.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use coracle_api::Object;
use futures::future::{BoxFuture, FutureExt, TryFutureExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Collected, Limited, combinators::UnsyncBoxBody};
use hyper::upgrade::Upgraded;
use kube::client::Body;
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use crate::connect::Versions;
use crate::error::BoxError;
use crate::{Error, Objects, connect, path};

/// The longest answer that is read whole. A list that is longer is to be read in chunks (`limit`).
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// A request whose answer does not begin within this time has failed; so does one whose (unstreamed) body does not end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// An answer's body as it arrives.
pub type ResponseBody = UnsyncBoxBody<Bytes, Error>;

type Transport = BoxCloneSyncService<Request<Body>, Response<ResponseBody>, BoxError>;

/// A connection to an API server, as one identity. Cheap to clone; has no rate limit.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    /// For requests whose connection goes on as something else.
    upgrades: Transport,
    default_namespace: Arc<str>,
    user_agent: HeaderValue,
    kube: Arc<OnceLock<kube::Client>>,
}

/// A pod that is meant to be exactly this one, and not a later one of its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodRef {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl Client {
    /// Connects as a kubeconfig says: the file at `path` (default: `$KUBECONFIG`, `~/.kube/config`, and inside a pod
    /// its service account), `context` or the current one.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`] when it cannot be read or used; whether the server answers is not asked.
    pub async fn from_kubeconfig(path: Option<&Path>, context: Option<&str>) -> Result<Self, Error> {
        let config = connect::config(path, context).await?;
        let transport = connect::transport(&config, Versions::All)?;
        let upgrades = connect::transport(&config, Versions::One)?;
        Ok(Self { upgrades, ..Self::over(transport, &config.default_namespace) })
    }

    /// Sends to `service`: an API server in this process, or a test's script.
    pub fn from_service<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::over(boxed(service), "default")
    }

    fn over(transport: Transport, default_namespace: &str) -> Self {
        Self {
            upgrades: transport.clone(),
            transport,
            default_namespace: default_namespace.into(),
            user_agent: HeaderValue::from_static(concat!("coracle/", env!("CARGO_PKG_VERSION"))),
            kube: Arc::default(),
        }
    }

    /// The same connection under another `User-Agent`, which is also who the server says manages a field.
    #[must_use]
    pub fn named(mut self, component: &str) -> Self {
        let text = format!("{component}/{}", env!("CARGO_PKG_VERSION"));
        self.user_agent = HeaderValue::try_from(text).unwrap_or(self.user_agent);
        self
    }

    /// The namespace of the kubeconfig's context, otherwise `default`.
    pub fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    /// The same connection for code that wants kube's own API. Must be called within a tokio runtime.
    pub fn kube(&self) -> &kube::Client {
        self.kube.get_or_init(|| kube::Client::new(self.transport.clone(), &*self.default_namespace))
    }

    /// The objects of a kind, cluster-wide.
    pub fn all<K: Object>(&self) -> Objects<K> {
        Objects::new(self.clone(), None)
    }

    /// The objects of a kind in one namespace (a cluster-scoped kind has none, and ignores it).
    pub fn namespaced<K: Object>(&self, namespace: &str) -> Objects<K> {
        Objects::new(self.clone(), Some(namespace.to_owned()))
    }

    /// Gives a pod its node.
    ///
    /// # Errors
    /// [`Error::is_conflict`] when the pod has a node already or is another one of that name.
    pub async fn bind(&self, pod: &PodRef, node: &str) -> Result<(), Error> {
        let path = path::collection::<k8s_openapi::api::core::v1::Pod>(Some(&pod.namespace));
        let body = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "namespace": pod.namespace, "name": pod.name, "uid": pod.uid },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        });
        let request = Request::post(path::object(path, &pod.name, Some("binding")))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.to_string()));
        self.raw(request.map_err(|source| Error::Request { source })?).await.map(drop)
    }

    /// Sends a request to a path of the server, and reads its answer whole.
    ///
    /// # Errors
    /// [`Error::Api`] for an answer of 400 and above, [`Error::Transport`] when none came in time.
    pub async fn raw(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let answer = self.send(request);
        let whole = async {
            let (parts, body) = answer.await?.into_parts();
            let body = whole(body).await?;
            match is_refusal(parts.status) {
                true => Err(Error::refused(parts.status, &body)),
                false => Ok(Response::from_parts(parts, body)),
            }
        };
        timeout(ANSWER_TIMEOUT, whole).await.map_err(Error::transport)?
    }

    /// Sends a request and gives its answer while it still arrives: a watch, or a log that is followed.
    ///
    /// # Errors
    /// As [`Client::raw`].
    pub async fn stream(&self, request: Request<Bytes>) -> Result<Response<ResponseBody>, Error> {
        let answer = self.send(request);
        let begun = async {
            let response = answer.await?;
            match is_refusal(response.status()) {
                true => Err(Error::refused(response.status(), &whole(response.into_body()).await?)),
                false => Ok(response),
            }
        };
        timeout(ANSWER_TIMEOUT, begun).await.map_err(Error::transport)?
    }

    /// Sends a request that asks for another protocol on its connection: the headers of the answer and the connection, once
    /// the server agrees.
    ///
    /// # Errors
    /// As [`Client::raw`], and when the server answers without agreeing.
    pub(crate) async fn upgrade(&self, request: Request<Bytes>) -> Result<(HeaderMap, Upgraded), Error> {
        let answer = self.send_over(&self.upgrades, request);
        let upgraded = async {
            let mut response = answer.await?;
            match response.status() {
                StatusCode::SWITCHING_PROTOCOLS => {
                    let connection = hyper::upgrade::on(&mut response).await.map_err(Error::transport)?;
                    Ok((std::mem::take(response.headers_mut()), connection))
                }
                refused => Err(Error::refused(refused, &whole(response.into_body()).await?)),
            }
        };
        timeout(ANSWER_TIMEOUT, upgraded).await.map_err(Error::transport)?
    }

    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<ResponseBody>, Error>> {
        self.send_over(&self.transport, request)
    }

    /// The one place where requests leave. Boxed: callers' futures stay small, and do not name the transport's types.
    fn send_over(
        &self,
        transport: &Transport,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<ResponseBody>, Error>> {
        let mut request = request.map(Body::from);
        request.headers_mut().entry(header::USER_AGENT).or_insert_with(|| self.user_agent.clone());
        transport.clone().oneshot(request).map_err(|source| Error::Transport { source }).boxed()
    }
}

fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

async fn whole(body: ResponseBody) -> Result<Bytes, Error> {
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    body.map(Collected::to_bytes).map_err(|source| Error::Transport { source })
}

/// Any service as the one type of transport.
pub(crate) fn boxed<S, B>(service: S) -> Transport
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let erase = |body: B| body.map_err(Error::transport).boxed_unsync();
    let service = service.map_response(move |response: Response<B>| response.map(erase));
    BoxCloneSyncService::new(service.map_err(Into::into))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;
    use tokio::sync::Barrier;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_to_a_service_in_the_process_do_not_wait_for_each_other() {
        const AT_ONCE: usize = 100;
        let barrier = Arc::new(Barrier::new(AT_ONCE));
        let client = Client::from_service(tower::service_fn(move |_: Request<Body>| {
            let barrier = Arc::clone(&barrier);
            async move {
                barrier.wait().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("ok"))))
            }
        }));
        let request = || Request::get("/healthz").body(Bytes::new()).expect("a request");
        let answers = futures::future::join_all((0..AT_ONCE).map(|_| client.raw(request()))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.body() == "ok")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_an_error() {
        let client = Client::from_service(tower::service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
        }));
        let request = Request::get("/healthz").body(Bytes::new()).expect("a request");
        assert!(matches!(client.raw(request).await, Err(Error::Transport { .. })));
    }
}
