//! `coracle controller-manager`: the controllers alone, for any Kubernetes API.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use coracle_client::Informers;

use crate::failure::Result;
use crate::server::Access;
use crate::verb::run::time;
use crate::verb::scheduler::{client, until_signal};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The authority by which pods trust the API server; published to every namespace
    #[arg(long, value_name = "FILE")]
    root_ca_file: Option<PathBuf>,

    /// How long a node may be silent before it is not known to be ready
    #[arg(long, value_name = "TIME", value_parser = time)]
    node_monitor_grace_period: Option<Duration>,
}

/// Runs the verb, until a signal.
///
/// # Errors
/// When there is no kubeconfig, or a controller fails.
pub async fn run(options: Options, access: &Access) -> Result {
    let mut config = coracle_controllers::Config::default();
    if let Some(path) = &options.root_ca_file {
        let text = std::fs::read_to_string(path);
        config.root_ca = Some(text.with_context(|| format!("cannot read {}", path.display()))?);
    }
    if let Some(grace) = options.node_monitor_grace_period {
        config.node_monitor_grace = grace;
    }
    let client = client(access, "kube-controller-manager").await?;
    until_signal(async |stop| {
        let informers = Informers::new(client.clone(), stop.clone());
        Ok(coracle_controllers::run(config, client, informers, stop).await?)
    })
    .await
}
