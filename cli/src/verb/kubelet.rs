//! `coracle kubelet`: a node alone, for any Kubernetes API: it makes this machine a wasm node of somebody's cluster.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use coracle_client::Informers;
use coracle_kubelet::{Cidr, Config, Kubelet, ProxyConfig, Tls, WasmRuntime};
use coracle_runtime::Runtime;

use crate::data_dir::DataDir;
use crate::failure::{Failure, Result};
use crate::server::Access;
use crate::verb::scheduler::{client, until_signal};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The name of the node [default: the machine's]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,

    /// Where images, logs and compiled code are kept [default: in the data folder of `coracle up`]
    #[arg(long, value_name = "DIR")]
    root_dir: Option<PathBuf>,

    /// The addresses of its pods
    #[arg(long, value_name = "CIDR", default_value = "127.64.0.0/16")]
    pod_cidr: Cidr,

    /// The node's own address
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    node_ip: IpAddr,

    /// Where it serves logs to the API server; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:10250")]
    listen: SocketAddr,

    /// Its certificate, its key, and the authority of those it answers [default: beside the kubeconfig]
    #[arg(long, value_name = "FILE", requires_all = ["tls_private_key_file", "client_ca_file"])]
    tls_cert_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    tls_private_key_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,

    /// A label of the node
    #[arg(long = "node-label", value_name = "NAME=VALUE", value_parser = crate::verb::run::variable)]
    labels: Vec<(String, String)>,

    /// The most pods at once
    #[arg(long, value_name = "N")]
    max_pods: Option<u32>,

    /// A folder of this machine that pods may mount
    #[arg(long = "host-path", value_name = "DIR")]
    host_paths: Vec<PathBuf>,

    /// Leave the addresses of services to another node of this machine
    #[arg(long)]
    no_proxy: bool,
}

/// Runs the verb, until a signal; the pods then end within their grace periods.
///
/// # Errors
/// When there is no kubeconfig, or the node cannot start.
pub async fn run(options: Options, access: &Access) -> Result {
    let config = options.config(access.kubeconfig_path().as_deref())?;
    let cache = coracle_runtime::Config { cache_dir: Some(config.root_dir.join("cache")), ..Default::default() };
    let client = client(access, "kubelet").await?;
    until_signal(async |stop| {
        let runtime = Arc::new(WasmRuntime::new(Runtime::new(cache)?));
        let informers = Informers::new(client.clone(), stop.clone());
        let pods = informers.pods_on_node(&config.node_name);
        let kubelet = Kubelet::new(config, client, pods, informers, runtime, stop.clone()).await?;
        Ok(kubelet.run(stop).await?)
    })
    .await
}

impl Options {
    fn config(&self, kubeconfig: Option<&Path>) -> Result<Config> {
        let name = self.node_name.clone().map_or_else(machine_name, Ok)?;
        let root = match &self.root_dir {
            Some(root) => root.clone(),
            None => DataDir::resolve(None)?.node(&name),
        };
        let mut config = Config::new(&name, root);
        config.pod_cidr = self.pod_cidr;
        config.node_ip = self.node_ip;
        config.tls = self.tls(kubeconfig)?;
        config.listen = config.tls.is_some().then_some(self.listen);
        config.labels = self.labels.clone();
        config.max_pods = self.max_pods.unwrap_or(config.max_pods);
        config.host_paths = self.host_paths.clone();
        config.proxy = (!self.no_proxy).then(ProxyConfig::default);
        Ok(config)
    }

    /// The files that were named, or those that `coracle apiserver` put beside the kubeconfig.
    fn tls(&self, kubeconfig: Option<&Path>) -> Result<Option<Tls>> {
        let read = |path: &Path| {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display())).map_err(Failure::from)
        };
        let files = match (&self.tls_cert_file, &self.tls_private_key_file, &self.client_ca_file) {
            (Some(certificate), Some(key), Some(authority)) => [certificate.clone(), key.clone(), authority.clone()],
            _ => {
                let beside = |name| kubeconfig.and_then(Path::parent).map(|folder| folder.join(name));
                let (Some(certificate), Some(key), Some(authority)) =
                    (beside("tls.crt"), beside("tls.key"), beside("ca.crt"))
                else {
                    return Ok(None);
                };
                if !certificate.exists() {
                    tracing::warn!("no certificate: the node does not serve logs");
                    return Ok(None);
                }
                [certificate, key, authority]
            }
        };
        let [certificate_pem, key_pem, client_ca_pem] = [read(&files[0])?, read(&files[1])?, read(&files[2])?];
        Ok(Some(Tls { certificate_pem, key_pem, client_ca_pem }))
    }
}

fn machine_name() -> Result<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").context("cannot read the machine's name")?;
    Ok(name.trim().to_lowercase())
}
