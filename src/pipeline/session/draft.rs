//! What is written of a frame that is worked off turn by turn.
//!
//! - DRAFT-1: what is in a session's output when a step ends may be sent at any time, so a frame that is not whole
//!   stays here.
//! - DRAFT-2: a long frame is copied on its way here at most as far as its first turn, and moves little by little when
//!   it outgrows its memory.

use crate::growing::Growing;
use crate::pipeline::work::{Pause, Work};

/// See the module.
#[derive(Default)]
pub(super) struct Draft {
    growing: Growing,
    /// The frame is written here, not to the output.
    begun: bool,
    /// Room for so many bytes more is to be made before anything is written.
    room_wanted: usize,
}

impl Draft {
    /// For a frame that surely takes more than a turn or, unless `long`, may turn out to.
    pub(super) fn new(long: bool, out: &[u8]) -> Self {
        Self {
            // An empty output can be taken whole.
            begun: long && !out.is_empty(),
            ..Self::default()
        }
    }

    /// Where the frame is written on.
    pub(super) fn target<'a>(&'a mut self, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        if self.begun { self.growing.bytes_mut() } else { out }
    }

    /// The turn is over and the frame, which begins in its target at `start`, is not whole. Says by how many bytes it
    /// was moved forward.
    pub(super) fn keep(&mut self, out: &mut Vec<u8>, start: usize) -> usize {
        if self.begun {
            return 0;
        }
        self.begun = true;
        let bytes = self.growing.bytes_mut();
        if start == 0 {
            std::mem::swap(bytes, out);
            return 0;
        }
        bytes.extend_from_slice(out.get(start..).unwrap_or_default());
        out.truncate(start);
        start
    }

    /// The frame, which is kept, needs room for so many bytes more.
    pub(super) fn want_room(&mut self, bytes: usize) {
        self.room_wanted = bytes;
    }

    /// Makes the room that is wanted; beyond what is usual only if `may_grow`.
    pub(super) fn make_room(&mut self, work: &mut Work, may_grow: bool) -> Result<(), Pause> {
        work.make_room(&mut self.growing, &mut self.room_wanted, may_grow)
    }

    /// The frame is whole, and goes out.
    pub(super) fn deliver(&mut self, out: &mut Vec<u8>) {
        let bytes = self.growing.bytes_mut();
        if out.is_empty() {
            std::mem::swap(bytes, out);
        } else {
            out.append(bytes);
        }
    }

    /// Bytes of memory that it owns.
    pub(super) fn bytes_held(&self) -> usize {
        self.growing.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::work::STEP_MAX;

    /// DRAFT-1.
    #[test]
    fn what_is_not_whole_never_stands_in_the_output() {
        for (long, before) in [
            (false, &b""[..]),
            (false, b"earlier"),
            (true, b""),
            (true, b"earlier"),
        ] {
            let mut out = before.to_vec();
            let mut draft = Draft::new(long, &out);
            let target = draft.target(&mut out);
            let start = target.len();
            target.extend(b"one ");
            let moved = draft.keep(&mut out, start);
            assert_eq!(out, before, "{long}");
            let start = start - moved;
            for piece in [&b"two "[..], b"three"] {
                draft.target(&mut out).extend(piece);
                assert_eq!(draft.keep(&mut out, start), 0);
                assert_eq!(out, before, "{long}");
            }
            assert_eq!(&draft.target(&mut out)[start..], b"one two three");
            draft.deliver(&mut out);
            assert_eq!(out, [before, b"one two three"].concat(), "{long}");
            assert_eq!(draft.growing.bytes().len(), 0);
        }
    }

    #[test]
    fn a_frame_of_one_turn_is_written_where_it_goes() {
        let mut out = b"earlier".to_vec();
        let mut draft = Draft::new(false, &out);
        draft.target(&mut out).extend(b" later");
        draft.deliver(&mut out);
        assert_eq!((out.as_slice(), draft.bytes_held()), (&b"earlier later"[..], 0));
    }

    /// DRAFT-2
    #[test]
    fn a_long_frame_makes_room_turn_by_turn_and_only_if_it_may() {
        let mut out = vec![7; 3 * STEP_MAX];
        out.shrink_to_fit();
        let mut draft = Draft::new(false, &out);
        draft.keep(&mut out, 0);
        draft.want_room(STEP_MAX);
        let mut work = Work::new(1);
        assert_eq!(draft.make_room(&mut work, false), Err(Pause::Full));
        for _ in 0..2 {
            assert_eq!(draft.make_room(&mut work, true), Err(Pause::Spent));
            work.begin_turn();
        }
        assert_eq!(draft.make_room(&mut work, true), Ok(()));
        let target = draft.target(&mut out);
        assert_eq!(target, &vec![7; 3 * STEP_MAX]);
        assert!(target.capacity() >= 4 * STEP_MAX);
        let mut short = Draft::new(false, &out);
        short.keep(&mut out, 0);
        short.want_room(10);
        assert_eq!(short.make_room(&mut work, false), Ok(()), "at the bound");
    }
}
