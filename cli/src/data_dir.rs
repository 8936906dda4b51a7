//! The folder in which a cluster lives, and who may use it.
//!
//! ```text
//! DIR/lock         held by the process that uses the folder
//! DIR/store.redb   the objects
//! DIR/pki/         the cluster's certificate authority and certificates, mode 0600
//! DIR/kubeconfig   the administrator's; written once the API answers, mode 0600
//! DIR/node/NAME/   a node: its images, logs, pods and compiled modules
//! ```

use std::env;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::failure::{Failure, Hint, Result};

/// A cluster's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
}

/// The folder is this process' own until this is dropped.
#[derive(Debug)]
pub struct Lock {
    // The kernel drops the lock with the descriptor, also when the process is killed.
    _file: File,
}

impl DataDir {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The folder of `--data-dir`, or the default one.
    ///
    /// # Errors
    /// When there is neither: no home folder.
    pub fn resolve(given: Option<PathBuf>) -> Result<Self> {
        match given.or_else(Self::default_path) {
            Some(path) => Ok(Self::new(std::path::absolute(&path).unwrap_or(path))),
            None => Err(Failure::new("no home folder to put the data into").with_hint("name one with --data-dir")),
        }
    }

    /// `$XDG_DATA_HOME/coracle`, by default `~/.local/share/coracle`.
    pub fn default_path() -> Option<PathBuf> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || absolute("HOME").map(|home| home.join(".local/share"));
        Some(absolute("XDG_DATA_HOME").or_else(home)?.join("coracle"))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn store(&self) -> PathBuf {
        self.path.join("store.redb")
    }

    pub fn pki(&self) -> PathBuf {
        self.path.join("pki")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// The folder of a node.
    pub fn node(&self, name: &str) -> PathBuf {
        self.path.join("node").join(name)
    }

    /// The nodes that have a folder here.
    pub fn nodes(&self) -> Vec<String> {
        let folders = fs::read_dir(self.path.join("node")).into_iter().flatten().flatten();
        let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Makes the folder, closed to others, and takes it.
    ///
    /// # Errors
    /// When it cannot be made, or another process has it.
    pub fn lock(&self) -> Result<Lock> {
        let shown = self.path.display();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .with_context(|| format!("cannot make the data folder {shown}"))
            .hint("name another with --data-dir")?;
        let path = self.path.join("lock");
        let file = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                let holder = holder.trim();
                let by = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
                return Err(Failure::new(format!("the data folder {shown} is in use by another coracle{by}"))
                    .with_hint("stop that one, or name another folder with --data-dir"));
            }
            Err(TryLockError::Error(error)) => {
                return Err(Failure::from(error).with_context(format!("cannot lock {}", path.display())));
            }
        }
        file.set_len(0)?;
        writeln!(&file, "{}", std::process::id())?;
        Ok(Lock { _file: file })
    }

    /// Writes the administrator's kubeconfig; who reads it never sees half of it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_kubeconfig(&self, text: &str) -> io::Result<()> {
        write_secret(&self.kubeconfig(), text)
    }
}

/// Writes a file for the owner's eyes only, whole or not at all.
///
/// # Errors
/// When its folder cannot be written.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_is_one_process_own() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path().join("a/b"));
        let lock = data.lock().unwrap();
        let refused = data.lock().unwrap_err().message();
        assert!(refused.contains("in use by another coracle"), "{refused}");
        drop(lock);
        data.lock().unwrap();
    }

    #[test]
    fn the_kubeconfig_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path().to_owned());
        data.write_kubeconfig("one").unwrap();
        data.write_kubeconfig("two").unwrap();
        assert_eq!(fs::read_to_string(data.kubeconfig()).unwrap(), "two");
        assert_eq!(fs::metadata(data.kubeconfig()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
