//! Snappy as Kafka uses it: blocks in the framing of xerial's `snappy-java`, or one raw block where the framing's magic
//! is absent (librdkafka writes that).
//!
//! ```text
//! 82 "SNAPPY" 00 | version i32 | oldest compatible version i32 | { length i32, raw snappy block }*
//! ```
//!
//! Integers are big-endian. A further header may stand where a length is expected (concatenated streams).

use super::{CodecError, Output};

/// Decodes raw blocks.
#[derive(Default)]
pub(super) struct Decoder {
    raw: snap::raw::Decoder,
}

impl Decoder {
    pub(super) fn decompress(&mut self, input: &[u8], output: &mut Output<'_>) -> Result<(), CodecError> {
        match input.first_chunk::<HEADER_BYTES>() {
            Some(header) if header.starts_with(&MAGIC) => self.framed(input, output),
            _ => self.block(input, output),
        }
    }

    fn framed(&mut self, input: &[u8], output: &mut Output<'_>) -> Result<(), CodecError> {
        let mut rest = input;
        while !rest.is_empty() {
            if let Some(header) = rest
                .first_chunk::<HEADER_BYTES>()
                .filter(|header| header.starts_with(&MAGIC))
            {
                let &[.., v0, v1, v2, v3, _, _, _, _] = header;
                if i32::from_be_bytes([v0, v1, v2, v3]) < 1 {
                    return Err(malformed("the framing's version is below 1"));
                }
                rest = rest.get(HEADER_BYTES..).unwrap_or_default();
                continue;
            }
            let (length, behind) = rest.split_first_chunk().ok_or(CodecError::Truncated(NAME))?;
            let length = usize::try_from(i32::from_be_bytes(*length))
                .map_err(|_| malformed("a block's length is negative"))?;
            let (block, behind) = behind
                .split_at_checked(length)
                .ok_or(CodecError::Truncated(NAME))?;
            self.block(block, output)?;
            rest = behind;
        }
        Ok(())
    }

    fn block(&mut self, block: &[u8], output: &mut Output<'_>) -> Result<(), CodecError> {
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
        let (_, window) = output.window(announced)?;
        self.raw
            .decompress(block, window)
            .map_err(|_| malformed("a block is invalid"))?;
        Ok(())
    }
}

pub(super) fn compress(records: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for plain in records.chunks(BLOCK_BYTES) {
        let block = encoder
            .compress_vec(plain)
            .map_err(|_| CodecError::Compress(NAME))?;
        let length = i32::try_from(block.len()).map_err(|_| CodecError::Compress(NAME))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&block);
    }
    Ok(())
}

fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { codec: NAME, what }
}

const NAME: &str = "snappy";
pub(super) const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
pub(super) const HEADER_BYTES: usize = 16;

/// Plain bytes a block, snappy-java's default.
const BLOCK_BYTES: usize = 32 << 10;

/// A copy element takes at least 2 bytes (up to 11 bytes of output) or 3 (up to 64): below 22 bytes of output a byte.
const EXPANSION_MAX: usize = 22;
