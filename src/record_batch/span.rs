//! Positions in a buffer, `Copy` where `Range<usize>` is not.

use std::ops::Range;

/// Bytes `start..end` of the buffer that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte; never below `start`.
    pub end: usize,
}

impl Span {
    /// How many bytes it covers.
    #[inline]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether it covers nothing.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// As a standard range.
    #[inline]
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// The bytes it covers of `buf`, which must be the buffer that was parsed, or one of the same length.
    ///
    /// # Panics
    ///
    /// With a shorter buffer, which only a mistake in our own code can bring about.
    #[inline]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        // INVARIANT: a span is only made by the parsers of this module, from the bounds of the buffer they were given.
        #[expect(
            clippy::indexing_slicing,
            reason = "as documented: only with another buffer than the one parsed"
        )]
        let bytes = &buf[self.start..self.end];
        bytes
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_range_of_the_buffer() {
        let span = Span::from(2..5);
        assert_eq!((span.start, span.end, span.range()), (2, 5, 2..5));
        assert_eq!((span.len(), span.is_empty()), (3, false));
        assert_eq!(span.of(b"ab cde"), b" cd");
        let nothing = Span::from(2..2);
        assert_eq!((nothing.len(), nothing.is_empty()), (0, true));
        assert_eq!(nothing.of(b"ab"), b"");
    }
}
