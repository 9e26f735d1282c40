//! One LZ4 frame (format 1.5.1 and later), read as Kafka's `Lz4BlockInputStream` does: independent blocks only, no
//! dictionary, header and block checksums checked, content size and content checksum skipped, nothing read behind the
//! end mark.
//!
//! The frame is walked here and not by `lz4_flex`'s frame reader, because that one takes a stream that is cut between
//! two blocks for a whole one, and stages every byte in buffers of the announced block size.

use lz4_flex::block::DecompressError;
use twox_hash::XxHash32;

use super::{CodecError, Output, Stepped};

/// A frame that is half read.
#[derive(Default)]
pub(super) struct Reading {
    /// What its header says, once that is read.
    frame: Option<Frame>,
}

impl Reading {
    /// One block, or what is in front of the first or behind the last one.
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
        let word = take_u32(&mut rest)?;
        let stored = word & STORED_FLAG != 0;
        // INVARIANT: 31 bits fit a usize.
        let length = (word & !STORED_FLAG) as usize;
        if length == 0 {
            if frame.content_checksum {
                take_u32(&mut rest)?;
            }
            return Ok(Stepped::Finished);
        }
        if length > frame.block_bytes_max {
            return Err(malformed("a block is larger than the frame allows"));
        }
        let (block, behind) = rest.split_at_checked(length).ok_or(CodecError::Truncated(NAME))?;
        rest = behind;
        let room = if stored {
            output.append(block)?
        } else {
            decompress_block(block, frame.block_bytes_max, output)?
        };
        if let Some(room) = room {
            return Ok(room);
        }
        if frame.block_checksums && take_u32(&mut rest)? != XxHash32::oneshot(0, block) {
            return Err(malformed("a block's checksum does not match"));
        }
        *at = input.len().saturating_sub(rest.len());
        Ok(Stepped::More)
    }
}

fn decompress_block(
    block: &[u8],
    block_bytes_max: usize,
    output: &mut Output<'_>,
) -> Result<Option<Stepped>, CodecError> {
    let left = output.left()?;
    let possible = block_bytes_max.min(block.len().saturating_mul(EXPANSION_MAX));
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

/// Every byte that lengthens a match or a literal run stands for at most 255 bytes.
const EXPANSION_MAX: usize = 255;
