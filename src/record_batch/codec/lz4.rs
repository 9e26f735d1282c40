//! One LZ4 frame (format 1.5.1 and later), read as Kafka's `Lz4BlockInputStream` does: independent blocks only, no
//! dictionary, header and block checksums checked, content size and content checksum skipped, nothing read behind the
//! end mark.
//!
//! The frame is walked here and not by `lz4_flex`'s frame reader, because that one takes a stream that is cut between
//! two blocks for a whole one, and stages every byte in buffers of the announced block size.

mod long_block;

use lz4_flex::block::DecompressError;
use twox_hash::XxHash32;

use self::long_block::LongBlock;
use super::{BEHIND, CodecError, Output, Stepped};
use crate::record_batch::Span;

/// A frame that is half read.
#[derive(Default)]
pub(super) struct Reading {
    /// What its header says, once that is read.
    frame: Option<Frame>,
    /// A block that takes more than a step, and where in the input it stands.
    long: Option<(LongBlock, Span)>,
}

impl Reading {
    /// One block, a part of a long one, or what is in front of the first or behind the last one.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        at: &mut usize,
        output: &mut Output<'_>,
    ) -> Result<Stepped, CodecError> {
        let mut rest = input.get(*at..).unwrap_or_default();
        let Some(frame) = &self.frame else {
            let (frame, behind) = Frame::parse(rest)?;
            *at = input.len().saturating_sub(behind.len());
            self.frame = Some(frame);
            return Ok(Stepped::More);
        };
        if let Some((block, span)) = &mut self.long {
            let content = input.get(..span.end).ok_or(CodecError::Truncated(NAME))?;
            let progress = block.step(content, at, output)?;
            if progress != Stepped::Finished {
                return Ok(progress);
            }
            *at = frame.behind_block(input, *span)?;
            self.long = None;
            return Ok(Stepped::More);
        }
        let word = take_u32(&mut rest)?;
        // INVARIANT: 31 bits fit a usize.
        let length = (word & !STORED_FLAG) as usize;
        if length == 0 {
            if frame.content_checksum {
                take_u32(&mut rest)?;
            }
            if !rest.is_empty() {
                output.pass_over(NAME, BEHIND)?;
            }
            return Ok(Stepped::Finished);
        }
        if length > frame.block_bytes_max {
            return Err(malformed("a block is larger than the frame allows"));
        }
        let start = input.len().saturating_sub(rest.len());
        let end = start.saturating_add(length);
        let block = rest.get(..length).ok_or(CodecError::Truncated(NAME))?;
        let room = if word & STORED_FLAG != 0 {
            output.append(block)?
        } else {
            let left = output.left()?;
            let possible = frame.block_bytes_max.min(length.saturating_mul(EXPANSION_MAX));
            if possible.min(left) > WHOLE_BYTES_MAX {
                *at = start;
                self.long = Some((LongBlock::begin(possible), Span { start, end }));
                return Ok(Stepped::More);
            }
            decompress_block(block, possible, left, output)?
        };
        if let Some(room) = room {
            return Ok(room);
        }
        *at = frame.behind_block(input, Span { start, end })?;
        Ok(Stepped::More)
    }
}

/// Decodes a block that holds no more than is `possible`, where so much is `left` to come.
fn decompress_block(
    block: &[u8],
    possible: usize,
    left: usize,
    output: &mut Output<'_>,
) -> Result<Option<Stepped>, CodecError> {
    let room = output.room_for(possible.min(left));
    if room.is_some() {
        return Ok(room);
    }
    match lz4_flex::block::decompress_into(block, output.window(possible.min(left))) {
        Ok(produced) => {
            output.add(produced);
            Ok(None)
        }
        Err(DecompressError::OutputTooSmall { .. }) if possible > left => Err(output.exceeded()),
        Err(_) => Err(malformed("a block is invalid")),
    }
}

/// What a frame's header says.
struct Frame {
    block_bytes_max: usize,
    block_checksums: bool,
    content_checksum: bool,
}

impl Frame {
    /// Reads the header; returns what follows it.
    fn parse(input: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        let mut rest = input;
        if take_u32(&mut rest)? != FRAME_MAGIC {
            return Err(malformed("this is not an LZ4 frame"));
        }
        let descriptor = rest;
        let &[flags, block_descriptor] = rest.first_chunk().ok_or(CodecError::Truncated(NAME))?;
        if flags & FLAG_VERSION != FLAG_VERSION_1 {
            return Err(malformed("the frame's version is not 1"));
        }
        if flags & FLAG_RESERVED != 0 || block_descriptor & BLOCK_RESERVED != 0 {
            return Err(malformed("a reserved bit is set, or a dictionary asked for"));
        }
        if flags & FLAG_INDEPENDENT == 0 {
            return Err(malformed("blocks depend on one another"));
        }
        let block_bytes_max = match block_descriptor >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return Err(malformed("the block size is unknown")),
        };
        let length = if flags & FLAG_CONTENT_SIZE != 0 { 10 } else { 2 };
        let (descriptor, rest) = descriptor
            .split_at_checked(length)
            .ok_or(CodecError::Truncated(NAME))?;
        let (&stored, rest) = rest.split_first().ok_or(CodecError::Truncated(NAME))?;
        if stored != (XxHash32::oneshot(0, descriptor) >> 8) as u8 {
            return Err(malformed("the header's checksum does not match"));
        }
        let frame = Self {
            block_bytes_max,
            block_checksums: flags & FLAG_BLOCK_CHECKSUMS != 0,
            content_checksum: flags & FLAG_CONTENT_CHECKSUM != 0,
        };
        Ok((frame, rest))
    }

    /// Where the next block begins behind this one, whose checksum it looks at if there is one.
    fn behind_block(&self, input: &[u8], block: Span) -> Result<usize, CodecError> {
        let (block, mut rest) = input
            .get(block.start..)
            .and_then(|rest| rest.split_at_checked(block.len()))
            .ok_or(CodecError::Truncated(NAME))?;
        if self.block_checksums && take_u32(&mut rest)? != XxHash32::oneshot(0, block) {
            return Err(malformed("a block's checksum does not match"));
        }
        Ok(input.len().saturating_sub(rest.len()))
    }
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, CodecError> {
    let (bytes, behind) = rest.split_first_chunk().ok_or(CodecError::Truncated(NAME))?;
    *rest = behind;
    Ok(u32::from_le_bytes(*bytes))
}

fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { codec: NAME, what }
}

const NAME: &str = "lz4";
const FRAME_MAGIC: u32 = 0x184d_2204;

/// In a block's length: the block is stored as it is.
const STORED_FLAG: u32 = 0x8000_0000;

const FLAG_VERSION: u8 = 0xc0;
const FLAG_VERSION_1: u8 = 0x40;
const FLAG_INDEPENDENT: u8 = 0x20;
const FLAG_BLOCK_CHECKSUMS: u8 = 0x10;
const FLAG_CONTENT_SIZE: u8 = 0x08;
const FLAG_CONTENT_CHECKSUM: u8 = 0x04;
const FLAG_RESERVED: u8 = 0x03;
const BLOCK_RESERVED: u8 = 0x8f;

/// A block that is decoded in one step by the library, which cannot do less: three milliseconds at worst.
const WHOLE_BYTES_MAX: usize = 1 << 20;

/// Every byte that lengthens a match or a literal run stands for at most 255 bytes.
const EXPANSION_MAX: usize = 255;
