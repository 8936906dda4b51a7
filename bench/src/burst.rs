//! A Deployment scaled 0 → N, all Ready, → 0.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

use crate::connection::Connection;
use crate::namespace;
use crate::pods::{Pods, within};
use crate::process::Processes;
use crate::report;
use crate::server::Server;
use crate::workload::Workload;

const NAME: &str = "burst";

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 500)]
    pods: usize,
    /// How often it is done
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// How long a scaling may take
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout: u64,
    #[command(flatten)]
    workload: Workload,
}

/// Measures; one line a round.
///
/// # Errors
/// When the server refuses, or a scaling takes too long.
pub async fn run(options: Options, server: &Server, namespace: &str, processes: &Processes) -> anyhow::Result<()> {
    let mut deployment = Scaled::create(server, namespace, NAME, &options.workload).await?;
    for _ in 0..options.rounds {
        within(Duration::from_secs(options.timeout), round(&options, &mut deployment, processes)).await?;
    }
    deployment.delete().await
}

async fn round(options: &Options, deployment: &mut Scaled, processes: &Processes) -> anyhow::Result<()> {
    let mut pods = deployment.watch().await?;
    let cpu = processes.begin()?;
    let up = Instant::now();
    deployment.scale(options.pods).await?;
    pods.until_ready(options.pods).await?;
    let (up, cpu) = (up.elapsed(), cpu.end()?);
    let memory = processes.memory()?;
    let down = Instant::now();
    deployment.scale(0).await?;
    pods.until_gone().await?;
    report::print(json!({
        "bench": "burst", "pods": options.pods,
        "ready_s": report::seconds(up), "pods_per_s": report::per_second(options.pods, up.as_secs_f64()),
        "added_to_running": pods.added_to_running().summary(), "added_to_ready": pods.added_to_ready().summary(),
        "gone_s": report::seconds(down.elapsed()),
        "memory": memory, "cpu_s": cpu.map(|(spent, _)| spent),
    }))
}

/// A Deployment whose replicas are changed under a watch.
pub struct Scaled {
    server: Server,
    connection: Connection,
    deployment: String,
    pods: String,
    name: &'static str,
}

impl Scaled {
    /// Creates it with no replicas, after what an earlier run may have left is gone.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create(
        server: &Server,
        namespace: &str,
        name: &'static str,
        workload: &Workload,
    ) -> anyhow::Result<Self> {
        let deployments = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
        let mut scaled = Self {
            server: server.clone(),
            connection: server.connect().await?,
            deployment: format!("{deployments}/{name}"),
            pods: namespace::collection(namespace, "pods"),
            name,
        };
        scaled.delete().await?;
        let body = workload.deployment(name).to_string();
        scaled.connection.post(&deployments, body).await?.success().context("create the Deployment")?;
        Ok(scaled)
    }

    /// Watches its pods, of which there are none yet.
    ///
    /// # Errors
    /// When the server refuses, or pods of it are left.
    pub async fn watch(&mut self) -> anyhow::Result<Pods> {
        let (count, watch) = namespace::watch(&self.server, &mut self.connection, &self.pods, self.name).await?;
        anyhow::ensure!(count == 0, "{count} pods of an earlier run are still there");
        Ok(Pods::new(watch))
    }

    /// Sets the replicas.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn scale(&mut self, replicas: usize) -> anyhow::Result<()> {
        let patch = json!({"spec": {"replicas": replicas}});
        let path = format!("{}/scale", self.deployment);
        self.connection.merge(&path, &patch).await?.success().context("scale the Deployment")?;
        Ok(())
    }

    /// Deletes it and waits until its pods are gone.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete(&mut self) -> anyhow::Result<()> {
        namespace::remove(&mut self.connection, &self.deployment).await?;
        while namespace::count(&mut self.connection, &self.pods, self.name).await?.0 > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
