//! The meter of one instance: it books the time inside the guest and decides, at each tick of the
//! epoch, whether the guest goes on.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;
use wasmtime::UpdateDeadline;

use super::turns::Turn;
use super::{Ticker, Turns};
use crate::account::Cpu;
use crate::exit::Interrupted;
use crate::limits::{BEFORE_TURNS, SLICE};

/// What measures one instance. Time is that of the thread, so that being preempted is free.
#[derive(Debug)]
pub(crate) struct Meter {
    cpu: Arc<Cpu>,
    killed: CancellationToken,
    ticker: Arc<Ticker>,
    turns: Arc<Turns>,
    /// Thread time up to which the guest's time is booked.
    booked_ns: AtomicU64,
    /// Thread time at which the current slice began.
    slice_ns: AtomicU64,
    turn: Mutex<Option<Turn>>,
}

impl Meter {
    pub(crate) fn new(cpu: Arc<Cpu>, killed: CancellationToken, ticker: Arc<Ticker>, turns: Arc<Turns>) -> Arc<Self> {
        Arc::new(Self {
            cpu,
            killed,
            ticker,
            turns,
            booked_ns: AtomicU64::new(0),
            slice_ns: AtomicU64::new(0),
            turn: Mutex::new(None),
        })
    }

    /// The epoch has advanced while the guest executes.
    ///
    /// # Errors
    ///
    /// [`Interrupted`] once the container is killed: the guest unwinds with it.
    pub(crate) fn tick(self: &Arc<Self>) -> wasmtime::Result<UpdateDeadline> {
        if self.killed.is_cancelled() {
            return Err(Interrupted.into());
        }
        let now_ns = self.book();
        if let Some(until) = self.cpu.exhausted_until() {
            return Ok(self.pause(Pause::Until(until)));
        }
        let executed = Duration::from_nanos(now_ns.saturating_sub(self.slice_ns.load(Relaxed)));
        let allowed = if self.holds_turn() || self.cpu.is_interactive() { SLICE } else { BEFORE_TURNS };
        if executed < allowed {
            return Ok(UpdateDeadline::Continue(1));
        }
        Ok(self.pause(Pause::Turn))
    }

    fn pause(self: &Arc<Self>, pause: Pause) -> UpdateDeadline {
        let meter = self.clone();
        let held = self.take_turn();
        let resumed = async move {
            match pause {
                Pause::Until(until) => {
                    drop(held);
                    tokio::time::sleep_until(until.into()).await;
                }
                Pause::Turn => meter.next_turn(held).await,
            }
            meter.begin_slice();
        };
        UpdateDeadline::YieldCustom(1, Box::pin(resumed))
    }

    async fn next_turn(&self, held: Option<Turn>) {
        // Whatever else this thread has to do, sockets above all, goes first.
        tokio::task::yield_now().await;
        let turn = self.turns.join(self.cpu.join_at(self.turns.floor()), held).await;
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
    }

    /// The guest begins or goes on to execute on this thread.
    fn begin(&self) {
        self.ticker.enter();
        let now_ns = thread_ns();
        self.booked_ns.store(now_ns, Relaxed);
        self.slice_ns.store(now_ns, Relaxed);
    }

    fn begin_slice(&self) {
        self.slice_ns.store(thread_ns(), Relaxed);
    }

    /// The guest waits or is done.
    fn end(&self) {
        self.book();
        drop(self.take_turn());
        self.ticker.leave();
    }

    /// Books the time since the last booking, and returns the thread's.
    fn book(&self) -> u64 {
        let now_ns = thread_ns();
        let spent_ns = now_ns.saturating_sub(self.booked_ns.swap(now_ns, Relaxed));
        self.cpu.charge(Duration::from_nanos(spent_ns), Instant::now());
        now_ns
    }

    fn holds_turn(&self) -> bool {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take_turn(&self) -> Option<Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Why a guest that could go on does not.
enum Pause {
    /// Its quota is used up until then.
    Until(Instant),
    /// Others wait for their turn.
    Turn,
}

/// Processor time of the current thread.
fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A future that executes a guest, with each poll on its meter.
pub(crate) struct Metered<F> {
    meter: Arc<Meter>,
    guest: Pin<Box<F>>,
}

impl<F: Future> Metered<F> {
    pub(crate) fn new(meter: Arc<Meter>, guest: F) -> Self {
        Self { meter, guest: Box::pin(guest) }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let meter = self.meter.clone();
        meter.begin();
        let _end = OnDrop(|| meter.end());
        self.guest.as_mut().poll(cx)
    }
}

/// Runs its closure when it is dropped, so also when a poll panics.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
