//! How long after its grace a pod is gone whose guest does not listen.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::latency::Latencies;
use crate::namespace;
use crate::pods::{Pods, within};
use crate::report;
use crate::server::Server;
use crate::workload::Workload;

const NAME: &str = "stop";

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 20)]
    times: usize,
    /// The grace that each pod is given
    #[arg(long, default_value_t = 1, value_name = "SECONDS")]
    grace: u64,
    /// How long one pod may take
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
    #[command(flatten)]
    workload: Workload,
}

/// Measures; one line: what each pod took beyond its grace, from the answer to its deletion to the watcher that sees it gone.
///
/// # Errors
/// When the server refuses, or a pod takes too long.
pub async fn run(options: Options, server: &Server, namespace: &str) -> anyhow::Result<()> {
    let collection = namespace::collection(namespace, "pods");
    let mut connection = server.connect().await?;
    namespace::clear(&mut connection, &collection, NAME).await?;
    let (_, watch) = namespace::watch(server, &mut connection, &collection, NAME).await?;
    let mut pods = Pods::new(watch);
    let (limit, grace) = (Duration::from_secs(options.timeout), Duration::from_secs(options.grace));
    let mut beyond = Latencies::default();
    for number in 0..options.times {
        let name = format!("{NAME}-{number}");
        connection.post(&collection, options.workload.pod(&name, NAME).to_string()).await?.success()?;
        within(limit, pods.until_running(&name)).await?;
        let path = format!("{collection}/{name}?gracePeriodSeconds={}", options.grace);
        connection.delete(&path).await?.success()?;
        let asked = Instant::now();
        within(limit + grace, pods.until_gone()).await?;
        beyond.record(asked.elapsed().saturating_sub(grace));
    }
    report::print(json!({"bench": "stop", "grace_s": options.grace, "gone_after_grace": beyond.summary()}))
}
