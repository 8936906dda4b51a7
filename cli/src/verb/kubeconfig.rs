//! `coracle kubeconfig`: where the cluster's kubeconfig is, or what it says.

use std::fs;

use anyhow::Context;

use crate::data_dir::DataDir;
use crate::failure::{Failure, Hint, Result};
use crate::output::Out;
use crate::server::Access;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Whose: the folder of `coracle up` [default: $XDG_DATA_HOME/coracle]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<std::path::PathBuf>,

    /// Print the file itself, and not its path
    #[arg(long)]
    show: bool,
}

/// Runs the verb.
///
/// # Errors
/// When there is no kubeconfig yet.
pub fn run(options: Options, access: &Access, out: Out<'_>) -> Result {
    let path = match &access.kubeconfig {
        Some(path) => path.clone(),
        None => DataDir::resolve(options.data_dir)?.kubeconfig(),
    };
    if !path.exists() {
        return Err(Failure::new(format!("there is no {}", path.display())).with_hint("`coracle up` writes it"));
    }
    if options.show {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
        write!(out, "{}", text.hint("the file is its owner's alone")?)?;
    } else {
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}
