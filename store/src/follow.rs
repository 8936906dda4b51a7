//! A watch: from the log while it is behind, from the feed once it has caught up.

use std::sync::Arc;

use futures::stream;

use crate::feed::{Feed, Next, Seat};
use crate::{Batch, Error, Range, Revision, Watch};

/// A log that reaches further back than the feed.
pub(crate) trait Log: Send + Sync + 'static {
    /// The first events of `range` over `after`, and how far that is: past `after`, if anything is. May block.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] when the log does not reach back to `after`.
    fn replay(&self, range: &Range, after: Revision) -> Result<Batch, Error>;
}

/// Watches `range` from `after`.
pub(crate) fn follow(feed: Arc<Feed>, log: Arc<dyn Log>, range: Range, after: Revision) -> Watch {
    let follower = Follower { seat: feed.join(range), log, after };
    Watch::new(stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(batch) => Some((Ok(batch), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

struct Follower {
    seat: Seat,
    log: Arc<dyn Log>,
    after: Revision,
}

impl Follower {
    async fn next(&mut self) -> Result<Batch, Error> {
        let batch = match self.seat.next(self.after).await {
            Next::Batch(batch) => batch,
            Next::Forgotten => self.replay().await?,
            Next::Closed => return Err(Error::Closed),
        };
        self.after = batch.revision;
        Ok(batch)
    }

    async fn replay(&self) -> Result<Batch, Error> {
        let (log, range, after) = (Arc::clone(&self.log), self.seat.range().clone(), self.after);
        blocking(move || log.replay(&range, after)).await
    }
}

/// Runs what may wait for the disk on a thread where that holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => Err(Error::Closed),
        },
    }
}
