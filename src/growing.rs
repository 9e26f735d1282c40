//! A buffer that grows with what it is given, and moves what it holds little by little.
//!
//! A vector that doubles copies all that it holds in one step: 128 MiB into fresh pages is more than a neighbour should
//! wait.
//!
//! - GROWING-1: one call of [`Growing::make_room`] moves at most as much as it is told, or what is short anyway.
//! - GROWING-2: capacity follows what came: at most twice the content and what room is made for, and while it moves
//!   half as much again. Nothing is reserved for a length that is only announced.
//! - GROWING-3: whoever changes the content while it moves has it moved from the start.
//!
//! What it has moved out of is freed at once, and the kernel takes about a tenth of a millisecond for each MiB that was
//! written. Nothing shortens that step.

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    bytes: Vec<u8>,
    /// Where `bytes` moves to: the beginning of it is there already.
    next: Vec<u8>,
}

/// What came of [`Growing::make_room`], and how many bytes it moved: whoever counts work counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is room: it can be filled without a byte being moved.
    Ready(usize),
    /// Call again, after others have had their turn.
    Moving(usize),
}

impl Growing {
    /// What it holds.
    pub(crate) fn bytes(&self) -> &Vec<u8> {
        &self.bytes
    }

    /// What it holds, to be changed; a move that was begun is forgotten (GROWING-3).
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        self.next = Vec::new();
        &mut self.bytes
    }

    /// Takes what it holds out of it.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).bytes
    }

    /// Makes room for `more` bytes behind the content, and moves at most `moved_max` bytes for it (GROWING-1).
    pub(crate) fn make_room(&mut self, more: usize, moved_max: usize) -> Room {
        self.make_room_towards(usize::MAX, more, moved_max)
    }

    /// The same for content that is not expected to be longer than `bytes_expected`: no room is made beyond that,
    /// unless it is needed now.
    pub(crate) fn make_room_towards(&mut self, bytes_expected: usize, more: usize, moved_max: usize) -> Room {
        let length = self.bytes.len();
        if self.bytes.capacity().saturating_sub(length) >= more {
            return Room::Ready(0);
        }
        let needed = length.saturating_add(more);
        if self.bytes.capacity() <= MOVED_AT_ONCE {
            // GROWING-2: once more is enough where that comes to all that is expected.
            let capacity = if bytes_expected <= needed.saturating_mul(2) {
                bytes_expected
            } else {
                self.bytes.capacity().saturating_mul(2)
            };
            self.bytes
                .reserve_exact(capacity.max(needed).saturating_sub(length));
            return Room::Ready(length);
        }
        if self.next.capacity() < needed {
            // GROWING-2.
            let doubled = length.saturating_mul(2).min(bytes_expected);
            self.next = Vec::with_capacity(doubled.max(needed));
        }
        let rest = self.bytes.get(self.next.len()..).unwrap_or_default();
        let piece = rest.get(..moved_max).unwrap_or(rest);
        let moved = piece.len();
        self.next.extend_from_slice(piece);
        if self.next.len() < length {
            return Room::Moving(moved);
        }
        self.bytes = std::mem::take(&mut self.next);
        Room::Ready(moved)
    }

    /// Bytes of memory that it owns.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity().saturating_add(self.next.capacity())
    }
}

impl From<Vec<u8>> for Growing {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            next: Vec::new(),
        }
    }
}

/// Makes room for `more` bytes. A vector that holds nothing but owns memory is not moved, which `reserve` would do.
pub(crate) fn reserve(bytes: &mut Vec<u8>, more: usize) {
    if bytes.is_empty() && bytes.capacity() < more {
        *bytes = Vec::with_capacity(more);
    } else {
        bytes.reserve(more);
    }
}

/// What is moved in one step whatever was asked for: about as much as others wait for anyway.
pub(crate) const MOVED_AT_ONCE: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Makes room; says how many calls it took, and checks what each of them moves.
    fn fill(growing: &mut Growing, expected: usize, more: usize, moved_max: usize) -> usize {
        for calls in 1.. {
            let room = growing.make_room_towards(expected, more, moved_max);
            let (Room::Ready(moved) | Room::Moving(moved)) = room;
            assert!(moved <= moved_max.max(MOVED_AT_ONCE), "GROWING-1: {moved} bytes");
            if let Room::Ready(_) = room {
                return calls;
            }
        }
        unreachable!("room is made in the end")
    }

    #[test]
    fn a_long_buffer_moves_piece_by_piece() {
        let mut growing = Growing::default();
        let piece: Vec<u8> = (0..=255).cycle().take(256 * 1024).collect();
        let (mut longest, mut allocated) = (0, 0);
        for count in 1..=130 {
            longest = longest.max(fill(&mut growing, usize::MAX, piece.len(), MIB));
            let before = growing.capacity();
            growing.bytes_mut().extend_from_slice(&piece);
            assert_eq!(growing.capacity(), before, "there was room");
            assert!(growing.capacity() <= 2 * count * piece.len(), "GROWING-2");
            allocated = allocated.max(growing.capacity());
        }
        assert_eq!(longest, 32, "32 MiB, one by one");
        assert_eq!(allocated, 64 * MIB);
        assert!(growing.bytes().chunks(piece.len()).all(|chunk| chunk == piece));
    }

    #[test]
    fn no_more_is_allocated_than_is_expected_unless_it_is_needed() {
        let mut growing = Growing::default();
        growing.bytes_mut().reserve_exact(2 * MIB);
        growing.bytes_mut().resize(2 * MIB, 1);
        fill(&mut growing, 3 * MIB, 1, MIB);
        assert_eq!(growing.capacity(), 3 * MIB);
        growing.bytes_mut().resize(3 * MIB, 1);
        fill(&mut growing, 3 * MIB, 10, MIB);
        assert_eq!(growing.capacity(), 3 * MIB + 10);
    }

    #[test]
    fn a_short_buffer_moves_at_once_and_one_that_owns_more_does_not() {
        for (capacity, at_once) in [(MOVED_AT_ONCE, true), (MOVED_AT_ONCE + 1, false)] {
            let mut growing = Growing::default();
            growing.bytes_mut().reserve_exact(capacity);
            growing.bytes_mut().resize(capacity, 1);
            let room = growing.make_room(1, 1000);
            assert_eq!(room == Room::Moving(1000), !at_once, "{room:?}");
        }
    }

    #[test]
    fn a_vector_that_holds_nothing_is_replaced() {
        let mut bytes = Vec::with_capacity(10);
        reserve(&mut bytes, 1000);
        assert_eq!((bytes.len(), bytes.capacity()), (0, 1000));
        bytes.push(7);
        reserve(&mut bytes, 2000);
        assert_eq!((bytes.as_slice(), bytes.capacity() > 2000), (&[7][..], true));
    }

    #[test]
    fn what_is_expected_is_made_room_for_once_where_that_is_not_much_more() {
        let mut growing = Growing::from(vec![1; 1000]);
        assert_eq!(growing.make_room_towards(4001, 1000, MIB), Room::Ready(1000));
        assert_eq!(growing.capacity(), 2000);
        growing.bytes_mut().resize(2000, 1);
        assert_eq!(growing.make_room_towards(4001, 1000, MIB), Room::Ready(2000));
        assert_eq!(growing.capacity(), 4001);
    }

    #[test]
    fn both_buffers_are_counted_while_it_moves() {
        let mut growing = Growing::default();
        growing.bytes_mut().resize(4 * MIB, 1);
        let before = growing.capacity();
        assert_eq!(growing.make_room(before, MIB), Room::Moving(MIB));
        assert!(growing.capacity() >= 2 * before, "{}", growing.capacity());
        let after = fill(&mut growing, usize::MAX, before, MIB);
        assert_eq!(after, 3);
        assert!(growing.capacity() <= 2 * before);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// GROWING-3 among it: what is changed while it moves is not lost.
        #[test]
        fn contents_are_what_was_written(
            steps in proptest::collection::vec((0..3 * MIB, 1..2 * MIB, any::<bool>(), any::<u8>()), 1..6),
        ) {
            let (mut growing, mut plain) = (Growing::default(), Vec::new());
            for (more, moved_max, interrupt, byte) in steps {
                growing.make_room(more, moved_max);
                if interrupt && let (Some(one), Some(other)) = (growing.bytes_mut().first_mut(), plain.first_mut()) {
                    (*one, *other) = (byte, byte);
                }
                fill(&mut growing, usize::MAX, more, moved_max);
                growing.bytes_mut().resize(plain.len() + more, byte);
                plain.resize(plain.len() + more, byte);
                prop_assert!(growing.bytes() == &plain);
            }
        }
    }
}
