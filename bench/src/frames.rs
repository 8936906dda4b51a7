//! A watch as it arrives: one line a frame.

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::connection::Connection;

/// The lines of a running watch.
pub struct Frames {
    body: Incoming,
    buffered: BytesMut,
    /// Bytes of `buffered` that hold no line end.
    searched: usize,
    // The stream lives no longer than its connection's sender.
    _connection: Connection,
}

/// A frame and the object in it, of which `T` reads as much as it needs.
#[derive(Debug, serde::Deserialize)]
pub struct Frame<T> {
    #[serde(rename = "type")]
    pub kind: String,
    pub object: T,
}

impl Frames {
    pub(crate) fn new(body: Incoming, connection: Connection) -> Self {
        Self { body, buffered: BytesMut::new(), searched: 0, _connection: connection }
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// When the server ends the watch.
    pub async fn line(&mut self) -> anyhow::Result<Bytes> {
        loop {
            if let Some(at) = self.buffered[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffered.split_to(self.searched + at).freeze();
                self.buffered.advance(1);
                self.searched = 0;
                return Ok(line);
            }
            self.searched = self.buffered.len();
            let frame = self.body.frame().await.context("the server ended the watch")??;
            if let Ok(data) = frame.into_data() {
                self.buffered.extend_from_slice(&data);
            }
        }
    }

    /// The next frame.
    ///
    /// # Errors
    /// When the server ends the watch, or answers with an error in it.
    pub async fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<Frame<T>> {
        let line = self.line().await?;
        if line.starts_with(br#"{"type":"ERROR""#) {
            bail!("the watch failed: {}", String::from_utf8_lossy(&line));
        }
        serde_json::from_slice(&line).with_context(|| format!("not a frame: {}", String::from_utf8_lossy(&line)))
    }
}
