//! What wakes the tasks of one executor apart from their sockets: keys and addresses that arrive, and points in time.
//!
//! Deadlines are looked at by the executor's tick (20 ms), which is fine enough for waits of 200 ms to minutes and
//! saves a ring timer for each.
//!
//! Executor threads only.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

/// What is waited for apart from points in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewsKind {
    /// Keys, or that there are none.
    Keys,
    /// That every executor knows addresses.
    Addresses,
    /// Passwords that were hashed.
    Logins,
}

/// Tasks that wait; see the module.
#[derive(Default)]
pub(crate) struct Alarms {
    keys: Waiters,
    addresses: Waiters,
    logins: Waiters,
    deadlines: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

#[derive(Default)]
struct Waiters {
    wakers: Vec<Waker>,
    /// How often news have come.
    count: u64,
}

/// Of which news a task has asked to be told, so that it asks once for each.
#[derive(Default)]
pub(crate) struct AskedNews {
    keys: Option<u64>,
    addresses: Option<u64>,
    logins: Option<u64>,
}

impl Alarms {
    /// Wakes `waker` when the next news come. `asked` belongs to the task and remembers that it has asked: thousands
    /// may wait, and are woken by each arrival.
    pub(crate) fn on_news(&mut self, news: NewsKind, waker: &Waker, asked: &mut AskedNews) {
        let (waiting, asked) = match news {
            NewsKind::Keys => (&mut self.keys, &mut asked.keys),
            NewsKind::Addresses => (&mut self.addresses, &mut asked.addresses),
            NewsKind::Logins => (&mut self.logins, &mut asked.logins),
        };
        if *asked != Some(waiting.count) {
            *asked = Some(waiting.count);
            waiting.wakers.push(waker.clone());
        }
    }

    /// Wakes `waker` at `deadline`.
    pub(crate) fn at(&mut self, waker: &Waker, deadline: Instant) {
        self.next = self.next.wrapping_add(1);
        self.deadlines.insert((deadline, self.next), waker.clone());
    }

    /// News have come.
    pub(crate) fn wake_all(&mut self, news: NewsKind) {
        let waiting = match news {
            NewsKind::Keys => &mut self.keys,
            NewsKind::Addresses => &mut self.addresses,
            NewsKind::Logins => &mut self.logins,
        };
        waiting.count = waiting.count.wrapping_add(1);
        for waker in waiting.wakers.drain(..) {
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
