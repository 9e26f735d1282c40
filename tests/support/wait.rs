//! Waiting for something to become true, with a deadline and a message.

use std::time::{Duration, Instant};

/// Asks again and again until `ready` gives something. Panics after `limit`, naming what was waited for.
pub(crate) fn until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        pause(Duration::from_millis(20));
    }
}

/// For polling only: a test that sleeps instead of awaiting an event is a defect.
// The ban is for executors; tests run on threads of their own.
#[allow(clippy::disallowed_methods)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
