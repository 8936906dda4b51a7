//! Which of the protocols a request asks for, and the answer that agrees to it.
//!
//! Source: upstream's `wsstream` and `httpstream.Handshake`, and the kubelet's streaming server.

use axum::body::Body;
use axum::extract::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::super::query;
use super::command::{Options, Streams};
use super::forward::Target;
use super::{Refusal, forward, refused, spdy, websocket};

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
const SPDY: &str = "SPDY/3.1";

/// How a command's channels share a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    pub is_base64: bool,
    /// Whether the end is told as a `Status`.
    pub has_status: bool,
    /// Whether a channel can be closed by itself.
    pub has_close: bool,
}

const fn channels(is_base64: bool, has_status: bool, has_close: bool) -> Channels {
    Channels { is_base64, has_status, has_close }
}

/// The protocols of commands over WebSockets.
const WEBSOCKET: [(&str, Channels); 6] = [
    ("v5.channel.k8s.io", channels(false, true, true)),
    ("v4.channel.k8s.io", channels(false, true, false)),
    ("v4.base64.channel.k8s.io", channels(true, true, false)),
    ("channel.k8s.io", channels(false, false, false)),
    ("base64.channel.k8s.io", channels(true, false, false)),
    ("", channels(false, false, false)),
];

/// The protocols of port forwarding over WebSockets; none stands for SPDY within it.
const WEBSOCKET_FORWARD: [(&str, Option<Channels>); 4] = [
    ("SPDY/3.1+portforward.k8s.io", None),
    ("v4.channel.k8s.io", Some(channels(false, false, false))),
    ("v4.base64.channel.k8s.io", Some(channels(true, false, false))),
    ("", Some(channels(false, false, false))),
];

/// The protocols of commands over SPDY, and whether the end is told as a `Status`.
const SPDY_COMMAND: [(&str, bool); 4] = [
    ("v4.channel.k8s.io", true),
    ("v3.channel.k8s.io", false),
    ("v2.channel.k8s.io", false),
    ("channel.k8s.io", false),
];
const SPDY_FORWARD: [(&str, bool); 1] = [("portforward.k8s.io", false)];

/// A command's connection, about to be taken over.
pub struct Command {
    upgrade: OnUpgrade,
    form: CommandForm,
}

enum CommandForm {
    WebSocket(Channels),
    Spdy { has_status: bool },
}

/// Agrees to a command's protocol.
///
/// # Errors
/// The answer that does not.
pub fn command(mut request: Request) -> Result<(Response<Body>, Command), Refusal> {
    let (response, form) = match asked(&request)? {
        Asked::WebSocket => {
            let (response, chosen) = websocket_answer(request.headers(), &WEBSOCKET)?;
            (response, CommandForm::WebSocket(chosen))
        }
        Asked::Spdy => {
            let (response, has_status) = spdy_answer(request.headers(), &SPDY_COMMAND)?;
            (response, CommandForm::Spdy { has_status })
        }
    };
    Ok((response, Command { upgrade: hyper::upgrade::on(&mut request), form }))
}

impl Command {
    /// Runs `work` on the connection's streams, once it is there.
    pub async fn run<W: Future<Output = ()>>(self, options: Options, work: impl FnOnce(Streams) -> W) {
        let connection = match self.upgrade.await {
            Ok(connection) => TokioIo::new(connection),
            Err(error) => return tracing::debug!(%error, "a connection was not upgraded"),
        };
        let result = match self.form {
            CommandForm::WebSocket(channels) => websocket::command(connection, channels, &options, work).await,
            CommandForm::Spdy { has_status } => super::command::over_spdy(connection, has_status, &options, work).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a stream broke");
        }
    }
}

/// A connection for forwarded ports, about to be taken over.
pub struct Forward {
    upgrade: OnUpgrade,
    form: ForwardForm,
}

enum ForwardForm {
    Spdy,
    Tunnel,
    Ports(Channels, Vec<u16>),
}

/// Agrees to a protocol for port forwarding.
///
/// # Errors
/// The answer that does not.
pub fn port_forward(mut request: Request, text: &str) -> Result<(Response<Body>, Forward), Refusal> {
    let (response, form) = match asked(&request)? {
        Asked::WebSocket => {
            let (response, chosen) = websocket_answer(request.headers(), &WEBSOCKET_FORWARD)?;
            let form = match chosen {
                None => ForwardForm::Tunnel,
                Some(channels) => {
                    let ports = forward::ports(query::values(text, "port"));
                    ForwardForm::Ports(channels, ports.map_err(|why| refused(StatusCode::BAD_REQUEST, why))?)
                }
            };
            (response, form)
        }
        Asked::Spdy => (spdy_answer(request.headers(), &SPDY_FORWARD)?.0, ForwardForm::Spdy),
    };
    Ok((response, Forward { upgrade: hyper::upgrade::on(&mut request), form }))
}

impl Forward {
    /// Forwards to `target` until the client goes.
    pub async fn run(self, target: Target) {
        let connection = match self.upgrade.await {
            Ok(connection) => TokioIo::new(connection),
            Err(error) => return tracing::debug!(%error, "a connection was not upgraded"),
        };
        let result = match self.form {
            ForwardForm::Spdy => {
                let (reader, writer) = spdy::session::raw(connection);
                forward::over_spdy(reader, writer, target).await
            }
            ForwardForm::Tunnel => {
                let (reader, writer) = websocket::tunnel(connection).await;
                forward::over_spdy(reader, writer, target).await
            }
            ForwardForm::Ports(channels, ports) => websocket::ports(connection, channels, ports, target).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a forwarded connection broke");
        }
    }
}

enum Asked {
    WebSocket,
    Spdy,
}

fn asked(request: &Request) -> Result<Asked, Refusal> {
    let headers = request.headers();
    let has = |name, token| listed(headers, name).iter().any(|value| value.eq_ignore_ascii_case(token));
    match (has(&CONNECTION, "upgrade"), has(&UPGRADE, "websocket"), has(&UPGRADE, SPDY)) {
        (true, true, _) if headers.contains_key(SEC_WEBSOCKET_KEY) => Ok(Asked::WebSocket),
        (true, _, true) => Ok(Asked::Spdy),
        _ => Err(refused(StatusCode::BAD_REQUEST, "unable to upgrade: missing upgrade headers in request")),
    }
}

/// The values of a header that lists, over all its lines.
fn listed(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|value| value.trim().to_owned()).collect()
}

/// The first of the protocols that are wanted which is served.
fn first_served<'s, T>(wanted: &[String], served: &'s [(&'static str, T)]) -> Option<&'s (&'static str, T)> {
    wanted.iter().find_map(|wanted| served.iter().find(|(name, _)| name == wanted))
}

fn websocket_answer<T: Copy>(
    headers: &HeaderMap,
    served: &[(&'static str, T)],
) -> Result<(Response<Body>, T), Refusal> {
    let mut wanted = listed(headers, &SEC_WEBSOCKET_PROTOCOL);
    if wanted.is_empty() {
        wanted.push(String::new());
    }
    let Some((protocol, chosen)) = first_served(&wanted, served) else {
        let message = format!("unable to upgrade: none of the protocols [{}] is served", wanted.join(" "));
        return Err(refused(StatusCode::FORBIDDEN, message));
    };
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut response = switching("websocket");
    if let Ok(accept) = HeaderValue::from_str(&accepted(key)) {
        response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if !protocol.is_empty() {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok((response, *chosen))
}

/// What shows that a server has read the key. Source: RFC 6455, 4.2.2.
fn accepted(key: &[u8]) -> String {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key);
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(digest.finish())
}

fn spdy_answer(headers: &HeaderMap, served: &[(&'static str, bool)]) -> Result<(Response<Body>, bool), Refusal> {
    let wanted = listed(headers, &STREAM_PROTOCOL);
    let Some((protocol, chosen)) = first_served(&wanted, served) else {
        let accepted: Vec<&str> = served.iter().map(|(name, _)| *name).collect();
        let message = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
            wanted.join(" "),
            accepted.join(" ")
        );
        let mut response = refused(StatusCode::FORBIDDEN, message);
        for name in accepted {
            response.headers_mut().append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(name));
        }
        return Err(response);
    };
    let mut response = switching(SPDY);
    response.headers_mut().insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    Ok((response, *chosen))
}

fn switching(to: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(to));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(Body::empty());
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    /// What is agreed to, or the code of the refusal.
    fn agreed(headers: &[(&str, &str)], is_forward: bool) -> Result<String, u16> {
        let answer = match is_forward {
            true => port_forward(request(headers), "port=80").map(|(response, _)| response),
            false => command(request(headers)).map(|(response, _)| response),
        };
        let response = answer.map_err(|refused| refused.status().as_u16())?;
        assert_eq!(response.status(), 101);
        let of = |name: &HeaderName| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        Ok(of(&SEC_WEBSOCKET_PROTOCOL).or(of(&STREAM_PROTOCOL)).unwrap_or_default())
    }

    #[test]
    fn the_clients_first_choice_that_is_served_is_taken() {
        let ws =
            [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];
        let spdy = [("connection", "upgrade"), ("upgrade", "SPDY/3.1")];
        let of = |base: &[(&'static str, &'static str)], name, value| [base, &[(name, value)]].concat();
        let protocol = |value| of(&ws, "sec-websocket-protocol", value);
        let version = |value| of(&spdy, "x-stream-protocol-version", value);
        let table = [
            (protocol("v5.channel.k8s.io"), false, Ok("v5.channel.k8s.io")),
            (protocol("v6.channel.k8s.io, v4.channel.k8s.io,v5.channel.k8s.io"), false, Ok("v4.channel.k8s.io")),
            (ws.to_vec(), false, Ok("")),
            (protocol("SPDY/3.1+portforward.k8s.io"), true, Ok("SPDY/3.1+portforward.k8s.io")),
            (protocol("SPDY/3.1+portforward.k8s.io"), false, Err(403)),
            (protocol("v5.channel.k8s.io"), true, Err(403)),
            (version("v4.channel.k8s.io"), false, Ok("v4.channel.k8s.io")),
            (version("portforward.k8s.io"), true, Ok("portforward.k8s.io")),
            (version("v9"), false, Err(403)),
            (spdy.to_vec(), true, Err(403)),
            (vec![("connection", "Upgrade"), ("upgrade", "websocket")], false, Err(400)),
            (vec![("connection", "close"), ("upgrade", "SPDY/3.1")], false, Err(400)),
            (vec![], true, Err(400)),
        ];
        for (headers, is_forward, want) in table {
            assert_eq!(agreed(&headers, is_forward), want.map(str::to_owned), "{headers:?}");
        }
        let response = command(request(&ws)).map_err(|_| ()).unwrap().0;
        assert_eq!(response.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "the key of RFC 6455");
    }
}
