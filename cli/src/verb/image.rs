//! `coracle image`: the modules that a node has without fetching them.
//!
//! It works on the node's folder, beside a running kubelet or without one.

use std::path::{Path, PathBuf};

use anyhow::Context;
use coracle_kubelet::images::{ImageStore, Listed};

use crate::age;
use crate::data_dir::DataDir;
use crate::failure::{Failure, Hint, Result};
use crate::output::Out;
use crate::tabs;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The folder of `coracle up` [default: $XDG_DATA_HOME/coracle]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// The node [default: the only one of the folder]
    #[arg(long, global = true, value_name = "NAME")]
    node_name: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Give the node a module, under the name of its file or another
    Load {
        #[arg(required = true, value_name = "FILE.wasm")]
        files: Vec<PathBuf>,
        /// What pods call it [default: the file's name without .wasm]
        #[arg(long, short = 't', value_name = "NAME[:TAG]")]
        tag: Option<String>,
    },
    /// The modules that the node has
    Ls,
    /// Take modules from the node; pods that run them go on
    Rm {
        #[arg(required = true, value_name = "NAME[:TAG]")]
        names: Vec<String>,
    },
}

/// Runs the verb.
///
/// # Errors
/// When the folder cannot be used, a file is not wasm, or a name is unknown.
pub fn run(options: Options, out: Out<'_>) -> Result {
    let data = DataDir::resolve(options.data_dir)?;
    let images = open(&data.node(&node(&data, options.node_name)?))?;
    match options.command {
        Command::Load { files, tag } => {
            if tag.is_some() && files.len() > 1 {
                return Err(Failure::new("one name cannot stand for several files"));
            }
            for file in &files {
                let (name, digest) = load(&images, file, tag.as_deref())?;
                writeln!(out, "{name} loaded (sha256:{})", digest.hex())?;
            }
            Ok(())
        }
        Command::Ls => list(&images, out),
        Command::Rm { names } => {
            for name in &names {
                images
                    .remove(name)
                    .with_context(|| format!("cannot remove {name}"))
                    .hint("`coracle image ls` names all")?;
                writeln!(out, "{name} removed")?;
            }
            Ok(())
        }
    }
}

/// The image store of the node in `root`.
///
/// # Errors
/// When its folder cannot be made.
pub fn open(root: &Path) -> Result<ImageStore> {
    let path = root.join("images");
    Ok(ImageStore::open(&path).with_context(|| format!("cannot open the image store {}", path.display()))?)
}

/// Loads a file; the name that pods have for it, and its digest.
///
/// # Errors
/// When it cannot be read, or is not wasm.
pub fn load(images: &ImageStore, file: &Path, tag: Option<&str>) -> Result<(String, coracle_kubelet::images::Digest)> {
    let shown = file.display();
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let name =
        tag.or(stem).ok_or_else(|| Failure::new(format!("{shown} has no name")).with_hint("give it one with -t"))?;
    let bytes = crate::verb::inspect::read(file)?;
    coracle_runtime::inspect(&bytes)
        .with_context(|| format!("cannot load {shown}"))
        .hint("`coracle inspect` tells more about a file")?;
    let digest = images.load_file(name, file).with_context(|| format!("cannot load {shown}"))?;
    Ok((name.to_owned(), digest))
}

fn list(images: &ImageStore, out: Out<'_>) -> Result {
    let mut lines = vec!["NAME\tDIGEST\tSIZE\tLOADED".to_owned()];
    // What a tag names has a name by digest too.
    let (exact, named): (Vec<_>, Vec<_>) =
        images.list().context("cannot list the images")?.into_iter().partition(|image| image.name.contains('@'));
    let is_named = |image: &Listed| named.iter().any(|other| other.digest == image.digest);
    let unnamed: Vec<_> = exact.into_iter().filter(|image| !is_named(image)).collect();
    for image in named.iter().chain(&unnamed) {
        let age = image.loaded.elapsed().map_or_else(|_| "0s".to_owned(), |it| age::human(it.as_secs().cast_signed()));
        lines.push(format!("{}\t{:.12}\t{}\t{age}", image.name, image.digest.hex(), image.bytes));
    }
    Ok(write!(out, "{}", tabs::TABLE.align(&lines.join("\n")))?)
}

fn node(data: &DataDir, named: Option<String>) -> Result<String> {
    let mut nodes = data.nodes();
    match (named, nodes.len()) {
        (Some(name), _) => Ok(name),
        (None, 0) => Ok(crate::cluster::NODE_NAME.to_owned()),
        (None, 1) => Ok(nodes.remove(0)),
        (None, _) => Err(Failure::new(format!("there are several nodes: {}", nodes.join(", ")))
            .with_hint("name one with --node-name")),
    }
}
