//! A time that a simulation sets, for all that runs on its thread.

use std::cell::Cell;
use std::time::Instant;

use super::Clocks;

/// What the clocks say.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedTime {
    /// What everything waits by.
    pub now: Instant,
    /// What is compared with each other.
    pub clocks: Clocks,
}

thread_local! {
    static TIME: Cell<Option<SimulatedTime>> = const { Cell::new(None) };
}

/// From now on it is this time on this thread; `None`: the kernel's.
pub fn set(time: Option<SimulatedTime>) {
    TIME.set(time);
}

/// The simulated time of this thread, if it has one.
#[must_use]
pub fn time() -> Option<SimulatedTime> {
    TIME.get()
}
