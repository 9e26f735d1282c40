//! A block of LZ4 (block format, lz4.org) that is decoded in steps: the library decodes a block in one go, and takes
//! three nanoseconds for each byte of 4 MiB that repeats the one before it.
//!
//! ```text
//! { token, literals' length, literals, distance u16 little-endian, match's length }*
//! token, literals' length, literals
//! ```
//!
//! What it takes for a block is what the library does.

use super::super::{CodecError, Output, STEP_BYTES_MAX, Stepped};
use super::malformed;

/// See the module.
pub(super) struct LongBlock {
    /// Bytes that it may still hold.
    left: usize,
    /// Bytes of this block that were decoded: a match reaches no further back.
    decoded: usize,
    next: Next,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Next {
    Token,
    /// So many literals, and then a match, of whose length the token said so much.
    Literals {
        left: usize,
        nibble: u8,
    },
    Match {
        left: usize,
        distance: usize,
    },
}

impl LongBlock {
    /// For a block of at most so many bytes.
    pub(super) fn begin(bytes_max: usize) -> Self {
        Self {
            left: bytes_max,
            decoded: 0,
            next: Next::Token,
        }
    }

    /// Decodes on from `at`; `input` ends with the block.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        at: &mut usize,
        output: &mut Output<'_>,
    ) -> Result<Stepped, CodecError> {
        let mut budget = STEP_BYTES_MAX.min(self.left).min(output.left()?);
        if let Some(room) = output.room_for(budget) {
            return Ok(room);
        }
        output.window(budget);
        loop {
            let made = match self.next {
                Next::Literals { left: 0, .. } if *at == input.len() => return Ok(Stepped::Finished),
                Next::Token | Next::Literals { left: 0, .. } | Next::Match { left: 0, .. } => {
                    self.next = self.read_next(input, at, output)?;
                    0
                }
                Next::Literals { .. } | Next::Match { .. } if budget == 0 => return Ok(Stepped::More),
                Next::Literals { left, nibble } => {
                    let bytes = left.min(budget);
                    let literals = input.get(*at..).and_then(|rest| rest.get(..bytes));
                    output.window(bytes).copy_from_slice(literals.ok_or(invalid())?);
                    output.add(bytes);
                    *at = at.saturating_add(bytes);
                    let left = left.saturating_sub(bytes);
                    self.next = Next::Literals { left, nibble };
                    bytes
                }
                Next::Match { left, distance } => {
                    let bytes = left.min(budget);
                    output.repeat(distance, bytes);
                    let left = left.saturating_sub(bytes);
                    self.next = Next::Match { left, distance };
                    bytes
                }
            };
            budget = budget.saturating_sub(made);
            self.left = self.left.saturating_sub(made);
            self.decoded = self.decoded.saturating_add(made);
        }
    }

    /// Reads what says how the block goes on.
    fn read_next(&self, input: &[u8], at: &mut usize, output: &Output<'_>) -> Result<Next, CodecError> {
        let mut rest = input.get(*at..).unwrap_or_default();
        let most = self.left.min(output.left()?);
        let (next, length) = if let Next::Literals { nibble, .. } = self.next {
            let [low, high] = [take(&mut rest)?, take(&mut rest)?];
            let distance = usize::from(u16::from_le_bytes([low, high]));
            if distance == 0 || distance > self.decoded {
                return Err(invalid());
            }
            let left = take_length(&mut rest, nibble, most)?.saturating_add(MATCH_BYTES_MIN);
            (Next::Match { left, distance }, left)
        } else {
            let token = take(&mut rest)?;
            let left = take_length(&mut rest, token >> 4, most)?;
            let nibble = token & 15;
            (Next::Literals { left, nibble }, left)
        };
        if length > most {
            return Err(if most < self.left {
                output.exceeded()
            } else {
                invalid()
            });
        }
        *at = input.len().saturating_sub(rest.len());
        Ok(next)
    }
}

/// A length whose beginning a token has; no more of it is read once it is longer than may be.
fn take_length(rest: &mut &[u8], nibble: u8, most: usize) -> Result<usize, CodecError> {
    let mut length = usize::from(nibble);
    let mut goes_on = nibble == 15;
    while goes_on && length <= most {
        let byte = take(rest)?;
        length = length.saturating_add(usize::from(byte));
        goes_on = byte == u8::MAX;
    }
    Ok(length)
}

fn take(rest: &mut &[u8]) -> Result<u8, CodecError> {
    let (byte, behind) = rest.split_first().ok_or(invalid())?;
    *rest = behind;
    Ok(*byte)
}

fn invalid() -> CodecError {
    malformed("a block is invalid")
}

const MATCH_BYTES_MIN: usize = 4;
