//! Where a cluster's objects and certificates are kept.

use std::sync::Arc;

use anyhow::Context;
use coracle_apiserver::Pki;
use coracle_store::{Error, MemoryStore, RedbConfig, RedbStore, Store};

use crate::data_dir::DataDir;
use crate::failure::{Failure, Result};

/// Where a cluster's objects and certificates are kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// Nowhere: they go with the cluster.
    Memory,
    /// In a folder, which the caller holds the lock of.
    Folder(DataDir),
}

/// Opens the store and the certificates, both at once.
///
/// # Errors
/// When either is damaged or cannot be read.
pub async fn open(storage: Storage) -> Result<(Arc<dyn Store>, Arc<Pki>)> {
    let Storage::Folder(data) = storage else {
        return Ok((Arc::new(MemoryStore::new()), Arc::new(Pki::in_memory()?)));
    };
    let (path, pki) = (data.store(), data.pki());
    let store = tokio::task::spawn_blocking(move || RedbStore::open(path, RedbConfig::default()));
    let pki = tokio::task::spawn_blocking(move || Pki::open_or_create(&pki));
    let (store, pki) = tokio::try_join!(store, pki)?;
    let store = store.map_err(explain)?;
    let pki = pki.context("cannot use the cluster's certificates")?;
    Ok((Arc::new(store), Arc::new(pki)))
}

/// Tells what to do about a store that cannot be opened.
fn explain(error: Error) -> Failure {
    let hint = match &error {
        Error::Corrupt { .. } => {
            "it is left as it is: put a copy in its place, or move it away to begin with an empty cluster"
        }
        Error::Locked { .. } => "stop the other process, or name another folder with --data-dir",
        Error::Full => "make room, or name a folder on another disk with --data-dir",
        _ => "is the data folder readable and writable?",
    };
    Failure::from(error).with_hint(hint)
}
