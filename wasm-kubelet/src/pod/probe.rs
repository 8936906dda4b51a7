//! Probes: asking a guest how it is, and counting the answers.
//!
//! [`Tally`] is the pure part. A prober is one task a container; it sleeps between two looks and tells the worker only
//! when a probe changes its mind. Source: kubelet's `prober`, with its thresholds and its meaning of an HTTP answer.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::spec::Probes;
use super::state::ProbeKind;
use crate::limits::PROBE_BODY_BYTES_MAX;

/// One probe, with defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub action: Action,
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub successes: u32,
    pub failures: u32,
    /// Grace of the container that this probe ends, instead of the pod's.
    pub grace: Option<Duration>,
}

/// How a guest is asked. Without a host, at the pod's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Http { host: Option<String>, port: u16, path: String, headers: Vec<(String, String)> },
    Tcp { host: Option<String>, port: u16 },
}

/// Counts answers until they make a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    verdict: Option<bool>,
    run: (bool, u32),
}

impl Tally {
    /// Takes an answer; the verdict, when this answer changed it.
    pub fn count(&mut self, is_success: bool, probe: &Probe) -> Option<bool> {
        self.run = if self.run.0 == is_success { (is_success, self.run.1 + 1) } else { (is_success, 1) };
        let enough = if is_success { probe.successes } else { probe.failures };
        if self.run.1 < enough || self.verdict == Some(is_success) {
            return None;
        }
        self.verdict = Some(is_success);
        self.verdict
    }
}

/// What a prober tells.
#[derive(Clone, Debug)]
pub enum Finding {
    /// A probe changed its mind.
    Verdict(ProbeKind, Result<(), String>),
    /// One attempt failed, whatever that means for the verdict.
    Failure(ProbeKind, String),
}

/// Whoever a prober tells.
pub trait Hear: Send + Sync {
    /// Takes a finding.
    fn hear(&self, finding: Finding) -> impl Future<Output = ()> + Send;
}

/// Probes a container until it is dropped: the startup probe first, then the two others side by side.
///
/// # Cancel safety
/// May be dropped at any point.
pub async fn watch(probes: Probes, address: Ipv4Addr, tell: impl Hear) {
    if let Some(startup) = &probes.startup
        && !startup_succeeds(startup, address, &tell).await
    {
        return;
    }
    let readiness = repeat(ProbeKind::Readiness, probes.readiness.as_deref(), address, &tell);
    let liveness = repeat(ProbeKind::Liveness, probes.liveness.as_deref(), address, &tell);
    tokio::join!(readiness, liveness);
}

async fn startup_succeeds(probe: &Probe, address: Ipv4Addr, tell: &impl Hear) -> bool {
    let mut tally = Tally::default();
    sleep(probe.initial_delay).await;
    loop {
        if let Some(is_success) = attempt(ProbeKind::Startup, probe, &mut tally, address, tell).await {
            return is_success;
        }
        sleep(probe.period).await;
    }
}

async fn repeat(kind: ProbeKind, probe: Option<&Probe>, address: Ipv4Addr, tell: &impl Hear) {
    let Some(probe) = probe else { return };
    let mut tally = Tally::default();
    let mut next = Instant::now() + probe.initial_delay;
    loop {
        sleep_until(next).await;
        next += probe.period;
        attempt(kind, probe, &mut tally, address, tell).await;
    }
}

async fn attempt(
    kind: ProbeKind,
    probe: &Probe,
    tally: &mut Tally,
    address: Ipv4Addr,
    tell: &impl Hear,
) -> Option<bool> {
    let answer = ask(probe, address).await;
    if let Err(reason) = &answer {
        tell.hear(Finding::Failure(kind, reason.clone())).await;
    }
    let verdict = tally.count(answer.is_ok(), probe);
    if verdict.is_some() {
        tell.hear(Finding::Verdict(kind, answer)).await;
    }
    verdict
}

async fn ask(probe: &Probe, address: Ipv4Addr) -> Result<(), String> {
    let asked = async {
        match &probe.action {
            Action::Tcp { host, port } => connect(host.as_deref(), address, *port).await.map(drop),
            Action::Http { host, port, path, headers } => {
                let stream = connect(host.as_deref(), address, *port).await?;
                http_get(stream, host.as_deref(), address, *port, path, headers).await
            }
        }
    };
    match timeout(probe.timeout, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", probe.timeout.as_secs())),
    }
}

async fn connect(host: Option<&str>, address: Ipv4Addr, port: u16) -> Result<TcpStream, String> {
    let connected = match host {
        Some(host) => TcpStream::connect((host, port)).await,
        None => TcpStream::connect((IpAddr::V4(address), port)).await,
    };
    let stream =
        connected.map_err(|error| format!("dial tcp {}:{port}: {error}", host.unwrap_or(&address.to_string())))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

async fn http_get(
    stream: TcpStream,
    host: Option<&str>,
    address: Ipv4Addr,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> Result<(), String> {
    let fail = |error: &dyn std::fmt::Display| format!("Get \"http://{address}:{port}{path}\": {error}");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut request = Request::get(path).header("User-Agent", "kube-probe/1.36").header("Connection", "close");
    let mut has_host = false;
    for (name, value) in headers {
        has_host |= name.eq_ignore_ascii_case("host");
        request = request.header(name, value);
    }
    if !has_host {
        request = request.header("Host", format!("{}:{port}", host.unwrap_or(&address.to_string())));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| fail(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| fail(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| fail(&error))?;
        let status = response.status();
        // What the guest says beyond the limit is not waited for.
        let _ = Limited::new(response.into_body(), PROBE_BODY_BYTES_MAX).collect().await;
        if (200..400).contains(&status.as_u16()) {
            Ok(())
        } else {
            Err(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
        }
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn probe(action: Action) -> Probe {
        let period = Duration::from_secs(10);
        let timeout = Duration::from_secs(1);
        Probe { action, initial_delay: Duration::ZERO, period, timeout, successes: 1, failures: 3, grace: None }
    }

    #[test]
    fn a_verdict_takes_as_many_answers_as_its_threshold() {
        let probe = probe(Action::Tcp { host: None, port: 1 });
        let mut tally = Tally::default();
        let verdicts: Vec<_> = [false, false, true, true, false, false, false, false, true]
            .map(|answer| tally.count(answer, &probe))
            .into();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(verdicts, [None, None, yes, None, None, None, no, None, yes]);
    }

    #[tokio::test]
    async fn an_answer_below_400_is_a_success() {
        for (status, ok) in [("200 OK", true), ("302 Found", true), ("404 Not Found", false), ("500 Oh", false)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
                stream.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&request[..read]).into_owned()
            });
            let action =
                Action::Http { host: None, port, path: "/ready".into(), headers: vec![("X-A".into(), "b".into())] };
            let answer = ask(&probe(action), Ipv4Addr::LOCALHOST).await;
            assert_eq!(answer.is_ok(), ok, "{status}: {answer:?}");
            let request = server.await.unwrap().to_lowercase();
            assert!(request.starts_with("get /ready http/1.1") && request.contains("x-a: b"), "{request}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_a_failure() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let answer = ask(&probe(Action::Tcp { host: None, port }), Ipv4Addr::LOCALHOST).await;
        assert!(answer.unwrap_err().starts_with("dial tcp 127.0.0.1:"));
    }
}
