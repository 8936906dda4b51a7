//! A whole process, again and again: what a person or a CI job waits for.

use std::process::Stdio;
use std::time::Instant;

use anyhow::Context;
use serde_json::json;
use tokio::process::Command;

use crate::latency::Latencies;
use crate::report;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 50)]
    times: usize,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Measures; one line.
///
/// # Errors
/// When the command fails.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let (program, arguments) = options.command.split_first().context("no command")?;
    let mut latencies = Latencies::default();
    for _ in 0..options.times {
        let began = Instant::now();
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await
            .with_context(|| format!("cannot start {program}"))?;
        anyhow::ensure!(status.success(), "{program}: {status}");
        latencies.record(began.elapsed());
    }
    report::print(json!({"bench": "run", "command": options.command.join(" "), "process": latencies.summary()}))
}
