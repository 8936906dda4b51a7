//! `coracle run`: a module, once.
//!
//! Without `--keep` nothing is needed and nothing stays: a cluster in memory, its one pod, and the pod's exit code. With
//! it, the module becomes a pod or a Deployment of the cluster that runs.

mod console;
mod grants;
mod keep;
mod once;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use coracle_runtime::World;

use crate::failure::{Failure, Hint, Result};
use crate::server::Access;
use crate::verb::inspect;
use crate::verb::run::grants::{Folder, Grants};

pub use grants::{time, variable};

/// Where a `wasi:http` component is served in its pod.
const HTTP_PORT: u16 = 8080;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The module or component
    #[arg(value_name = "FILE.wasm")]
    path: PathBuf,

    /// Its arguments, after `--`
    #[arg(last = true, value_name = "ARG")]
    args: Vec<String>,

    /// A variable of its environment; it has no others
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = grants::variable)]
    env: Vec<(String, String)>,

    /// A folder that it may use; with `:ro` only read
    #[arg(long, value_name = "HOST:GUEST[:ro]", value_parser = grants::folder)]
    dir: Vec<Folder>,

    /// The most memory: `64Mi`
    #[arg(long, value_name = "QUANTITY", value_parser = grants::quantity)]
    memory: Option<String>,

    /// The most of a core: `500m`
    #[arg(long, value_name = "QUANTITY", value_parser = grants::quantity)]
    cpu: Option<String>,

    /// How long it may run: `10s`, `5m`
    #[arg(long, value_name = "TIME", value_parser = grants::time)]
    timeout: Option<Duration>,

    /// Make it a pod of the cluster that runs, and return
    #[arg(long)]
    keep: bool,

    /// Make it a Deployment of so many pods
    #[arg(long, requires = "keep", value_name = "N")]
    replicas: Option<u32>,

    /// What it is called in the cluster [default: the file's name]
    #[arg(long, requires = "keep")]
    name: Option<String>,
}

/// Runs the verb; the exit code is the module's own.
///
/// # Errors
/// When the file cannot be run here, or takes too long.
pub fn run(options: Options, access: &Access) -> Result<ExitCode> {
    let grants = grants(&options)?;
    // One thread: what a cluster of one pod does is one thing after another. The guest has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        match options.keep {
            true => keep::run(&options, &grants, access).await.map(|()| 0),
            false => once::run(&grants, options.timeout).await,
        }
    });
    // What is left waits for nothing that matters.
    runtime.shutdown_background();
    Ok(ExitCode::from(code?))
}

/// What the module is given, after a look at what it is.
fn grants(options: &Options) -> Result<Grants> {
    let shown = options.path.display();
    let bytes = inspect::read(&options.path)?;
    let inspection = coracle_runtime::inspect(&bytes)
        .with_context(|| format!("cannot run {shown}"))
        .hint("`coracle inspect` tells more about a file")?;
    if !inspection.not_offered.is_empty() {
        let missing = inspection.not_offered.join(", ");
        return Err(Failure::new(format!("cannot run {shown}: it imports what is not offered here: {missing}")));
    }
    let path = std::path::absolute(&options.path).with_context(|| format!("cannot find {shown}"))?;
    let path = path.to_str().ok_or_else(|| Failure::new(format!("{shown} is not a name in UTF-8")))?;
    Ok(Grants {
        image: format!("file://{path}"),
        args: options.args.clone(),
        env: options.env.clone(),
        folders: options.dir.clone(),
        memory: options.memory.clone(),
        cpu: options.cpu.clone(),
        port: (inspection.world == World::HttpProxy).then_some(HTTP_PORT),
    })
}
