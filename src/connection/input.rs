//! What was read of one direction and is not worked off: read into where it stays.
//!
//! - INPUT-1: what lies beyond what was read is never shown; it is of others, or zeros.
//! - INPUT-2: bytes are moved only where a frame would not fit behind what was consumed, and as long as that is short.

use crate::buffers::{self, BufferPool};
use crate::growing::{Growing, MOVED_AT_ONCE, Room};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// Up to its length it was written to before, by whomever.
    growing: Growing,
    /// Where what was read ends.
    end: usize,
    /// Where what is not consumed begins; at the start if nothing is left.
    start: usize,
}

impl Input {
    /// What is not consumed.
    pub(crate) fn rest(&self) -> &[u8] {
        self.growing.bytes().get(self.start..self.end).unwrap_or_default()
    }

    /// The same, to be worked on.
    pub(crate) fn rest_mut(&mut self) -> &mut [u8] {
        self.growing
            .bytes_mut()
            .get_mut(self.start..self.end)
            .unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Consumes `bytes` more.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Makes room for `more` bytes of what is expected to be `expected` in all, consumed bytes not among it; it moves
    /// little by little.
    pub(crate) fn make_room(&mut self, expected: usize, more: usize) -> Room {
        let left = self.rest().len();
        let missing = expected.saturating_sub(left);
        let fits_at_start = missing > self.spare() && expected <= self.growing.bytes().capacity();
        let mut moved_to_start = 0;
        if self.start > 0 && left <= MOVED_AT_ONCE && (self.spare() < more || fits_at_start) {
            // INPUT-2
            self.growing.bytes_mut().copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, left);
            moved_to_start = left;
        }
        let end = self.end.saturating_add(more);
        if self.growing.bytes().len() >= end {
            return Room::Ready(moved_to_start);
        }
        if self.spare() < more && self.growing.bytes().len() > self.end {
            // Nothing else has to move.
            self.growing.bytes_mut().truncate(self.end);
        }
        let missing = end.saturating_sub(self.growing.bytes().len());
        let room =
            self.growing
                .make_room_towards(self.start.saturating_add(expected), missing, MOVED_AT_ONCE);
        match room {
            Room::Ready(moved) => {
                self.growing.bytes_mut().resize(end, 0);
                Room::Ready(moved.saturating_add(moved_to_start))
            }
            Room::Moving(moved) => Room::Moving(moved.saturating_add(moved_to_start)),
        }
    }

    fn spare(&self) -> usize {
        self.growing.bytes().capacity().saturating_sub(self.end)
    }

    /// The room for up to `bytes` that was made.
    pub(crate) fn room(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.end.saturating_add(bytes).min(self.growing.bytes().len());
        self.growing
            .bytes_mut()
            .get_mut(self.end..end)
            .unwrap_or_default()
    }

    /// So many bytes were read into the room.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.end = self.end.saturating_add(bytes).min(self.growing.bytes().len());
    }

    /// Takes `buffer`, whatever is in it, to be read into; there is none yet.
    pub(crate) fn begin(&mut self, buffer: Vec<u8>) {
        self.growing = Growing::from(buffer);
    }

    /// Gives its memory back, with what is in it.
    pub(crate) fn end(&mut self, pool: &mut BufferPool) {
        pool.give(std::mem::take(self).growing.take());
    }

    /// Moves to a buffer from the pool, or one of its own, where its own is much too large for `bytes`, or too small
    /// and there is a larger one.
    pub(crate) fn fit(&mut self, bytes: usize, pool: &mut BufferPool) {
        let capacity = self.growing.bytes().capacity();
        if (bytes..=buffers::capacity_max(bytes)).contains(&capacity) {
            return;
        }
        let fitting = pool.take(bytes);
        if capacity > bytes || fitting.capacity() > 0 {
            self.move_to(fitting, pool);
        }
    }

    /// Moves to a buffer of just the size of what it holds.
    pub(crate) fn shrink(&mut self, pool: &mut BufferPool) {
        self.move_to(Vec::new(), pool);
    }

    fn move_to(&mut self, mut buffer: Vec<u8>, pool: &mut BufferPool) {
        let rest = self.rest();
        let end = rest.len();
        if let Some(place) = buffer.get_mut(..end) {
            place.copy_from_slice(rest);
        } else {
            buffer.clear();
            buffer.reserve_exact(end);
            buffer.extend_from_slice(rest);
        }
        self.end(pool);
        *self = Self {
            growing: Growing::from(buffer),
            end,
            start: 0,
        };
    }

    /// Bytes of memory that it owns.
    pub(crate) fn capacity(&self) -> usize {
        self.growing.capacity()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `bytes` as a socket would; `expected` as the session says.
    fn read(input: &mut Input, expected: usize, bytes: &[u8]) {
        while let Room::Moving(_) = input.make_room(expected, bytes.len()) {}
        let room = input.room(bytes.len());
        room.copy_from_slice(bytes);
        input.add(bytes.len());
    }

    /// INPUT-2: a frame that fits behind what was consumed stays where it is.
    #[test]
    fn bytes_are_moved_only_where_a_frame_would_not_fit() {
        for (expected, moves) in [(60, false), (61, true)] {
            let mut input = Input::default();
            input.begin(Vec::with_capacity(100));
            read(&mut input, 50, &[1; 50]);
            input.consume(40);
            let moved = if moves { 10 } else { 0 };
            assert_eq!(input.make_room(expected, 5), Room::Ready(moved), "{expected}");
            assert_eq!((input.start == 0, input.capacity()), (moves, 100), "{expected}");
        }
    }

    /// What others left behind what was read is no reason to grow.
    #[test]
    fn an_input_grows_only_where_there_is_no_room() {
        let mut input = Input::default();
        let mut buffer = vec![0xee; 80];
        buffer.reserve_exact(20);
        input.begin(buffer);
        read(&mut input, 100, &[1; 50]);
        read(&mut input, 100, &[2; 50]);
        assert_eq!(
            (input.capacity(), input.rest()),
            (100, &[[1; 50], [2; 50]].concat()[..])
        );
    }

    #[test]
    fn an_input_that_is_much_too_large_moves_to_one_that_suits() {
        let mut pool = BufferPool::default();
        let mut input = Input::default();
        input.begin(vec![0; 1 << 20]);
        read(&mut input, 10, b"0123456789");
        input.consume(4);
        input.fit(1 << 20, &mut pool);
        assert_eq!(input.capacity(), 1 << 20, "it suits");
        input.fit(6, &mut pool);
        assert_eq!((input.capacity(), input.rest()), (6, &b"456789"[..]));
        input.fit(1 << 20, &mut pool);
        assert_eq!(
            (input.capacity(), input.rest()),
            (1 << 20, &b"456789"[..]),
            "from the pool"
        );
        input.shrink(&mut pool);
        assert_eq!((input.capacity(), input.rest()), (6, &b"456789"[..]));
        input.end(&mut pool);
        assert_eq!((input.capacity(), input.is_empty()), (0, true));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Read(Vec<u8>, usize),
        Consume(usize),
        Change(u8),
        Fit(usize),
        Shrink,
        EndWhenEmpty,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (proptest::collection::vec(any::<u8>(), 1..3000), 0..5000_usize)
                .prop_map(|(bytes, more)| Act::Read(bytes, more)),
            3 => (0..4000_usize).prop_map(Act::Consume),
            1 => any::<u8>().prop_map(Act::Change),
            1 => (0..9000_usize).prop_map(Act::Fit),
            1 => Just(Act::Shrink),
            1 => Just(Act::EndWhenEmpty),
        ]
    }

    proptest! {
        /// INPUT-1 among it: buffers come with what others left in them.
        #[test]
        fn what_was_read_and_not_consumed_is_there(acts in proptest::collection::vec(act(), 1..60)) {
            let (mut input, mut model, mut pool) = (Input::default(), Vec::new(), BufferPool::default());
            pool.give(vec![0xee; 4000]);
            pool.give(vec![0xdd; 300]);
            for act in acts {
                match act {
                    Act::Read(bytes, more) => {
                        if input.capacity() == 0 {
                            input.begin(pool.take(bytes.len()));
                        }
                        read(&mut input, model.len() + bytes.len() + more, &bytes);
                        model.extend_from_slice(&bytes);
                    }
                    Act::Consume(bytes) => {
                        let bytes = bytes.min(model.len());
                        input.consume(bytes);
                        model.drain(..bytes);
                    }
                    Act::Change(byte) => {
                        input.rest_mut().iter_mut().chain(&mut model).for_each(|place| *place ^= byte);
                    }
                    Act::Fit(more) => input.fit(model.len() + more, &mut pool),
                    Act::Shrink => input.shrink(&mut pool),
                    Act::EndWhenEmpty if model.is_empty() => input.end(&mut pool),
                    Act::EndWhenEmpty => {}
                }
                prop_assert_eq!(input.rest(), model.as_slice());
                prop_assert_eq!(input.is_empty(), model.is_empty());
            }
        }
    }
}
