//! A raw snappy block (`format_description.txt` of google/snappy) that is decoded in steps: librdkafka writes a whole
//! batch as one block, and the library decodes a block in one go.
//!
//! ```text
//! uncompressed length, varint | { tag, bytes }*
//! tag & 3:  0 literal     length - 1 in the upper 6 bits, or in 1 to 4 bytes behind the tag (60 to 63)
//!           1 copy        length - 4 in 3 bits, offset in 3 bits and 1 byte
//!           2, 3 copy     length - 1 in the upper 6 bits, offset in 2 or 4 bytes, little-endian
//! ```

use super::super::{CodecError, Output, STEP_BYTES_MAX, Stepped};
use super::{NAME, malformed};

/// See the module.
pub(super) struct LongBlock {
    /// Bytes that are still to be decoded.
    left: usize,
    /// Bytes of the present literal that are still to be copied.
    literal_left: usize,
    /// Bytes of this block that were decoded: a copy reaches no further back.
    decoded: usize,
}

impl LongBlock {
    /// Reads the block's length; with it, where its first tag stands.
    pub(super) fn begin(block: &[u8]) -> Result<(Self, usize), CodecError> {
        let announced = snap::raw::decompress_len(block).map_err(|_| invalid())?;
        // INVARIANT: the length was just read, so it ends within the first five bytes.
        let first = block
            .iter()
            .position(|byte| byte & 0x80 == 0)
            .map_or(0, |last| last.saturating_add(1));
        let block = Self {
            left: announced,
            literal_left: 0,
            decoded: 0,
        };
        Ok((block, first))
    }

    /// Decodes on from `at`; `input` ends with the block.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        at: &mut usize,
        output: &mut Output<'_>,
    ) -> Result<Stepped, CodecError> {
        let room = STEP_BYTES_MAX.min(self.left);
        if let Some(room) = output.room_for(room) {
            return Ok(room);
        }
        let mut budget = room;
        while self.left > 0 {
            if self.literal_left > 0 {
                let bytes = self.literal_left.min(budget);
                let literal = input
                    .get(*at..)
                    .and_then(|rest| rest.get(..bytes))
                    .ok_or(CodecError::Truncated(NAME))?;
                output.window(bytes).copy_from_slice(literal);
                output.add(bytes);
                *at = at.saturating_add(bytes);
                self.literal_left = self.literal_left.saturating_sub(bytes);
                self.note(bytes)?;
                budget = budget.saturating_sub(bytes);
            } else if budget < COPY_BYTES_MAX.min(self.left) {
                return Ok(Stepped::More);
            } else {
                budget = budget.saturating_sub(self.element(input, at, output)?);
            }
            if budget == 0 && self.left > 0 {
                return Ok(Stepped::More);
            }
        }
        if *at != input.len() {
            return Err(invalid());
        }
        Ok(Stepped::Finished)
    }

    /// Reads one tag: begins a literal, or makes a copy, of which it says the length.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "a length is of four bytes at most, and an offset within what the block has appended"
    )]
    fn element(
        &mut self,
        input: &[u8],
        at: &mut usize,
        output: &mut Output<'_>,
    ) -> Result<usize, CodecError> {
        let mut rest = input.get(*at..).unwrap_or_default();
        let tag = take(&mut rest, 1)?;
        let (length, offset) = match tag & 3 {
            0 => {
                let short = tag >> 2;
                let length = match short {
                    0..=59 => short,
                    _ => take(&mut rest, short - 59)?,
                } + 1;
                if length > self.left {
                    return Err(invalid());
                }
                self.literal_left = length;
                *at = input.len() - rest.len();
                return Ok(0);
            }
            1 => (((tag >> 2) & 7) + 4, (tag >> 5 << 8) | take(&mut rest, 1)?),
            2 => ((tag >> 2) + 1, take(&mut rest, 2)?),
            _ => ((tag >> 2) + 1, take(&mut rest, 4)?),
        };
        if offset == 0 || offset > self.decoded || length > self.left {
            return Err(invalid());
        }
        output.repeat(offset, length);
        *at = input.len() - rest.len();
        self.note(length)?;
        Ok(length)
    }

    fn note(&mut self, bytes: usize) -> Result<(), CodecError> {
        self.left = self.left.checked_sub(bytes).ok_or(invalid())?;
        self.decoded = self.decoded.saturating_add(bytes);
        Ok(())
    }
}

/// A little-endian number of `bytes` bytes.
fn take(rest: &mut &[u8], bytes: usize) -> Result<usize, CodecError> {
    let (number, behind) = rest.split_at_checked(bytes).ok_or(CodecError::Truncated(NAME))?;
    *rest = behind;
    Ok(number
        .iter()
        .rev()
        .fold(0, |number, byte| (number << 8) | usize::from(*byte)))
}

fn invalid() -> CodecError {
    malformed("a block is invalid")
}

/// What a copy makes at most.
const COPY_BYTES_MAX: usize = 64;
