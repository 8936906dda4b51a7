//! Which instances of containers were started on this node, and how they ended: written before an instance's first
//! instruction, so that a kubelet that is killed knows afterwards what the API was not told yet. A pod that runs once does
//! not run again, and a restart is counted.
//!
//! ```text
//! ROOT/instances      one JSON object a line; the last that is said of an instance stands
//!   {"pod":UID,"container":NAME,"restart":N,"began":TIME}
//!   {"pod":UID,"container":NAME,"restart":N,"ended":{"code":N,"reason":…,"message":…,"at":TIME}}
//!   {"pod":UID,"container":NAME,"restart":N}                it did not come to run
//!   {"pod":UID}                                             the pod is gone
//! ```
//!
//! A line is one write, which the kernel has when the process dies; it is not synced, as what a power cut takes with it is
//! no more than a count. The file is written anew when most of it is about what is gone.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::state::Ended;
use crate::limits::INSTANCE_LINES_SPARE_MAX;

/// The newest instance of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The container's name.
    pub container: Box<str>,
    pub restart: u32,
    pub began: Timestamp,
    /// How it ended, once it has.
    pub ended: Option<Box<Ended>>,
    /// How the one before it ended, if that is known.
    pub before: Option<Box<Ended>>,
}

/// The newest instances of a pod's containers, one each. Small, as there are thousands of pods of one container.
pub type OfPod = Vec<Instance>;

type Pods = HashMap<Box<str>, OfPod>;

/// All instances of a node's pods.
pub struct Instances {
    path: PathBuf,
    book: Mutex<Book>,
}

struct Book {
    file: File,
    /// What the file holds, the superseded included.
    lines: usize,
    pods: Pods,
}

impl Instances {
    /// Reads what a kubelet before this one has left under `root`.
    ///
    /// # Errors
    /// When the folder cannot be read and written.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let path = root.join("instances");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut pods = Pods::new();
        // A line that a power cut has left in half says nothing.
        for line in text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
            take(&mut pods, &line);
        }
        let (file, lines) = write_anew(&path, &pods)?;
        Ok(Self { path, book: Mutex::new(Book { file, lines, pods }) })
    }

    /// What is known of a pod's containers.
    pub fn of(&self, pod: &str) -> OfPod {
        self.book().pods.get(pod).cloned().unwrap_or_default()
    }

    /// An instance is about to run.
    pub fn begin(&self, pod: &str, container: &str, restart: u32, now: Timestamp) {
        self.note(&json!({"pod": pod, "container": container, "restart": restart, "began": now.to_string()}));
    }

    /// It did not come to run.
    pub fn undo(&self, pod: &str, container: &str, restart: u32) {
        self.note(&json!({"pod": pod, "container": container, "restart": restart}));
    }

    /// It has ended.
    pub fn end(&self, pod: &str, container: &str, restart: u32, ended: &Ended) {
        self.note(&end_line(pod, container, restart, ended));
    }

    /// The pod is gone.
    pub fn forget(&self, pod: &str) {
        if self.book().pods.contains_key(pod) {
            self.note(&json!({"pod": pod}));
        }
    }

    /// Forgets the pods that are not known.
    pub fn sweep(&self, is_known: impl Fn(&str) -> bool) {
        let gone: Vec<Box<str>> = self.book().pods.keys().filter(|pod| !is_known(pod)).cloned().collect();
        for pod in gone {
            self.forget(&pod);
        }
    }

    fn note(&self, line: &Value) {
        let mut book = self.book();
        take(&mut book.pods, line);
        book.lines += 1;
        let live: usize = book.pods.len();
        let written = if book.lines > 4 * live + INSTANCE_LINES_SPARE_MAX {
            write_anew(&self.path, &book.pods).map(|(file, lines)| (book.file, book.lines) = (file, lines))
        } else {
            book.file.write_all(format!("{line}\n").as_bytes())
        };
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "cannot note what runs: a restart may not be counted");
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds what a line says to what is known.
fn take(pods: &mut Pods, line: &Value) {
    let text = |field: &str| line[field].as_str();
    let Some(pod) = text("pod") else { return };
    let restart = line["restart"].as_u64().and_then(|restart| u32::try_from(restart).ok());
    let (Some(container), Some(restart)) = (text("container"), restart) else {
        pods.remove(pod);
        return;
    };
    let of_pod = pods.entry(pod.into()).or_default();
    let known = of_pod.iter().position(|known| &*known.container == container);
    if let Some(began) = text("began").and_then(|time| time.parse().ok()) {
        let former = known.map(|at| of_pod.swap_remove(at)).filter(|former| former.restart < restart);
        let before = former.and_then(|former| former.ended);
        of_pod.reserve_exact(1);
        of_pod.push(Instance { container: container.into(), restart, began, ended: None, before });
        return;
    }
    let Some(at) = known.filter(|at| of_pod[*at].restart == restart) else { return };
    match (read_end(&line["ended"]), restart.checked_sub(1), of_pod[at].before.take()) {
        (Some(ended), _, before) => {
            of_pod[at].ended = Some(Box::new(ended));
            of_pod[at].before = before;
        }
        // The one before it is the newest again.
        (None, Some(restart), Some(ended)) => {
            let began = ended.started_at.unwrap_or(ended.finished_at);
            of_pod[at] = Instance { container: container.into(), restart, began, ended: Some(ended), before: None };
        }
        _ => drop(of_pod.swap_remove(at)),
    }
}

fn read_end(end: &Value) -> Option<Ended> {
    let text = |field: &str| end[field].as_str().unwrap_or_default().to_owned();
    Some(Ended {
        exit_code: i32::try_from(end["code"].as_i64()?).ok()?,
        reason: text("reason"),
        message: text("message"),
        started_at: end["began"].as_str().and_then(|time| time.parse().ok()),
        finished_at: end["at"].as_str()?.parse().ok()?,
        container_id: text("id"),
    })
}

fn end_line(pod: &str, container: &str, restart: u32, ended: &Ended) -> Value {
    let Ended { exit_code, reason, message, started_at, finished_at, container_id } = ended;
    let mut end = json!({"code": exit_code, "reason": reason, "at": finished_at.to_string(), "id": container_id});
    if !message.is_empty() {
        end["message"] = message.as_str().into();
    }
    if let Some(began) = started_at {
        end["began"] = began.to_string().into();
    }
    json!({"pod": pod, "container": container, "restart": restart, "ended": end})
}

/// Writes all that is known, and no more; the open file, and how many lines it has.
fn write_anew(path: &Path, pods: &Pods) -> io::Result<(File, usize)> {
    let (mut text, mut lines) = (Vec::new(), 0);
    let mut add = |line: Value| {
        lines += 1;
        writeln!(text, "{line}")
    };
    for (pod, of_pod) in pods {
        for Instance { container, restart, began, ended, before } in of_pod {
            if let (Some(ended), Some(former)) = (before, restart.checked_sub(1)) {
                let began = ended.started_at.unwrap_or(ended.finished_at);
                add(json!({"pod": pod, "container": container, "restart": former, "began": began.to_string()}))?;
                add(end_line(pod, container, former, ended))?;
            }
            add(json!({"pod": pod, "container": container, "restart": restart, "began": began.to_string()}))?;
            if let Some(ended) = ended {
                add(end_line(pod, container, *restart, ended))?;
            }
        }
    }
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, path)?;
    Ok((OpenOptions::new().append(true).open(path)?, lines))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn ended(exit_code: i32) -> Ended {
        let (reason, message) = ("Error".to_owned(), "last\nwords".to_owned());
        let id = format!("id-{exit_code}");
        Ended { exit_code, reason, message, started_at: Some(now()), finished_at: now(), container_id: id }
    }

    fn instance(restart: u32, ended: Option<Ended>, before: Option<Ended>) -> OfPod {
        let (ended, before) = (ended.map(Box::new), before.map(Box::new));
        vec![Instance { container: "main".into(), restart, began: now(), ended, before }]
    }

    #[test]
    fn what_was_noted_is_known_to_the_next_kubelet() {
        let root = tempfile::tempdir().unwrap();
        let reopened = || Instances::open(root.path()).unwrap();
        let instances = reopened();
        instances.begin("a", "main", 0, now());
        assert_eq!(reopened().of("a"), instance(0, None, None));
        let instances = reopened();
        instances.end("a", "main", 0, &ended(1));
        assert_eq!(reopened().of("a"), instance(0, Some(ended(1)), None));
        let instances = reopened();
        instances.begin("a", "main", 1, now());
        instances.begin("b", "main", 0, now());
        for _ in 0..2 {
            assert_eq!(reopened().of("a"), instance(1, None, Some(ended(1))), "and is when it is written anew");
        }
        let instances = reopened();
        instances.undo("a", "main", 1);
        instances.undo("b", "main", 0);
        assert_eq!(instances.of("a"), instance(0, Some(ended(1)), None), "what did not run does not count");
        assert_eq!(instances.of("b"), OfPod::new());
        instances.sweep(|pod| pod != "a");
        assert_eq!(reopened().of("a"), OfPod::new());
    }

    #[test]
    fn a_file_that_was_cut_off_is_read_as_far_as_it_goes() {
        let root = tempfile::tempdir().unwrap();
        Instances::open(root.path()).unwrap().begin("a", "main", 3, now());
        let path = root.path().join("instances");
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"[]\nnonsense\n{\"pod\":\"a\",\"container\":\"main\",\"restart\":9999999999,\"beg");
        fs::write(&path, text).unwrap();
        assert_eq!(Instances::open(root.path()).unwrap().of("a"), instance(3, None, None));
    }

    #[test]
    fn the_file_does_not_grow_with_what_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let instances = Instances::open(root.path()).unwrap();
        for number in 0..2 * INSTANCE_LINES_SPARE_MAX {
            let pod = number.to_string();
            instances.begin(&pod, "main", 0, now());
            instances.forget(&pod);
        }
        instances.begin("stays", "main", 0, now());
        let lines = fs::read_to_string(root.path().join("instances")).unwrap().lines().count();
        assert!(lines <= INSTANCE_LINES_SPARE_MAX + 8, "{lines}");
        assert_eq!(Instances::open(root.path()).unwrap().of("stays"), instance(0, None, None));
    }
}
