//! Halves that found no room for a short frame, in order of arrival: each once, however often it asks, and none that
//! has gone or found room.

use std::collections::{BTreeMap, HashMap};
use std::task::Waker;

use super::HalfKey;

/// See the module.
#[derive(Default)]
pub(super) struct Starved {
    tickets: HashMap<HalfKey, u64>,
    wakers: BTreeMap<u64, Waker>,
    next: u64,
}

impl Starved {
    pub(super) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// It is woken when there may be room.
    pub(super) fn add(&mut self, key: HalfKey, waker: &Waker) {
        let ticket = *self.tickets.entry(key).or_insert(self.next);
        if ticket == self.next {
            self.next = self.next.saturating_add(1);
        }
        match self.wakers.get_mut(&ticket) {
            Some(known) => known.clone_from(waker),
            None => drop(self.wakers.insert(ticket, waker.clone())),
        }
    }

    /// It wants no room any more.
    pub(super) fn remove(&mut self, key: HalfKey) {
        if !self.is_empty()
            && let Some(ticket) = self.tickets.remove(&key)
        {
            self.wakers.remove(&ticket);
        }
    }

    pub(super) fn wake_all(&mut self) {
        self.tickets.clear();
        std::mem::take(&mut self.wakers)
            .into_values()
            .for_each(Waker::wake);
    }
}
