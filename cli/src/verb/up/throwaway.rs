//! `coracle up --test`: a cluster for one test run. It is in memory and on a port of its own, says its kubeconfig in one
//! line once it is of use, and ends with the process that started it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use coracle_apiserver::Identity;
use coracle_kubelet::WasmRuntime;
use coracle_runtime::Runtime;
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{self, Cluster, Node};
use crate::data_dir::write_secret;
use crate::failure::{Failure, Result};
use crate::manifest::Filenames;
use crate::server::Server;
use crate::verb::apply::{Applier, Validate};
use crate::verb::up::parent::Parent;
use crate::verb::up::{Signals, definition, node};
use crate::yaml;

/// How long the parts may take to end: nobody waits for what they would still write.
const STOP_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub struct Throwaway {
    /// A cluster for a test: in memory, on a free port; prints its kubeconfig, in one line, and ends with its parent
    #[arg(long, conflicts_with = "data_dir")]
    test: bool,

    /// So many nodes, which pretend to run pods
    #[arg(long, requires = "test", value_name = "N", default_value_t = 1)]
    nodes: usize,

    /// A node that runs WebAssembly, in their place
    #[arg(long, requires = "test", conflicts_with_all = ["nodes", "api_only"])]
    wasm: bool,

    /// No controllers, no scheduler and no nodes: what is written stays as it is
    #[arg(long, requires = "test", conflicts_with = "nodes")]
    api_only: bool,

    /// Write the kubeconfig to this file, and print the file's name
    #[arg(long, requires = "test", value_name = "FILE")]
    kubeconfig_out: Option<PathBuf>,
}

impl Throwaway {
    /// Whether such a cluster is wanted.
    pub fn is_wanted(&self) -> bool {
        self.test
    }
}

/// Runs until it is told to stop, or until nobody is there any more to use it.
///
/// # Errors
/// When the cluster cannot start, a manifest is refused, or a part fails.
pub async fn run(options: super::Options) -> Result {
    let (mut signals, parent) = (Signals::new()?, Parent::of_this_process());
    let (documents, unreadable) = Filenames { filename: options.paths.clone(), recursive: false }.read()?;
    if let Some((place, failure)) = unreadable.into_iter().next() {
        return Err(failure.with_context(place));
    }
    let node = options.throwaway.wasm.then(|| wasm_node(&options)).transpose()?;
    let (node, _folder) = node.unzip();
    let mut cluster = cluster::start(parts(&options, node)).await?;
    let server = Server::new(cluster.admin(), "default".to_owned());
    let work = async {
        if options.throwaway.wasm {
            node::until_open(&server, &options.node_name).await?;
        }
        for document in &documents {
            // Asked again each time: a document may define the kind of the next one.
            let discovery = server.discover().await?;
            let applier =
                Applier { server: &server, discovery: &discovery, dry_run: false, validate: Validate::Strict };
            let applied = applier.apply(document, None).await?;
            definition::until_established(&server, &applied).await?;
        }
        Ok(())
    };
    let ready = tokio::select! {
        ready = work => ready,
        failure = cluster.failed() => Err(failure),
    };
    let ended = match ready.and_then(|()| say(&cluster, options.throwaway.kubeconfig_out.as_deref())) {
        Err(failure) => Err(failure),
        Ok(()) => tokio::select! {
            () = signals.next() => Ok(()),
            () = parent.gone() => Ok(()),
            failure = cluster.failed() => Err(failure),
        },
    };
    if let Some(file) = &options.throwaway.kubeconfig_out {
        // It may be gone already, with the folder of the test.
        let _ = std::fs::remove_file(file);
    }
    // Who would hear that a part did not end well has gone.
    let _ = tokio::time::timeout(STOP_MAX, cluster.stop()).await;
    ended
}

/// What such a cluster is made of.
fn parts(options: &super::Options, node: Option<Node>) -> cluster::Options {
    let all = cluster::Options {
        listen: Some(options.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))),
        service_cidr: options.service_cidr.clone(),
        ..cluster::Options::default()
    };
    match (options.throwaway.api_only, node) {
        (true, _) => cluster::Options { scheduler: None, controllers: None, ..all },
        (false, Some(node)) => cluster::Options { nodes: vec![node], ..all },
        (false, None) => cluster::Options { pretended_nodes: options.throwaway.nodes, ..all },
    }
}

/// A node that runs WebAssembly, and its folder.
fn wasm_node(options: &super::Options) -> Result<(Node, TempDir)> {
    let folder = tempfile::tempdir().context("cannot make a folder for the node")?;
    let runtime = Arc::new(WasmRuntime::new(Runtime::new(coracle_runtime::Config::default())?));
    let config = coracle_kubelet::Config {
        pod_cidr: options.pod_cidr,
        ..coracle_kubelet::Config::new(&options.node_name, folder.path().to_owned())
    };
    Ok((Node { config, runtime }, folder))
}

/// Tells how the cluster is reached: the kubeconfig itself, or the file that it is in.
fn say(cluster: &Cluster, file: Option<&Path>) -> Result {
    let kubeconfig = cluster.kubeconfig(&Identity::admin())?;
    let line = match file {
        Some(file) => {
            let file = std::path::absolute(file)?;
            write_secret(&file, &kubeconfig).with_context(|| format!("cannot write {}", file.display()))?;
            file.display().to_string()
        }
        // JSON is YAML, and has no lines of its own.
        None => serde_json::to_string::<Value>(&yaml::parse(&kubeconfig)?)?,
    };
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(Failure::from)
}
