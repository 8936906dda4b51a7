//! `coracle kubelet`: a node alone, for any Kubernetes API: it makes this machine a wasm node of somebody's cluster.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use coracle_apiserver::Pki;
use coracle_client::Informers;
use coracle_kubelet::{Cidr, Config, Kubelet, ProxyConfig, Tls, WasmRuntime};
use coracle_runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::cluster;
use crate::data_dir::DataDir;
use crate::failure::{Failure, Result};
use crate::server::Access;
use crate::verb::node_options::NodeOptions;
use crate::verb::run::time;
use crate::verb::scheduler::{client, until_signal};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The name of the node [default: the machine's]
    #[arg(long, value_name = "NAME", value_parser = cluster::node_name)]
    node_name: Option<String>,

    /// Where images, logs and compiled code are kept [default: in the folder of its cluster, when the
    /// kubeconfig lies there, or of `coracle up`]
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

    /// Its certificate, its key, and the authority of those it answers [default: beside the kubeconfig, or made by the
    /// cluster's authority when that is there]
    #[arg(long, value_name = "FILE", requires_all = ["tls_private_key_file", "client_ca_file"])]
    tls_cert_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    tls_private_key_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,

    /// A label of the node
    #[arg(long = "node-label", value_name = "NAME=VALUE", value_parser = crate::verb::run::variable)]
    labels: Vec<(String, String)>,

    /// A folder of this machine that pods may mount
    #[arg(long = "host-path", value_name = "DIR")]
    host_paths: Vec<PathBuf>,

    /// How long the node counts as alive after a sign of life, of which it gives four in that time [default: 40s]; for a
    /// controller manager with a short --node-monitor-grace-period
    #[arg(long, value_name = "TIME", value_parser = lease)]
    node_lease_duration: Option<Duration>,

    /// Leave the addresses of services to another node of this machine
    #[arg(long)]
    no_proxy: bool,

    #[command(flatten)]
    node: NodeOptions,
}

/// Runs the verb, until a signal; the pods then end within their grace periods.
///
/// # Errors
/// When there is no kubeconfig, or the node cannot start.
pub async fn run(options: Options, access: &Access) -> Result {
    let kubeconfig = access.kubeconfig_path().or_else(|| env::var_os("KUBECONFIG").map(PathBuf::from));
    let config = options.config(kubeconfig.as_deref())?;
    let cache = coracle_runtime::Config { cache_dir: Some(config.root_dir.join("cache")), ..Default::default() };
    let client = client(access, "kubelet").await?;
    until_signal(async |stop| {
        let runtime = Arc::new(WasmRuntime::new(Runtime::new(cache)?));
        // A node that shuts down still sees its pods.
        let following = CancellationToken::new();
        let informers = Informers::new(client.clone(), following.clone());
        let pods = informers.pods_on_node(&config.node_name);
        let kubelet = Kubelet::new(config, client, pods, informers, runtime).await?;
        tokio::select! {
            ended = kubelet.run(stop) => ended?,
            () = following.cancelled() => return Err(Failure::new("the API is followed no longer")),
        }
        following.cancel();
        Ok(())
    })
    .await
}

impl Options {
    fn config(&self, kubeconfig: Option<&Path>) -> Result<Config> {
        let name = self.node_name.clone().map_or_else(machine_name, Ok)?;
        let cluster =
            kubeconfig.and_then(Path::parent).filter(|folder| authority(folder).is_some()).map(Path::to_owned);
        let root = match &self.root_dir {
            Some(root) => root.clone(),
            None => DataDir::resolve(cluster)?.node(&name),
        };
        let mut config = Config::new(&name, root);
        config.pod_cidr = self.pod_cidr;
        config.node_ip = self.node_ip;
        config.tls = self.tls(&name, kubeconfig.and_then(Path::parent))?;
        config.listen = config.tls.is_some().then_some(self.listen);
        config.labels = self.labels.clone();
        config.lease = self.node_lease_duration.unwrap_or(config.lease);
        config.host_paths = self.host_paths.clone();
        self.node.apply(&mut config)?;
        config.proxy = (!self.no_proxy).then(ProxyConfig::default);
        Ok(config)
    }

    /// The files that were named, those that `coracle apiserver` put beside the kubeconfig, or what the authority of the
    /// cluster signs when the kubeconfig lies in the cluster's own folder.
    fn tls(&self, name: &str, folder: Option<&Path>) -> Result<Option<Tls>> {
        if let (Some(certificate), Some(key), Some(authority)) =
            (&self.tls_cert_file, &self.tls_private_key_file, &self.client_ca_file)
        {
            return read(certificate, key, authority).map(Some);
        }
        let Some(folder) = folder else { return Ok(without_certificate()) };
        let certificate = folder.join("tls.crt");
        if certificate.exists() {
            return read(&certificate, &folder.join("tls.key"), &folder.join("ca.crt")).map(Some);
        }
        match authority(folder) {
            Some(pki) => sign(&pki, name, self.node_ip).map(Some),
            None => Ok(without_certificate()),
        }
    }
}

/// The authority of the cluster whose folder this is.
fn authority(folder: &Path) -> Option<PathBuf> {
    Some(DataDir::new(folder.to_owned()).pki()).filter(|pki| pki.join("ca.key").exists())
}

fn read(certificate: &Path, key: &Path, authority: &Path) -> Result<Tls> {
    let text = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display())).map_err(Failure::from)
    };
    Ok(Tls { certificate_pem: text(certificate)?, key_pem: text(key)?, client_ca_pem: text(authority)? })
}

fn sign(folder: &Path, name: &str, address: IpAddr) -> Result<Tls> {
    let pki = Pki::open_or_create(folder).context("cannot use the cluster's certificates")?;
    let signed = pki.serving_certificate(&[name.to_owned()], &[address])?;
    Ok(Tls {
        certificate_pem: signed.certificate_pem,
        key_pem: signed.key_pem,
        client_ca_pem: pki.authority_pem().to_owned(),
    })
}

fn without_certificate() -> Option<Tls> {
    tracing::warn!(
        "no certificate: the node does not serve logs; `coracle apiserver --node-name NAME` puts one beside the node's \
         kubeconfig, and --tls-cert-file names one"
    );
    None
}

fn lease(text: &str) -> std::result::Result<Duration, String> {
    let lease = time(text)?;
    if lease.is_zero() { Err("a lease of no time is none".to_owned()) } else { Ok(lease) }
}

fn machine_name() -> Result<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").context("cannot read the machine's name")?;
    Ok(name.trim().to_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn a_node_beside_its_cluster_needs_no_certificate_files() {
        // A kubelet with the kubeconfig of `coracle up` did not serve logs.
        let folder = tempfile::tempdir().unwrap();
        let options = Line::parse_from(["kubelet", "--node-name", "two"]).options;
        assert!(options.tls("two", Some(folder.path())).unwrap().is_none());
        let pki = Pki::open_or_create(&folder.path().join("pki")).unwrap();
        let tls = options.tls("two", Some(folder.path())).unwrap().unwrap();
        assert_eq!(tls.client_ca_pem, pki.authority_pem());
    }

    #[test]
    fn a_name_that_the_api_would_refuse_is_refused_at_once() {
        // `--node-name Bad_Name` was tried for ever, ten times a second.
        assert!(Line::try_parse_from(["kubelet", "--node-name", "Bad_Name"]).is_err());
    }
}
