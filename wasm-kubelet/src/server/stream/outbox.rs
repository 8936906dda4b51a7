//! What goes out over one connection: pieces of several channels, in order. Who has more to say than the other side has
//! read waits, and whoever has nobody to say it to says it to nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::limits::STREAM_BYTES_AHEAD_MAX;
use crate::runtime::Sink;

/// One thing to send. A channel is a stream of SPDY or a channel of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    Data(u32, Bytes),
    /// Nothing more comes on this channel.
    End(u32),
    /// This channel is taken.
    Accept(u32),
    /// This channel is not, or no longer.
    Refuse(u32),
    /// The answer to a ping.
    Pong(u32),
}

/// The way out, for any number of senders. The connection is brought to its end when the last of them is dropped.
#[derive(Clone)]
pub struct Outbox {
    sender: mpsc::UnboundedSender<Out>,
    level: Arc<Level>,
}

/// What is to be sent, for the one who sends it.
pub struct Outgoing {
    receiver: mpsc::UnboundedReceiver<Out>,
    level: Arc<Level>,
}

/// How many bytes wait.
#[derive(Default)]
struct Level {
    bytes: AtomicUsize,
    is_closed: AtomicBool,
    changed: Notify,
}

pub fn outbox() -> (Outbox, Outgoing) {
    // Not bounded by pieces: senders look at the bytes before they send.
    let (sender, receiver) = mpsc::unbounded_channel();
    let level = Arc::<Level>::default();
    (Outbox { sender, level: level.clone() }, Outgoing { receiver, level })
}

impl Outbox {
    pub fn send(&self, out: Out) {
        if let Out::Data(_, bytes) = &out {
            self.level.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        }
        // Nobody is there any more when this fails.
        let _ = self.sender.send(out);
    }

    pub fn channel(&self, id: u32) -> Outlet {
        Outlet { id, outbox: self.clone() }
    }

    pub fn is_ready(&self) -> bool {
        let level = &self.level;
        level.is_closed.load(Ordering::Acquire) || level.bytes.load(Ordering::Relaxed) < STREAM_BYTES_AHEAD_MAX
    }

    /// Waits until more may be sent.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn ready(&self) {
        loop {
            let changed = self.level.changed.notified();
            if self.is_ready() {
                return;
            }
            changed.await;
        }
    }
}

impl Outgoing {
    /// The next thing to send; none once all senders are gone.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Out> {
        self.receiver.recv().await
    }

    /// So many bytes are on their way.
    pub fn sent(&self, bytes: usize) {
        self.level.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.level.changed.notify_waiters();
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.level.is_closed.store(true, Ordering::Release);
        self.level.changed.notify_waiters();
    }
}

/// One channel's way out.
#[derive(Clone)]
pub struct Outlet {
    id: u32,
    outbox: Outbox,
}

impl Outlet {
    /// Sends a piece, once there is room for it.
    pub async fn send(&self, bytes: Bytes) {
        self.outbox.ready().await;
        self.outbox.send(Out::Data(self.id, bytes));
    }

    /// Whether nobody listens any more.
    pub fn is_closed(&self) -> bool {
        self.outbox.level.is_closed.load(Ordering::Acquire)
    }

    /// Says that nothing more comes.
    pub fn end(&self) {
        self.outbox.send(Out::End(self.id));
    }
}

#[async_trait]
impl Sink for Outlet {
    fn write(&self, bytes: &[u8]) {
        self.outbox.send(Out::Data(self.id, Bytes::copy_from_slice(bytes)));
    }

    fn is_ready(&self) -> bool {
        self.outbox.is_ready()
    }

    async fn ready(&self) {
        self.outbox.ready().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_is_too_far_ahead_waits_until_it_is_read_or_nobody_listens() {
        let (outbox, mut outgoing) = outbox();
        let outlet = outbox.channel(7);
        outlet.write(&vec![0; STREAM_BYTES_AHEAD_MAX]);
        assert!(!outlet.is_ready());
        assert!(outlet.send(Bytes::from_static(b"more")).now_or_never().is_none());
        assert!(matches!(outgoing.next().await, Some(Out::Data(7, _))));
        outgoing.sent(STREAM_BYTES_AHEAD_MAX);
        assert!(outlet.ready().now_or_never().is_some());
        outlet.write(&vec![0; STREAM_BYTES_AHEAD_MAX]);
        assert!(!outlet.is_ready());
        drop(outgoing);
        assert!(outlet.ready().now_or_never().is_some(), "what nobody reads holds nobody up");
    }
}
