//! One connection: a task that reads frames and one that writes them, and between them the streams that are open.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::super::outbox::{Out, Outbox, Outgoing, Outlet, outbox};
use super::frame::{Decoder, Encoder, Frame};
use super::headers::Headers;
use crate::limits::{
    SPDY_DATA_BYTES_MAX, SPDY_STREAMS_MAX, STREAM_CHUNK_BYTES, STREAM_DRAIN_MAX, STREAM_PIECES_MAX,
    STREAM_PING_INTERVAL, STREAM_SILENCE_MAX,
};

/// A stream that the client has opened.
pub struct Channel {
    pub id: u32,
    headers: Headers,
    /// What the client sends, until it is done with that.
    pub data: mpsc::Receiver<Bytes>,
    pub out: Outlet,
    /// The client wants nothing more of it.
    pub reset: CancellationToken,
}

impl Channel {
    /// A header of the stream; names are in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// What is known of an open stream.
struct Open {
    data: Option<mpsc::Sender<Bytes>>,
    reset: CancellationToken,
    /// We have sent all that there is to send.
    is_ended: bool,
}

type Streams = Mutex<HashMap<u32, Open>>;

/// Carries a connection until the client goes; or, after `done`, until all that was sent until then has gone out and every
/// [`Outlet`] is dropped. Streams are handed to `opened`.
///
/// # Errors
/// When what comes is not SPDY, or the connection breaks.
pub async fn carry(
    reader: impl Stream<Item = io::Result<Bytes>> + Send,
    writer: impl Sink<Bytes, Error = io::Error> + Send,
    opened: mpsc::Sender<Channel>,
    done: CancellationToken,
) -> io::Result<()> {
    let streams = Streams::default();
    let (outbox, outgoing) = outbox();
    let _end = End(&streams);
    let mut read = Box::pin(Reading { streams: &streams, outbox, opened, last: 0 }.run(reader));
    let written = write(outgoing, writer, &streams);
    tokio::pin!(written);
    tokio::select! {
        result = &mut read => result,
        result = &mut written => result,
        () = done.cancelled() => {
            drop(read);
            timeout(STREAM_DRAIN_MAX, written).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
    }
}

type Reader = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;
type Writer = Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>;

/// A connection that carries nothing but SPDY.
pub fn raw(connection: impl AsyncRead + AsyncWrite + Send + 'static) -> (Reader, Writer) {
    let (from, to) = tokio::io::split(connection);
    let writer = futures::sink::unfold(to, |mut to, bytes: Bytes| async move {
        to.write_all(&bytes).await?;
        to.flush().await?;
        Ok::<_, io::Error>(to)
    });
    (Box::pin(ReaderStream::with_capacity(from, STREAM_CHUNK_BYTES)), Box::pin(writer))
}

/// Lets go of all streams.
struct End<'a>(&'a Streams);

impl Drop for End<'_> {
    fn drop(&mut self) {
        for (_, open) in lock(self.0).drain() {
            open.reset.cancel();
        }
    }
}

fn lock(streams: &Streams) -> MutexGuard<'_, HashMap<u32, Open>> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reading<'a> {
    streams: &'a Streams,
    outbox: Outbox,
    opened: mpsc::Sender<Channel>,
    last: u32,
}

impl Reading<'_> {
    async fn run(mut self, reader: impl Stream<Item = io::Result<Bytes>> + Send) -> io::Result<()> {
        let mut decoder = Decoder::default();
        tokio::pin!(reader);
        loop {
            let bytes = match timeout(STREAM_SILENCE_MAX, reader.next()).await {
                Ok(Some(bytes)) => bytes?,
                Ok(None) => return Ok(()),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            };
            decoder.push(&bytes);
            while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
                if frame == Frame::GoAway {
                    return Ok(());
                }
                self.take(frame).await;
            }
        }
    }

    async fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Open { id, is_last, headers } => self.open(id, is_last, headers).await,
            Frame::Data { id, is_last, bytes } => {
                let sender = lock(self.streams).get(&id).and_then(|open| open.data.clone());
                if let Some(sender) = sender
                    && !bytes.is_empty()
                {
                    // Who does not want it any more does not get it.
                    let _ = sender.send(bytes).await;
                }
                if is_last {
                    self.finish(id);
                }
            }
            Frame::Reset { id } => {
                if let Some(open) = lock(self.streams).remove(&id) {
                    open.reset.cancel();
                }
            }
            // Those with an even number answer ours.
            Frame::Ping { id } if id % 2 == 1 => self.outbox.send(Out::Pong(id)),
            Frame::Ping { .. } | Frame::GoAway | Frame::Other => {}
        }
    }

    async fn open(&mut self, id: u32, is_last: bool, headers: Headers) {
        let is_new = id % 2 == 1 && id > self.last;
        if !is_new || lock(self.streams).len() >= SPDY_STREAMS_MAX {
            return self.outbox.send(Out::Refuse(id));
        }
        self.last = id;
        let (sender, data) = mpsc::channel(STREAM_PIECES_MAX);
        let reset = CancellationToken::new();
        let open = Open { data: (!is_last).then_some(sender), reset: reset.clone(), is_ended: false };
        lock(self.streams).insert(id, open);
        let channel = Channel { id, headers, data, out: self.outbox.channel(id), reset };
        self.outbox.send(Out::Accept(id));
        if let Err(refused) = self.opened.send(channel).await {
            lock(self.streams).remove(&refused.0.id);
            self.outbox.send(Out::Refuse(id));
        }
    }

    fn finish(&self, id: u32) {
        let mut streams = lock(self.streams);
        if let Some(open) = streams.get_mut(&id) {
            open.data = None;
            if open.is_ended {
                streams.remove(&id);
            }
        }
    }
}

async fn write(
    mut outgoing: Outgoing,
    writer: impl Sink<Bytes, Error = io::Error> + Send,
    streams: &Streams,
) -> io::Result<()> {
    let mut encoder = Encoder::default();
    let mut pings = interval_at(Instant::now() + STREAM_PING_INTERVAL, STREAM_PING_INTERVAL);
    let mut ping = 0_u32;
    tokio::pin!(writer);
    loop {
        let out = tokio::select! {
            out = outgoing.next() => out,
            _ = pings.tick() => {
                ping = ping.wrapping_add(2);
                writer.send(encoder.ping(ping)).await?;
                continue;
            }
        };
        match out {
            None => {
                let _ = writer.close().await;
                return Ok(());
            }
            Some(Out::Data(id, bytes)) => {
                if lock(streams).contains_key(&id) {
                    for piece in bytes.chunks(SPDY_DATA_BYTES_MAX) {
                        writer.send(encoder.data(id, false, piece)).await?;
                    }
                }
                outgoing.sent(bytes.len());
            }
            Some(Out::End(id)) => {
                if end(streams, id) {
                    writer.send(encoder.data(id, true, b"")).await?;
                }
            }
            Some(Out::Accept(id)) => writer.send(encoder.reply(id)).await?,
            Some(Out::Refuse(id)) => writer.send(encoder.refuse(id)).await?,
            Some(Out::Pong(id)) => writer.send(encoder.ping(id)).await?,
        }
    }
}

/// Notes that we are done with a stream; whether the client is to be told.
fn end(streams: &Streams, id: u32) -> bool {
    let mut streams = lock(streams);
    let Some(open) = streams.get_mut(&id) else { return false };
    let is_new = !std::mem::replace(&mut open.is_ended, true);
    if open.data.is_none() {
        streams.remove(&id);
    }
    is_new
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::channel::mpsc as pipe;

    use super::*;

    struct Peer {
        to: pipe::UnboundedSender<io::Result<Bytes>>,
        from: pipe::UnboundedReceiver<Bytes>,
        channels: mpsc::Receiver<Channel>,
        carried: tokio::task::JoinHandle<io::Result<()>>,
        done: CancellationToken,
    }

    fn peer() -> Peer {
        let (to, reader) = pipe::unbounded();
        let (writer, from) = pipe::unbounded();
        let (opened, channels) = mpsc::channel(4);
        let writer = writer.sink_map_err(io::Error::other);
        let done = CancellationToken::new();
        Peer { to, from, channels, carried: tokio::spawn(carry(reader, writer, opened, done.clone())), done }
    }

    impl Peer {
        fn send(&self, bytes: Bytes) {
            self.to.unbounded_send(Ok(bytes)).unwrap();
        }

        /// The head of the next frame: its kind or stream, its flags.
        async fn head(&mut self) -> (u32, u8, usize) {
            let frame = self.from.next().await.unwrap();
            (u32::from_be_bytes(frame[..4].try_into().unwrap()), frame[4], frame.len() - 8)
        }
    }

    #[tokio::test]
    async fn a_stream_goes_both_ways_and_ends_twice() {
        let (mut peer, mut encoder) = (peer(), Encoder::default());
        peer.send(encoder.open(1, &[("StreamType", "data")]));
        let mut channel = peer.channels.recv().await.unwrap();
        assert_eq!(channel.header("streamtype"), Some("data"));
        assert_eq!(peer.head().await.0, 0x8003_0002);
        peer.send(encoder.data(1, false, b"in"));
        peer.send(encoder.data(1, true, b""));
        assert_eq!(channel.data.recv().await.unwrap(), "in");
        assert_eq!(channel.data.recv().await, None);
        channel.out.send(Bytes::from_static(b"out")).await;
        channel.out.end();
        channel.out.send(Bytes::from_static(b"too late")).await;
        assert_eq!(peer.head().await, (1, 0, 3));
        assert_eq!(peer.head().await, (1, 1, 0));
        peer.send(encoder.ping(5));
        assert_eq!(peer.head().await.0, 0x8003_0006);
        peer.done.cancel();
        drop(channel);
        assert!(peer.carried.await.unwrap().is_ok(), "it ends when nobody has anything to say");
    }

    #[tokio::test]
    async fn a_reset_is_heard_and_a_hostile_stream_refused() {
        let (mut peer, mut encoder) = (peer(), Encoder::default());
        peer.send(encoder.open(3, &[]));
        let channel = peer.channels.recv().await.unwrap();
        peer.head().await;
        for id in [3, 1, 4] {
            peer.send(encoder.open(id, &[]));
            assert_eq!(peer.head().await.0, 0x8003_0003, "stream {id} is none that may be opened now");
        }
        peer.send(encoder.refuse(3));
        channel.reset.cancelled().await;
        peer.send(encoder.data(99, false, b"nobody's"));
        peer.send(Bytes::from_static(&[0x80; 64]));
        assert!(peer.carried.await.unwrap().is_err(), "that was no frame");
    }

    #[tokio::test]
    async fn streams_are_counted() {
        let (mut peer, mut encoder) = (peer(), Encoder::default());
        let mut kept = Vec::new();
        for at in 0..SPDY_STREAMS_MAX {
            peer.send(encoder.open(u32::try_from(at).unwrap() * 2 + 1, &[]));
            kept.push(peer.channels.recv().await.unwrap());
            assert_eq!(peer.head().await.0, 0x8003_0002);
        }
        peer.send(encoder.open(1_000_001, &[]));
        assert_eq!(peer.head().await.0, 0x8003_0003);
        drop(peer.to);
        peer.carried.await.unwrap().unwrap();
        assert!(kept.iter().all(|channel| channel.reset.is_cancelled()), "all end with the connection");
    }
}
