//! Whose password is hashed next, of those that brokers want hashed.
//!
//! - HASH-TURNS-1: clusters take turns, and in a cluster its brokers: one that asks for a thousand delays another by
//!   one.
//! - HASH-TURNS-2: one of a broker is hashed at a time, so that none has all places.
//! - HASH-TURNS-3: at most [`OF_A_BROKER_MAX`] of a broker wait; what finds no room is dropped.
//!
//! Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::ids::{ClusterId, Id as _};
use crate::keys::fair_queue::FairQueue;

/// A broker of a cluster, by its address.
pub(super) type Broker = (ClusterId, Arc<str>);

/// See the module.
pub(super) struct Turns<T> {
    /// Of brokers that have something to be hashed, and nothing that is.
    ready: FairQueue<Broker>,
    /// Of all that have either.
    brokers: HashMap<Broker, Lane<T>>,
}

struct Lane<T> {
    waiting: VecDeque<T>,
    is_under_way: bool,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            ready: FairQueue::default(),
            brokers: HashMap::new(),
        }
    }
}

impl<T> Turns<T> {
    /// Puts it behind what waits of this broker.
    pub(super) fn push(&mut self, broker: Broker, value: T) {
        let lane = self.brokers.entry(broker.clone()).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            is_under_way: false,
        });
        if lane.waiting.len() >= OF_A_BROKER_MAX {
            return;
        }
        lane.waiting.push_back(value);
        if lane.waiting.len() == 1 && !lane.is_under_way {
            self.ready.push(broker.0.number().into(), broker);
        }
    }

    /// What is next, and whose it is: until [`Self::end`] no other of it.
    pub(super) fn next(&mut self) -> Option<(Broker, T)> {
        let broker = self.ready.pop()?;
        let lane = self.brokers.get_mut(&broker)?;
        lane.is_under_way = true;
        let value = lane.waiting.pop_front()?;
        Some((broker, value))
    }

    /// What was under way of this broker has ended.
    pub(super) fn end(&mut self, broker: &Broker) {
        let Some(lane) = self.brokers.get_mut(broker) else {
            return;
        };
        lane.is_under_way = false;
        match lane.waiting.is_empty() {
            true => drop(self.brokers.remove(broker)),
            false => self.ready.push(broker.0.number().into(), broker.clone()),
        }
    }
}

/// As many accounts as log in at a broker at once; each asks again.
const OF_A_BROKER_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(cluster: u32, name: &str) -> Broker {
        (ClusterId::from_number(cluster), name.into())
    }

    /// HASH-TURNS-1, HASH-TURNS-2
    #[test]
    fn one_that_asks_for_many_delays_others_by_one() {
        let mut turns = Turns::default();
        let hostile = ["a", "b", "c"].map(|name| broker(1, name));
        for number in 0..100 {
            hostile
                .iter()
                .for_each(|broker| turns.push(broker.clone(), number));
        }
        let under_way: Vec<_> = std::iter::from_fn(|| turns.next())
            .map(|(broker, _)| broker)
            .collect();
        assert_eq!(under_way, hostile, "one of each");
        turns.push(broker(2, "d"), 0);
        for broker in &hostile {
            turns.end(broker);
        }
        let (other, cluster) = (broker(1, "e"), broker(2, "d"));
        turns.push(other.clone(), 0);
        let mut order = Vec::new();
        while order.len() < 6 {
            let (broker, _) = turns.next().expect("there are more");
            turns.end(&broker);
            order.push(broker);
        }
        assert_eq!(order[0], cluster);
        assert!(
            order.iter().position(|broker| *broker == other) <= Some(4),
            "{order:?}"
        );
    }

    /// HASH-TURNS-3
    #[test]
    fn so_many_wait() {
        let mut turns = Turns::default();
        for number in 0..OF_A_BROKER_MAX + 5 {
            turns.push(broker(1, "a"), number);
        }
        let mut taken = 0;
        while let Some((broker, number)) = turns.next() {
            assert_eq!(number, taken, "in order");
            taken += 1;
            turns.end(&broker);
        }
        assert_eq!(taken, OF_A_BROKER_MAX);
        assert!(turns.brokers.is_empty());
    }
}
