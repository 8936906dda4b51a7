//! What comes to a worker, from many. A channel has room for some dozens of messages from the start, in each of thousands of
//! workers: it holds boxes.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;

use super::worker::Message;
use crate::limits::WORKER_EVENTS_MAX;

/// Where messages are sent. Cheap to clone.
#[derive(Clone)]
pub(super) struct Outbox(mpsc::Sender<Box<Message>>);

/// Where a worker finds them, in their order.
pub(super) struct Inbox(mpsc::Receiver<Box<Message>>);

/// A worker's mailbox, which holds [`WORKER_EVENTS_MAX`] messages.
pub(super) fn mailbox() -> (Outbox, Inbox) {
    let (outbox, inbox) = mpsc::channel(WORKER_EVENTS_MAX);
    (Outbox(outbox), Inbox(inbox))
}

impl Outbox {
    /// Sends, once there is room.
    ///
    /// # Errors
    /// When the worker is gone.
    pub(super) async fn send(&self, message: Message) -> Result<(), SendError<Box<Message>>> {
        self.0.send(Box::new(message)).await
    }
}

impl Inbox {
    /// The next message.
    ///
    /// # Cancel safety
    /// May be dropped; nothing is lost.
    pub(super) async fn receive(&mut self) -> Option<Message> {
        self.0.recv().await.map(|message| *message)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
