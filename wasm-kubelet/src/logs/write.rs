//! Takes what a guest prints and appends it, as records, to its file.
//!
//! A write of the guest is one write to the page cache, made on the guest's own thread: a guest that floods its log
//! slows itself and nobody else, and the disk that it can fill is bounded by rotation. What the disk refuses is lost,
//! and said once in the node's own log.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use coracle_client::Clock;
use tokio::sync::Notify;

use super::attach::{Attached, Stdin, Tap};
use super::format::{self, Source};
use crate::config::LogLimits;
use crate::limits::{LOG_FILES_OPEN_MAX, LOG_LINE_BYTES_MAX};
use crate::runtime::{Input, Sink};

/// The log of one instance of a container, while it runs.
pub struct Log {
    path: PathBuf,
    limits: LogLimits,
    clock: Clock,
    open: Arc<OpenFiles>,
    state: Mutex<State>,
    used: AtomicBool,
    changed: Notify,
    attached: Attached,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    bytes: u64,
    /// How often the file was rotated: the file of an earlier number `n` has the suffix `rotations - n`.
    rotations: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    is_closed: bool,
    is_broken: bool,
}

/// Where a follower stands with respect to the writer.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub rotations: u64,
    pub is_closed: bool,
}

impl Log {
    pub(super) fn new(path: PathBuf, limits: LogLimits, clock: Clock, open: Arc<OpenFiles>) -> Self {
        let (state, used, changed) = (Mutex::default(), AtomicBool::new(false), Notify::new());
        Self { path, limits, clock, open, state, used, changed, attached: Attached::default() }
    }

    /// One of the two ends that the guest writes to.
    pub fn stream(self: &Arc<Self>, source: Source) -> Arc<Stream> {
        Arc::new(Stream { log: self.clone(), source })
    }

    /// What the container writes from now on.
    pub fn tap(&self) -> Tap {
        self.attached.tap()
    }

    /// A standard input for the container that those write who attach to it; `once`, no longer than the first of them.
    pub fn open_stdin(&self, once: bool) -> Input {
        self.attached.open_stdin(once)
    }

    /// The writing end of the container's standard input, if it has one that is open.
    pub fn stdin(&self) -> Option<Stdin> {
        self.attached.stdin()
    }

    /// Brings the container's standard input to its end.
    pub fn close_stdin(&self) {
        self.attached.close_stdin();
    }

    /// Completes once something was written, or the log was closed, after this was called.
    pub(super) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    pub(super) fn progress(&self) -> Progress {
        let state = self.lock();
        Progress { rotations: state.rotations, is_closed: state.is_closed }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(self: &Arc<Self>, source: Source, bytes: &[u8]) {
        let mut state = self.lock();
        let records = state.records(source, bytes, self.clock);
        if !records.is_empty() && !state.is_closed {
            self.write(&mut state, &records);
        }
        drop(state);
        self.attached.tell(source, bytes);
        self.changed.notify_waiters();
    }

    fn write(self: &Arc<Self>, state: &mut State, records: &[u8]) {
        let written = self.rotate_if_full(state, records.len()).and_then(|()| self.file(state)?.write_all(records));
        match written {
            Ok(()) => {
                state.bytes += records.len() as u64;
                state.is_broken = false;
            }
            Err(error) => {
                state.file = None;
                if !std::mem::replace(&mut state.is_broken, true) {
                    tracing::warn!(path = %self.path.display(), %error, "a guest's output is lost");
                }
            }
        }
        self.used.store(true, Ordering::Relaxed);
    }

    fn rotate_if_full(&self, state: &mut State, more: usize) -> io::Result<()> {
        if state.bytes == 0 || state.bytes + more as u64 <= self.limits.file_bytes_max {
            return Ok(());
        }
        state.file = None;
        let files: Vec<PathBuf> = chain(&self.path, self.limits.files_max).collect();
        for pair in files.windows(2) {
            match fs::rename(&pair[1], &pair[0]) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if files.len() == 1 {
            fs::remove_file(&self.path)?;
        }
        state.bytes = 0;
        state.rotations += 1;
        Ok(())
    }

    fn file<'a>(self: &Arc<Self>, state: &'a mut State) -> io::Result<&'a mut File> {
        if state.file.is_none() {
            let file = open(&self.path)?;
            state.bytes = file.metadata()?.len();
            state.file = Some(file);
            self.open.opened(self);
        }
        state.file.as_mut().ok_or_else(|| io::Error::other("the log file was just opened"))
    }

    pub(super) fn close(self: &Arc<Self>) {
        let mut state = self.lock();
        for source in [Source::Stdout, Source::Stderr] {
            let rest = std::mem::take(state.partial(source));
            if !rest.is_empty() {
                let mut record = Vec::with_capacity(rest.len() + 48);
                format::write(&mut record, self.clock.wall(), source, true, &rest);
                self.write(&mut state, &record);
            }
        }
        state.file = None;
        state.is_closed = true;
        drop(state);
        self.attached.close();
        self.changed.notify_waiters();
    }
}

impl State {
    fn partial(&mut self, source: Source) -> &mut Vec<u8> {
        match source {
            Source::Stdout => &mut self.stdout,
            Source::Stderr => &mut self.stderr,
        }
    }

    /// The records that `bytes` complete; what follows the last newline waits for the rest of its line.
    fn records(&mut self, source: Source, bytes: &[u8], clock: Clock) -> Vec<u8> {
        let time = clock.wall();
        let partial = self.partial(source);
        let mut out = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_full) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            partial.extend_from_slice(text);
            while partial.len() > LOG_LINE_BYTES_MAX || partial.len() == LOG_LINE_BYTES_MAX && !is_full {
                format::write(&mut out, time, source, false, &partial[..LOG_LINE_BYTES_MAX]);
                partial.drain(..LOG_LINE_BYTES_MAX);
            }
            if is_full {
                format::write(&mut out, time, source, true, partial);
                partial.clear();
            }
        }
        if partial.is_empty() {
            *partial = Vec::new();
        }
        out
    }
}

/// The guest's end of a log.
pub struct Stream {
    log: Arc<Log>,
    source: Source,
}

impl Sink for Stream {
    fn write(&self, bytes: &[u8]) {
        self.log.append(self.source, bytes);
    }
}

/// The files of one instance, oldest first: `0.log.4` … `0.log.1`, `0.log`.
pub(super) fn chain(path: &Path, files_max: usize) -> impl Iterator<Item = PathBuf> + '_ {
    (0..files_max.max(1)).rev().map(move |age| aged(path, age as u64))
}

/// The file as it is called after `age` rotations.
pub(super) fn aged(path: &Path, age: u64) -> PathBuf {
    if age == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// The newest file of the instance that a file belongs to, if it is one of a log.
pub(super) fn instance(file: &Path) -> Option<PathBuf> {
    let (restart, _) = file.file_name()?.to_str()?.split_once(".log")?;
    Some(file.with_file_name(format!("{restart}.log")))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let dir = path.parent().unwrap_or(Path::new("."));
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            options.open(path)
        }
        other => other,
    }
}

/// The open log files of a node, at most [`LOG_FILES_OPEN_MAX`]: one more closes the first that was idle for a round.
#[derive(Default)]
pub struct OpenFiles {
    queue: Mutex<VecDeque<Weak<Log>>>,
}

impl OpenFiles {
    /// Notes that `log` has just opened its file. The caller holds that log's lock; others are only tried, so that no
    /// two logs ever wait for each other.
    fn opened(&self, log: &Arc<Log>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tries = queue.len();
        while queue.len() >= LOG_FILES_OPEN_MAX && tries > 0 {
            tries -= 1;
            let Some(oldest) = queue.pop_front() else { break };
            if !oldest.upgrade().is_none_or(|oldest| oldest.let_go()) {
                queue.push_back(oldest);
            }
        }
        queue.push_back(Arc::downgrade(log));
    }
}

impl Log {
    /// Closes the file if nobody wrote since the last call; whether it is closed now.
    fn let_go(&self) -> bool {
        if self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        match self.state.try_lock() {
            Ok(mut state) => state.file = None,
            Err(TryLockError::Poisoned(state)) => state.into_inner().file = None,
            Err(TryLockError::WouldBlock) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn clock() -> Clock {
        Clock::simulated("2026-01-02T03:04:05Z".parse().unwrap())
    }

    fn texts(path: &Path) -> Vec<String> {
        let all = fs::read(path).unwrap_or_default();
        let lines = all.split(|byte| *byte == b'\n').filter_map(format::parse);
        lines
            .map(|record| format!("{}{}", if record.is_full { "F" } else { "P" }, String::from_utf8_lossy(record.text)))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_cut_where_the_guest_cuts_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c/0.log");
        let log = Arc::new(Log::new(path.clone(), LogLimits::default(), clock(), Arc::default()));
        let stdout = log.stream(Source::Stdout);
        stdout.write(b"");
        assert!(!path.exists(), "nothing printed, no file");
        stdout.write(b"one\ntw");
        stdout.write(b"o\n\n");
        log.stream(Source::Stderr).write(b"rest");
        stdout.write(&[b'x'; LOG_LINE_BYTES_MAX + 3]);
        log.close();
        let long = "x".repeat(LOG_LINE_BYTES_MAX);
        assert_eq!(texts(&path), ["Fone", "Ftwo", "F", &format!("P{long}"), "Fxxx", "Frest"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_stays_within_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c/0.log");
        let limits = LogLimits { file_bytes_max: 1000, files_max: 3 };
        let log = Arc::new(Log::new(path.clone(), limits, clock(), Arc::default()));
        for line in 0..1000 {
            log.append(Source::Stdout, format!("line {line}\n").as_bytes());
        }
        let kept: Vec<String> = chain(&path, 3).flat_map(|file| texts(&file)).collect();
        assert_eq!(kept.last().map(String::as_str), Some("Fline 999"));
        assert!(kept.len() > 40 && kept.len() < 70, "{}", kept.len());
        assert_eq!(fs::read_dir(dir.path().join("c")).unwrap().count(), 3);
        for file in chain(&path, 3) {
            assert!(fs::metadata(file).unwrap().len() <= 1000);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_files_are_closed() {
        let dir = tempfile::tempdir().unwrap();
        let open = Arc::<OpenFiles>::default();
        let logs: Vec<_> = (0..LOG_FILES_OPEN_MAX + 50)
            .map(|n| {
                Arc::new(Log::new(dir.path().join(format!("{n}.log")), LogLimits::default(), clock(), open.clone()))
            })
            .collect();
        for round in 0..2 {
            for log in &logs {
                log.append(Source::Stdout, b"x\n");
            }
            let held = logs.iter().filter(|log| log.lock().file.is_some()).count();
            assert!(held <= LOG_FILES_OPEN_MAX, "{held} open in round {round}");
        }
        assert!(logs.iter().all(|log| texts(&log.path).len() == 2), "closing loses nothing");
    }
}
