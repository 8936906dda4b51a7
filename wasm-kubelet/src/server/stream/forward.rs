//! `port-forward`: what comes on a pair of streams goes to a port of the pod, and back.
//!
//! Source: the kubelet's streaming server, `portforward`.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{Sink, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::outbox::Outlet;
use super::spdy::session::{self, Channel};
use crate::limits::{FORWARD_CONNECT_MAX, FORWARD_PAIRS_WAITING_MAX, FORWARD_PORTS_MAX, STREAM_CHUNK_BYTES};
use crate::pod::worker::Shared;

/// The pod whose ports are meant.
#[derive(Clone)]
pub struct Target(pub Arc<Shared>);

impl Target {
    fn address(&self) -> io::Result<IpAddr> {
        let address = self.0.guests().iter().find_map(|slot| slot.live.as_ref()?.address());
        address.ok_or_else(|| io::Error::other("the pod is not running"))
    }
}

/// The ports that are listed, over all values.
///
/// # Errors
/// What is no port, or that there is none.
pub fn ports(values: impl Iterator<Item = String>) -> Result<Vec<u16>, String> {
    let mut ports = Vec::new();
    for value in values {
        for port in value.split(',') {
            let number = port.parse().map_err(|error| format!("unable to parse {value:?} as a port: {error}"))?;
            ports.push(Some(number).filter(|port| *port != 0).ok_or(format!("port {value:?} must be > 0"))?);
        }
    }
    match ports.len() {
        0 => Err("query parameter \"port\" is required".to_owned()),
        1..=FORWARD_PORTS_MAX => Ok(ports),
        _ => Err(format!("at most {FORWARD_PORTS_MAX} ports can be forwarded at once")),
    }
}

/// Forwards pairs of SPDY streams, an error and a data stream each, until the client goes.
///
/// # Errors
/// When the connection breaks.
pub async fn over_spdy(
    reader: impl Stream<Item = io::Result<Bytes>> + Send,
    writer: impl Sink<Bytes, Error = io::Error> + Send,
    target: Target,
) -> io::Result<()> {
    let (opened, channels) = mpsc::channel(1);
    tokio::select! {
        result = session::carry(reader, writer, opened, CancellationToken::new()) => result,
        () = pairs(channels, target) => Ok(()),
    }
}

async fn pairs(mut channels: mpsc::Receiver<Channel>, target: Target) {
    let mut waiting: HashMap<String, (Option<Channel>, Option<Channel>)> = HashMap::new();
    let mut forwarded = JoinSet::new();
    loop {
        let channel = tokio::select! {
            channel = channels.recv() => channel,
            Some(_) = forwarded.join_next() => continue,
        };
        let Some(channel) = channel else { return };
        let is_error = match channel.header("streamtype") {
            Some("error") => true,
            Some("data") => false,
            _ => continue,
        };
        // Clients of long ago gave no number: their data stream came right after the error stream.
        let unnumbered = if is_error { channel.id } else { channel.id.saturating_sub(2) };
        let request = channel.header("requestid").map_or_else(|| unnumbered.to_string(), str::to_owned);
        waiting.retain(|_, (error, data)| {
            let is_there = |half: &Option<Channel>| half.as_ref().is_some_and(|half| !half.reset.is_cancelled());
            is_there(error) || is_there(data)
        });
        if waiting.len() >= FORWARD_PAIRS_WAITING_MAX && !waiting.contains_key(&request) {
            continue;
        }
        let pair = waiting.entry(request.clone()).or_default();
        *(if is_error { &mut pair.0 } else { &mut pair.1 }) = Some(channel);
        if let (Some(_), Some(_)) = pair
            && let Some((Some(error), Some(data))) = waiting.remove(&request)
        {
            forwarded.spawn(pair_up(target.clone(), error, data));
        }
    }
}

async fn pair_up(target: Target, error: Channel, data: Channel) {
    let wanted = ports(data.header("port").map(str::to_owned).into_iter());
    let reset = data.reset.clone();
    match wanted.as_deref() {
        Ok([wanted]) => {
            reset.run_until_cancelled(port(target, *wanted, data.data, data.out, error.out)).await;
        }
        _ => {
            error.out.send(Bytes::from_static(b"\"port\" header is required")).await;
            error.out.end();
            data.out.end();
        }
    }
}

/// One connection to a port of the pod, from its beginning to its end.
pub async fn port(target: Target, port: u16, data: mpsc::Receiver<Bytes>, out: Outlet, error: Outlet) {
    if let Err(why) = connect_and_copy(&target, port, data, &out).await {
        let (pod, uid) = (&target.0.key.name, &target.0.uid);
        error.send(format!("error forwarding port {port} to pod {pod}, uid {uid}: {why}").into()).await;
    }
    out.end();
    error.end();
}

async fn connect_and_copy(target: &Target, port: u16, mut data: mpsc::Receiver<Bytes>, out: &Outlet) -> io::Result<()> {
    let address = (target.address()?, port);
    let refused =
        |why: &dyn std::fmt::Display| io::Error::other(format!("failed to connect to {}:{port}: {why}", address.0));
    let stream = match timeout(FORWARD_CONNECT_MAX, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| refused(&error))?,
        Err(_) => return Err(refused(&"timed out")),
    };
    stream.set_nodelay(true)?;
    let (mut from, mut to) = stream.into_split();
    let inward = async {
        while let Some(bytes) = data.recv().await {
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    };
    let outward = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(STREAM_CHUNK_BYTES);
            if from.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            out.send(buffer.split().freeze()).await;
        }
    };
    tokio::pin!(inward, outward);
    tokio::select! {
        result = &mut outward => result,
        // What the pod has closed to us it may still answer on.
        _ = &mut inward => outward.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_all_values() {
        let read = |values: &[&str]| ports(values.iter().map(|value| (*value).to_owned())).ok();
        assert_eq!(read(&["80,81", "82"]), Some(vec![80, 81, 82]));
        for wrong in [&[][..], &[""], &["0"], &["80,"], &["65536"], &["-1"], &["x"]] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        assert_eq!(ports((0..=FORWARD_PORTS_MAX).map(|_| "80".to_owned())).ok(), None);
    }
}
