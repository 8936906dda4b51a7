//! The folder of static pods: looked at when something in it changes, and now and then all the same.
//!
//! What a file says is judged once it has been left alone for a moment: who writes it bit by bit ends no pod. Source:
//! kubelet, `sourceFile`, which watches by inotify and looks every `fileCheckFrequency`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use coracle_client::{Clock, EventType, Key};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::manifest::parse;
use crate::limits::{STATIC_POD_BYTES_MAX, STATIC_POD_CHECK, STATIC_POD_SETTLE};
use crate::node;
use crate::pod::Workers;

/// What a change that matters looks like; a new name may be a link, and so a whole file.
const CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

/// The folder, or one file, and what it last said.
pub struct Folder {
    path: PathBuf,
    node: String,
    /// The pods of files that could be read.
    pods: BTreeMap<PathBuf, Pod>,
    /// What was told to be wrong, by file.
    told: HashMap<PathBuf, String>,
    changes: Option<Receiver>,
}

/// What there is to a file.
enum Found {
    Pod(Box<Pod>),
    Wrong { why: String, is_settled: bool },
}

impl Folder {
    /// A folder that nobody has looked at yet. Must be called within a tokio runtime.
    pub fn new(path: PathBuf, node: &str) -> Self {
        let changes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(io::Error::from);
        // It is read as a pipe is.
        let changes = changes.and_then(Receiver::from_owned_fd_unchecked).inspect_err(|error| {
            tracing::warn!(%error, "cannot watch the folder of static pods: it is looked at now and then");
        });
        Self { path, node: node.to_owned(), pods: BTreeMap::new(), told: HashMap::new(), changes: changes.ok() }
    }

    /// Looks at the folder until `shutdown`, and has the node run what it says.
    pub async fn follow(mut self, workers: std::sync::Arc<Workers>, shutdown: CancellationToken) {
        loop {
            let pause = self.look(&workers).await;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(pause) => {}
                () = self.changed() => sleep(STATIC_POD_SETTLE / 10).await,
            }
        }
    }

    /// Looks once; how long it may take until the next time.
    pub async fn look(&mut self, workers: &std::sync::Arc<Workers>) -> Duration {
        self.watch();
        let (path, node, clock) = (self.path.clone(), self.node.clone(), workers.host().clock);
        let found = tokio::task::spawn_blocking(move || read(&path, &node, clock)).await;
        let found = match found.unwrap_or_else(|panicked| Err(io::Error::other(panicked))) {
            Ok(found) => found,
            Err(error) => {
                // What cannot be read says nothing: everything goes on.
                let path = self.path.clone();
                self.tell(workers, path, format!("cannot be read: {error}"));
                return STATIC_POD_CHECK;
            }
        };
        let is_settled = self.judge(workers, found);
        let wanted = self.pods.values().cloned().collect();
        let pods = workers.host().pods.fixed().clone();
        let changes = tokio::task::spawn_blocking(move || pods.set(wanted, clock.wall())).await;
        workers.take(changes.unwrap_or_default()).await;
        if is_settled { STATIC_POD_CHECK } else { STATIC_POD_SETTLE }
    }

    /// Takes what the files say; whether all of them have been left alone.
    fn judge(&mut self, workers: &Workers, found: BTreeMap<PathBuf, Found>) -> bool {
        let mut before = std::mem::take(&mut self.pods);
        self.told.retain(|file, _| found.contains_key(file));
        let mut names = HashSet::new();
        let mut are_settled = true;
        for (file, found) in found {
            let pod = match found {
                Found::Pod(pod) => *pod,
                Found::Wrong { why, is_settled: true } => {
                    self.tell(workers, file, why);
                    continue;
                }
                Found::Wrong { is_settled: false, .. } => {
                    are_settled = false;
                    match before.remove(&file) {
                        Some(pod) => pod,
                        None => continue,
                    }
                }
            };
            let key = Key::of(&pod);
            if names.insert(key.clone()) {
                self.told.remove(&file);
                // It was first seen when it was first seen.
                let same = before.remove(&file).filter(|before| before.metadata.uid == pod.metadata.uid);
                self.pods.insert(file, same.unwrap_or(pod));
            } else {
                self.tell(workers, file, format!("another file is the pod {key} already"));
            }
        }
        are_settled
    }

    /// Says once what is wrong with a file.
    fn tell(&mut self, workers: &Workers, file: PathBuf, why: String) {
        if self.told.get(&file) == Some(&why) {
            return;
        }
        tracing::error!(file = %file.display(), why, "no static pod");
        let host = workers.host();
        let message = format!("{} is no static pod: {why}", file.display());
        host.recorder.event_on(
            node::reference(&host.config.node_name),
            EventType::Warning,
            "FailedValidation",
            message,
        );
        self.told.insert(file, why);
    }

    /// Watches what is there now: the folder may be another than before.
    fn watch(&self) {
        if let Some(changes) = &self.changes {
            // One that is not there is looked for now and then.
            let _ = inotify::add_watch(changes, &self.path, CHANGES);
        }
    }

    /// Waits for a change.
    ///
    /// # Cancel safety
    /// May be dropped.
    async fn changed(&mut self) {
        let Some(changes) = &mut self.changes else { return std::future::pending().await };
        // What has changed is seen by looking.
        if let Err(error) = changes.read(&mut [0; 4096]).await {
            tracing::warn!(%error, "cannot watch the folder of static pods: it is looked at now and then");
            self.changes = None;
        }
    }
}

/// What each file says; a folder that is not there says nothing.
fn read(path: &Path, node: &str, clock: Clock) -> io::Result<BTreeMap<PathBuf, Found>> {
    let mut found = BTreeMap::new();
    for file in files(path)? {
        let metadata = match fs::metadata(&file) {
            Ok(metadata) => metadata,
            // It has just gone, or is a link that leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(&file).is_err() => continue,
            Err(error) => {
                found.insert(file, Found::Wrong { why: error.to_string(), is_settled: true });
                continue;
            }
        };
        let said = if metadata.is_file() { pod(&file, node, clock.wall()) } else { Err("it is not a file".to_owned()) };
        let is_settled = !metadata.is_file() || metadata.modified().is_ok_and(is_settled);
        let found_there = match said {
            Ok(pod) => Found::Pod(Box::new(pod)),
            Err(why) => Found::Wrong { why, is_settled },
        };
        found.insert(file, found_there);
    }
    Ok(found)
}

/// A time to come is no reason to wait for it.
fn is_settled(modified: SystemTime) -> bool {
    SystemTime::now().duration_since(modified).map_or(true, |age| age >= STATIC_POD_SETTLE)
}

/// The files of a folder, but for hidden ones; or the one file.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn pod(file: &Path, node: &str, now: Timestamp) -> Result<Pod, String> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|open| open.take(STATIC_POD_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > STATIC_POD_BYTES_MAX {
        return Err(format!("it is larger than {STATIC_POD_BYTES_MAX} bytes"));
    }
    parse(&bytes, file, node, now)
}
