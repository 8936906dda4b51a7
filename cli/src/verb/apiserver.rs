//! `coracle apiserver`: the API server alone.
//!
//! It writes what the other components need to reach it: `pki/scheduler.kubeconfig`, `pki/controller-manager.kubeconfig`
//! and, for each node, `pki/nodes/NAME/` with a kubeconfig and the certificate by which the node serves its logs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use coracle_apiserver::pki::write_private;
use coracle_apiserver::{Identity, Pki, TlsNodes};

use crate::cluster::{self, NODE_NAME, Storage};
use crate::data_dir::DataDir;
use crate::failure::Result;
use crate::verb::scheduler::until_signal;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where the objects and certificates are kept [default: $XDG_DATA_HOME/coracle]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Where the API is served; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    listen: SocketAddr,

    /// A node that will join: it gets its credentials
    #[arg(long = "node-name", value_name = "NAME", default_value = NODE_NAME, value_parser = cluster::node_name)]
    node_names: Vec<String>,

    /// The address at which the nodes are reached, for their certificates
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    node_address: IpAddr,
}

/// Runs the verb, until a signal.
///
/// # Errors
/// When the store or the certificates cannot be read, or the address is taken.
pub async fn run(options: Options) -> Result {
    let data = DataDir::resolve(options.data_dir.clone())?;
    let _lock = data.lock()?;
    until_signal(async |stop| {
        let (store, pki) = cluster::open(Storage::Folder(data.clone())).await?;
        let config =
            coracle_apiserver::Config { listen: Some(options.listen), ..coracle_apiserver::Config::new(pki.clone()) };
        let nodes = Arc::new(TlsNodes::new(&pki)?);
        let api = coracle_apiserver::start(config, store, nodes, stop).await.map_err(cluster::explain)?;
        let address = cluster::reachable(api.local_addr().unwrap_or(options.listen));
        write_credentials(&options, &data, &pki, &format!("https://{address}"))?;
        println(&format!("API         https://{address}\nkubeconfig  {}", data.kubeconfig().display()));
        Ok(api.stopped().await?)
    })
    .await
}

/// The administrator's kubeconfig is written last: who finds it finds the others too.
fn write_credentials(options: &Options, data: &DataDir, pki: &Pki, url: &str) -> Result {
    let folder = data.pki();
    for (name, identity) in
        [("scheduler", Identity::scheduler()), ("controller-manager", Identity::controller_manager())]
    {
        write_private(&folder.join(format!("{name}.kubeconfig")), &pki.client_kubeconfig(url, &identity)?)?;
    }
    for name in &options.node_names {
        let folder = folder.join("nodes").join(name);
        std::fs::create_dir_all(&folder)?;
        let serving = pki.serving_certificate(std::slice::from_ref(name), &[options.node_address])?;
        write_private(&folder.join("tls.crt"), &serving.certificate_pem)?;
        write_private(&folder.join("tls.key"), &serving.key_pem)?;
        write_private(&folder.join("ca.crt"), pki.authority_pem())?;
        write_private(&folder.join("kubeconfig"), &pki.client_kubeconfig(url, &Identity::node(name))?)?;
    }
    Ok(data.write_kubeconfig(&pki.client_kubeconfig(url, &Identity::admin())?)?)
}

fn println(text: &str) {
    use std::io::Write;
    // Whoever reads it may have gone: the server stays.
    let _ = writeln!(std::io::stdout(), "{text}");
}
