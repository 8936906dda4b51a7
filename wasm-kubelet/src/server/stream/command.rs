//! `exec` and `attach`: a program's standard streams over a connection, and how it ended.
//!
//! Source: the kubelet's streaming server, `remotecommand`.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use super::super::query;
use super::files;
use super::outbox::Outlet;
use super::spdy::session;
use super::tty::{self, Tty, Typed};
use crate::limits::{STREAM_CREATION_MAX, STREAM_PIECES_MAX};
use crate::logs::Log;
use crate::logs::format::Source;
use crate::runtime::{Container, Exec, Exit, Input, Sink};

/// Which streams a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

impl Options {
    /// # Errors
    /// When no stream at all is wanted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tty = query::flag(text, "tty");
        let (stdin, stdout) = (query::flag(text, "input"), query::flag(text, "output"));
        // A terminal has one output.
        let stderr = query::flag(text, "error") && !tty;
        if !stdin && !stdout && !stderr {
            return Err("you must specify at least 1 of stdin, stdout, stderr".to_owned());
        }
        Ok(Self { stdin, stdout, stderr, tty })
    }
}

/// A command's streams: those that the client has asked for.
pub struct Streams {
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    pub stdout: Option<Outlet>,
    pub stderr: Option<Outlet>,
    pub error: Outlet,
    /// Whether the end is told as a `Status`, or in words.
    pub has_status: bool,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    /// It could not be run at all.
    Failed(String),
}

impl End {
    /// What is said on the error stream; nothing, where that is how success is told.
    fn told(&self, has_status: bool) -> Option<Bytes> {
        let status = self.status();
        if has_status {
            return Some(status.to_string().into());
        }
        status["message"].as_str().map(|message| Bytes::copy_from_slice(message.as_bytes()))
    }

    fn status(&self) -> Value {
        match self {
            Self::Code(0) => json!({"metadata": {}, "status": "Success"}),
            Self::Code(code) => json!({
                "metadata": {},
                "status": "Failure",
                "message": format!("command terminated with non-zero exit code: exit status {code}"),
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            Self::Failed(why) => json!({
                "metadata": {},
                "status": "Failure",
                "message": format!("Internal error occurred: error executing command in container: {why}"),
                "reason": "InternalError",
                "details": {"causes": [{"message": format!("error executing command in container: {why}")}]},
                "code": 500,
            }),
        }
    }
}

/// Runs `args` in a container: what the kubelet does itself of it, the container's module for everything else.
pub async fn exec(container: Arc<dyn Container>, args: Vec<String>, options: Options, streams: Streams) {
    let Streams { stdin, stdout, stderr, error, has_status } = streams;
    let end = match files::Command::parse(&args) {
        Some(Ok(command)) => {
            let stdin = stdin.map(|stdin| input(stdin, CancellationToken::new()));
            End::Code(files::run(command, container.mounts().to_vec(), stdin, stdout, stderr).await)
        }
        Some(Err(why)) => {
            say(stderr.as_ref(), &why).await;
            End::Code(2)
        }
        None => run(&*container, args, &options, stdin, stdout, stderr).await,
    };
    if let Some(told) = end.told(has_status) {
        error.send(told).await;
    }
    error.end();
}

async fn say(stderr: Option<&Outlet>, line: &str) {
    if let Some(stderr) = stderr {
        stderr.send(format!("{line}\n").into()).await;
    }
}

async fn run(
    container: &dyn Container,
    args: Vec<String>,
    options: &Options,
    stdin: Option<mpsc::Receiver<Bytes>>,
    stdout: Option<Outlet>,
    stderr: Option<Outlet>,
) -> End {
    let ends = CancellationToken::new();
    let interrupt = CancellationToken::new();
    let typed = stdin.map(|stdin| match options.tty {
        true => input(terminal(stdin, stdout.clone(), interrupt.clone(), ends.clone()), ends.clone()),
        false => input(stdin, ends.clone()),
    });
    let sink = |outlet: Option<Outlet>| -> Arc<dyn Sink> {
        match outlet {
            Some(outlet) if options.tty => Arc::new(Screen(outlet)),
            Some(outlet) => Arc::new(outlet),
            None => Arc::new(Nowhere),
        }
    };
    let exec = Exec {
        args,
        stdin: typed,
        stdout: sink(stdout.clone()),
        stderr: sink(if options.tty { stdout } else { stderr.clone() }),
        tty: options.tty,
    };
    let _ends = ends.drop_guard();
    let guest = match container.exec(exec).await {
        Ok(guest) => guest,
        Err(error) => return End::Failed(error.message),
    };
    let exit = tokio::select! {
        exit = guest.wait() => exit,
        () = interrupt.cancelled() => {
            guest.kill();
            guest.wait().await;
            return End::Code(INTERRUPTED);
        }
    };
    match exit {
        Exit::Code(code) => End::Code(code),
        Exit::Trap { message } => {
            say(stderr.as_ref(), &message).await;
            End::Code(134)
        }
        Exit::OutOfMemory | Exit::Stopped | Exit::Killed => End::Code(137),
    }
}

/// What a shell shows for a program that was interrupted at the keyboard.
const INTERRUPTED: i32 = 130;

/// Shows a running container's streams to the client, and gives it what the client says, until either ends.
pub async fn attach(container: Arc<dyn Container>, log: Option<Arc<Log>>, options: Options, streams: Streams) {
    let Streams { stdin, stdout, stderr, error, has_status } = streams;
    let Some(log) = log else {
        let end = End::Failed("the container has ended".to_owned());
        return error.send(end.told(has_status).unwrap_or_default()).await;
    };
    let mut tap = log.tap();
    let show = |outlet: Option<&Outlet>, bytes: Bytes| {
        let outlet = outlet.cloned();
        let bytes = if options.tty { tty::shown(&bytes).into() } else { bytes };
        async move {
            if let Some(outlet) = outlet {
                outlet.send(bytes).await;
            }
        }
    };
    let shown = async {
        while let Some((source, bytes)) = tap.recv().await {
            match source {
                Source::Stderr if !options.tty => show(stderr.as_ref(), bytes).await,
                _ => show(stdout.as_ref(), bytes).await,
            }
        }
    };
    let (ends, interrupt) = (CancellationToken::new(), CancellationToken::new());
    let given = async {
        let (Some(stdin), Some(to)) = (stdin, log.stdin()) else { return };
        let mut stdin = match options.tty {
            true => terminal(stdin, stdout.clone(), interrupt.clone(), ends.clone()),
            false => stdin,
        };
        while let Some(bytes) = stdin.recv().await {
            if to.sender.send(bytes).await.is_err() {
                return;
            }
        }
        if to.once {
            log.close_stdin();
        }
    };
    let _ends = ends.clone().drop_guard();
    let both = async {
        tokio::pin!(shown, given);
        tokio::select! {
            () = &mut shown => {}
            () = &mut given => shown.await,
        }
    };
    let end = tokio::select! {
        () = both => match timeout(STREAM_CREATION_MAX, container.wait()).await {
            Ok(_) => End::Code(0),
            Err(_) => End::Failed("what the container writes was not read in time".to_owned()),
        },
        () = interrupt.cancelled() => {
            container.stop();
            End::Code(0)
        }
    };
    if let Some(told) = end.told(has_status) {
        error.send(told).await;
    }
    error.end();
}

/// What is received, to be read; at its end once nobody needs it.
fn input(mut pieces: mpsc::Receiver<Bytes>, ends: CancellationToken) -> Input {
    let mut ended = Box::pin(ends.cancelled_owned());
    let pieces = futures::stream::poll_fn(move |context| {
        if ended.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(None);
        }
        pieces.poll_recv(context)
    });
    Box::new(StreamReader::new(pieces.map(Ok::<_, io::Error>)))
}

/// Puts a terminal between what is typed and the program: what it passes on.
fn terminal(
    mut typed: mpsc::Receiver<Bytes>,
    shown: Option<Outlet>,
    interrupt: CancellationToken,
    ends: CancellationToken,
) -> mpsc::Receiver<Bytes> {
    let (sender, lines) = mpsc::channel(STREAM_PIECES_MAX);
    let typing = async move {
        let mut tty = Tty::default();
        while let Some(bytes) = typed.recv().await {
            let (show, outcome) = tty.type_in(&bytes);
            if let Some(shown) = shown.as_ref().filter(|_| !show.is_empty()) {
                shown.send(show.into()).await;
            }
            for typed in outcome {
                match typed {
                    Typed::Text(text) => {
                        if sender.send(text).await.is_err() {
                            return;
                        }
                    }
                    Typed::End => return,
                    Typed::Interrupt => interrupt.cancel(),
                }
            }
        }
    };
    tokio::spawn(async move { ends.run_until_cancelled(typing).await });
    lines
}

/// An output that is a terminal.
struct Screen(Outlet);

#[async_trait::async_trait]
impl Sink for Screen {
    fn write(&self, bytes: &[u8]) {
        self.0.write(&tty::shown(bytes));
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    async fn ready(&self) {
        self.0.ready().await;
    }
}

/// An output that nobody asked for.
struct Nowhere;

impl Sink for Nowhere {
    fn write(&self, _bytes: &[u8]) {}
}

/// Runs a command over SPDY, whose streams the client opens one by one.
///
/// # Errors
/// When the connection breaks, or the streams are not opened in time.
pub async fn over_spdy<W: Future<Output = ()>>(
    connection: impl AsyncRead + AsyncWrite + Send + 'static,
    has_status: bool,
    options: &Options,
    work: impl FnOnce(Streams) -> W,
) -> io::Result<()> {
    let (reader, writer) = session::raw(connection);
    let (opened, channels) = mpsc::channel(1);
    let done = CancellationToken::new();
    let carried = session::carry(reader, writer, opened, done.clone());
    let worked = async {
        let _done = done.clone().drop_guard();
        let streams = timeout(STREAM_CREATION_MAX, streams(channels, has_status, options)).await;
        if let Ok(Some(streams)) = streams {
            work(streams).await;
        }
    };
    tokio::pin!(carried, worked);
    tokio::select! {
        result = &mut carried => result,
        () = &mut worked => carried.await,
    }
}

/// The streams that the client asked for, once it has opened them all.
async fn streams(
    mut channels: mpsc::Receiver<session::Channel>,
    has_status: bool,
    options: &Options,
) -> Option<Streams> {
    let (mut error, mut stdin, mut stdout, mut stderr) = (None, None, None, None);
    while error.is_none()
        || (options.stdin && stdin.is_none())
        || (options.stdout && stdout.is_none())
        || (options.stderr && stderr.is_none())
    {
        let channel = channels.recv().await?;
        match channel.header("streamtype") {
            Some("error") => error = Some(channel.out),
            Some("stdin") => stdin = Some(channel.data),
            Some("stdout") => stdout = Some(channel.out),
            Some("stderr") => stderr = Some(channel.out),
            // Sizes of terminals mean nothing to WASI.
            _ => {}
        }
    }
    Some(Streams { stdin, stdout, stderr, error: error?, has_status })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn streams_are_those_that_are_asked_for() {
        let read = |text| Options::parse(text).ok();
        let all = Options { stdin: true, stdout: true, stderr: true, tty: false };
        assert_eq!(read("command=a&input=1&output=1&error=1"), Some(all.clone()));
        assert_eq!(read("input=1&output=1&error=1&tty=1"), Some(Options { stderr: false, tty: true, ..all }));
        assert_eq!(read("command=a"), None);
        assert_eq!(read("error=1&tty=1"), None);
    }

    #[test]
    fn ends_are_told_in_upstreams_words() {
        let told = |end: End, has_status| end.told(has_status).map(|told| String::from_utf8(told.to_vec()).unwrap());
        assert_eq!(told(End::Code(0), false), None);
        assert_eq!(told(End::Code(0), true).unwrap(), r#"{"metadata":{},"status":"Success"}"#);
        let failed: Value = serde_json::from_str(&told(End::Code(7), true).unwrap()).unwrap();
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"], json!([{"reason": "ExitCode", "message": "7"}]));
        assert_eq!(told(End::Code(7), false).unwrap(), "command terminated with non-zero exit code: exit status 7");
        let words = told(End::Failed("no".into()), false).unwrap();
        assert_eq!(words, "Internal error occurred: error executing command in container: no");
    }
}
