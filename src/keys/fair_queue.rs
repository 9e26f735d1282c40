//! A queue in which askers take turns: one that asks for a thousand things delays another by one.
//!
//! Unbounded by itself; whoever owns one bounds what is put in.

use std::collections::{HashMap, VecDeque};

/// A queue of `T` with a turn for each asker that has something in it; values of one asker stay in order.
pub struct FairQueue<T> {
    turns: VecDeque<u64>,
    lists: HashMap<u64, VecDeque<T>>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            turns: VecDeque::new(),
            lists: HashMap::new(),
        }
    }
}

impl<T> FairQueue<T> {
    /// Puts `value` behind what `asker` has in the queue already.
    pub fn push(&mut self, asker: u64, value: T) {
        let list = self.lists.entry(asker).or_default();
        if list.is_empty() {
            self.turns.push_back(asker);
        }
        list.push_back(value);
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Takes the first value of the asker whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        while let Some(asker) = self.turns.pop_front() {
            let Some(list) = self.lists.get_mut(&asker) else {
                continue;
            };
            let value = list.pop_front();
            if list.is_empty() {
                self.lists.remove(&asker);
            } else {
                self.turns.push_back(asker);
            }
            if value.is_some() {
                return value;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn askers_take_turns_and_keep_their_own_order() {
        let mut queue = FairQueue::default();
        for value in 0..4 {
            queue.push(1, (1, value));
        }
        queue.push(2, (2, 0));
        queue.push(3, (3, 0));
        queue.push(2, (2, 1));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2), (1, 3)]);
        assert!(queue.lists.is_empty());
    }
}
