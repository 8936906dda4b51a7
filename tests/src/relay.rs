//! A relay before an API server that notes what is asked of it: which endpoints a component needs.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use coracle_client::{Client, Error};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What was asked: the method, and the path with its query.
pub type Asked = (Method, String);

type Body = UnsyncBoxBody<Bytes, Error>;

/// A listening relay; it ends when this is dropped.
pub struct Relay {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _serving: JoinSet<()>,
}

impl Relay {
    /// Listens for who is to be seen, and passes everything on over TLS, as whom the kubeconfig names.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used, or no port is free.
    pub async fn before(kubeconfig: &Path) -> anyhow::Result<Self> {
        let client = Client::from_kubeconfig(Some(kubeconfig), None).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let mut serving = JoinSet::new();
        let noted = asked.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, client.clone(), noted.clone()));
            }
        });
        Ok(Self { url, asked, _serving: serving })
    }

    /// A kubeconfig that leads to it.
    pub fn kubeconfig(&self) -> String {
        let cluster = serde_json::json!({"name": "relay", "cluster": {"server": self.url}});
        let context = serde_json::json!({"name": "relay", "context": {"cluster": "relay", "user": ""}});
        serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "relay",
            "clusters": [cluster], "contexts": [context],
        })
        .to_string()
    }

    /// All that was asked until now.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(stream: TcpStream, client: Client, noted: Arc<Mutex<Vec<Asked>>>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let (client, noted) = (client.clone(), noted.clone());
        async move {
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            noted.lock().unwrap_or_else(PoisonError::into_inner).push((request.method().clone(), path.clone()));
            Ok::<_, Infallible>(pass_on(&client, &path, request).await.unwrap_or_else(|error| broken(&error)))
        }
    });
    // Whoever asks may go at any time.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

async fn pass_on(client: &Client, path: &str, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let mut passed = Request::new(body.collect().await?.to_bytes());
    *passed.method_mut() = parts.method;
    *passed.uri_mut() = path.parse().context("a path")?;
    *passed.headers_mut() = end_to_end(parts.headers);
    match client.stream(passed).await {
        Ok(answer) => {
            let (parts, body) = answer.into_parts();
            let mut response = Response::new(body);
            *response.status_mut() = parts.status;
            *response.headers_mut() = end_to_end(parts.headers);
            Ok(response)
        }
        Err(Error::Api { status }) => {
            let code = status.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
            Ok(whole(StatusCode::from_u16(code)?, serde_json::to_vec(&status)?))
        }
        Err(error) => Err(error.into()),
    }
}

/// The headers that are not about one connection.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in [http::header::HOST, http::header::CONNECTION, http::header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

fn broken(error: &anyhow::Error) -> Response<Body> {
    whole(StatusCode::BAD_GATEWAY, format!("{error:#}").into_bytes())
}

fn whole(code: StatusCode, body: Vec<u8>) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
