//! A time that a simulation sets, for all that runs on its thread.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;
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
    static HOLDS: Cell<usize> = const { Cell::new(0) };
    static ASIDE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// From now on it is this time on this thread; `None`: the kernel's.
pub fn set(time: Option<SimulatedTime>) {
    TIME.set(time);
    if time.is_none() {
        BLOCKED_UNTIL.set(None);
        ASIDE.set(Duration::ZERO);
    }
}

/// The simulated time of this thread, if it has one.
#[must_use]
pub fn time() -> Option<SimulatedTime> {
    TIME.get()
}

/// The simulated control thread does something that takes so long, as a call to the kernel does: nothing else goes on
/// there before it is over, and whoever calls this goes on first. Whatever it does without waiting for anybody follows
/// before the others have their turn.
pub async fn hold(by: Duration) {
    if let Some(SimulatedTime { now, .. }) = time() {
        let from = BLOCKED_UNTIL.get().map_or(now, |until| until.max(now));
        BLOCKED_UNTIL.set(Some(from + by));
    }
    let _held = Held::begin();
    poll_fn(|context| {
        if is_blocked() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// From now on so long is taken by each thing that another thread would do, such as hashing a password.
pub fn set_aside(takes: Duration) {
    ASIDE.set(takes);
}

/// How long another thread would take for something, where there is none.
#[must_use]
pub fn aside() -> Option<Duration> {
    time().map(|_| ASIDE.get())
}

struct Held;

impl Held {
    fn begin() -> Self {
        HOLDS.set(HOLDS.get() + 1);
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HOLDS.set(HOLDS.get().saturating_sub(1));
    }
}

/// Whether something holds the control thread that has not gone on yet.
#[must_use]
pub fn is_held() -> bool {
    HOLDS.get() > 0
}

/// Whether it still is not over.
#[must_use]
pub fn is_blocked() -> bool {
    let until = BLOCKED_UNTIL.get();
    time().is_some_and(|time| until.is_some_and(|until| time.now < until))
}
