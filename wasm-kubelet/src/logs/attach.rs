//! What goes to those who are attached to a running container, and what comes from them to its standard input.
//!
//! A log is where a container's output passes, so it is also where it is tapped. Who is attached and does not keep up is
//! let go: a container never waits for a person.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use super::format::Source;
use crate::limits::{ATTACHED_PIECES_MAX, STDIN_PIECES_MAX};
use crate::runtime::Input;

/// What a container writes from now on, as it writes it. It ends with the container, or when it is read too slowly.
pub type Tap = mpsc::Receiver<(Source, Bytes)>;

/// The ends of a container's standard streams that are not its own.
#[derive(Default)]
pub(super) struct Attached {
    ends: Mutex<Ends>,
}

#[derive(Default)]
struct Ends {
    taps: Vec<mpsc::Sender<(Source, Bytes)>>,
    stdin: Option<Stdin>,
    is_closed: bool,
}

/// The writing end of a container's standard input.
#[derive(Clone)]
pub struct Stdin {
    pub sender: mpsc::Sender<Bytes>,
    /// Whether it is closed for good when the first who wrote to it is done.
    pub once: bool,
}

impl Attached {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tap(&self) -> Tap {
        let (sender, receiver) = mpsc::channel(ATTACHED_PIECES_MAX);
        let mut ends = self.ends();
        if !ends.is_closed {
            ends.taps.push(sender);
        }
        receiver
    }

    pub(super) fn tell(&self, source: Source, bytes: &[u8]) {
        let mut ends = self.ends();
        if !ends.taps.is_empty() {
            let piece = Bytes::copy_from_slice(bytes);
            ends.taps.retain(|tap| tap.try_send((source, piece.clone())).is_ok());
        }
    }

    pub(super) fn open_stdin(&self, once: bool) -> Input {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(STDIN_PIECES_MAX);
        self.ends().stdin = Some(Stdin { sender, once });
        let pieces = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        Box::new(StreamReader::new(pieces.map(Ok::<_, io::Error>)))
    }

    pub(super) fn stdin(&self) -> Option<Stdin> {
        self.ends().stdin.clone()
    }

    pub(super) fn close_stdin(&self) {
        self.ends().stdin = None;
    }

    pub(super) fn close(&self) {
        let mut ends = self.ends();
        *ends = Ends { is_closed: true, ..Ends::default() };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_tap_sees_what_comes_and_is_cut_when_it_does_not_read() {
        let attached = Attached::default();
        attached.tell(Source::Stdout, b"before");
        let (mut reads, mut sleeps) = (attached.tap(), attached.tap());
        for piece in 0..=ATTACHED_PIECES_MAX {
            attached.tell(Source::Stderr, piece.to_string().as_bytes());
            assert_eq!(reads.recv().await.unwrap(), (Source::Stderr, Bytes::from(piece.to_string())));
        }
        let mut seen = 0;
        while sleeps.recv().await.is_some() {
            seen += 1;
        }
        assert_eq!(seen, ATTACHED_PIECES_MAX);
        attached.close();
        assert_eq!(reads.recv().await, None);
        assert_eq!(attached.tap().recv().await, None, "it has ended");
    }

    #[tokio::test]
    async fn what_is_written_is_read_until_it_is_closed() {
        let attached = Attached::default();
        let mut input = attached.open_stdin(true);
        let stdin = attached.stdin().unwrap();
        assert!(stdin.once);
        stdin.sender.send(Bytes::from_static(b"ab")).await.unwrap();
        drop(stdin);
        attached.close_stdin();
        let mut text = String::new();
        input.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "ab");
        assert!(attached.stdin().is_none());
    }
}
