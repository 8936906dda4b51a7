//! Tasks that stop together, and whose failure is heard.

use std::borrow::Cow;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;

/// A part of the cluster: some tasks under one stop token.
pub struct Group {
    name: Cow<'static, str>,
    stop: CancellationToken,
    tasks: TaskTracker,
    failed: mpsc::Sender<Failure>,
}

impl Group {
    pub fn new(name: impl Into<Cow<'static, str>>, failed: mpsc::Sender<Failure>) -> Self {
        Self { name: name.into(), stop: CancellationToken::new(), tasks: TaskTracker::new(), failed }
    }

    /// Cancelled when the group is to stop.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a task. Its failure, its panic, and its end before the group is stopped are the group's failure.
    pub fn spawn<E>(&mut self, what: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: Into<anyhow::Error> + Send + 'static,
    {
        let (failed, stop) = (self.failed.clone(), self.stop.clone());
        let task = tokio::spawn(task);
        self.tasks.spawn(async move {
            let failure = match task.await {
                Ok(Ok(())) if stop.is_cancelled() => return,
                Ok(Ok(())) => Failure::new("it ended by itself"),
                Ok(Err(error)) => Failure::from(error),
                Err(panicked) => Failure::from(panicked),
            };
            // Nobody hears a second failure; the first one ends the process.
            let _ = failed.try_send(failure.with_context(format_args!("the {what} failed")));
        });
    }

    /// Stops the tasks and waits for their end.
    pub async fn stop(&mut self) {
        tracing::debug!(group = %self.name, "stopping");
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        tracing::debug!(group = %self.name, "stopped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_by_itself_has_failed() {
        let (failed, mut failures) = mpsc::channel(4);
        let mut group = Group::new("test", failed);
        group.spawn("early", async { Ok::<_, std::io::Error>(()) });
        let failure = failures.recv().await.expect("a failure");
        assert_eq!(failure.message(), "error: the early failed: it ended by itself");
        let stop = group.stop_token();
        group.spawn("patient", async move {
            stop.cancelled().await;
            Ok::<_, std::io::Error>(())
        });
        group.stop().await;
        assert!(failures.try_recv().is_err(), "an end that was asked for is none");
    }
}
