//! What the processes cost while nothing is asked of them.

use std::time::Duration;

use serde_json::json;

use crate::process::Processes;
use crate::report;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

/// Measures; one line.
///
/// # Errors
/// When no process was named, or one is gone.
pub async fn run(options: Options, processes: &Processes) -> anyhow::Result<()> {
    let cpu = processes.begin()?;
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let Some((spent, percent)) = cpu.end()? else {
        anyhow::bail!("no process was named: give --pids");
    };
    report::print(json!({
        "bench": "idle", "seconds": options.seconds, "cpu_s": spent, "core_percent": percent,
        "memory": processes.memory()?,
    }))
}
