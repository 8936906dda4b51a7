//! `coracle port-forward`: ports of this machine that lead to those of a pod.

mod ports;
mod tunnel;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::ports::{Addresses, Forwarded, addresses, forwarded};
use self::tunnel::{PIECE_BYTES_MAX, PROTOCOL, Tunnel, tunnel};
use crate::failure::{Failure, Result};
use crate::output::Out;
use crate::remote::attachable;
use crate::server::{Access, Server};
use crate::verb::run::time;
use crate::verb::up::Signals;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The pod, or what it belongs to: `web-5d`, `deploy/web`, `svc/web`
    #[arg(value_name = "POD | TYPE/NAME")]
    target: String,

    /// `8080`, `8080:80`, `:80` for a local port that is free, or `8080:http` by name
    #[arg(required = true, value_name = "[LOCAL:]REMOTE")]
    ports: Vec<String>,

    /// Where to listen: addresses, or localhost
    #[arg(long, value_name = "ADDR", value_delimiter = ',', default_value = "localhost")]
    address: Vec<String>,

    /// How long a pod is waited for
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1m")]
    pod_running_timeout: Duration,
}

/// A connection that somebody here has made.
struct Accepted {
    stream: TcpStream,
    local: u16,
    remote: u16,
}

/// Forwards until it is interrupted.
///
/// # Errors
/// When there is no such pod, no port can be listened on, or the connection to the pod is lost.
pub async fn run(options: Options, access: &Access, out: Out<'_>) -> Result {
    let addresses = addresses(&options.address)?;
    let server = Server::connect(access).await?;
    let target = attachable(&server, &options.target, options.pod_running_timeout).await?;
    let ports = options.ports.iter().map(|text| forwarded(text, &target.object, &target.pod));
    let ports = ports.collect::<Result<Vec<_>>>()?;
    if target.pod["status"]["phase"] != "Running" {
        let phase = target.pod["status"]["phase"].as_str().unwrap_or_default();
        let why = format!("unable to forward port because pod is not running. Current status={phase}");
        return Err(Failure::new(why));
    }
    let mut signals = Signals::new()?;
    let upgraded = server.websocket(&target.path(&server, "portforward"), &[PROTOCOL]).await;
    let (socket, _) = upgraded.map_err(|error| Failure::from(error).with_context("error upgrading connection"))?;
    let (tunnel, carried) = tunnel(socket);
    tokio::pin!(carried);

    let (accepted, mut connections) = mpsc::channel(1);
    let mut listening = JoinSet::new();
    for port in ports {
        match listen(&addresses, port, out).await {
            Ok(listeners) => {
                for listener in listeners {
                    listening.spawn(accept(listener, port.remote, accepted.clone()));
                }
            }
            Err(why) => eprintln!("Unable to listen on port {}: {why}", port.local),
        }
    }
    out.flush()?;
    if listening.is_empty() {
        return Err(Failure::new("unable to listen on any of the requested ports"));
    }
    let lost = || Failure::new("lost connection to pod");
    let mut forwarding = JoinSet::new();
    loop {
        tokio::select! {
            Some(accepted) = connections.recv() => {
                writeln!(out, "Handling connection for {}", accepted.local)?;
                out.flush()?;
                forwarding.spawn(forward(accepted, tunnel.clone()));
            }
            Some(ended) = forwarding.join_next() => {
                if let Err(why) = ended? {
                    eprintln!("{why}");
                    return Err(lost());
                }
            }
            _ = &mut carried => return Err(lost()),
            () = signals.next() => return Ok(()),
        }
    }
}

/// Listens on a port at every address that there is to be, and says so.
async fn listen(addresses: &Addresses, port: Forwarded, out: Out<'_>) -> Result<Vec<TcpListener>, String> {
    let Forwarded { mut local, remote } = port;
    let (mut listeners, mut failures, mut is_short) = (Vec::new(), Vec::new(), false);
    let any = addresses.any.iter().map(|address| (*address, false));
    let every = addresses.every.iter().map(|address| (*address, true));
    for (address, is_needed) in any.chain(every) {
        match bind(address, local).await {
            Ok((listener, at)) => {
                // A port that was free at one address is meant at all of them.
                local = at.port();
                listeners.push((listener, at));
            }
            Err(error) => {
                is_short |= is_needed;
                failures.push(format!("unable to create listener: {address}: {error}"));
            }
        }
    }
    if is_short || listeners.is_empty() {
        return Err(format!("Listeners failed to create with the following errors: [{}]", failures.join(" ")));
    }
    for (_, at) in &listeners {
        // Nobody reads it when this fails.
        let _ = writeln!(out, "Forwarding from {at} -> {remote}");
    }
    Ok(listeners.into_iter().map(|(listener, _)| listener).collect())
}

async fn bind(address: IpAddr, port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((address, port)).await?;
    let at = listener.local_addr()?;
    Ok((listener, at))
}

async fn accept(listener: TcpListener, remote: u16, accepted: mpsc::Sender<Accepted>) {
    let local = listener.local_addr().map_or(0, |at| at.port());
    loop {
        // One that could not be taken may have gone already.
        let Ok((stream, _)) = listener.accept().await else { continue };
        if accepted.send(Accepted { stream, local, remote }).await.is_err() {
            return;
        }
    }
}

/// Carries one connection; the error is what the pod's side says went wrong.
async fn forward(accepted: Accepted, tunnel: Tunnel) -> Result<(), String> {
    let Accepted { stream, local, remote } = accepted;
    let Some(mut connection) = tunnel.connect(remote).await else { return Ok(()) };
    let _ = stream.set_nodelay(true);
    let (mut from_here, mut to_here) = stream.into_split();
    let mut is_open = true;
    let mut buffer = BytesMut::new();
    let is_done = loop {
        buffer.reserve(PIECE_BYTES_MAX);
        tokio::select! {
            piece = connection.data.recv() => match piece {
                Some(bytes) if to_here.write_all(&bytes).await.is_ok() => {}
                Some(_) => break false,
                None => break true,
            },
            count = from_here.read_buf(&mut buffer), if is_open => match count {
                Ok(1..) => {
                    if connection.send(buffer.split().freeze()).await.is_err() {
                        break true;
                    }
                }
                Ok(0) => {
                    is_open = false;
                    connection.end().await;
                }
                Err(_) => break false,
            },
        }
    };
    if !is_done {
        connection.reset().await;
        return Ok(());
    }
    if is_open {
        connection.end().await;
    }
    // What is said of it here is shown before the connection ends there.
    let mut why = Vec::new();
    while let Some(bytes) = connection.errors.recv().await {
        why.extend_from_slice(&bytes);
    }
    let _ = to_here.shutdown().await;
    match why.is_empty() {
        true => Ok(()),
        false => Err(format!("an error occurred forwarding {local} -> {remote}: {}", String::from_utf8_lossy(&why))),
    }
}
