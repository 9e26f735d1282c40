//! gzip (RFC 1952), read as Java's `GZIPInputStream` does: members follow one another, and what follows the last member
//! without being one is ignored.

use crc_fast::{CrcAlgorithm, Digest};
use flate2::{Decompress, FlushDecompress, Status};

use super::{BEHIND, CodecError, Output, STEP_BYTES_MAX, Stepped};

/// The inflate state of the last stream, to be used again.
#[derive(Default)]
pub(super) struct Contexts {
    state: Option<Decompress>,
}

impl Contexts {
    pub(super) fn begin(&mut self) -> Reading {
        Reading {
            state: self.state.take().unwrap_or_else(|| Decompress::new(false)),
            member: None,
            members: 0,
        }
    }

    pub(super) fn end(&mut self, reading: Reading) {
        self.state = Some(reading.state);
    }
}

/// A stream of members that is half read.
pub(super) struct Reading {
    state: Decompress,
    /// The member that is being inflated.
    member: Option<Member>,
    /// How many members have begun.
    members: usize,
}

struct Member {
    checksum: Digest,
    /// RFC 1952: the size modulo 2^32.
    bytes: u32,
}

impl Reading {
    pub(super) fn step(
        &mut self,
        input: &[u8],
        at: &mut usize,
        output: &mut Output<'_>,
    ) -> Result<Stepped, CodecError> {
        let rest = input.get(*at..).unwrap_or_default();
        let Some(member) = &mut self.member else {
            if self.members > 0 && !rest.is_empty() {
                output.pass_over(NAME, BEHIND)?;
            }
            return match member_start(rest) {
                Ok(header) => {
                    if header > FIXED_HEADER_BYTES {
                        output.pass_over(NAME, "its header has more fields than it needs")?;
                    }
                    *at = at.saturating_add(header);
                    self.state.reset(false);
                    self.members = self.members.saturating_add(1);
                    self.member = Some(Member {
                        checksum: Digest::new(CrcAlgorithm::Crc32IsoHdlc),
                        bytes: 0,
                    });
                    Ok(Stepped::More)
                }
                // What follows the last member without being one.
                Err(_) if self.members > 0 => Ok(Stepped::Finished),
                Err(error) => Err(error),
            };
        };
        let window = output.streaming_window(0, 0)?;
        if let Some(room) = output.room_for(window) {
            return Ok(room);
        }
        let target = output.window(window);
        let offered = rest.get(..STEP_BYTES_MAX).unwrap_or(rest);
        let (consumed, produced) = (self.state.total_in(), self.state.total_out());
        let status = self
            .state
            .decompress(offered, target, FlushDecompress::None)
            .map_err(|_| malformed("the deflate stream is invalid"))?;
        // INVARIANT: never more is consumed or produced than was offered, so both fit a usize.
        let taken = self.state.total_in().saturating_sub(consumed) as usize;
        let made = self.state.total_out().saturating_sub(produced) as usize;
        let content = target.get(..made).unwrap_or_default();
        member.checksum.update(content);
        member.bytes = member.bytes.wrapping_add(made as u32);
        output.add(made);
        *at = at.saturating_add(taken);
        if output.produced() > output.limit {
            return Err(output.exceeded());
        }
        match status {
            Status::StreamEnd => {
                let trailer = check_trailer(member, input.get(*at..).unwrap_or_default())?;
                *at = at.saturating_add(trailer);
                self.member = None;
            }
            Status::Ok | Status::BufError if taken == 0 && made == 0 => {
                return Err(CodecError::Truncated(NAME));
            }
            Status::Ok | Status::BufError => {}
        }
        Ok(Stepped::More)
    }
}

/// Compares what a member says of its content; the length of what it says.
fn check_trailer(member: &Member, trailer: &[u8]) -> Result<usize, CodecError> {
    let &[c0, c1, c2, c3, s0, s1, s2, s3] = trailer
        .first_chunk::<TRAILER_BYTES>()
        .ok_or(CodecError::Truncated(NAME))?;
    // A CRC of 32 bits.
    if u32::from_le_bytes([c0, c1, c2, c3]) != member.checksum.finalize() as u32 {
        return Err(malformed("the checksum does not match"));
    }
    if u32::from_le_bytes([s0, s1, s2, s3]) != member.bytes {
        return Err(malformed("the size does not match"));
    }
    Ok(TRAILER_BYTES)
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
        at = at
            .saturating_add(2)
            .saturating_add(usize::from(u16::from_le_bytes(*length)));
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let text = input.get(at..).ok_or(truncated)?;
            let looked_at = text.get(..TEXT_BYTES_MAX).unwrap_or(text);
            let end = looked_at.iter().position(|&byte| byte == 0).ok_or(truncated)?;
            at = at.saturating_add(end).saturating_add(1);
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
        at = at.saturating_add(2);
    }
    Ok(at)
}

fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { codec: NAME, what }
}

const NAME: &str = "gzip";
const FIXED_HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;
/// A file name or a comment, which no client of Kafka writes: looked at in one step.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// What zlib-rs allocates: a window of 32 KiB, tables, and the state.
pub(super) const CONTEXT_BYTES: usize = 48 << 10;
const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
