//! What wakes the tasks of one executor apart from their sockets: keys and addresses that arrive, and points in time.
//!
//! Deadlines are looked at by the executor's tick (20 ms), which is fine enough for waits of 200 ms to minutes and saves a
//! ring timer for each.
//!
//! Executor threads only.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

/// Tasks that wait; see the module.
#[derive(Default)]
pub(crate) struct Alarms {
    news: Vec<Waker>,
    /// How often news have come.
    news_count: u64,
    deadlines: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Alarms {
    /// Wakes `waker` when the next key or address arrives. `asked` belongs to the task and remembers that it has asked:
    /// thousands may wait, and are woken by each arrival.
    pub(crate) fn on_news(&mut self, waker: &Waker, asked: &mut Option<u64>) {
        if *asked != Some(self.news_count) {
            *asked = Some(self.news_count);
            self.news.push(waker.clone());
        }
    }

    /// Wakes `waker` at `deadline`.
    pub(crate) fn at(&mut self, waker: &Waker, deadline: Instant) {
        self.next = self.next.wrapping_add(1);
        self.deadlines.insert((deadline, self.next), waker.clone());
    }

    /// A key or an address has arrived.
    pub(crate) fn wake_all(&mut self) {
        self.news_count = self.news_count.wrapping_add(1);
        for waker in self.news.drain(..) {
            waker.wake();
        }
    }

    /// Wakes every task whose deadline has come.
    pub(crate) fn wake_due(&mut self, now: Instant) {
        while let Some(entry) = self.deadlines.first_entry() {
            if entry.key().0 > now {
                break;
            }
            entry.remove().wake();
        }
    }
}
