//! Requests to a URL over kept connections, one after another on each.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use http::Uri;
use serde::Serialize;
use serde_json::json;

use crate::connection::Connection;
use crate::latency::{Latencies, Summary};
use crate::report;
use crate::server::Server;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to ask: http://127.0.0.1:30080/
    #[arg(long)]
    url: Uri,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[derive(Default)]
struct Done {
    latencies: Latencies,
    failures: usize,
    bytes: usize,
}

/// Measures; one line.
///
/// # Errors
/// When the address does not answer.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let load = load(&options.url, options.connections, Duration::from_secs(options.seconds)).await?;
    let Load { requests_per_s, requests, failures, bytes } = load;
    report::print(json!({
        "bench": "http", "url": options.url.to_string(), "connections": options.connections,
        "requests_per_s": requests_per_s, "requests": requests, "failures": failures, "bytes": bytes,
    }))
}

/// What came of asking for a while.
#[derive(Debug, Serialize)]
pub struct Load {
    pub requests_per_s: f64,
    pub requests: Option<Summary>,
    pub failures: usize,
    pub bytes: usize,
}

/// Asks `url` over so many kept connections.
///
/// # Errors
/// When the address does not answer.
pub async fn load(url: &Uri, connections: usize, lasting: Duration) -> anyhow::Result<Load> {
    let server = Server::plain(url)?;
    let path = url.path_and_query().context("the URL has no path")?.to_string();
    let connections = try_join_all((0..connections).map(|_| server.connect())).await?;
    let began = Instant::now();
    let until = began + lasting;
    let clients = connections.into_iter().map(|connection| {
        let client = ask(connection, path.clone(), until);
        async { tokio::spawn(client).await? }
    });
    let mut all = Done::default();
    for done in try_join_all(clients).await? {
        all.latencies.merge(done.latencies);
        all.failures += done.failures;
        all.bytes += done.bytes;
    }
    Ok(Load {
        requests_per_s: report::per_second(all.latencies.len(), began.elapsed().as_secs_f64()),
        requests: all.latencies.summary(),
        failures: all.failures,
        bytes: all.bytes,
    })
}

async fn ask(mut connection: Connection, path: String, until: Instant) -> anyhow::Result<Done> {
    let mut done = Done::default();
    while Instant::now() < until {
        let began = Instant::now();
        match connection.get(&path).await {
            Ok(answer) if answer.status.is_success() => {
                done.latencies.record(began.elapsed());
                done.bytes += answer.body.len();
            }
            Ok(_) | Err(_) => done.failures += 1,
        }
    }
    Ok(done)
}
