//! The descriptors of the process that guests hold: files, folders, sockets, and connections that are served.
//!
//! What a guest opens shows in its table of resources, so the table is looked through now and then between host calls, and
//! what is found there is taken from a bound that all guests share. Where that is used up, a guest that opens more is
//! refused as one whose table is full; what the rest of the process needs is never touched.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::{p2, sockets};

use crate::limits::{DESCRIPTORS_AHEAD, DESCRIPTORS_DEFAULT, DESCRIPTORS_GUESTS_PERCENT, RESOURCES_MAX};

/// What is left of the process' descriptors for guests.
#[derive(Debug)]
pub(crate) struct Descriptors {
    free: AtomicUsize,
}

impl Descriptors {
    /// The guests' share of what this process may open, which is raised to all that it may have.
    pub(crate) fn of_this_process() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let has = if raised.is_ok() { limit.maximum } else { limit.current };
        let has = has.and_then(|has| usize::try_from(has).ok()).unwrap_or(DESCRIPTORS_DEFAULT);
        Self::new(has.saturating_mul(DESCRIPTORS_GUESTS_PERCENT) / 100)
    }

    pub(crate) fn new(free: usize) -> Self {
        Self { free: AtomicUsize::new(free) }
    }

    fn take(&self, count: usize) -> bool {
        self.free.try_update(Relaxed, Relaxed, |free| free.checked_sub(count)).is_ok()
    }

    fn give(&self, count: usize) {
        self.free.fetch_add(count, Relaxed);
    }
}

/// Descriptors taken for one instance or one connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    from: Arc<Descriptors>,
    count: usize,
    /// Host calls since the table was looked through.
    calls: usize,
}

impl Taken {
    pub(crate) fn nothing(from: Arc<Descriptors>) -> Self {
        Self { from, count: 0, calls: 0 }
    }

    /// One descriptor, if there is one left.
    pub(crate) fn one(from: Arc<Descriptors>) -> Option<Self> {
        from.take(1).then_some(Self { from, count: 1, calls: 0 })
    }

    /// A host call is made that may put a few things into `table`.
    pub(crate) fn before_call(&mut self, table: &mut ResourceTable) {
        self.calls += 1;
        if self.calls >= DESCRIPTORS_AHEAD {
            self.calls = 0;
            let held = table.iter_mut().filter(|entry| is_descriptor(&**entry)).count();
            let is_enough = self.hold(held);
            table.set_max_capacity(if is_enough { RESOURCES_MAX } else { 0 });
        }
    }

    /// Takes or gives back until there are enough for `held` and those that the next few calls may open.
    fn hold(&mut self, held: usize) -> bool {
        let wanted = if held == 0 { 0 } else { held + DESCRIPTORS_AHEAD };
        if self.count > wanted + DESCRIPTORS_AHEAD {
            self.from.give(self.count - wanted);
            self.count = wanted;
        }
        let missing = wanted.saturating_sub(self.count);
        if missing > 0 && self.from.take(missing) {
            self.count = wanted;
        }
        self.count >= wanted
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.from.give(self.count);
    }
}

fn is_descriptor(entry: &(dyn Any + Send)) -> bool {
    entry.is::<Descriptor>()
        || entry.is::<p2::TcpSocket>()
        || entry.is::<p2::UdpSocket>()
        || entry.is::<sockets::TcpSocket>()
        || entry.is::<sockets::UdpSocket>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let descriptors = Arc::new(Descriptors::new(100));
        let free = || descriptors.free.load(Relaxed);
        let mut one = Taken::nothing(descriptors.clone());
        assert!(one.hold(0));
        assert_eq!(free(), 100, "who holds none takes none");
        assert!(one.hold(50));
        assert_eq!(free(), 50 - DESCRIPTORS_AHEAD);
        let mut other = Taken::nothing(descriptors.clone());
        assert!(!other.hold(50), "there are not as many left");
        assert!(other.hold(10));
        assert!(one.hold(0));
        assert_eq!(free(), 90 - DESCRIPTORS_AHEAD, "closed files are somebody else's");
        drop((one, other));
        assert_eq!(free(), 100);
    }

    #[test]
    fn connections_take_one_each() {
        let descriptors = Arc::new(Descriptors::new(1));
        let first = Taken::one(descriptors.clone());
        assert!(first.is_some() && Taken::one(descriptors.clone()).is_none());
        drop(first);
        assert!(Taken::one(descriptors).is_some());
    }

    #[test]
    fn a_table_is_closed_when_there_are_none_left() {
        let descriptors = Arc::new(Descriptors::new(0));
        let mut taken = Taken::nothing(descriptors);
        let mut table = ResourceTable::new();
        for _ in 0..2 * DESCRIPTORS_AHEAD {
            taken.before_call(&mut table);
        }
        assert!(table.push(1u8).is_ok(), "what is no descriptor is not counted");
    }
}
