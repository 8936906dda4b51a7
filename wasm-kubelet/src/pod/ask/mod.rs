//! Asking a guest something, for its probes and its hooks: over HTTP, a connection, gRPC's health service, or by running
//! its module once more.
//!
//! What a failure says is what upstream's kubelet says, since it is read in events. Source: kubelet, `pkg/probe` and
//! `lifecycle.handlerRunner`.

mod exec;
mod grpc;
mod http;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::spec::Hook;
use crate::runtime::Container;

/// How a guest is asked. Without a host, at the pod's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Http(HttpGet),
    Tcp { host: Option<String>, port: u16 },
    Grpc { port: u16, service: String },
    Exec { command: Vec<String> },
}

/// A request with the method GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGet {
    pub is_tls: bool,
    pub host: Option<String>,
    pub port: u16,
    pub path: String,
    pub headers: Vec<(String, String)>,
}

/// What a guest answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Well,
    /// Well, but somebody should know this.
    Warned(String),
    Failed(String),
    /// It could not be asked.
    Unasked(String),
}

/// Who is asked.
#[derive(Clone)]
pub struct Asked {
    pub address: Ipv4Addr,
    pub container: Arc<dyn Container>,
}

/// As upstream's kubelet of this version calls itself.
const USER_AGENT: &str = "kube-probe/1.36";

/// Go's words for what took too long.
const TIMED_OUT: &str = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";

impl Asked {
    /// Asks, and waits for the answer for at most `limit`.
    ///
    /// # Cancel safety
    /// May be dropped at any point; what was run for it ends.
    pub async fn ask(&self, action: &Action, limit: Duration) -> Answer {
        let seconds = limit.as_secs();
        match action {
            Action::Tcp { host, port } => {
                let connected = timeout(limit, connect(host.as_deref(), self.address, *port)).await;
                let late = || format!("dial tcp {}: i/o timeout", authority(host.as_deref(), self.address, *port));
                connected.unwrap_or_else(|_| Err(late())).map_or_else(Answer::Failed, |_| Answer::Well)
            }
            Action::Http(get) => match timeout(limit, http::get(self, get)).await {
                Ok(Ok(exchange)) => exchange.answer(),
                Ok(Err(error)) => Answer::Failed(error),
                Err(_) => Answer::Failed(format!("Get {:?}: {TIMED_OUT}", get.url(self.address))),
            },
            Action::Grpc { port, service } => match timeout(limit, grpc::check(self.address, *port, service)).await {
                Ok(answer) => answer,
                Err(_) => Answer::Failed(format!("timeout: health rpc did not complete within {seconds}s")),
            },
            Action::Exec { command } => match timeout(limit, exec::run(&*self.container, command)).await {
                Ok(Ok(run)) if run.is_success => Answer::Well,
                Ok(Ok(run)) => Answer::Failed(run.output),
                Ok(Err(error)) => Answer::Unasked(error),
                Err(_) => {
                    let command = command.join(" ");
                    Answer::Failed(format!("command timed out: {command:?} timed out after {seconds}s"))
                }
            },
        }
    }

    /// Runs a hook of `container`, which is named for whoever reads of its failure; `pod` is written `name_namespace(uid)`.
    ///
    /// # Errors
    /// What the pod's status says of it.
    ///
    /// # Cancel safety
    /// As [`Asked::ask`].
    pub async fn run(&self, hook: &Hook, container: &str, pod: &str) -> Result<(), String> {
        let whose = format!("for Container {container:?} in Pod {pod:?} failed - error:");
        match hook {
            Hook::Sleep(duration) => {
                tokio::time::sleep(*duration).await;
                Ok(())
            }
            Hook::Invalid(why) => Err(format!("Cannot run handler: {why}")),
            Hook::Ask(Action::Exec { command }) => {
                let of = format!("Exec lifecycle hook ([{}]) {whose}", command.join(" "));
                match exec::run(&*self.container, command).await {
                    Ok(run) if run.is_success => Ok(()),
                    Ok(run) => {
                        Err(format!("{of} command '{}' {}, message: {:?}", command.join(" "), run.end, run.output))
                    }
                    Err(error) => Err(format!("{of} {error}, message: \"\"")),
                }
            }
            // Whatever is answered will do, as upstream has it.
            Hook::Ask(Action::Http(get)) => {
                let done = http::get(self, get).await;
                done.map(drop).map_err(|error| format!("HTTP lifecycle hook ({}) {whose} {error}", get.path))
            }
            Hook::Ask(Action::Tcp { .. } | Action::Grpc { .. }) => Err("Cannot run handler: invalid handler".into()),
        }
    }
}

fn authority(host: Option<&str>, address: Ipv4Addr, port: u16) -> String {
    match host {
        Some(host) if host.contains(':') => format!("[{host}]:{port}"),
        Some(host) => format!("{host}:{port}"),
        None => format!("{address}:{port}"),
    }
}

async fn connect(host: Option<&str>, address: Ipv4Addr, port: u16) -> Result<TcpStream, String> {
    let connected = match host {
        Some(host) => TcpStream::connect((host, port)).await,
        None => TcpStream::connect((IpAddr::V4(address), port)).await,
    };
    let dialled = || format!("dial tcp {}", authority(host, address, port));
    let stream = connected.map_err(|error| format!("{}: connect: {}", dialled(), spoken(&error)))?;
    stream.set_nodelay(true).map_err(|error| format!("{}: {}", dialled(), spoken(&error)))?;
    Ok(stream)
}

/// An error of the system as Go words it.
fn spoken(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
        io::ErrorKind::HostUnreachable => "no route to host".into(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        io::ErrorKind::TimedOut => "connection timed out".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
