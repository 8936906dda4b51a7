//! Where a guest's standard output and error go.

use std::fmt;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::limits::OUTPUT_CHUNK_BYTES;

/// A sink for what guests write, at most [`OUTPUT_CHUNK_BYTES`] at a time.
///
/// A guest's thread calls [`write`](Self::write), so it must not block. A sink that cannot keep up
/// says so with [`is_ready`](Self::is_ready): the guest then waits in its own call, holding no
/// thread, until [`ready`](Self::ready) resolves. That is the whole backpressure; there is no
/// buffer between a guest and its sink, so nothing is lost when the guest ends.
///
/// Several instances of one container share a sink: between `is_ready` and `write` another may
/// have written, so a sink takes a few chunks more than it said it would.
#[async_trait]
pub trait Output: fmt::Debug + Send + Sync + 'static {
    /// Takes what a guest wrote.
    fn write(&self, bytes: &[u8]);

    /// Whether more can be written now.
    fn is_ready(&self) -> bool {
        true
    }

    /// Resolves once [`is_ready`](Self::is_ready) may hold again.
    async fn ready(&self) {}
}

/// Takes everything and keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct Discard;

impl Output for Discard {
    fn write(&self, _bytes: &[u8]) {}
}

/// Keeps the first bytes in memory, up to a bound, and drops the rest.
#[derive(Debug)]
pub struct Capture {
    bytes_max: usize,
    bytes: Mutex<Vec<u8>>,
}

impl Capture {
    /// A sink that keeps `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: Mutex::default() }
    }

    /// What was written so far.
    pub fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Output for Capture {
    fn write(&self, bytes: &[u8]) {
        let mut kept = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.bytes_max.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// The standard output or error of this process, for one that does nothing but run a guest: it
/// blocks while whoever reads it is slow.
#[derive(Clone, Copy, Debug)]
pub enum Console {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Output for Console {
    fn write(&self, bytes: &[u8]) {
        // A guest cannot be told that its reader is gone: as with a closed terminal, the rest is lost.
        let _ = match self {
            Self::Stdout => write_through(io::stdout().lock(), bytes),
            Self::Stderr => write_through(io::stderr().lock(), bytes),
        };
    }
}

fn write_through(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// An [`Output`] as wasmtime sees it.
pub(crate) struct Stream {
    pub(crate) to: Arc<dyn Output>,
    pub(crate) is_terminal: bool,
}

impl Stream {
    fn again(&self) -> Box<Self> {
        Box::new(Self { to: self.to.clone(), is_terminal: self.is_terminal })
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        self.is_terminal
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Writer { output: self.to.clone(), ready: None })
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        self.again()
    }
}

#[async_trait]
impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.to.write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.to.is_ready() { OUTPUT_CHUNK_BYTES } else { 0 })
    }
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {
        while !self.to.is_ready() {
            self.to.ready().await;
        }
    }
}

/// An [`Output`] as WASI p3 writes to it.
struct Writer {
    output: Arc<dyn Output>,
    /// Resolves once the sink takes more; only there while it does not. The lock is never taken: a stream must be `Sync`.
    ready: Option<Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        while self.ready.is_some() || !self.output.is_ready() {
            let output = self.output.clone();
            let ready = self.ready.get_or_insert_with(|| Mutex::new(Box::pin(async move { output.ready().await })));
            let ready = ready.get_mut().unwrap_or_else(PoisonError::into_inner);
            task::ready!(ready.as_mut().poll(cx));
            self.ready = None;
        }
        let written = &buf[..buf.len().min(OUTPUT_CHUNK_BYTES)];
        self.output.write(written);
        Poll::Ready(Ok(written.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_keeps_the_beginning() {
        let capture = Capture::new(5);
        for part in ["ab", "cde", "f"] {
            capture.write(part.as_bytes());
        }
        assert_eq!(capture.text(), "abcde");
    }
}
