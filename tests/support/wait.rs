//! Waiting for something to become true, with a deadline and a message.

use std::time::{Duration, Instant};

/// Asks again and again until `ready` gives something. Panics after `limit`, naming what was waited for.
pub(crate) fn until<T>(what: &str, limit: Duration, ready: impl FnMut() -> Option<T>) -> T {
    within(limit, ready).unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}"))
}

/// The same, for who says himself what was missing.
pub(crate) fn within<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        pause(Duration::from_millis(20));
    }
}

/// For polling only: a test that sleeps instead of awaiting an event is a defect.
// The ban is for executors; tests run on threads of their own.
#[allow(clippy::disallowed_methods)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
