//! What guests print, on disk: one folder a pod, one file an instance of a container, rotated by size.
//!
//! ```text
//! ROOT/logs/<namespace>_<name>_<uid>/<container>/<restart>.log      being written
//! ROOT/logs/<namespace>_<name>_<uid>/<container>/<restart>.log.1    rotated, .2 older, …
//! ```
//!
//! [`format`] is the line format (CRI's), [`write`] takes a guest's bytes, [`read`] answers `kubectl logs`. A silent
//! container has no file, and an idle one no descriptor: [`write::OpenFiles`] bounds how many are open.

pub mod attach;
pub mod format;
pub mod read;
pub mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use coracle_client::Clock;

use crate::config::LogLimits;
use crate::limits::LOG_INSTANCES_MAX;

pub use read::Query;
use write::OpenFiles;
pub use write::{Log, Stream};

/// All logs of a node.
pub struct Logs {
    root: PathBuf,
    limits: LogLimits,
    clock: Clock,
    open: Arc<OpenFiles>,
    /// By file: those of a pod are next to each other.
    live: Mutex<BTreeMap<PathBuf, Arc<Log>>>,
}

/// A pod, as its log folder names it.
#[derive(Clone, Debug)]
pub struct PodLogs {
    dir: PathBuf,
}

impl Logs {
    /// Logs under `root`, which need not exist yet.
    pub fn new(root: PathBuf, limits: LogLimits, clock: Clock) -> Self {
        Self { root, limits, clock, open: Arc::default(), live: Mutex::default() }
    }

    /// The folder of one pod. The three parts hold no `/`: the API server saw to it, and it is seen to again here.
    pub fn pod(&self, namespace: &str, name: &str, uid: &str) -> PodLogs {
        let plain = |part: &str| part.replace(['/', '\0'], "_");
        PodLogs { dir: self.root.join(format!("{}_{}_{}", plain(namespace), plain(name), plain(uid))) }
    }

    /// The log of a container's instance that starts now; those of its older instances but one are removed.
    pub fn begin(&self, pod: &PodLogs, container: &str, restart: u32) -> Arc<Log> {
        if let Some(old) = restart.checked_sub(LOG_INSTANCES_MAX) {
            let path = pod.instance(container, old);
            for file in write::chain(&path, self.limits.files_max) {
                let _ = std::fs::remove_file(file);
            }
        }
        let path = pod.instance(container, restart);
        let log = Arc::new(Log::new(path.clone(), self.limits, self.clock, self.open.clone()));
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(path, log.clone());
        log
    }

    /// The instance has ended: what it left without a newline is written, and followers come to their end.
    pub fn end(&self, pod: &PodLogs, container: &str, restart: u32) {
        let path = pod.instance(container, restart);
        let log = self.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
        if let Some(log) = log {
            log.close();
        }
    }

    /// What an instance printed, as it comes.
    pub fn read(&self, pod: &PodLogs, container: &str, restart: u32, query: Query) -> read::Lines {
        let live = self.live(pod, container, restart);
        read::lines(pod.instance(container, restart), self.limits.files_max, live, query)
    }

    /// The log of an instance that runs.
    pub fn live(&self, pod: &PodLogs, container: &str, restart: u32) -> Option<Arc<Log>> {
        let path = pod.instance(container, restart);
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned()
    }

    /// Removes all that a pod printed. Blocks.
    pub fn remove(&self, pod: &PodLogs) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> = live
            .range(pod.dir.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&pod.dir))
            .cloned()
            .collect();
        gone.iter().for_each(|path| drop(live.remove(path)));
        drop(live);
        if let Err(error) = std::fs::remove_dir_all(&pod.dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %pod.dir.display(), %error, "cannot remove a pod's logs");
        }
    }

    /// Removes the logs of all instances that have ended; how many bytes they held. Blocks.
    pub fn remove_ended(&self) -> u64 {
        let folders = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut removed = 0;
        let files = folders(&self.root)
            .flat_map(|pod| folders(&pod).collect::<Vec<_>>())
            .flat_map(|it| folders(&it).collect::<Vec<_>>());
        for file in files {
            let Some(instance) = write::instance(&file) else { continue };
            let is_live = self.live.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&instance);
            let bytes = file.metadata().map_or(0, |meta| meta.len());
            if !is_live && std::fs::remove_file(&file).is_ok() {
                removed += bytes;
            }
        }
        removed
    }

    /// Removes the folders of pods that are not among `uids`. Blocks.
    pub fn sweep(&self, is_known: impl Fn(&str) -> bool) {
        for dir in std::fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let name = dir.file_name();
            let uid = name.to_str().and_then(|name| name.rsplit('_').next()).unwrap_or_default();
            if !is_known(uid) {
                self.remove(&PodLogs { dir: dir.path() });
            }
        }
    }
}

impl PodLogs {
    /// The file of one instance.
    fn instance(&self, container: &str, restart: u32) -> PathBuf {
        self.container(container).join(format!("{restart}.log"))
    }

    /// The folder of one container.
    pub fn container(&self, container: &str) -> PathBuf {
        self.dir.join(container)
    }

    /// The pod's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
