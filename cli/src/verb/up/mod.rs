//! `coracle up`: a whole cluster in this process, until Ctrl-C.

mod definition;
mod node;
mod parent;
mod progress;
mod services;
mod standing;
mod throwaway;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coracle_apiserver::Identity;
use coracle_kubelet::{Cidr, WasmRuntime};
use coracle_runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cluster::{self, Cluster, NODE_NAME, Node, Storage};
use crate::data_dir::DataDir;
use crate::failure::{Failure, Result};
use crate::manifest::{Filenames, wasm_beside};
use crate::server::Server;
use crate::verb::apply::{Applied, Applier, Validate};
use crate::verb::image;
use crate::verb::node_options::NodeOptions;
use crate::verb::up::progress::Progress;
use crate::verb::up::throwaway::Throwaway;

/// Where the API is served, unless that is said. Source: the port of every API server.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6443);

/// Signals that follow one so soon are the same decision.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where the cluster lives [default: $XDG_DATA_HOME/coracle]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Where the API is served; port 0 takes a free one [default: 127.0.0.1:6443, with --test 127.0.0.1:0]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,

    /// The name of the node
    #[arg(long, value_name = "N", default_value = NODE_NAME, value_parser = cluster::node_name)]
    node_name: String,

    /// The addresses of its pods, for a second cluster on one machine
    #[arg(long, value_name = "CIDR", default_value = "127.64.0.0/16")]
    pod_cidr: Cidr,

    /// The addresses of its services, for a second cluster on one machine
    #[arg(long, value_name = "CIDR", default_value = cluster::SERVICE_CIDR)]
    service_cidr: String,

    /// Manifests to apply, or folders of them; the modules that lie with them become the node's images
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    node: NodeOptions,

    #[command(flatten)]
    throwaway: Throwaway,
}

/// What became of the manifests.
#[derive(Default)]
struct Outcome {
    applied: Vec<Applied>,
    failed: usize,
}

/// Runs the verb: returns after Ctrl-C, when everything has stopped.
///
/// # Errors
/// When the cluster cannot start, a part of it fails, or a manifest was refused.
pub async fn run(options: Options) -> Result {
    if options.throwaway.is_wanted() {
        return throwaway::run(options).await;
    }
    let mut signals = Signals::new()?;
    let data = DataDir::resolve(options.data_dir.clone())?;
    let _lock = data.lock()?;
    let files = Filenames { filename: options.paths.clone(), recursive: false };
    let manifests = files.read()?;
    load_images(&data.node(&options.node_name), &options.paths)?;

    let mut cluster = cluster::start(whole(&options, &data)?).await?;
    data.write_kubeconfig(&cluster.kubeconfig(&Identity::admin())?)?;
    let mut progress = Progress::new();
    progress.say(&format!("API         {}", cluster.url().unwrap_or_default()));
    progress.say(&format!("kubeconfig  {}", data.kubeconfig().display()));

    let server = Server::new(cluster.admin(), "default".to_owned());
    let manifests_failed = tokio::select! {
        shown = show(&server, &options.node_name, manifests, &mut progress) => shown?,
        ended = until_stopped(&mut cluster, &mut signals) => return stop(cluster, &mut signals, &progress, ended).await,
    };
    let ended = until_stopped(&mut cluster, &mut signals).await;
    stop(cluster, &mut signals, &progress, ended).await?;
    match manifests_failed {
        0 => Ok(()),
        _ => Err(Failure::silent(1)),
    }
}

/// Everything, in one process.
fn whole(options: &Options, data: &DataDir) -> Result<cluster::Options> {
    let root = data.node(&options.node_name);
    let config = coracle_runtime::Config { cache_dir: Some(root.join("cache")), ..coracle_runtime::Config::default() };
    let runtime = Arc::new(WasmRuntime::new(Runtime::new(config)?));
    let mut node = coracle_kubelet::Config::new(&options.node_name, root);
    node.pod_cidr = options.pod_cidr;
    options.node.apply(&mut node)?;
    Ok(cluster::Options {
        storage: Storage::Folder(data.clone()),
        listen: Some(options.listen.unwrap_or(LISTEN)),
        service_cidr: options.service_cidr.clone(),
        nodes: vec![Node { config: node, runtime }],
        ..cluster::Options::default()
    })
}

/// Gives the node the modules that lie beside the manifests.
fn load_images(node: &Path, paths: &[PathBuf]) -> Result {
    let images = image::open(node)?;
    for path in paths {
        for file in wasm_beside(path)? {
            if let Err(failure) = image::load(&images, &file, None) {
                // A pod that names it says so again; everything else goes on.
                eprintln!("{}", failure.with_context("this module is left out").message());
            }
        }
    }
    Ok(())
}

/// Applies the manifests and shows how their pods come up; how many documents failed.
async fn show(
    server: &Server,
    node: &str,
    (documents, unreadable): (Vec<crate::manifest::Document>, Vec<crate::manifest::Unreadable>),
    progress: &mut Progress,
) -> Result<usize> {
    let total = documents.len() + unreadable.len();
    let mut outcome = Outcome { failed: unreadable.len(), ..Outcome::default() };
    for (place, failure) in unreadable {
        progress.warn(&failure.with_context(place).message());
    }
    if !documents.is_empty() {
        node::until_open(server, node).await?;
        let discovery = server.discover().await?;
        let applier = Applier { server, discovery: &discovery, dry_run: false, validate: Validate::Strict };
        for document in &documents {
            match applier.apply(document, None).await {
                Ok(applied) => {
                    progress.say(&applied.words(false));
                    outcome.applied.push(applied);
                }
                Err(failure) => {
                    outcome.failed += 1;
                    progress.warn(&failure.message());
                }
            }
        }
    }
    if outcome.failed > 0 {
        let applied = outcome.applied.len();
        progress.warn(&format!("{applied} of {total} objects applied, {} refused", outcome.failed));
    }
    progress::follow(server, &outcome.applied, progress).await?;
    services::show(server, progress).await?;
    progress.say("up; Ctrl-C stops");
    Ok(outcome.failed)
}

/// Why a cluster that is up comes down.
enum End {
    Asked,
    Failed(Failure),
}

async fn until_stopped(cluster: &mut Cluster, signals: &mut Signals) -> End {
    tokio::select! {
        () = signals.next() => End::Asked,
        failure = cluster.failed() => End::Failed(failure),
    }
}

/// Stops in order; a second signal ends it at once.
async fn stop(cluster: Cluster, signals: &mut Signals, progress: &Progress, end: End) -> Result {
    progress.say("stopping: pods end within their grace periods; again to stop at once");
    tokio::select! {
        stopped = cluster.stop() => stopped?,
        () = signals.again() => return Err(Failure::new("stopped before the pods had ended")),
    }
    progress.say("stopped; the next start goes on from here");
    match end {
        End::Asked => Ok(()),
        End::Failed(failure) => Err(failure),
    }
}

/// What people and service managers end a process by.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on signals are heard here, and end nothing by themselves.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The next one that is meant as another: what comes with the first (a supervisor signals a process and its group)
    /// is the first.
    pub async fn again(&mut self) {
        let same = tokio::time::sleep(SAME_SIGNAL);
        tokio::pin!(same);
        loop {
            tokio::select! {
                () = &mut same => break,
                () = self.next() => {}
            }
        }
        self.next().await;
    }
}
