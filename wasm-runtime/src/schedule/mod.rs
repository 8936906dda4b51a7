//! Who executes when: the epoch, the turns of those that compute, and the meter of each instance.
//!
//! A guest that waits in a host call is a task that is not polled. One that becomes runnable is
//! polled on a guest thread at once, and most are done within microseconds. Only a guest that keeps
//! executing meets the epoch: each tick calls [`Meter::tick`], which books the time, and once a
//! slice is over makes the guest wait for a [turn](turns). As many turns exist as guest threads
//! may execute, and the pool has spare threads beyond that, so that however many guests compute, a
//! guest that has been waiting finds a free thread.

mod meter;
mod ticker;
mod turns;

pub(crate) use meter::{Meter, Metered};
pub(crate) use ticker::Ticker;
pub(crate) use turns::Turns;
