//! Any request to what a service, a pod or a node serves, passed on as it is. What is behind a service is one of its ready
//! endpoints; what is behind a node is its kubelet.
//!
//! Connections are not upgraded, what is served over TLS is not reached, and pages are passed on as they are. Source:
//! upstream's `ProxyREST` and `ResourceLocation` of each kind.

use axum::body::Body;
use coracle_api::status::ApiError;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use tokio::net::TcpStream;

use super::{Call, connect};
use crate::proxy::NodeAddress;
use crate::resource::Resource;
use crate::route::Behind;
use crate::strategy::typed;
use crate::writer::{Writer, path};

/// What is about one connection alone (RFC 9110), and who has been let in here.
const KEPT: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let Some(behind) = &call.target.behind else { return Err(ApiError::NoSuchPath) };
    connect::refuse_dry_run(&call.query)?;
    if behind.path.is_empty() && matches!(behind.method, Method::GET | Method::HEAD) {
        return Ok(redirect(behind));
    }
    let wanted = Wanted::parse(call.resource(), call.name())?;
    let (parts, answer) = match &*call.resource().kind.plural {
        "nodes" => node(call, &wanted, behind, body).await?,
        "pods" => http(&pod_address(call, &wanted)?, &wanted, call, behind, body).await?,
        _ => http(&service_address(call, &wanted)?, &wanted, call, behind, body).await?,
    }
    .into_parts();
    let mut response = Response::new(answer);
    *response.status_mut() = parts.status;
    *response.headers_mut() = passed_on(&parts.headers);
    Ok(response)
}

/// The root is a folder, so that what its pages point to is under it.
fn redirect(behind: &Behind) -> Response<Body> {
    let query = behind.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&format!("{}/{query}", behind.asked)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The last part of the URL: `name`, `name:port` or `scheme:name:port`.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    https: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Wanted<'a> {
    fn parse(resource: &Resource, text: &'a str) -> Result<Self, ApiError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("http", *name, ""),
            [name, port] => ("http", *name, *port),
            [scheme, name, port] => (if scheme.is_empty() { "http" } else { scheme }, *name, *port),
            _ => ("", "", ""),
        };
        if name.is_empty() || !matches!(scheme, "http" | "https") {
            return Err(ApiError::BadRequest(format!("invalid {} request {text:?}", resource.kind.singular)));
        }
        Ok(Self { https: scheme == "https", name, port })
    }
}

fn unavailable(why: String) -> ApiError {
    ApiError::Unavailable(why)
}

fn pod_address(call: &Call, wanted: &Wanted<'_>) -> Result<String, ApiError> {
    let found = call.resource().cache.get(&path(call.namespace(), wanted.name));
    let found = call.resource().load(&*found.ok_or_else(|| call.writer(true).not_found(wanted.name))?)?;
    let pod = typed::<Pod>(&found);
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).unwrap_or_default();
    if ip.is_empty() {
        return Err(ApiError::BadRequest("address not allowed".to_owned()));
    }
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let first =
        containers.flat_map(|container| container.ports.iter().flatten()).map(|port| port.container_port).next();
    let port = match wanted.port {
        "" => first.unwrap_or(80).to_string(),
        port => port.to_owned(),
    };
    Ok(host(ip, &port))
}

fn service_address(call: &Call, wanted: &Wanted<'_>) -> Result<String, ApiError> {
    let at = path(call.namespace(), wanted.name);
    let found = call.resource().cache.get(&at).ok_or_else(|| call.writer(true).not_found(wanted.name))?;
    let loaded = call.resource().load(&found)?;
    let port = port_name(typed::<Service>(&loaded), wanted)?;
    let all = call.api.resources.core("endpoints");
    let writer = Writer { api: &call.api, resource: all, dry_run: true };
    let endpoints = all.load(&*all.cache.get(&at).ok_or_else(|| writer.not_found(wanted.name))?)?;
    let subsets = typed::<Endpoints>(&endpoints).subsets.iter().flatten();
    let ready: Vec<String> = subsets
        .flat_map(|subset| {
            let named = subset.ports.iter().flatten().filter(|own| own.name.as_deref().unwrap_or_default() == port);
            named.flat_map(|port| {
                subset.addresses.iter().flatten().map(|address| host(&address.ip, &port.port.to_string()))
            })
        })
        .collect();
    let number = u64::try_from(ready.len()).unwrap_or_default();
    let chosen = super::random().checked_rem(number).and_then(|at| ready.get(usize::try_from(at).ok()?));
    chosen.cloned().ok_or_else(|| unavailable(format!("no endpoints available for service {:?}", wanted.name)))
}

/// The name that a service's port has, which may be asked for by its number.
fn port_name(service: &Service, wanted: &Wanted<'_>) -> Result<String, ApiError> {
    let Ok(number) = wanted.port.parse::<i32>() else { return Ok(wanted.port.to_owned()) };
    let mut ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    match ports.find(|port| port.port == number) {
        Some(port) => Ok(port.name.clone().unwrap_or_default()),
        None => Err(unavailable(format!("no service port {number} found for service {:?}", wanted.name))),
    }
}

fn host(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

async fn node(call: &Call, wanted: &Wanted<'_>, behind: &Behind, body: Body) -> Result<Response<Body>, ApiError> {
    let nodes = call.resource();
    let found = nodes.cache.get(wanted.name).ok_or_else(|| call.writer(true).not_found(wanted.name))?;
    let mut address = NodeAddress::of(typed::<Node>(&nodes.load(&found)?));
    if let Ok(port) = wanted.port.parse() {
        address.port = port;
    }
    let answer = call.api.nodes.send(&address, request(call, behind, body)?).await;
    answer.map_err(|error| unavailable(format!("error trying to reach node {}: {error}", wanted.name)))
}

async fn http(
    address: &str,
    wanted: &Wanted<'_>,
    call: &Call,
    behind: &Behind,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    if wanted.https {
        return Err(unavailable("what is served over TLS is not reached through this server".to_owned()));
    }
    let lost = |error: &dyn std::fmt::Display| unavailable(format!("error trying to reach service: {error}"));
    let mut request = request(call, behind, body)?;
    if let Ok(host) = HeaderValue::from_str(address) {
        request.headers_mut().insert(header::HOST, host);
    }
    let stream = TcpStream::connect(address).await.map_err(|error| lost(&error))?;
    stream.set_nodelay(true).map_err(|error| lost(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
    // It ends when the answer has been read or dropped.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await.map_err(|error| lost(&error))?.map(Body::new))
}

fn request(call: &Call, behind: &Behind, body: Body) -> Result<Request<Body>, ApiError> {
    let query = behind.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let path = if behind.path.is_empty() { "/" } else { &behind.path };
    let request = Request::builder().method(behind.method.clone()).uri(format!("{path}{query}")).body(body);
    let mut request = request.map_err(|error| ApiError::BadRequest(error.to_string()))?;
    *request.headers_mut() = passed_on(&call.headers);
    Ok(request)
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let kept = |name: &HeaderName| KEPT.contains(name) || name.as_str() == "keep-alive";
    headers.iter().filter(|(name, _)| !kept(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
