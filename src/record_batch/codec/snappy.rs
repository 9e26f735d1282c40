//! Snappy as Kafka uses it: blocks in the framing of xerial's `snappy-java`, or one raw block where the framing's magic
//! is absent (librdkafka writes that).
//!
//! ```text
//! 82 "SNAPPY" 00 | version i32 | oldest compatible version i32 | { length i32, raw snappy block }*
//! ```
//!
//! Integers are big-endian. A further header may stand where a length is expected (concatenated streams).

use super::{CodecError, Output, Stepped};

mod long_block;

use self::long_block::LongBlock;

/// A stream of blocks that is half read.
#[derive(Default)]
pub(super) struct Reading {
    raw: snap::raw::Decoder,
    /// Whether the blocks are framed; unknown before the first step.
    framed: Option<bool>,
    /// A block that takes more than a step, and where in the input it ends.
    long: Option<(LongBlock, usize)>,
}

impl Reading {
    /// One block, or a part of a long one.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        at: &mut usize,
        output: &mut Output<'_>,
    ) -> Result<Stepped, CodecError> {
        if let Some((block, end)) = &mut self.long {
            let content = input.get(..*end).ok_or(CodecError::Truncated(NAME))?;
            let progress = block.step(content, at, output)?;
            if progress == Stepped::Finished {
                self.long = None;
                return Ok(self.behind_a_block(input, *at));
            }
            return Ok(progress);
        }
        let rest = input.get(*at..).unwrap_or_default();
        let header = rest
            .first_chunk::<HEADER_BYTES>()
            .filter(|header| header.starts_with(&MAGIC));
        if !*self.framed.get_or_insert(header.is_some()) {
            return self.block(input, *at, input.len(), at, output);
        }
        if rest.is_empty() {
            return Ok(Stepped::Finished);
        }
        if let Some(&[.., v0, v1, v2, v3, c0, c1, c2, c3]) = header {
            let [version, compatible] = [[v0, v1, v2, v3], [c0, c1, c2, c3]].map(i32::from_be_bytes);
            if version < 1 {
                return Err(malformed("the framing's version is below 1"));
            }
            if *at > 0 || [version, compatible] != [1; 2] {
                output.pass_over(
                    NAME,
                    "its framing's header is not the only one, or not of version 1",
                )?;
            }
            *at = at.saturating_add(HEADER_BYTES);
            return Ok(Stepped::More);
        }
        let (length, behind) = rest.split_first_chunk().ok_or(CodecError::Truncated(NAME))?;
        let length = usize::try_from(i32::from_be_bytes(*length))
            .map_err(|_| malformed("a block's length is negative"))?;
        if length > behind.len() {
            return Err(CodecError::Truncated(NAME));
        }
        let start = input.len().saturating_sub(behind.len());
        self.block(input, start, start.saturating_add(length), at, output)
    }

    /// Decodes the block between `start` and `end`, or begins to.
    fn block(
        &mut self,
        input: &[u8],
        start: usize,
        end: usize,
        at: &mut usize,
        output: &mut Output<'_>,
    ) -> Result<Stepped, CodecError> {
        let block = input.get(start..end).unwrap_or_default();
        if block.is_empty() {
            return Err(CodecError::Truncated(NAME));
        }
        let announced =
            snap::raw::decompress_len(block).map_err(|_| malformed("a block's size is unreadable"))?;
        if announced > output.left()? {
            return Err(output.exceeded());
        }
        if announced > block.len().saturating_mul(EXPANSION_MAX) {
            return Err(malformed("a block announces more than it can hold"));
        }
        if announced > WHOLE_BYTES_MAX || block.len() > WHOLE_BYTES_MAX {
            let (block, first) = LongBlock::begin(block)?;
            *at = start.saturating_add(first);
            self.long = Some((block, end));
            return Ok(Stepped::More);
        }
        if let Some(room) = output.room_for(announced) {
            return Ok(room);
        }
        let made = self
            .raw
            .decompress(block, output.window(announced))
            .map_err(|_| malformed("a block is invalid"))?;
        output.add(made);
        *at = end;
        Ok(self.behind_a_block(input, end))
    }

    fn behind_a_block(&self, input: &[u8], at: usize) -> Stepped {
        if self.framed == Some(false) || at == input.len() {
            Stepped::Finished
        } else {
            Stepped::More
        }
    }
}

fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { codec: NAME, what }
}

const NAME: &str = "snappy";
pub(super) const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
pub(super) const HEADER_BYTES: usize = 16;

/// A block that is decoded in one step by `snap`, which cannot do less: about a millisecond.
const WHOLE_BYTES_MAX: usize = 1 << 20;

/// A copy element takes at least 2 bytes (up to 11 bytes of output) or 3 (up to 64): below 22 bytes of output a byte.
const EXPANSION_MAX: usize = 22;
