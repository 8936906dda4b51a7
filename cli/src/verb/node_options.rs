//! What a node may be told by whoever starts it: options that `coracle up` and `coracle kubelet` share.

use std::path::PathBuf;

use coracle_kubelet::Config;

use crate::failure::Result;
use crate::verb::capacity::{self, Claim};
use crate::verb::eviction::Pressure;
use crate::verb::node_shutdown::Shutdown;
use crate::verb::registries::Registries;

#[derive(Debug, clap::Args)]
pub struct NodeOptions {
    /// A folder of pods that the node runs by itself, each a file of YAML or JSON, whether or not there is an API; or one
    /// such file
    #[arg(long, alias = "pod-manifest-path", value_name = "PATH")]
    static_pod_path: Option<PathBuf>,

    /// The most pods at once
    #[arg(long, value_name = "N")]
    max_pods: Option<u32>,

    /// What the node is to claim instead of all that the machine has: cpu, memory, ephemeral-storage
    #[arg(long, value_name = "RESOURCE=AMOUNT,…", value_delimiter = ',', value_parser = capacity::claim)]
    capacity: Vec<Claim>,

    #[command(flatten)]
    shutdown: Shutdown,

    #[command(flatten)]
    pressure: Pressure,

    #[command(flatten)]
    registries: Registries,
}

impl NodeOptions {
    /// Gives a node these settings.
    ///
    /// # Errors
    /// When they contradict each other, or a file cannot be read.
    pub fn apply(&self, config: &mut Config) -> Result {
        config.static_pods = self.static_pod_path.as_deref().map(std::path::absolute).transpose()?;
        config.capacity = capacity::capacity(&self.capacity)?;
        config.max_pods = self.max_pods.unwrap_or(config.max_pods);
        config.node_shutdown = self.shutdown.periods()?;
        config.eviction = self.pressure.eviction()?;
        self.registries.apply(config)
    }
}
