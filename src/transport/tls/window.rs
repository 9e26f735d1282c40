//! Bytes between two ends: added behind, consumed in front, in a buffer that goes back to the pool.

use crate::buffers::BufferPool;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Up to its length it was written to before, by whomever.
    bytes: Vec<u8>,
    /// What is held begins here; at the start if there is nothing.
    start: usize,
    /// And ends here.
    end: usize,
}

impl Window {
    /// What is held.
    pub(super) fn held(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The first `bytes` of it, or all, to be worked on.
    pub(super) fn front_mut(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.start.saturating_add(bytes).min(self.end);
        self.bytes.get_mut(self.start..end).unwrap_or_default()
    }

    /// How many bytes are held.
    pub(super) fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that it owns.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Room for `bytes` behind what is held, which is moved where there is none.
    pub(super) fn room(&mut self, bytes: usize, pool: &mut BufferPool) -> &mut [u8] {
        let held = self.len();
        let needed = held.saturating_add(bytes);
        if needed > self.bytes.capacity() {
            let mut larger = pool.take(needed);
            if larger.capacity() == 0 {
                larger.reserve_exact(needed);
            }
            larger.resize(larger.len().max(needed), 0);
            if let Some(place) = larger.get_mut(..held) {
                place.copy_from_slice(self.held());
            }
            self.bytes = larger;
            (self.start, self.end) = (0, held);
        } else if self.start.saturating_add(needed) > self.bytes.capacity() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, held);
        }
        let end = self.end.saturating_add(bytes);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.end..end).unwrap_or_default()
    }

    /// So many bytes of the room are held now.
    pub(super) fn add(&mut self, bytes: usize) {
        self.end = self.end.saturating_add(bytes).min(self.bytes.len());
    }

    /// Holds a copy of `bytes` as well.
    pub(super) fn append(&mut self, bytes: &[u8], pool: &mut BufferPool) {
        self.room(bytes.len(), pool).copy_from_slice(bytes);
        self.add(bytes.len());
    }

    /// The first `bytes` are needed no more.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes);
        if self.start >= self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Gives its memory back where it holds nothing; where it is larger than `bytes_max`, moves to just what is held.
    pub(super) fn rest(&mut self, bytes_max: usize, pool: &mut BufferPool) {
        if self.is_empty() {
            pool.give(std::mem::take(&mut self.bytes));
        } else if self.bytes.capacity() > bytes_max.max(self.len()) {
            let held = self.held().to_vec();
            pool.give(std::mem::replace(&mut self.bytes, held));
            (self.start, self.end) = (0, self.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Append(Vec<u8>),
        AddSome(usize, usize),
        Consume(usize),
        Rest(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Act::Append),
            (0..300_usize, 0..300_usize).prop_map(|(room, bytes)| Act::AddSome(room, bytes)),
            (0..500_usize).prop_map(Act::Consume),
            (0..500_usize).prop_map(Act::Rest),
        ]
    }

    proptest! {
        #[test]
        fn what_was_added_and_not_consumed_is_held(acts in proptest::collection::vec(act(), 1..80)) {
            let (mut window, mut model, mut pool) = (Window::default(), Vec::new(), BufferPool::default());
            pool.give(vec![0xee; 700]);
            pool.give(vec![0xdd; 50]);
            for act in acts {
                match act {
                    Act::Append(bytes) => {
                        window.append(&bytes, &mut pool);
                        model.extend(bytes);
                    }
                    Act::AddSome(room, bytes) => {
                        let place = window.room(room, &mut pool);
                        prop_assert_eq!(place.len(), room);
                        place.fill(7);
                        let bytes = bytes.min(room);
                        window.add(bytes);
                        model.extend(vec![7; bytes]);
                    }
                    Act::Consume(bytes) => {
                        window.consume(bytes);
                        model.drain(..bytes.min(model.len()));
                    }
                    Act::Rest(bytes_max) => {
                        window.rest(bytes_max, &mut pool);
                        prop_assert!(window.capacity() <= bytes_max.max(model.len()));
                        prop_assert!(!model.is_empty() || window.capacity() == 0);
                    }
                }
                prop_assert_eq!(window.held(), model.as_slice());
                prop_assert_eq!(window.len(), model.len());
                prop_assert_eq!(window.front_mut(3).len(), model.len().min(3));
            }
        }
    }
}
