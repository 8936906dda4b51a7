//! Connections that go on as WebSockets: `exec`, `attach` and `portforward` of pods.
//!
//! Only the request and the server's agreement are here; what is said then is between the caller and the kubelet.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

pub use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

use crate::error::BoxError;
use crate::{Client, Error};

/// A connection of messages, both ways.
pub type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// What a server's answer to a key ends with before it is hashed. Source: RFC 6455, 4.2.2.
const ANSWER: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

impl Client {
    /// Opens a WebSocket at a path of the server; gives it with that of the `protocols` on which the server has agreed. The
    /// first is wanted most.
    ///
    /// # Errors
    /// As [`Client::raw`], and when the server does not agree.
    pub async fn websocket(&self, path: &str, protocols: &[&str]) -> Result<(WebSocket, String), Error> {
        // It tells a server's answer from one that was kept; nothing is secret about it.
        let key = BASE64.encode(uuid::Uuid::new_v4().as_bytes());
        let request = Request::get(path)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_PROTOCOL, protocols.join(", "))
            .header(header::SEC_WEBSOCKET_KEY, &key)
            .body(Bytes::new());
        let (headers, connection) = self.upgrade(request.map_err(|source| Error::Request { source })?).await?;
        let protocol = agreed(&headers, &key, protocols).map_err(Error::transport)?;
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Client, None).await;
        Ok((socket, protocol))
    }
}

/// The protocol that an answer agrees to.
fn agreed(headers: &HeaderMap, key: &str, protocols: &[&str]) -> Result<String, BoxError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut digest = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(ANSWER.as_bytes());
    if text(header::SEC_WEBSOCKET_ACCEPT) != BASE64.encode(digest.finish()) {
        return Err("the answer to the WebSocket's key is wrong".into());
    }
    let protocol = text(header::SEC_WEBSOCKET_PROTOCOL);
    if !protocols.contains(&protocol) {
        return Err(format!("the server speaks {protocol:?}, which was not asked for").into());
    }
    Ok(protocol.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_answer_is_checked() {
        // The example of RFC 6455, 1.3.
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let answer = |accept: &'static str, protocol: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(accept));
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
            agreed(&headers, key, &["v5", "v4"]).ok()
        };
        assert_eq!(answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "v4").as_deref(), Some("v4"));
        assert_eq!(answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "v3"), None);
        assert_eq!(answer("c3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "v4"), None);
    }
}
