//! What a container has used: memory by what its instances hold, CPU by time inside the guest.
//!
//! An account belongs to a container, not to an instance: a `wasi:http` container runs an instance
//! a request, and its limits are those of all of them together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;

use crate::limits::{ARREARS_MAX, CPU_PERIOD, CPU_WEIGHT_DEFAULT, INTERACTIVE};

/// The memories and tables of a container, within its bound and that of the account above it.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes_max: AtomicU64,
    bytes: AtomicU64,
    bytes_peak: AtomicU64,
    refused: AtomicBool,
    above: Option<Arc<Memory>>,
}

impl Memory {
    pub(crate) fn new(bytes_max: Option<u64>, above: Option<Arc<Memory>>) -> Self {
        Self {
            bytes_max: AtomicU64::new(bytes_max.unwrap_or(u64::MAX)),
            bytes: AtomicU64::new(0),
            bytes_peak: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            above,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Relaxed)
    }

    /// Another bound from now on. What is held beyond it stays; there is no more of it until some is given back.
    pub(crate) fn resize(&self, bytes_max: Option<u64>) {
        self.bytes_max.store(bytes_max.unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn bytes_peak(&self) -> u64 {
        self.bytes_peak.load(Relaxed)
    }

    /// Whether the last growth that a guest asked for was refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Relaxed)
    }

    /// Takes `bytes` here and above, or nothing at all.
    fn take(&self, bytes: u64) -> bool {
        self.take_here(bytes)
            && (self.above.as_ref().is_none_or(|above| above.take(bytes)) || {
                self.bytes.fetch_sub(bytes, Relaxed);
                false
            })
    }

    fn take_here(&self, bytes: u64) -> bool {
        let within = |held: u64| held.checked_add(bytes).filter(|total| *total <= self.bytes_max());
        let Ok(held) = self.bytes.try_update(Relaxed, Relaxed, within) else { return false };
        self.bytes_peak.fetch_max(held + bytes, Relaxed);
        true
    }

    fn give(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Relaxed);
        if let Some(above) = &self.above {
            above.give(bytes);
        }
    }
}

/// What one instance holds of its container's [`Memory`], given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Holding {
    account: Arc<Memory>,
    bytes: u64,
    /// The growth granted last, which wasmtime may still fail to make.
    granted: u64,
    /// Whether the growth asked for last was more than the account has, whoever else holds what.
    exceeds: bool,
}

impl Holding {
    pub(crate) fn new(account: Arc<Memory>) -> Self {
        Self { account, bytes: 0, granted: 0, exceeds: false }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether this instance alone wants more than its account has.
    pub(crate) fn exceeds(&self) -> bool {
        self.exceeds
    }

    /// Asks for the growth from `current` to `desired`, both in units of `unit` bytes. One past the
    /// guest's own `maximum` fails by itself and says nothing about memory.
    fn grow(&mut self, unit: usize, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return false;
        }
        let bytes = (desired.saturating_sub(current) as u64).saturating_mul(unit as u64);
        self.exceeds = self.bytes.saturating_add(bytes) > self.account.bytes_max();
        let granted = self.account.take(bytes);
        self.account.refused.store(!granted, Relaxed);
        self.granted = if granted { bytes } else { 0 };
        self.bytes += self.granted;
        granted
    }

    /// Gives back what was granted for a growth that then failed.
    fn undo(&mut self) {
        let bytes = std::mem::take(&mut self.granted);
        self.bytes -= bytes;
        self.account.give(bytes);
    }
}

impl ResourceLimiter for Holding {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(1, current, desired, maximum))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(size_of::<usize>(), current, desired, maximum))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.account.give(self.bytes);
    }
}

/// The time that a container has spent inside its guest, and how much more it may.
#[derive(Debug)]
pub(crate) struct Cpu {
    share: Mutex<Share>,
    used_ns: AtomicU64,
    /// Time used divided by weight: who has the least goes next.
    virtual_ns: AtomicU64,
    window: Mutex<Window>,
}

/// What a container may use of the CPU.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// Time a period, if there is a limit.
    quota: Option<Duration>,
    weight: u32,
}

impl Share {
    fn of(millis_max: Option<u32>, weight: Option<u32>) -> Self {
        Self {
            quota: millis_max.map(|millis| CPU_PERIOD * millis.max(1) / 1000),
            weight: weight.unwrap_or(CPU_WEIGHT_DEFAULT).max(1),
        }
    }

    /// The virtual time that `spent` is.
    fn virtual_ns(self, spent: Duration) -> u64 {
        let ns = spent.as_nanos() as u64;
        ns.saturating_mul(CPU_WEIGHT_DEFAULT.into()) / u64::from(self.weight)
    }
}

/// The current period and what was spent in it, overdrafts of earlier periods included.
#[derive(Clone, Copy, Debug)]
struct Window {
    start: Instant,
    spent: Duration,
}

impl Cpu {
    pub(crate) fn new(millis_max: Option<u32>, weight: Option<u32>, now: Instant) -> Self {
        Self {
            share: Mutex::new(Share::of(millis_max, weight)),
            used_ns: AtomicU64::new(0),
            virtual_ns: AtomicU64::new(0),
            window: Mutex::new(Window { start: now, spent: Duration::ZERO }),
        }
    }

    /// Another quota and weight from now on.
    pub(crate) fn resize(&self, millis_max: Option<u32>, weight: Option<u32>) {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner) = Share::of(millis_max, weight);
    }

    fn share(&self) -> Share {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Relaxed))
    }

    /// The virtual time at which the container joins others that have come as far as `floor_ns`. One that was idle cannot
    /// claim what it left unused; one that computed alone pays back [`ARREARS_MAX`] at most.
    pub(crate) fn join_at(&self, floor_ns: u64) -> u64 {
        let ceiling_ns = floor_ns.saturating_add(self.share().virtual_ns(ARREARS_MAX));
        let joined = |virtual_ns: u64| virtual_ns.clamp(floor_ns, ceiling_ns);
        joined(self.virtual_ns.update(Relaxed, Relaxed, joined))
    }

    /// Books `spent` inside the guest, up to `now`.
    pub(crate) fn charge(&self, spent: Duration, now: Instant) {
        self.used_ns.fetch_add(spent.as_nanos() as u64, Relaxed);
        let share = self.share();
        self.virtual_ns.fetch_add(share.virtual_ns(spent), Relaxed);
        let mut window = self.window();
        *window = window.at(now, share.quota.unwrap_or(CPU_PERIOD));
        window.spent += spent;
    }

    /// When the guest may go on, if it has used up its quota.
    pub(crate) fn exhausted_until(&self) -> Option<Instant> {
        let quota = self.share().quota?;
        let window = *self.window();
        let periods = (window.spent.as_nanos() / quota.as_nanos()) as u32;
        (periods > 0).then(|| window.start + CPU_PERIOD * periods)
    }

    /// Whether the container has used so little lately that it need not take turns.
    pub(crate) fn is_interactive(&self) -> bool {
        self.window().spent <= INTERACTIVE
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        // A window is plain data: a panic elsewhere leaves it whole.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// The window that `now` falls in: each period that has passed forgives one quota.
    fn at(self, now: Instant, quota: Duration) -> Self {
        let elapsed = now.saturating_duration_since(self.start);
        let periods = u32::try_from(elapsed.as_nanos() / CPU_PERIOD.as_nanos()).unwrap_or(u32::MAX);
        Self {
            start: self.start + CPU_PERIOD.saturating_mul(periods),
            spent: self.spent.saturating_sub(quota.saturating_mul(periods)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes_max: u64, above: Option<Arc<Memory>>) -> Arc<Memory> {
        Arc::new(Memory::new(Some(bytes_max), above))
    }

    #[test]
    fn memories_and_tables_are_summed_and_given_back() {
        let account = memory(100, None);
        let mut first = Holding::new(account.clone());
        let mut second = Holding::new(account.clone());
        assert!(first.grow(1, 0, 40, None));
        assert!(second.grow(8, 0, 5, None));
        assert_eq!(account.bytes(), 80);
        assert!(!first.grow(1, 40, 61, None));
        assert!(account.is_refused());
        drop(second);
        assert!(first.grow(1, 40, 100, None));
        assert!(!account.is_refused(), "the guest got what it asked for after all");
        drop(first);
        assert_eq!((account.bytes(), account.bytes_peak()), (0, 100));
    }

    #[test]
    fn an_instance_that_wants_too_much_is_told_from_one_that_is_crowded_out() {
        let account = memory(100, None);
        let mut first = Holding::new(account.clone());
        let mut second = Holding::new(account);
        assert!(first.grow(1, 0, 60, None));
        assert!(!second.grow(1, 0, 60, None) && !second.exceeds());
        assert!(!first.grow(1, 60, 101, None) && first.exceeds());
    }

    #[test]
    fn growth_past_the_guests_own_maximum_is_not_a_refusal() {
        let account = memory(100, None);
        let mut holding = Holding::new(account.clone());
        assert!(!holding.grow(1, 0, 50, Some(20)));
        assert!(!account.is_refused());
    }

    #[test]
    fn a_growth_that_fails_is_undone() {
        let account = memory(100, None);
        let mut holding = Holding::new(account.clone());
        assert!(holding.grow(1, 0, 50, None));
        holding.undo();
        holding.undo();
        assert_eq!(account.bytes(), 0);
    }

    #[test]
    fn the_account_above_bounds_its_parts_together() {
        let node = memory(100, None);
        let mut one = Holding::new(memory(90, Some(node.clone())));
        let mut other = Holding::new(memory(90, Some(node.clone())));
        assert!(one.grow(1, 0, 80, None));
        assert!(!other.grow(1, 0, 30, None));
        assert_eq!((node.bytes(), other.account.bytes()), (80, 0));
        drop(one);
        assert!(other.grow(1, 0, 30, None));
    }

    #[test]
    fn a_quota_is_exhausted_until_its_overdraft_is_paid() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let cpu = Cpu::new(Some(100), None, start);
        cpu.charge(ms(9), start + ms(9));
        assert_eq!(cpu.exhausted_until(), None);
        cpu.charge(ms(2), start + ms(11));
        assert_eq!(cpu.exhausted_until(), Some(start + ms(100)));
        cpu.charge(ms(10), start + ms(101));
        assert_eq!(cpu.exhausted_until(), Some(start + ms(200)), "1 ms overdrawn, 10 ms used");
        cpu.charge(ms(35), start + ms(201));
        assert_eq!(cpu.exhausted_until(), Some(start + ms(500)));
        assert_eq!(cpu.used(), ms(56));
    }

    #[test]
    fn a_container_that_computes_is_not_interactive_until_it_rests() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let cpu = Cpu::new(None, None, start);
        cpu.charge(ms(20), start + ms(20));
        assert!(cpu.is_interactive());
        cpu.charge(ms(1), start + ms(21));
        assert!(!cpu.is_interactive());
        cpu.charge(ms(1), start + ms(300));
        assert!(cpu.is_interactive());
    }

    #[test]
    fn virtual_time_runs_slower_for_the_heavier() {
        let now = Instant::now();
        let light = Cpu::new(None, Some(512), now);
        let heavy = Cpu::new(None, Some(4096), now);
        for cpu in [&light, &heavy] {
            cpu.charge(Duration::from_nanos(4096), now);
        }
        assert_eq!((light.join_at(0), heavy.join_at(0)), (8192, 1024));
        assert_eq!(heavy.join_at(5000), 5000);
        assert_eq!(light.join_at(5000), 8192);
    }

    #[test]
    fn time_used_alone_is_not_paid_back_for_ever() {
        let now = Instant::now();
        let arrears_ns = ARREARS_MAX.as_nanos() as u64;
        for (weight, ceiling_ns) in [(CPU_WEIGHT_DEFAULT, arrears_ns), (CPU_WEIGHT_DEFAULT / 4, 4 * arrears_ns)] {
            let cpu = Cpu::new(None, Some(weight), now);
            cpu.charge(Duration::from_secs(10), now);
            assert_eq!(cpu.join_at(1000), 1000 + ceiling_ns);
            assert_eq!(cpu.join_at(0), ceiling_ns, "what is forgiven stays so");
        }
    }
}
