//! One command in a container, or the container itself: its streams over a WebSocket, and how it ended.
//!
//! Source: client-go's `remotecommand`, whose channels these are. The fifth version of the protocol can close the command's
//! input; a server that knows only the fourth is spoken to all the same.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use coracle_client::{Message, WebSocket, WebSocketError};
use futures::{Sink, SinkExt, Stream, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use super::Target;
use crate::failure::{Failure, Result};
use crate::server::{Server, query};
use crate::terminal::Size;

const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Closes the channel that its one byte names.
const CLOSE: u8 = 255;

/// The largest piece that is sent at once.
const PIECE_BYTES_MAX: usize = 32 << 10;

/// What is asked of a container.
#[derive(Clone, Debug, Default)]
pub struct Ask<'a> {
    /// `exec` or `attach`.
    pub what: &'a str,
    pub container: &'a str,
    pub command: &'a [String],
    pub stderr: bool,
    pub tty: bool,
}

/// Where what is said comes from and goes to.
pub struct Streams<I, O, E> {
    /// None: nothing is said to it.
    pub stdin: Option<I>,
    pub stdout: O,
    pub stderr: E,
}

/// Asks it, and carries its streams until it has ended; what is said of the end.
///
/// # Errors
/// When the server refuses, or the connection breaks.
pub async fn run<I, O, E>(server: &Server, target: &Target, ask: &Ask<'_>, streams: Streams<I, O, E>) -> Result<Value>
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let yes = |flag: bool| flag.then_some("true");
    let mut parameters = vec![
        ("container", Some(ask.container)),
        ("stdin", yes(streams.stdin.is_some())),
        ("stdout", Some("true")),
        ("stderr", yes(ask.stderr)),
        ("tty", yes(ask.tty)),
    ];
    parameters.extend(ask.command.iter().map(|word| ("command", Some(word.as_str()))));
    let path = query(&target.path(server, ask.what), &parameters);
    let (socket, protocol) = server.websocket(&path, &PROTOCOLS).await?;
    converse(socket, protocol == PROTOCOLS[0], ask.tty, streams).await
}

async fn converse<I, O, E>(socket: WebSocket, closes: bool, tty: bool, streams: Streams<I, O, E>) -> Result<Value>
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let (to, from) = socket.split();
    let Streams { stdin, mut stdout, mut stderr } = streams;
    let said = say(to, stdin, closes, tty);
    let heard = hear(from, &mut stdout, &mut stderr);
    tokio::pin!(said, heard);
    // Both at once: who waits for the other to be read might wait for ever.
    tokio::select! {
        status = &mut heard => status,
        failed = &mut said => match failed {
            // What the other side said before it left tells why.
            Err(failure) => heard.await.or(Err(failure)),
            Ok(()) => heard.await,
        },
    }
}

/// Says what comes on standard input, and how large the terminal is.
async fn say(
    mut to: impl Sink<Message, Error = WebSocketError> + Unpin,
    mut stdin: Option<impl AsyncRead + Unpin>,
    closes: bool,
    tty: bool,
) -> Result {
    let mut resized = signal(SignalKind::window_change())?;
    if let Some(size) = Size::now().filter(|_| tty) {
        to.send(message(RESIZE, size.to_json().as_bytes())).await.map_err(broken)?;
    }
    let mut buffer = BytesMut::new();
    loop {
        let read = async {
            match &mut stdin {
                Some(stdin) => {
                    buffer.clear();
                    buffer.reserve(PIECE_BYTES_MAX);
                    stdin.read_buf(&mut (&mut buffer).limit(PIECE_BYTES_MAX)).await
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            count = read => match count? {
                0 => {
                    stdin = None;
                    if closes {
                        to.send(message(CLOSE, &[STDIN])).await.map_err(broken)?;
                    }
                }
                _ => to.send(message(STDIN, &buffer)).await.map_err(broken)?,
            },
            _ = resized.recv(), if tty => {
                if let Some(size) = Size::now() {
                    to.send(message(RESIZE, size.to_json().as_bytes())).await.map_err(broken)?;
                }
            }
        }
    }
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(1 + bytes.len());
    message.put_u8(channel);
    message.put_slice(bytes);
    Message::Binary(message.freeze())
}

/// Passes on what the command says; what is said of its end, if anything.
async fn hear(
    mut from: impl Stream<Item = Result<Message, WebSocketError>> + Unpin,
    stdout: &mut (impl AsyncWrite + Unpin),
    stderr: &mut (impl AsyncWrite + Unpin),
) -> Result<Value> {
    let mut status = Value::Null;
    loop {
        let bytes: Bytes = match from.next().await {
            None | Some(Ok(Message::Close(_))) => return Ok(status),
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(_)) => continue,
            // Some servers do not say goodbye.
            Some(Err(_)) if !status.is_null() => return Ok(status),
            Some(Err(error)) => return Err(broken(error)),
        };
        match bytes.split_first() {
            Some((&STDOUT, bytes)) => write(stdout, bytes).await?,
            Some((&STDERR, bytes)) => write(stderr, bytes).await?,
            Some((&ERROR, bytes)) if !bytes.is_empty() => status = serde_json::from_slice(bytes)?,
            _ => {}
        }
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("the connection broke off: {error}"))
}

/// The end of the command as ours. Source: kubectl, which ends with the command's own code.
///
/// # Errors
/// When it is no success: without words but one line where the command has a code.
pub fn ended(status: &Value) -> Result {
    if status["status"] == "Success" {
        return Ok(());
    }
    let mut causes = status["details"]["causes"].as_array().into_iter().flatten();
    let code = causes.find(|cause| cause["reason"] == "ExitCode").and_then(|cause| cause["message"].as_str());
    match code.and_then(|code| code.parse::<i32>().ok()) {
        Some(code) => {
            eprintln!("command terminated with exit code {code}");
            // Of a larger one a process can show no more than its last byte.
            Err(Failure::silent(code.to_le_bytes()[0]))
        }
        None => Err(Failure::new(status["message"].as_str().unwrap_or("the connection broke off"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_commands_code_is_ours() {
        assert!(ended(&json!({"status": "Success"})).is_ok());
        let failed =
            |code: &str| json!({"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": code}]}});
        assert_eq!(ended(&failed("7")).map_err(|failure| failure.code()), Err(7));
        let refused = ended(&json!({"status": "Failure", "message": "no"})).expect_err("a failure");
        assert_eq!(refused.message(), "error: no");
        assert!(ended(&Value::Null).is_err(), "who says nothing of the end has not succeeded");
    }

    #[tokio::test]
    async fn channels_are_told_apart() {
        let said = [
            message(STDOUT, b"out"),
            message(STDERR, b"err"),
            message(9, b"nobody's"),
            message(ERROR, b""),
            message(ERROR, br#"{"status":"Success"}"#),
            Message::Close(None),
            message(STDOUT, b"too late"),
        ];
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let from = futures::stream::iter(said.map(Ok));
        let status = hear(from, &mut out, &mut err).await.expect("an end");
        assert_eq!((&out[..], &err[..], &status["status"]), (&b"out"[..], &b"err"[..], &json!("Success")));
    }
}
