//! gzip (RFC 1952), read as Java's `GZIPInputStream` does: members follow one another, and what follows the last member
//! without being one is ignored.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{CodecError, Output};

/// Inflates members; the inflate state is kept.
#[derive(Default)]
pub(super) struct Inflater {
    state: Option<Decompress>,
}

impl Inflater {
    pub(super) fn decompress(&mut self, input: &[u8], output: &mut Output<'_>) -> Result<(), CodecError> {
        let mut at = member_start(input)?;
        loop {
            at = self.member(input, at, output)?;
            let rest = input.get(at..).unwrap_or_default();
            match member_start(rest) {
                Ok(header) => at += header,
                Err(_) => return Ok(()),
            }
        }
    }

    /// Inflates the deflate stream at `at` and checks its trailer; the position behind it.
    fn member(&mut self, input: &[u8], mut at: usize, output: &mut Output<'_>) -> Result<usize, CodecError> {
        let state = self.state.get_or_insert_with(|| Decompress::new(false));
        state.reset(false);
        let member = output.bytes.len();
        loop {
            output.grow(0, 0)?;
            let rest = input.get(at..).unwrap_or_default();
            let (consumed, produced) = (state.total_in(), output.bytes.len());
            let status = state
                .decompress_vec(rest, output.bytes, FlushDecompress::None)
                .map_err(|_| malformed("the deflate stream is invalid"))?;
            // INVARIANT: never more is consumed than was offered, so this fits a usize.
            let taken = (state.total_in() - consumed) as usize;
            at += taken;
            if output.produced() > output.limit {
                return Err(output.exceeded());
            }
            match status {
                Status::StreamEnd => break,
                Status::Ok | Status::BufError if taken == 0 && output.bytes.len() == produced => {
                    return Err(CodecError::Truncated(NAME));
                }
                Status::Ok | Status::BufError => {}
            }
        }
        let trailer = input
            .get(at..)
            .and_then(|rest| rest.first_chunk::<TRAILER_BYTES>());
        let &[c0, c1, c2, c3, s0, s1, s2, s3] = trailer.ok_or(CodecError::Truncated(NAME))?;
        let content = output.bytes.get(member..).unwrap_or_default();
        if u32::from_le_bytes([c0, c1, c2, c3]) != crc_fast::crc32_iso_hdlc(content) {
            return Err(malformed("the checksum does not match"));
        }
        // RFC 1952: the size modulo 2^32.
        if u32::from_le_bytes([s0, s1, s2, s3]) != content.len() as u32 {
            return Err(malformed("the size does not match"));
        }
        Ok(at + TRAILER_BYTES)
    }
}

pub(super) fn compress(records: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    // Deflate, no flags, no time, no extra flags, unknown system: what Java writes (until 16; 255 since).
    out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    let mut state = Compress::new(Compression::default(), false);
    loop {
        // INVARIANT: total_in never exceeds what was offered.
        let rest = records.get(state.total_in() as usize..).unwrap_or_default();
        out.reserve(rest.len() / 2 + 64);
        match state.compress_vec(rest, out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => break,
            Ok(Status::Ok | Status::BufError) => {}
            Err(_) => return Err(CodecError::Compress(NAME)),
        }
    }
    out.extend_from_slice(&crc_fast::crc32_iso_hdlc(records).to_le_bytes());
    out.extend_from_slice(&(records.len() as u32).to_le_bytes());
    Ok(())
}

/// Reads a member's header; the position of its deflate stream.
fn member_start(input: &[u8]) -> Result<usize, CodecError> {
    let truncated = CodecError::Truncated(NAME);
    let &[magic_1, magic_2, method, flags, ..] =
        input.first_chunk::<FIXED_HEADER_BYTES>().ok_or(truncated)?;
    if [magic_1, magic_2] != [0x1f, 0x8b] {
        return Err(malformed("this is not gzip"));
    }
    if method != 8 {
        return Err(malformed("the method is not deflate"));
    }
    let mut at = FIXED_HEADER_BYTES;
    if flags & FLAG_EXTRA != 0 {
        let length = input
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .ok_or(truncated)?;
        at += 2 + usize::from(u16::from_le_bytes(*length));
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let text = input.get(at..).ok_or(truncated)?;
            at += 1 + text.iter().position(|&byte| byte == 0).ok_or(truncated)?;
        }
    }
    let header = input.get(..at).ok_or(truncated)?;
    if flags & FLAG_HEADER_CRC != 0 {
        let stored = input
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .ok_or(truncated)?;
        if u16::from_le_bytes(*stored) != crc_fast::crc32_iso_hdlc(header) as u16 {
            return Err(malformed("the header's checksum does not match"));
        }
        at += 2;
    }
    Ok(at)
}

fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { codec: NAME, what }
}

const NAME: &str = "gzip";
const FIXED_HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;
const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
