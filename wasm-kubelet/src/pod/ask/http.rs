//! A GET as a probe sends it: redirects are followed on the same host, certificates are not judged, and no more of the
//! body is read than [`PROBE_BODY_BYTES_MAX`]. A guest that is served in-process is asked in-process.
//!
//! Source: kubelet, `pkg/probe/http`.

use std::net::Ipv4Addr;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Answer, Asked, HttpGet, USER_AGENT, authority, connect, tls};
use crate::limits::{PROBE_BODY_BYTES_MAX, PROBE_REDIRECTS_MAX};

/// What came of a request.
#[derive(Debug)]
pub(super) struct Exchange {
    status: u16,
}

impl Exchange {
    /// Source: `DoHTTPProbe`.
    pub(super) fn answer(&self) -> Answer {
        match self.status {
            200..300 => Answer::Well,
            300..400 => Answer::Warned("Probe terminated redirects, Response body: ".into()),
            status => Answer::Failed(format!("HTTP probe failed with statuscode: {status}")),
        }
    }
}

impl HttpGet {
    /// As it is named in messages.
    pub(super) fn url(&self, address: Ipv4Addr) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        format!("{scheme}://{}{slash}{}", authority(self.host.as_deref(), address, self.port), self.path)
    }
}

/// Where a request goes: it changes with a redirect.
struct Place {
    is_tls: bool,
    host: Option<String>,
    port: u16,
    path: PathAndQuery,
}

pub(super) async fn get(asked: &Asked, get: &HttpGet) -> Result<Exchange, String> {
    let fail = |error: String| format!("Get {:?}: {error}", get.url(asked.address));
    let slash = if get.path.starts_with('/') { "" } else { "/" };
    let path = format!("{slash}{}", get.path).parse().map_err(|_| fail("invalid path".into()))?;
    let mut place = Place { is_tls: get.is_tls, host: get.host.clone(), port: get.port, path };
    for _ in 0..PROBE_REDIRECTS_MAX {
        let request = request(&place, asked.address, &get.headers).map_err(|error| fail(error.to_string()))?;
        let response = send(asked, &place, request).await.map_err(fail)?;
        match onward(&place, asked.address, &response) {
            Some(next) => place = next,
            None => return Ok(Exchange { status: response.status().as_u16() }),
        }
    }
    Err(fail(format!("stopped after {PROBE_REDIRECTS_MAX} redirects")))
}

fn request(place: &Place, address: Ipv4Addr, headers: &[(String, String)]) -> Result<Request<()>, http::Error> {
    let has = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let mut request = Request::get(place.path.as_str()).header(header::CONNECTION, "close");
    if !has("host") {
        request = request.header(header::HOST, authority(place.host.as_deref(), address, place.port));
    }
    if !has("user-agent") {
        request = request.header(header::USER_AGENT, USER_AGENT);
    }
    if !has("accept") {
        request = request.header(header::ACCEPT, "*/*");
    }
    // Source: an empty `Accept` or `User-Agent` takes the header out.
    let kept = headers.iter().filter(|(name, value)| {
        !value.is_empty() || !["accept", "user-agent"].iter().any(|other| name.eq_ignore_ascii_case(other))
    });
    kept.fold(request, |request, (name, value)| request.header(name, value)).body(())
}

async fn send(asked: &Asked, place: &Place, request: Request<()>) -> Result<Response<()>, String> {
    let is_own = place.host.as_ref().is_none_or(|host| *host == asked.address.to_string());
    if is_own
        && !place.is_tls
        && let Some(stream) = asked.container.connect(place.port)
    {
        return exchange(stream, request).await;
    }
    let stream = connect(place.host.as_deref(), asked.address, place.port).await?;
    if place.is_tls {
        return exchange(tls::connect(stream).await?, request).await;
    }
    exchange(stream, request).await
}

async fn exchange<S>(stream: S, request: Request<()>) -> Result<Response<()>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| worded(&error))?;
    let sent = async {
        let response = sender.send_request(request.map(|()| Empty::<Bytes>::new())).await;
        let (parts, body) = response.map_err(|error| worded(&error))?.into_parts();
        read(body).await;
        Ok(Response::from_parts(parts, ()))
    };
    let mut sent = std::pin::pin!(sent);
    tokio::select! {
        answer = &mut sent => answer,
        _ = connection => sent.await,
    }
}

/// What the guest says beyond the limit is not waited for.
async fn read(body: Incoming) {
    let _ = Limited::new(body, PROBE_BODY_BYTES_MAX).collect().await;
}

fn worded(error: &hyper::Error) -> String {
    if error.is_incomplete_message() { "EOF".into() } else { error.to_string() }
}

/// Where the answer sends us on, if that is a place on the same host.
fn onward(place: &Place, address: Ipv4Addr, response: &Response<()>) -> Option<Place> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location: &str = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let next: Uri = if location.starts_with('/') || location.contains("://") {
        location.parse().ok()?
    } else {
        let folder = place.path.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{location}").parse().ok()?
    };
    let path = next.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let Some(host) = next.host() else {
        return Some(Place { is_tls: place.is_tls, host: place.host.clone(), port: place.port, path });
    };
    let own = place.host.clone().unwrap_or_else(|| address.to_string());
    let is_tls = next.scheme_str() == Some("https");
    let port = next.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    (host == own).then(|| Place { is_tls, host: place.host.clone(), port, path })
}
