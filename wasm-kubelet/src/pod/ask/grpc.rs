//! gRPC's health service, `grpc.health.v1.Health/Check`: one unary call over HTTP/2 without TLS.
//!
//! The two messages have one field each, so they are written and read by hand. Source: kubelet, `pkg/probe/grpc`.

use std::net::Ipv4Addr;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{Answer, USER_AGENT, connect};
use crate::limits::PROBE_BODY_BYTES_MAX;

const SERVING: u64 = 1;
const STATES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// gRPC's status code of a method that the server does not have.
const UNIMPLEMENTED: &str = "12";

pub(super) async fn check(address: Ipv4Addr, port: u16, service: &str) -> Answer {
    let stream = match connect(None, address, port).await {
        Ok(stream) => stream,
        Err(error) => {
            let message = format!("error: failed to connect service at \"{address}:{port}\": {error}");
            return Answer::Failed(message);
        }
    };
    match call(stream, address, port, service).await {
        Ok(reply) => reply.answer(),
        Err(error) => Answer::Failed(format!("error: health rpc probe failed: {error}")),
    }
}

/// What came back.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reply {
    /// `grpc-status`, and `grpc-message`.
    status: String,
    message: String,
    body: Bytes,
}

impl Reply {
    fn answer(&self) -> Answer {
        match self.status.as_str() {
            "0" => match state(&self.body) {
                SERVING => Answer::Well,
                other => {
                    let other = usize::try_from(other).ok().and_then(|other| STATES.get(other)).unwrap_or(&"UNKNOWN");
                    Answer::Failed(format!("service unhealthy (responded with {other:?})"))
                }
            },
            UNIMPLEMENTED => Answer::Failed(format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
                self.message
            )),
            code => {
                let name = code_name(code);
                let desc = &self.message;
                Answer::Failed(format!("error: health rpc probe failed: rpc error: code = {name} desc = {desc}"))
            }
        }
    }
}

async fn call(
    stream: tokio::net::TcpStream,
    address: Ipv4Addr,
    port: u16,
    service: &str,
) -> Result<Reply, hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let request = Request::post(format!("http://{address}:{port}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, USER_AGENT)
        .body(Full::new(framed(service)))
        .expect("an address and constants make a request");
    let exchange = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let mut reply = Reply::default();
        reply.note(&parts.headers);
        if let Ok(collected) = Limited::new(body, PROBE_BODY_BYTES_MAX).collect().await {
            if let Some(trailers) = collected.trailers() {
                reply.note(trailers);
            }
            reply.body = collected.to_bytes();
        }
        if reply.status.is_empty() {
            let status = parts.status;
            reply.status = if status.is_success() { "13".into() } else { "14".into() };
            reply.message = format!("unexpected HTTP status code received from server: {status}");
        }
        Ok(reply)
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    }
}

impl Reply {
    fn note(&mut self, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.status = text("grpc-status").unwrap_or(std::mem::take(&mut self.status));
        self.message = text("grpc-message").unwrap_or(std::mem::take(&mut self.message));
    }
}

/// `HealthCheckRequest { string service = 1 }` in gRPC's frame: not compressed, and its length.
fn framed(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(0));
    frame.put_slice(&message);
    frame.freeze()
}

fn put_varint(into: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        into.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.put_u8(value as u8);
}

/// `HealthCheckResponse { ServingStatus status = 1 }`, 0 when it says nothing that is understood.
fn state(frame: &[u8]) -> u64 {
    match frame.get(5..) {
        Some([0x08, value, ..]) if *value < 0x80 => u64::from(*value),
        _ => 0,
    }
}

fn code_name(code: &str) -> &str {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    code.parse().ok().and_then(|code: usize| NAMES.get(code).copied()).unwrap_or("Unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_those_of_the_protocol() {
        assert_eq!(&framed("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&framed("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(framed(&"x".repeat(200))[5..8], [0x0a, 0xc8, 0x01]);
    }

    #[test]
    fn answers_are_worded_as_upstream_does() {
        let reply = |status: &str, message: &str, body: &'static [u8]| Reply {
            status: status.into(),
            message: message.into(),
            body: Bytes::from_static(body),
        };
        for (reply, want) in [
            (reply("0", "", &[0, 0, 0, 0, 2, 8, 1]), Answer::Well),
            (
                reply("0", "", &[0, 0, 0, 0, 2, 8, 2]),
                Answer::Failed("service unhealthy (responded with \"NOT_SERVING\")".into()),
            ),
            (reply("0", "", &[]), Answer::Failed("service unhealthy (responded with \"UNKNOWN\")".into())),
            (
                reply("12", "unknown service grpc.health.v1.Health", &[]),
                Answer::Failed(
                    "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): \
                     unknown service grpc.health.v1.Health"
                        .into(),
                ),
            ),
            (
                reply("5", "unknown service", &[]),
                Answer::Failed(
                    "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service".into(),
                ),
            ),
        ] {
            assert_eq!(reply.answer(), want);
        }
    }
}
