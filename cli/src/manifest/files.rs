//! The files that a path means.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::failure::{Failure, Hint, Result};

/// The text of one file, or of stdin.
#[derive(Clone, Debug)]
pub struct Input {
    pub name: String,
    pub text: String,
}

impl Input {
    /// What a path means: `-`, a file whatever its name, or the manifests of a folder in the order of their names.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is not text.
    pub fn at(path: &Path, recursive: bool) -> Result<Vec<Self>> {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
            return Ok(vec![Self { name: "stdin".into(), text }]);
        }
        if !path.is_dir() {
            return Ok(vec![Self::read(path)?]);
        }
        let files = files_in(path, recursive, is_manifest)?;
        if files.is_empty() {
            return Err(Failure::new(format!("no manifest in {}", path.display()))
                .with_hint("manifests end in .yaml, .yml or .json; -R looks into folders of the folder"));
        }
        files.iter().map(|file| Self::read(file)).collect()
    }

    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8(bytes).with_context(|| format!("{} is not a manifest", path.display())).hint(
            "manifests are YAML or JSON text; a module is run by `coracle run`, or named as a container's image",
        )?;
        Ok(Self { name: path.display().to_string(), text })
    }
}

/// The modules that lie with the manifests at `path`: what `up` puts into the node's image store.
///
/// # Errors
/// When the folder cannot be read.
pub fn wasm_beside(path: &Path) -> Result<Vec<PathBuf>> {
    let folder = if path.is_dir() { path } else { path.parent().filter(|it| it.is_dir()).unwrap_or(Path::new(".")) };
    files_in(folder, false, |file| has_extension(file, &["wasm"]))
}

fn files_in(folder: &Path, recursive: bool, wanted: fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let shown = folder.display();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read the folder {shown}"))? {
        let path = entry.with_context(|| format!("cannot read the folder {shown}"))?.path();
        if path.is_dir() {
            if recursive {
                found.extend(files_in(&path, recursive, wanted)?);
            }
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_manifest(path: &Path) -> bool {
    has_extension(path, &["yaml", "yml", "json"])
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().and_then(|it| it.to_str()).is_some_and(|it| extensions.contains(&it))
}
