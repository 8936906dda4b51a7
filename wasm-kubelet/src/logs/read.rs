//! Answers `kubectl logs`: the records of one instance, from where the query says, and on as they come.
//!
//! Following waits for the writer's notification; nothing polls. A file that is rotated away under the reader is read
//! to its end before the next; one that is rotated out of existence is skipped.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::format::{self, Source};
use super::write::{Log, aged, chain};

/// Which records, and how they are shown. Source: `PodLogOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub follow: bool,
    pub tail_lines: Option<u64>,
    pub since: Option<Timestamp>,
    pub timestamps: bool,
    pub limit_bytes: Option<u64>,
    pub source: Option<Source>,
}

/// The answer, piece by piece; it ends, with [`Query::follow`], when the instance has.
pub type Lines = mpsc::Receiver<io::Result<Bytes>>;

/// Bytes read from a file at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Pieces that wait for a slow reader; the file waits then.
const PIECES_MAX: usize = 4;

pub(super) fn lines(path: PathBuf, files_max: usize, live: Option<Arc<Log>>, query: Query) -> Lines {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    tokio::spawn(async move {
        let answer = Answer { view: View::new(&query), path, files_max, live, follow: query.follow };
        if let Err(error) = answer.produce(query.tail_lines, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    receiver
}

struct Answer {
    view: View,
    path: PathBuf,
    files_max: usize,
    live: Option<Arc<Log>>,
    follow: bool,
}

impl Answer {
    async fn produce(mut self, tail: Option<u64>, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
        // A file's number is how often the log had been rotated when it was the current one: it stays when the file's
        // name changes. An ended log counts as rotated as often as it can have files.
        let rotations = self.rotations();
        let (mut number, mut offset) = ((rotations + 1).saturating_sub(self.files_max as u64), 0);
        if let Some(lines) = tail {
            let (path, files_max) = (self.path.clone(), self.files_max);
            let (age, start) = blocking(move || tail_start(&path, files_max, lines)).await?;
            (number, offset) = (rotations.saturating_sub(age), start);
        }
        let live = self.live.clone();
        loop {
            let changed = live.as_ref().map(|log| log.changed());
            let mut changed = std::pin::pin!(futures::future::OptionFuture::from(changed));
            let _ = futures::poll!(changed.as_mut());
            let is_closed = live.as_ref().is_none_or(|log| log.progress().is_closed);
            if !self.read_on(&mut number, &mut offset, sender).await? || !self.follow || is_closed {
                return Ok(());
            }
            tokio::select! {
                _ = changed => {}
                () = sender.closed() => return Ok(()),
            }
        }
    }

    fn rotations(&self) -> u64 {
        self.live.as_ref().map_or(self.files_max as u64 - 1, |log| log.progress().rotations)
    }

    /// Sends all that is there from `offset` of file `number` on; whether more is wanted.
    async fn read_on(
        &mut self,
        number: &mut u64,
        offset: &mut u64,
        sender: &mpsc::Sender<io::Result<Bytes>>,
    ) -> io::Result<bool> {
        loop {
            let rotations = self.rotations();
            let path = aged(&self.path, rotations - *number);
            let at = *offset;
            let chunk = blocking(move || read_chunk(&path, at)).await?;
            if self.rotations() != rotations {
                continue;
            }
            match chunk {
                Some(chunk) if !chunk.is_empty() => {
                    *offset += chunk.len() as u64;
                    let text = self.view.show(&chunk);
                    if !text.is_empty() && sender.send(Ok(text.into())).await.is_err() {
                        return Ok(false);
                    }
                    if self.view.is_full() {
                        return Ok(false);
                    }
                }
                _ if *number < rotations => {
                    *number = (*number + 1).max((rotations + 1).saturating_sub(self.files_max as u64));
                    *offset = 0;
                }
                _ => return Ok(true),
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Whole records from `offset` on; empty at the end; `None` when there is no file.
fn read_chunk(path: &Path, offset: u64) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut chunk = Vec::new();
    file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    let whole = chunk.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    chunk.truncate(whole);
    Ok(Some(chunk))
}

/// Where the last `lines` records begin: the age of the file, and the offset in it.
fn tail_start(path: &Path, files_max: usize, mut lines: u64) -> io::Result<(u64, u64)> {
    let files: Vec<PathBuf> = chain(path, files_max).collect();
    let mut start = (0, None);
    for (age, file) in files.iter().rev().enumerate() {
        let mut file = match File::open(file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        let bytes = file.seek(SeekFrom::End(0))?;
        let (offset, found) = last_lines(&mut file, bytes, lines)?;
        start = (age as u64, Some(offset));
        lines -= found;
        if lines == 0 {
            break;
        }
    }
    Ok((start.0, start.1.unwrap_or(0)))
}

/// The offset at which the last `lines` lines of a file begin, and how many there are from it on.
fn last_lines(file: &mut File, bytes: u64, lines: u64) -> io::Result<(u64, u64)> {
    let mut end = bytes;
    let mut newlines = 0;
    let mut block = vec![0; CHUNK_BYTES];
    while end > 0 {
        let begin = end.saturating_sub(CHUNK_BYTES as u64);
        let block = &mut block[..usize::try_from(end - begin).map_err(io::Error::other)?];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            if newlines == lines {
                return Ok((begin + at as u64 + 1, lines));
            }
            newlines += 1;
        }
        end = begin;
    }
    Ok((0, newlines))
}

/// How records are shown, and how much of them still.
struct View {
    since: Option<Timestamp>,
    timestamps: bool,
    source: Option<Source>,
    bytes_left: u64,
    in_line: bool,
}

impl View {
    fn new(query: &Query) -> Self {
        Self {
            since: query.since,
            timestamps: query.timestamps,
            source: query.source,
            bytes_left: query.limit_bytes.unwrap_or(u64::MAX),
            in_line: false,
        }
    }

    fn is_full(&self) -> bool {
        self.bytes_left == 0
    }

    fn show(&mut self, records: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(records.len());
        for record in records.split(|byte| *byte == b'\n').filter_map(format::parse) {
            if self.source.is_some_and(|source| source != record.source) {
                continue;
            }
            if let Some(since) = self.since {
                if record.timestamp().is_some_and(|time| time < since) {
                    continue;
                }
                // Records are in order of time: what follows need not be compared.
                self.since = None;
            }
            if self.timestamps && !self.in_line {
                out.extend_from_slice(record.time);
                out.push(b' ');
            }
            out.extend_from_slice(record.text);
            if record.is_full {
                out.push(b'\n');
            }
            self.in_line = !record.is_full;
        }
        let shown = usize::try_from(self.bytes_left).unwrap_or(usize::MAX).min(out.len());
        out.truncate(shown);
        self.bytes_left -= shown as u64;
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::LogLimits;
    use crate::logs::{Logs, PodLogs};
    use crate::runtime::Sink;
    use coracle_client::Clock;

    fn logs(dir: &Path) -> (Logs, PodLogs) {
        let clock = Clock::simulated("2026-01-02T03:04:05Z".parse().unwrap());
        let logs = Logs::new(dir.to_owned(), LogLimits { file_bytes_max: 400, files_max: 3 }, clock);
        let pod = logs.pod("default", "hello", "u1");
        (logs, pod)
    }

    async fn all(mut lines: Lines) -> String {
        let mut text = Vec::new();
        while let Some(piece) = lines.recv().await {
            text.extend_from_slice(&piece.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn queries_select_what_they_say() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, pod) = logs(dir.path());
        let log = logs.begin(&pod, "main", 0);
        for line in 0..20 {
            log.stream(Source::Stdout).write(format!("line {line}\n").as_bytes());
        }
        log.stream(Source::Stderr).write(b"oh\n");
        let future = "2999-01-01T00:00:00Z".parse().ok();
        for ended in [false, true] {
            if ended {
                logs.end(&pod, "main", 0);
            }
            let read = |query| all(logs.read(&pod, "main", 0, query));
            let tail = |lines| Query { tail_lines: Some(lines), ..Query::default() };
            assert_eq!(read(tail(2)).await, "line 19\noh\n", "ended: {ended}");
            assert_eq!(read(tail(0)).await, "");
            assert_eq!(read(tail(15)).await.lines().count(), 15, "over several files, ended: {ended}");
            let whole = read(Query::default()).await;
            assert_eq!(read(tail(1000)).await, whole, "ended: {ended}");
            assert!(whole.ends_with("line 18\nline 19\noh\n"), "{whole}");
            assert_eq!(read(Query { source: Some(Source::Stderr), ..Query::default() }).await, "oh\n");
            assert_eq!(read(Query { limit_bytes: Some(4), ..tail(2) }).await, "line");
            assert_eq!(read(Query { since: future, ..Query::default() }).await, "");
            let stamped = read(Query { timestamps: true, ..tail(1) }).await;
            assert!(stamped.starts_with("2026-01-02T03:04:0") && stamped.ends_with("Z oh\n"), "{stamped}");
        }
        logs.remove(&pod);
        assert!(!pod.dir().exists());
    }

    #[tokio::test]
    async fn following_sees_everything_once_and_ends_with_the_container() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, pod) = logs(dir.path());
        let log = logs.begin(&pod, "main", 0);
        log.stream(Source::Stdout).write(b"first\n");
        let mut lines = logs.read(&pod, "main", 0, Query { follow: true, ..Query::default() });
        assert_eq!(lines.recv().await.unwrap().unwrap(), "first\n");
        let mut want = String::new();
        let mut got = String::new();
        for line in 0..50 {
            let text = format!("line {line}\n");
            log.stream(Source::Stdout).write(text.as_bytes());
            want += &text;
            got += std::str::from_utf8(&lines.recv().await.unwrap().unwrap()).unwrap();
        }
        logs.end(&pod, "main", 0);
        assert_eq!(lines.recv().await.map(|piece| piece.unwrap()), None);
        assert_eq!(got, want, "across rotations");
    }

    #[tokio::test]
    async fn only_the_last_two_instances_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, pod) = logs(dir.path());
        for restart in 0..4 {
            logs.begin(&pod, "main", restart).stream(Source::Stdout).write(b"x\n");
            logs.end(&pod, "main", restart);
        }
        let kept = std::fs::read_dir(pod.dir().join("main")).unwrap().count();
        assert_eq!(kept, 2);
        assert_eq!(all(logs.read(&pod, "main", 2, Query::default())).await, "x\n");
    }
}
