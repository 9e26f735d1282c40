//! How much one turn of a connection may do.
//!
//! Work is counted in bytes that are sealed: a megabyte takes about a millisecond. Everything counts, whatever comes of
//! it: what is decompressed, checked, copied, opened, sealed, refused.
//!
//! - WORK-1: a turn does [`TURN_BYTES`] of work and the step with which that is reached. Whoever works looks at
//!   [`Work::is_spent`] between two steps, each of which is short ([`STEP_MAX`]).
//! - WORK-2: both directions of a connection, and all frames that lie one behind the other, share one turn.

use crate::growing::{Growing, Room};
use crate::record_batch::BatchChecksum;

/// See the module.
#[derive(Debug)]
pub struct Work {
    left: usize,
    turn_bytes: usize,
}

impl Work {
    /// For turns of so many bytes: [`TURN_BYTES`] but in tests.
    #[must_use]
    pub fn new(turn_bytes: usize) -> Self {
        Self {
            left: turn_bytes,
            turn_bytes,
        }
    }

    /// A connection has its turn.
    pub fn begin_turn(&mut self) {
        self.left = self.turn_bytes;
    }

    /// Whether enough is done.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// How much a turn does.
    #[must_use]
    pub fn turn_bytes(&self) -> usize {
        self.turn_bytes
    }

    /// So many bytes were sealed, opened or decompressed.
    pub fn charge(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// So many bytes were copied.
    pub fn charge_copied(&mut self, bytes: usize) {
        self.charge(bytes / SEALING_TO_COPYING);
    }

    /// So many bytes of a message, records aside, were parsed.
    pub(super) fn charge_parsed(&mut self, bytes: usize) {
        self.charge(bytes.saturating_mul(SEALING_TO_PARSING));
    }

    /// Goes on with a batch's checksum, step by step; `None` when the turn is over.
    pub(super) fn check(&mut self, checksum: &mut BatchChecksum, batch: &[u8]) -> Option<u32> {
        loop {
            let (bytes, crc) = checksum.step(batch, STEP_MAX);
            self.charge(bytes / SEALING_TO_CHECKING);
            if crc.is_some() || self.is_spent() {
                return crc;
            }
        }
    }

    /// Goes on with `parse_on`, which parses so many bytes more and says whether that was all, until the message is
    /// `parsed` or the turn is over; says which.
    pub(super) fn parse<E>(
        &mut self,
        parsed: &mut bool,
        mut parse_on: impl FnMut(usize) -> Result<bool, E>,
    ) -> Result<bool, E> {
        while !*parsed {
            *parsed = parse_on(PARSED_BYTES)?;
            if !*parsed {
                self.charge_parsed(PARSED_BYTES);
                if self.is_spent() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Goes on to make the room that is `wanted` behind what `growing` holds, until it is there and nothing is wanted
    /// any more. Memory beyond what is usual is taken only if it `may_grow`.
    pub(super) fn make_room(
        &mut self,
        growing: &mut Growing,
        wanted: &mut usize,
        may_grow: bool,
    ) -> Result<(), Pause> {
        while *wanted > 0 {
            if !may_grow && growing.bytes().len() >= GROWN_FREELY {
                return Err(Pause::Full);
            }
            let room = growing.make_room(*wanted, STEP_MAX);
            let (Room::Ready(moved) | Room::Moving(moved)) = room;
            self.charge_copied(moved);
            if let Room::Ready(_) = room {
                *wanted = 0;
            } else if self.is_spent() {
                return Err(Pause::Spent);
            }
        }
        Ok(())
    }
}

/// How far work is that is done in turns.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress<T> {
    /// It has come to this.
    Done(T),
    /// It is to be gone on with.
    Paused(Pause),
}

/// Why it has stopped on the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The turn is over.
    Spent,
    /// The output has to have room for so many bytes more first.
    Room(usize),
    /// More memory is needed than may be taken now.
    Full,
}

/// What a turn does: about a millisecond.
pub const TURN_BYTES: usize = 1024 * 1024;

/// Bytes that one step copies or checks: a tenth of a millisecond, or three where the target is fresh memory.
pub(super) const STEP_MAX: usize = 1024 * 1024;

/// Memory that is taken although the executor holds as much as it may: less than what one read brings to every
/// connection.
const GROWN_FREELY: usize = 256 * 1024;

/// To copy a byte costs about so much less than to seal it: a page of fresh memory takes the kernel longer than the
/// copy.
const SEALING_TO_COPYING: usize = 3;

/// A checksum of a byte costs about so much less than to seal it.
const SEALING_TO_CHECKING: usize = 8;

/// Bytes of a message, records aside, that are parsed in one step: five thousand partitions, a quarter of a
/// millisecond.
const PARSED_BYTES: usize = 32 * 1024;

/// To parse a byte costs about as much as to seal so many.
const SEALING_TO_PARSING: usize = 8;

/// To begin a batch (salt, sub-key) costs about as much as to seal so many bytes.
pub(super) const BATCH_WORK: usize = 1024;

/// Topic, header and key of a partition cost about as much as to seal so many bytes.
pub(super) const PARTITION_WORK: usize = 128;

/// To compare a topic's name with a rule costs as much as to seal so many bytes, if the rule is a regular expression.
pub(super) const RULE_WORK: usize = 256;

/// A record costs as much as to seal so many bytes, however short it is.
pub(super) const RECORD_WORK: usize = 64;

/// A step of a decompressor costs as much as to seal so many bytes, even if it makes none and uses none up.
pub(super) const DECOMPRESSION_STEP_WORK: usize = 4 * 1024;

/// A byte that it uses up costs as much as to seal so many: it may be a third of a block of nothing.
pub(super) const COMPRESSED_BYTE_WORK: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_spent_at_its_end_and_not_before() {
        let mut work = Work::new(100);
        work.charge(99);
        work.charge_copied(SEALING_TO_COPYING - 1);
        assert!(!work.is_spent());
        work.charge_copied(SEALING_TO_COPYING);
        assert!(work.is_spent(), "WORK-1");
        work.charge(usize::MAX);
        work.begin_turn();
        assert!(!work.is_spent());
    }
}
