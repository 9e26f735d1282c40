//! What is written of a frame that is worked off in pieces.
//!
//! - DRAFT-1: what is in a session's output when a step ends may be sent at any time, so a frame that is not whole stays here.
//! - DRAFT-2: a long frame is copied on its way here at most as far as its first piece.

/// See the module.
#[derive(Default)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    /// The frame is written here, not to the output.
    begun: bool,
}

impl Draft {
    /// For a frame that is surely worked off in pieces or, unless `long`, may turn out to be.
    pub(super) fn new(long: bool, out: &[u8]) -> Self {
        Self {
            bytes: Vec::new(),
            // An empty output can be taken whole.
            begun: long && !out.is_empty(),
        }
    }

    /// Where the frame is written on.
    pub(super) fn target<'a>(&'a mut self, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        if self.begun { &mut self.bytes } else { out }
    }

    /// A piece is done and the frame, which begins in its target at `start`, is not. Says by how many bytes it was moved forward.
    pub(super) fn keep(&mut self, out: &mut Vec<u8>, start: usize) -> usize {
        if self.begun {
            return 0;
        }
        self.begun = true;
        if start == 0 {
            std::mem::swap(&mut self.bytes, out);
            return 0;
        }
        self.bytes.extend_from_slice(out.get(start..).unwrap_or_default());
        out.truncate(start);
        start
    }

    /// The frame is whole, and goes out.
    pub(super) fn deliver(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() {
            std::mem::swap(&mut self.bytes, out);
        } else {
            out.append(&mut self.bytes);
        }
    }

    /// Bytes of memory that it owns.
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(draft.bytes.len(), 0);
        }
    }

    #[test]
    fn a_frame_of_one_piece_is_written_where_it_goes() {
        let mut out = b"earlier".to_vec();
        let mut draft = Draft::new(false, &out);
        draft.target(&mut out).extend(b" later");
        draft.deliver(&mut out);
        assert_eq!((out.as_slice(), draft.bytes_held()), (&b"earlier later"[..], 0));
    }
}
