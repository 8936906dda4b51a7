//! A connection that HTTP is spoken on by turns: by hyper, and by [`super::endless`] while an answer goes on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether everything that was written has gone: who takes the connection over loses nothing of what another wrote.
#[derive(Clone, Default)]
pub(super) struct Flushed(Arc<AtomicBool>);

impl Flushed {
    pub(super) fn is_so(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// Passes everything to `io`, but what had been read too early: that is read first.
pub(super) struct Lent<T> {
    io: T,
    early: Bytes,
    flushed: Flushed,
}

impl<T> Lent<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, early: Bytes::new(), flushed: Flushed::default() }
    }

    pub(super) fn get_ref(&self) -> &T {
        &self.io
    }

    pub(super) fn flushed(&self) -> Flushed {
        self.flushed.clone()
    }

    /// Gives back what was read and belongs to whoever reads next. It is copied: it may be a small part of a large buffer,
    /// or nothing of one.
    pub(super) fn unread(&mut self, early: &[u8]) {
        self.early = [early, &self.early[..]].concat().into();
    }

    fn note<R>(&self, is_dirty: bool, outcome: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        self.flushed.0.store(is_dirty, Ordering::Relaxed);
        outcome
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lent<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let length = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..length]);
        self.early.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lent<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note(true, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note(true, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        let is_dirty = !outcome.is_ready();
        self.note(is_dirty, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
