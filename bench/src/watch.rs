//! One write to many watchers: from the request to each frame's arrival.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::json;

use crate::frames::Frames;
use crate::latency::Latencies;
use crate::namespace::{self, LABEL};
use crate::pods::within;
use crate::process::Processes;
use crate::report;
use crate::server::Server;

const NAME: &str = "watch";

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 100)]
    watchers: usize,
    /// Writes, one after another
    #[arg(long, default_value_t = 200)]
    writes: usize,
    /// How long it all may take
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    timeout: u64,
}

#[derive(Deserialize)]
struct Stamped {
    data: Stamp,
}

/// Nanoseconds from the start of the measurement to the write.
#[derive(Deserialize)]
struct Stamp {
    sent: String,
}

/// Measures; one line.
///
/// # Errors
/// When the server refuses, ends a watch, or takes too long.
pub async fn run(options: Options, server: &Server, namespace: &str, processes: &Processes) -> anyhow::Result<()> {
    let collection = namespace::collection(namespace, "configmaps");
    let mut connection = server.connect().await?;
    namespace::clear(&mut connection, &collection, NAME).await?;
    let (_, version) = namespace::count(&mut connection, &collection, NAME).await?;
    let path = namespace::watch_path(&collection, NAME, &version);
    let before = processes.memory()?;
    let watches = try_join_all((0..options.watchers).map(|_| async { server.connect().await?.watch(&path).await }));
    let watches = watches.await?;
    let memory = processes.memory()?;
    let cpu = processes.begin()?;
    let start = Instant::now();
    let watchers: Vec<_> =
        watches.into_iter().map(|frames| tokio::spawn(observe(frames, options.writes, start))).collect();
    for number in 0..options.writes {
        let body = config_map(number, start.elapsed()).to_string();
        connection.post(&collection, body).await?.success()?;
    }
    let mut latencies = Latencies::default();
    let all = try_join_all(watchers.into_iter().map(|watcher| async { watcher.await? }));
    for observed in within(Duration::from_secs(options.timeout), all).await? {
        latencies.merge(observed);
    }
    let took = start.elapsed().as_secs_f64();
    let cpu = cpu.end()?;
    namespace::clear(&mut connection, &collection, NAME).await?;
    report::print(json!({
        "bench": "watch", "watchers": options.watchers, "writes": options.writes,
        "frames_per_s": report::per_second(latencies.len(), took), "sent_to_seen": latencies.summary(),
        "memory_before": before, "memory": memory, "cpu_s": cpu.map(|(spent, _)| spent),
    }))
}

async fn observe(mut frames: Frames, writes: usize, start: Instant) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    while latencies.len() < writes {
        let stamp = frames.next::<Stamped>().await?.object.data;
        latencies.record(start.elapsed().saturating_sub(Duration::from_nanos(stamp.sent.parse()?)));
    }
    Ok(latencies)
}

fn config_map(number: usize, sent: Duration) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("{NAME}-{number}"), "labels": {LABEL: NAME}},
        "data": {"sent": sent.as_nanos().to_string()},
    })
}
