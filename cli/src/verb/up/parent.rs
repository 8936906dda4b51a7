//! When nobody is there any more who could use this process: who started it has ended, or has let go of its stdin.
//!
//! Each sees what the other does not. The parent's end is seen whatever stdin is; but between a test and this process
//! there may be others (a shell, `cargo run`, `npx`), which outlive the test. A pipe at stdin is passed on through all of
//! them, and closes when the test ends, however it ends. A signal at the parent's death (`PR_SET_PDEATHSIG`) would come
//! when the thread that started this process ends, on Linux alone, and not through a chain.

use std::io::Read;
use std::time::Duration;

use rustix::fs::{FileType, fstat};
use rustix::process::{Pid, getppid};
use tokio::sync::oneshot;
use tokio::time::interval;

/// How soon the parent's end is seen. Asking is one system call.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who started this process.
pub struct Parent {
    process: Option<Pid>,
    /// Resolves when stdin has ended; `None` when it is no pipe, or had ended before.
    stdin_ended: Option<oneshot::Receiver<()>>,
}

impl Parent {
    /// As it is now: call it first.
    pub fn of_this_process() -> Self {
        Self { process: getppid(), stdin_ended: stdin_is_held().then(stdin_end).flatten() }
    }

    /// Resolves when it has gone.
    pub async fn gone(self) {
        let mut looks = interval(LOOK_EVERY);
        let process = async {
            // Another one adopts this process then.
            while getppid() == self.process {
                looks.tick().await;
            }
        };
        let stdin = async {
            match self.stdin_ended {
                // The thread drops its end when it is done.
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = process => {}
            () = stdin => {}
        }
    }
}

/// Whether stdin is a pipe that somebody still holds. A file, `/dev/null` and a terminal say nothing of a parent, nor does
/// a pipe that was closed before this process began.
fn stdin_is_held() -> bool {
    let stdin = std::io::stdin();
    let is_pipe = fstat(&stdin)
        .is_ok_and(|stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket));
    is_pipe && !has_hung_up(&stdin)
}

fn has_hung_up(stdin: &std::io::Stdin) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(stdin, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
}

/// Reads stdin to its end, on a thread of its own: a blocking read must not be waited for when the process ends.
fn stdin_end() -> Option<oneshot::Receiver<()>> {
    let (end, ended) = oneshot::channel();
    let read = move || {
        let mut buffer = [0; 512];
        let mut stdin = std::io::stdin();
        while stdin.read(&mut buffer).is_ok_and(|count| count > 0) {}
        drop(end);
    };
    let thread = std::thread::Builder::new().name("stdin".to_owned()).spawn(read);
    if let Err(error) = &thread {
        tracing::warn!(%error, "the end of stdin will not be seen");
    }
    thread.is_ok().then_some(ended)
}
