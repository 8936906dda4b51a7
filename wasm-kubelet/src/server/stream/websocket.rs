//! Channels that share a WebSocket: the first byte of a message says which one it is of. Source: upstream's `wsstream`.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::command::{Options, Streams};
use super::forward::{self, Target};
use super::outbox::{Out, Outgoing, outbox};
use super::upgrade::Channels;
use crate::limits::{
    STREAM_CLOSE_MAX, STREAM_DRAIN_MAX, STREAM_PIECES_MAX, STREAM_PING_INTERVAL, STREAM_SILENCE_MAX,
    WEBSOCKET_MESSAGE_BYTES_MAX,
};

pub const STDIN: u8 = 0;
pub const STDOUT: u8 = 1;
pub const STDERR: u8 = 2;
pub const ERROR: u8 = 3;
/// Closes the channel that its one byte names.
const CLOSE: u8 = 255;

/// Where what comes on a channel goes.
type Routes = HashMap<u8, mpsc::Sender<Bytes>>;

async fn accept<C: AsyncRead + AsyncWrite + Unpin>(connection: C) -> WebSocketStream<C> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(WEBSOCKET_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(WEBSOCKET_MESSAGE_BYTES_MAX));
    WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await
}

/// Runs a command on its channels, and ends with it or with the client.
///
/// # Errors
/// When the connection breaks.
pub async fn command<W: Future<Output = ()>>(
    connection: impl AsyncRead + AsyncWrite + Unpin,
    channels: Channels,
    options: &Options,
    work: impl FnOnce(Streams) -> W,
) -> io::Result<()> {
    let (outbox, outgoing) = outbox();
    let (sender, receiver) = mpsc::channel(STREAM_PIECES_MAX);
    let streams = Streams {
        stdin: options.stdin.then_some(receiver),
        stdout: options.stdout.then(|| outbox.channel(STDOUT.into())),
        stderr: options.stderr.then(|| outbox.channel(STDERR.into())),
        error: outbox.channel(ERROR.into()),
        has_status: channels.has_status,
    };
    if !channels.has_close {
        // Tells clients of before that the connection stands.
        let first = [(options.stdout, STDOUT), (options.stderr, STDERR)].into_iter().find(|(open, _)| *open);
        outbox.send(Out::Data(first.map_or(ERROR, |(_, channel)| channel).into(), Bytes::new()));
    }
    drop(outbox);
    let routes = if options.stdin { Routes::from([(STDIN, sender)]) } else { Routes::new() };
    carry(connection, channels, routes, outgoing, work(streams)).await
}

/// Forwards ports on a pair of channels each: data, and what went wrong. The first message of both is the port.
///
/// # Errors
/// When the connection breaks.
pub async fn ports(
    connection: impl AsyncRead + AsyncWrite + Unpin,
    channels: Channels,
    ports: Vec<u16>,
    target: Target,
) -> io::Result<()> {
    let (outbox, outgoing) = outbox();
    let mut routes = Routes::new();
    let mut all = Vec::new();
    for (channel, port) in (0_u8..).step_by(2).zip(ports) {
        let (sender, data) = mpsc::channel(STREAM_PIECES_MAX);
        routes.insert(channel, sender);
        let (out, error) = (outbox.channel(channel.into()), outbox.channel((channel + 1).into()));
        for outlet in [&out, &error] {
            outlet.send(Bytes::copy_from_slice(&port.to_le_bytes())).await;
        }
        all.push(forward::port(target.clone(), port, data, out, error));
    }
    drop(outbox);
    let work = async { drop(futures::future::join_all(all).await) };
    carry(connection, channels, routes, outgoing, work).await
}

/// Carries the channels until `work` is done and all that it has said is sent, or until the client goes, which drops it.
async fn carry(
    connection: impl AsyncRead + AsyncWrite + Unpin,
    channels: Channels,
    routes: Routes,
    outgoing: Outgoing,
    work: impl Future<Output = ()>,
) -> io::Result<()> {
    let (sink, stream) = accept(connection).await.split();
    let read = read(stream, channels, routes);
    tokio::pin!(read);
    let worked = async {
        let written = write(outgoing, sink, channels);
        tokio::pin!(work, written);
        tokio::select! {
            () = &mut work => timeout(STREAM_DRAIN_MAX, written).await.unwrap_or(Err(io::ErrorKind::TimedOut.into())),
            result = &mut written => {
                result?;
                work.await;
                Ok(())
            }
        }
    };
    tokio::select! {
        result = worked => result?,
        result = &mut read => return result,
    }
    // A connection that is closed on what the client still sends would take what it has not read yet with it.
    let _ = timeout(STREAM_CLOSE_MAX, read).await;
    Ok(())
}

async fn read(
    mut stream: impl Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
    channels: Channels,
    mut routes: Routes,
) -> io::Result<()> {
    loop {
        let message = match timeout(STREAM_SILENCE_MAX, stream.next()).await {
            Ok(Some(message)) => message.map_err(io::Error::other)?,
            Ok(None) => return Ok(()),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let bytes = match message {
            Message::Close(_) => return Ok(()),
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            _ => continue,
        };
        match decode(bytes, channels)? {
            Some((CLOSE, named)) if channels.has_close => {
                if let Some(channel) = named.first() {
                    routes.remove(channel);
                }
            }
            Some((channel, bytes)) if !bytes.is_empty() => {
                if let Some(route) = routes.get(&channel) {
                    // Who does not want it any more does not get it.
                    let _ = route.send(bytes).await;
                }
            }
            _ => {}
        }
    }
}

/// The channel of a message, and what it says there.
fn decode(mut message: Bytes, channels: Channels) -> io::Result<Option<(u8, Bytes)>> {
    if message.is_empty() {
        return Ok(None);
    }
    let bytes = message.split_off(1);
    if !channels.is_base64 {
        return Ok(Some((message[0], bytes)));
    }
    let channel = message[0].checked_sub(b'0').ok_or(io::ErrorKind::InvalidData)?;
    let bytes = BASE64.decode(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Some((channel, bytes.into())))
}

fn encode(channel: u8, bytes: &[u8], channels: Channels) -> Message {
    if channels.is_base64 {
        return Message::Text(format!("{channel}{}", BASE64.encode(bytes)).into());
    }
    let mut message = BytesMut::with_capacity(1 + bytes.len());
    message.put_u8(channel);
    message.put_slice(bytes);
    Message::Binary(message.freeze())
}

async fn write(
    mut outgoing: Outgoing,
    mut sink: impl Sink<Message, Error = tokio_tungstenite::tungstenite::Error> + Unpin,
    channels: Channels,
) -> io::Result<()> {
    let mut pings = interval_at(Instant::now() + STREAM_PING_INTERVAL, STREAM_PING_INTERVAL);
    // A channel is a byte: what sends here was made with one.
    let named = |channel: u32| u8::try_from(channel).unwrap_or(ERROR);
    loop {
        let out = tokio::select! {
            out = outgoing.next() => out,
            _ = pings.tick() => {
                sink.send(Message::Ping(Bytes::new())).await.map_err(io::Error::other)?;
                continue;
            }
        };
        let message = match &out {
            None => {
                // Clients take an end of no reason for a failure.
                let end = CloseFrame { code: CloseCode::Normal, reason: Default::default() };
                let _ = sink.send(Message::Close(Some(end))).await;
                return Ok(());
            }
            Some(Out::Data(channel, bytes)) => encode(named(*channel), bytes, channels),
            // Only clients close channels one by one.
            Some(_) => continue,
        };
        sink.send(message).await.map_err(io::Error::other)?;
        if let Some(Out::Data(_, bytes)) = out {
            outgoing.sent(bytes.len());
        }
    }
}

type Reader = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;
type Writer = Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>;

/// A WebSocket as a stream of bytes, both ways: what a tunnel through it carries.
pub async fn tunnel(connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> (Reader, Writer) {
    let (sink, stream) = accept(connection).await.split();
    let reader = stream.filter_map(|message| async {
        match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        }
    });
    let writer = sink.sink_map_err(io::Error::other).with(|bytes| async { Ok::<_, io::Error>(Message::Binary(bytes)) });
    (Box::pin(reader), Box::pin(writer))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const V5: Channels = Channels { is_base64: false, has_status: true, has_close: true };
    const V4: Channels = Channels { has_close: false, ..V5 };
    const BASE64ED: Channels = Channels { is_base64: true, ..V4 };

    #[test]
    fn messages_name_their_channel() {
        for (channels, message, want) in [
            (V4, &b"\x00abc"[..], Some((0, "abc"))),
            (V4, b"\x04", Some((4, ""))),
            (V4, b"", None),
            (BASE64ED, b"0YWJj", Some((0, "abc"))),
        ] {
            let got = decode(Bytes::copy_from_slice(message), channels).unwrap();
            assert_eq!(got, want.map(|(channel, text)| (channel, Bytes::from(text))), "{message:?}");
        }
        for message in [&b"0?"[..], b"\x01YWJj"] {
            assert!(decode(Bytes::copy_from_slice(message), BASE64ED).is_err(), "{message:?}");
        }
        assert_eq!(encode(1, b"abc", V4), Message::Binary(Bytes::from_static(b"\x01abc")));
        assert_eq!(encode(1, b"abc", BASE64ED), Message::Text("1YWJj".into()));
    }

    /// A client's end of a command that repeats what it reads.
    async fn client(
        channels: Channels,
    ) -> (WebSocketStream<tokio::io::DuplexStream>, tokio::task::JoinHandle<io::Result<()>>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let options = Options { stdin: true, stdout: true, stderr: true, tty: false };
        let served = tokio::spawn(async move {
            command(far, channels, &options, |mut streams| async move {
                let (mut stdin, stdout) = (streams.stdin.take().unwrap(), streams.stdout.take().unwrap());
                while let Some(bytes) = stdin.recv().await {
                    stdout.send(bytes).await;
                }
                streams.error.send(Bytes::from_static(b"done")).await;
            })
            .await
        });
        (WebSocketStream::from_raw_socket(near, Role::Client, None).await, served)
    }

    #[tokio::test]
    async fn a_channel_is_closed_by_itself_and_the_rest_is_still_said() {
        let (mut client, served) = client(V5).await;
        for message in [&b"\x00abc"[..], b"\x09nobody's", b"\xff\x00"] {
            client.send(Message::Binary(Bytes::copy_from_slice(message))).await.unwrap();
        }
        let mut said = Vec::new();
        while let Some(Ok(Message::Binary(bytes))) = client.next().await {
            said.push(bytes);
        }
        assert_eq!(said, ["\x01abc", "\x03done"]);
        drop(client);
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_goes_or_says_too_much_ends_its_command() {
        let (mut goes, served) = client(V4).await;
        assert_eq!(goes.next().await.unwrap().unwrap(), Message::Binary(Bytes::from_static(b"\x01")), "it stands");
        drop(goes);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), served).await.unwrap().unwrap();
        let (mut floods, served) = client(V5).await;
        let flood = Bytes::from(vec![0; WEBSOCKET_MESSAGE_BYTES_MAX + 1]);
        let _ = floods.send(Message::Binary(flood)).await;
        assert!(served.await.unwrap().is_err());
    }
}
