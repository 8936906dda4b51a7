//! Containers without guests: they run at once, cost nothing, and end as they are told.
//!
//! For tests of the kubelet's logic, and for clusters whose nodes only pretend to run pods.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::{Container, ContainerSpec, Exec, Exit, Limits, LoadError, Module, Mount, Runtime, StartError, Tell, Usage};
use crate::images::Image;

/// What becomes of the containers of an image.
#[derive(Clone, Debug, Default)]
pub enum Outcome {
    /// Runs until it is stopped.
    #[default]
    Runs,
    /// Runs for a while and ends so.
    Exits { after: Duration, exit: Exit },
    /// Runs, and does not listen when asked to stop.
    Ignores,
    /// The image is refused with this message.
    RefusesImage(String),
    /// Does not start, with this message.
    FailsToStart(String),
}

/// A runtime without guests.
#[derive(Clone, Default)]
pub struct FakeRuntime {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    outcomes: Mutex<HashMap<String, Outcome>>,
    started: AtomicUsize,
    running: AtomicUsize,
    memory: Mutex<HashMap<String, Memory>>,
}

/// What the containers of an image hold.
#[derive(Clone, Copy, Default)]
struct Memory {
    bytes_each: u64,
    containers: u64,
}

impl FakeRuntime {
    /// All containers run until they are stopped.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on, containers whose image is `name` (as in the pod, with its tag: `crash:latest`) end so.
    #[must_use]
    pub fn with(self, name: &str, outcome: Outcome) -> Self {
        self.set(name, outcome);
        self
    }

    /// As [`FakeRuntime::with`], for one that already runs.
    pub fn set(&self, name: &str, outcome: Outcome) {
        self.shared.outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), outcome);
    }

    /// From now on, each container of the image `name` holds so much memory, those that run already as well.
    pub fn hold(&self, name: &str, bytes: u64) {
        self.shared.memory().entry(name.to_owned()).or_default().bytes_each = bytes;
    }

    /// What all containers hold.
    pub fn memory_bytes(&self) -> u64 {
        self.shared.memory().values().map(|memory| memory.bytes_each * memory.containers).sum()
    }

    /// Containers started so far.
    pub fn started(&self) -> usize {
        self.shared.started.load(Ordering::Relaxed)
    }

    /// Containers running now.
    pub fn running(&self) -> usize {
        self.shared.running.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn version(&self) -> String {
        concat!("fake://", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn scheme(&self) -> &'static str {
        "fake"
    }

    fn takes_any_image(&self) -> bool {
        true
    }

    async fn load(&self, image: &Image, _tell: Tell) -> Result<Arc<dyn Module>, LoadError> {
        let outcomes = self.shared.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        match outcomes.get(&*image.name).cloned().unwrap_or_default() {
            Outcome::RefusesImage(message) => Err(LoadError { message, transient: false }),
            outcome => Ok(Arc::new(FakeModule { name: image.name.to_string(), outcome, shared: self.shared.clone() })),
        }
    }
}

struct FakeModule {
    name: String,
    outcome: Outcome,
    shared: Arc<Shared>,
}

#[async_trait]
impl Module for FakeModule {
    fn opens_files(&self) -> bool {
        true
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let (end, ended) = watch::channel(None);
        match &self.outcome {
            Outcome::FailsToStart(message) => return Err(StartError { message: message.clone() }),
            Outcome::Exits { after, exit } => {
                tokio::spawn(end_after(end.clone(), *after, exit.clone()));
            }
            Outcome::Runs | Outcome::Ignores | Outcome::RefusesImage(_) => {}
        }
        self.shared.started.fetch_add(1, Ordering::Relaxed);
        self.shared.running.fetch_add(1, Ordering::Relaxed);
        self.shared.memory().entry(self.name.clone()).or_default().containers += 1;
        let listens = !matches!(self.outcome, Outcome::Ignores);
        let (mounts, address, shared) = (spec.mounts, spec.address, self.shared.clone());
        let image = Some(self.name.clone());
        Ok(Arc::new(FakeContainer { image, end, ended, listens, mounts, address, shared }))
    }

    fn is_program(&self) -> bool {
        false
    }
}

/// What a further run does, by its first argument: `echo` prints the others, `cat` what it reads, `exit` ends with the
/// code that is the second, `sleep` runs until it is killed; anything else ends well.
async fn pretend(exec: Exec) -> Exit {
    let words: Vec<&str> = exec.args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["echo", rest @ ..] => exec.stdout.write(format!("{}\n", rest.join(" ")).as_bytes()),
        ["exit", code] => return Exit::Code(code.parse().unwrap_or(1)),
        ["sleep", ..] => std::future::pending().await,
        ["cat"] => {
            let mut bytes = [0; 4096];
            let Some(mut stdin) = exec.stdin else { return Exit::Code(0) };
            while let Ok(count @ 1..) = stdin.read(&mut bytes).await {
                exec.stdout.write(&bytes[..count]);
            }
        }
        _ => {}
    }
    Exit::Code(0)
}

async fn end_after(end: watch::Sender<Option<Exit>>, after: Duration, exit: Exit) {
    tokio::time::sleep(after).await;
    finish(&end, exit);
}

fn finish(end: &watch::Sender<Option<Exit>>, exit: Exit) {
    end.send_if_modified(|ended| {
        let first = ended.is_none();
        ended.get_or_insert(exit);
        first
    });
}

struct FakeContainer {
    /// `None` for a further run, which holds nothing.
    image: Option<String>,
    end: watch::Sender<Option<Exit>>,
    ended: watch::Receiver<Option<Exit>>,
    listens: bool,
    mounts: Vec<Mount>,
    address: Option<IpAddr>,
    shared: Arc<Shared>,
}

#[async_trait]
impl Container for FakeContainer {
    async fn ready(&self) {}

    async fn wait(&self) -> Exit {
        let mut ended = self.ended.clone();
        let exit = ended.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        exit.unwrap_or(Exit::Killed)
    }

    fn stop(&self) {
        if self.listens {
            finish(&self.end, Exit::Stopped);
        }
    }

    fn kill(&self) {
        finish(&self.end, Exit::Killed);
    }

    fn usage(&self) -> Usage {
        let memory = self.shared.memory();
        let held = self.image.as_ref().and_then(|image| memory.get(image)).copied().unwrap_or_default();
        Usage { memory_bytes: held.bytes_each, ..Usage::default() }
    }

    fn resize(&self, _limits: Limits) -> Result<(), StartError> {
        Ok(())
    }

    fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    fn address(&self) -> Option<IpAddr> {
        self.address
    }

    async fn exec(&self, exec: Exec) -> Result<Arc<dyn Container>, StartError> {
        let ends = self.ended.clone();
        if ends.borrow().is_some() {
            return Err(StartError { message: "the container has ended".to_owned() });
        }
        let (end, ended) = watch::channel(None);
        let (run, mut killed, mut outer) = (end.clone(), end.subscribe(), ends);
        tokio::spawn(async move {
            let exit = tokio::select! {
                exit = pretend(exec) => exit,
                _ = killed.wait_for(Option::is_some) => Exit::Killed,
                _ = outer.wait_for(Option::is_some) => Exit::Killed,
            };
            finish(&run, exit);
        });
        self.shared.running.fetch_add(1, Ordering::Relaxed);
        let (mounts, address, shared) = (self.mounts.clone(), self.address, self.shared.clone());
        Ok(Arc::new(FakeContainer { image: None, end, ended, listens: true, mounts, address, shared }))
    }
}

impl Drop for FakeContainer {
    fn drop(&mut self) {
        finish(&self.end, Exit::Killed);
        if let Some(image) = &self.image {
            self.shared.memory().entry(image.clone()).or_default().containers -= 1;
        }
        self.shared.running.fetch_sub(1, Ordering::Relaxed);
    }
}
