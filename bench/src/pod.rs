//! One pod after another: from the request that creates it to the watcher that sees it Running.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::latency::Latencies;
use crate::namespace;
use crate::pods::{Pods, within};
use crate::report;
use crate::server::Server;
use crate::workload::Workload;

const NAME: &str = "pod";

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 200)]
    times: usize,
    /// How long one pod may take
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
    #[command(flatten)]
    workload: Workload,
}

/// Measures; one line.
///
/// # Errors
/// When the server refuses, or a pod takes too long.
pub async fn run(options: Options, server: &Server, namespace: &str) -> anyhow::Result<()> {
    let collection = namespace::collection(namespace, "pods");
    let mut connection = server.connect().await?;
    namespace::clear(&mut connection, &collection, NAME).await?;
    let (_, watch) = namespace::watch(server, &mut connection, &collection, NAME).await?;
    let mut pods = Pods::new(watch);
    let limit = Duration::from_secs(options.timeout);
    let mut created_to_running = Latencies::default();
    for number in 0..options.times {
        let name = format!("{NAME}-{number}");
        let body = options.workload.pod(&name, NAME).to_string();
        let began = Instant::now();
        connection.post(&collection, body).await?.success()?;
        let running = within(limit, pods.until_running(&name)).await?;
        created_to_running.record(running - began);
        connection.delete(&format!("{collection}/{name}")).await?.success()?;
        within(limit, pods.until_gone()).await?;
    }
    report::print(json!({
        "bench": "pod", "created_to_running": created_to_running.summary(),
        "added_to_running": pods.added_to_running().summary(),
    }))
}
