//! Many pods in equal steps: whatever grows faster than the number of pods shows as steps that take longer.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::burst::Scaled;
use crate::pods::{Pods, within};
use crate::process::Processes;
use crate::report;
use crate::server::Server;
use crate::workload::Workload;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 5000)]
    pods: usize,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// How long it all may take
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    timeout: u64,
    #[command(flatten)]
    workload: Workload,
}

/// Measures; one line for all steps.
///
/// # Errors
/// When the server refuses, or it takes too long.
pub async fn run(options: Options, server: &Server, namespace: &str, processes: &Processes) -> anyhow::Result<()> {
    let mut deployment = Scaled::create(server, namespace, "density", &options.workload).await?;
    let mut pods = deployment.watch().await?;
    let limit = Duration::from_secs(options.timeout);
    within(limit, fill(&options, &mut deployment, &mut pods, processes)).await?;
    drop(pods);
    within(limit, deployment.delete()).await
}

async fn fill(
    options: &Options,
    deployment: &mut Scaled,
    pods: &mut Pods,
    processes: &Processes,
) -> anyhow::Result<()> {
    let before = processes.memory()?;
    let start = Instant::now();
    let mut steps = Vec::new();
    for step in 1..=options.steps as usize {
        let began = Instant::now();
        let target = options.pods * step / options.steps as usize;
        deployment.scale(target).await?;
        pods.until_ready(target).await?;
        steps.push(report::seconds(began.elapsed()));
    }
    report::print(json!({
        "bench": "density", "pods": options.pods, "ready_s": report::seconds(start.elapsed()), "steps_s": steps,
        "added_to_running": pods.added_to_running().summary(),
        "memory_before": before, "memory": processes.memory()?,
    }))
}
