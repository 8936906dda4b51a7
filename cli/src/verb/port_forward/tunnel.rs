//! One connection to a pod, for any number of connections to its ports: SPDY within a WebSocket, as upstream's
//! `portforward` has it. A pair of streams is one connection: what goes wrong, and the data.
//!
//! What the pod says on one of them is read before anything else is: whoever does not read here holds the others up.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use coracle_client::{Message, WebSocket};
use coracle_kubelet::wire::{Decoder, Encoder, Frame};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot};

/// How the protocol is called where it is asked for.
pub const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

/// Pieces of data that wait, in either direction.
const PIECES_MAX: usize = 16;
/// The largest piece that is sent at once.
pub const PIECE_BYTES_MAX: usize = 32 << 10;

/// What is to be sent.
enum Out {
    Open { port: u16, opened: oneshot::Sender<Connection> },
    Data(u32, Bytes),
    End(u32),
    Reset(u32),
    Pong(u32),
}

/// The way into a tunnel.
#[derive(Clone)]
pub struct Tunnel {
    outbox: mpsc::Sender<Out>,
}

/// A connection to a port of the pod.
pub struct Connection {
    id: u32,
    outbox: mpsc::Sender<Out>,
    /// What the pod says, to its end.
    pub data: mpsc::Receiver<Bytes>,
    /// What went wrong.
    pub errors: mpsc::Receiver<Bytes>,
}

/// The other ends of the connections' channels, by the ids of their streams.
type Routes = Mutex<HashMap<u32, mpsc::Sender<Bytes>>>;

/// A tunnel over a connection, and what carries it: for as long as that runs, and with it ends everything.
pub fn tunnel(socket: WebSocket) -> (Tunnel, impl Future<Output = io::Result<()>>) {
    let (outbox, outgoing) = mpsc::channel(PIECES_MAX);
    (Tunnel { outbox: outbox.clone() }, carry(socket, outbox, outgoing))
}

impl Tunnel {
    /// Connects to a port of the pod; none where the tunnel is at its end. That nobody listens there is among the errors.
    pub async fn connect(&self, port: u16) -> Option<Connection> {
        let (opened, connection) = oneshot::channel();
        self.outbox.send(Out::Open { port, opened }).await.ok()?;
        connection.await.ok()
    }
}

impl Connection {
    /// Sends a piece.
    ///
    /// # Errors
    /// When the tunnel is at its end.
    pub async fn send(&self, bytes: Bytes) -> io::Result<()> {
        self.outbox.send(Out::Data(self.id, bytes)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Says that nothing more comes from here.
    pub async fn end(&self) {
        // Where there is no tunnel any more, all has ended.
        let _ = self.outbox.send(Out::End(self.id)).await;
    }

    /// Wants nothing more of it.
    pub async fn reset(&self) {
        let _ = self.outbox.send(Out::Reset(self.id)).await;
    }
}

async fn carry(socket: WebSocket, outbox: mpsc::Sender<Out>, outgoing: mpsc::Receiver<Out>) -> io::Result<()> {
    let (sink, stream) = socket.split();
    let routes = Routes::default();
    // Dropped at the end of the tunnel: whoever still reads then has read all.
    tokio::select! {
        result = write(sink, outgoing, outbox.clone(), &routes) => result,
        result = read(stream, outbox.clone(), &routes) => result,
    }
}

async fn read(mut stream: SplitStream<WebSocket>, outbox: mpsc::Sender<Out>, routes: &Routes) -> io::Result<()> {
    let mut decoder = Decoder::default();
    while let Some(message) = stream.next().await {
        match message.map_err(io::Error::other)? {
            Message::Binary(bytes) => decoder.push(&bytes),
            Message::Close(_) => return Ok(()),
            _ => continue,
        }
        while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
            match frame {
                Frame::Data { id, is_last, bytes } => {
                    let route = lock(routes).get(&id).cloned();
                    if let Some(route) = route.filter(|_| !bytes.is_empty()) {
                        // Who does not want it any more does not get it.
                        let _ = route.send(bytes).await;
                    }
                    if is_last {
                        lock(routes).remove(&id);
                    }
                }
                Frame::Reset { id } => drop(lock(routes).remove(&id)),
                // Those with an odd number are ours, and we send none. One that is not answered is asked again.
                Frame::Ping { id } if id.is_multiple_of(2) => drop(outbox.try_send(Out::Pong(id))),
                Frame::GoAway => return Ok(()),
                Frame::Ping { .. } | Frame::Open { .. } | Frame::Other => {}
            }
        }
    }
    Ok(())
}

async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut outgoing: mpsc::Receiver<Out>,
    outbox: mpsc::Sender<Out>,
    routes: &Routes,
) -> io::Result<()> {
    let mut encoder = Encoder::default();
    let mut next = 1;
    while let Some(out) = outgoing.recv().await {
        let frames = match out {
            Out::Open { port, opened } => {
                let (error, data) = (next, next + 2);
                next += 4;
                let (to_data, data_pieces) = mpsc::channel(PIECES_MAX);
                let (to_errors, errors) = mpsc::channel(PIECES_MAX);
                lock(routes).extend([(error, to_errors), (data, to_data)]);
                let connection = Connection { id: data, outbox: outbox.clone(), data: data_pieces, errors };
                if opened.send(connection).is_err() {
                    lock(routes).retain(|id, _| *id != error && *id != data);
                    continue;
                }
                // Both streams of a pair have the same number.
                let (port, number) = (port.to_string(), error.to_string());
                let headers = |kind| [("streamtype", kind), ("port", port.as_str()), ("requestid", number.as_str())];
                let first = encoder.open(error, &headers("error"));
                vec![first, encoder.data(error, true, b""), encoder.open(data, &headers("data"))]
            }
            Out::Data(id, bytes) => vec![encoder.data(id, false, &bytes)],
            Out::End(id) => vec![encoder.data(id, true, b"")],
            Out::Reset(id) => {
                lock(routes).remove(&id);
                vec![encoder.refuse(id)]
            }
            Out::Pong(id) => vec![encoder.ping(id)],
        };
        for frame in frames {
            sink.feed(Message::Binary(frame)).await.map_err(io::Error::other)?;
        }
        sink.flush().await.map_err(io::Error::other)?;
    }
    Ok(())
}

fn lock(routes: &Routes) -> MutexGuard<'_, HashMap<u32, mpsc::Sender<Bytes>>> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}
