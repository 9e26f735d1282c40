//! A time that a simulation sets, for all that runs on its thread.

use std::cell::Cell;
use std::time::{Duration, Instant};

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
    static BLOCKED_UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// From now on it is this time on this thread; `None`: the kernel's.
pub fn set(time: Option<SimulatedTime>) {
    TIME.set(time);
    if time.is_none() {
        BLOCKED_UNTIL.set(None);
    }
}

/// The simulated time of this thread, if it has one.
#[must_use]
pub fn time() -> Option<SimulatedTime> {
    TIME.get()
}

/// The simulated control thread does something that takes so long, and nothing else meanwhile.
pub fn block(by: Duration) {
    if let Some(SimulatedTime { now, .. }) = time() {
        let from = BLOCKED_UNTIL.get().map_or(now, |until| until.max(now));
        BLOCKED_UNTIL.set(Some(from + by));
    }
}

/// Whether it still does.
#[must_use]
pub fn is_blocked() -> bool {
    let until = BLOCKED_UNTIL.get();
    time().is_some_and(|time| until.is_some_and(|until| time.now < until))
}
