//! Turns: which of the guests that compute may execute now.
//!
//! Stride scheduling over containers: a guest that waits joins with its container's virtual time
//! (time used over weight), and a turn that is given back goes to the smallest. The floor, the
//! virtual time of whoever was served last, keeps a newcomer from claiming the past.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The turns of one set of guest threads.
#[derive(Debug)]
pub(crate) struct Turns {
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    free: usize,
    /// By virtual time, then by arrival.
    waiting: BTreeMap<(u64, u64), oneshot::Sender<Turn>>,
    arrivals: u64,
    floor: u64,
}

/// Permission to go on computing, passed on when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Option<Arc<Turns>>,
}

impl Turns {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let queue = Queue { free: count, waiting: BTreeMap::new(), arrivals: 0, floor: 0 };
        Arc::new(Self { queue: Mutex::new(queue) })
    }

    /// The virtual time below which nobody joins.
    pub(crate) fn floor(&self) -> u64 {
        self.queue().floor
    }

    /// Waits for a turn, in the order of `virtual_ns`. A guest that `held` one until now gives it
    /// back once it stands in the queue, so that it keeps it if it still comes first.
    ///
    /// # Cancel safety
    ///
    /// A turn that is given to a wait that is gone goes to the next one.
    pub(crate) async fn join(self: &Arc<Self>, virtual_ns: u64, held: Option<Turn>) -> Turn {
        let (give, given) = oneshot::channel();
        {
            let mut queue = self.queue();
            queue.arrivals += 1;
            let place = (virtual_ns, queue.arrivals);
            queue.waiting.insert(place, give);
        }
        drop(held);
        self.serve();
        given.await.unwrap_or_else(|_| unreachable!("a queue outlives those that wait in it"))
    }

    /// Hands the free turns to those that wait.
    fn serve(self: &Arc<Self>) {
        loop {
            let Some(next) = self.queue().next() else { return };
            if let Err(mut untaken) = next.send(Turn { turns: Some(self.clone()) }) {
                // Dropped as it is, it would come back here once for each guest that vanished.
                untaken.turns = None;
                self.queue().free += 1;
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each change of a queue is made whole before its lock is released.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Takes a free turn for whoever is first.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        if self.free == 0 {
            return None;
        }
        let ((virtual_ns, _), next) = self.waiting.pop_first()?;
        self.free -= 1;
        self.floor = self.floor.max(virtual_ns);
        Some(next)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.queue().free += 1;
            turns.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use futures::FutureExt as _;

    use super::*;
    use crate::account::Cpu;
    use crate::limits::SLICE;

    #[test]
    fn the_least_served_goes_first() {
        let turns = Turns::new(1);
        let held = turns.join(0, None).now_or_never().expect("a free turn is given at once");
        let mut waits: Vec<_> =
            [30, 10, 20, 10].map(|virtual_ns| (virtual_ns, Box::pin(turns.join(virtual_ns, None)))).into();
        for (_, wait) in &mut waits {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        let mut order = Vec::new();
        let mut turn = Some(held);
        while !waits.is_empty() {
            drop(turn.take());
            let served = waits.iter_mut().position(|(_, wait)| {
                turn = wait.as_mut().now_or_never();
                turn.is_some()
            });
            order.push(waits.remove(served.expect("a turn is passed on")).0);
        }
        assert_eq!(order, [10, 10, 20, 30]);
        assert_eq!(turns.floor(), 30);
    }

    #[test]
    fn who_still_comes_first_keeps_its_turn() {
        let turns = Turns::new(1);
        let held = turns.join(0, None).now_or_never();
        let mut other = Box::pin(turns.join(10, None));
        assert!(other.as_mut().now_or_never().is_none());
        let held = turns.join(5, held).now_or_never();
        assert!(held.is_some());
        assert!(turns.join(11, held).now_or_never().is_none());
        assert!(other.now_or_never().is_some());
    }

    #[test]
    fn who_computed_alone_waits_for_two_slices_at_most() {
        let now = Instant::now();
        let [alone, newcomer] = [(); 2].map(|()| Cpu::new(None, None, now));
        alone.charge(Duration::from_secs(10), now);
        let turns = Turns::new(1);
        let mut held = turns.join(newcomer.join_at(turns.floor()), None).now_or_never();
        let mut wait = Box::pin(turns.join(alone.join_at(turns.floor()), None));
        assert!(wait.as_mut().now_or_never().is_none());
        let mut slices = 0;
        while held.is_some() {
            newcomer.charge(SLICE, now);
            slices += 1;
            held = turns.join(newcomer.join_at(turns.floor()), held).now_or_never();
        }
        assert!(wait.now_or_never().is_some());
        assert_eq!(slices, 2);
    }

    #[test]
    fn a_turn_given_to_a_wait_that_is_gone_goes_on() {
        let turns = Turns::new(1);
        let held = turns.join(0, None).now_or_never().expect("free");
        let mut gone = Box::pin(turns.join(1, None));
        let mut patient = Box::pin(turns.join(2, None));
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(patient.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        let turn = patient.now_or_never();
        assert!(turn.is_some());
        drop(turn);
        assert!(turns.join(3, None).now_or_never().is_some());
    }
}
