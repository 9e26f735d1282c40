//! The records of a compact batch: one LZ4 frame that is composed while they are written.
//!
//! Whoever seals a batch knows what repeats in it and where it stood before: nothing is searched for, and what is new
//! is written to its place at once.
//!
//! - COMPACT-1: only what the sealer has written itself is ever matched ([`Middle`]), never a client's byte: lengths do
//!   not depend on content.
//! - COMPACT-2: exactly one frame: version 01, independent blocks of at most 64 KiB, none of them empty, no content
//!   size, no checksum but the header's, the end mark, and nothing behind it.
//! - COMPACT-3: a block ends where a record does, unless that record has blocks of its own. So its last 16 bytes, which
//!   are a tag, are literals, as LZ4 wants it of the last 12.
//! - COMPACT-4: what could not be shorter is stored as it is: a block with one record, and any record that is longer
//!   than [`SHARED_RECORD_BYTES_MAX`].
//!
//! Format: LZ4 frame format 1.6 and block format, lz4.org.

/// What stands in the middle of each record of a batch, and is nearly the same in all of them.
#[derive(Clone, Copy, Debug)]
pub struct Middle<'a> {
    /// All of it: what may differ, what never does, what may differ, what never does.
    pub bytes: &'a [u8],
    /// Where the first three of these end; what never differs has at least four bytes each.
    pub ends: [usize; 3],
    /// Nothing of it differs from the one of the record before.
    pub as_before: bool,
}

/// A frame that is being written to the end of a buffer, behind what was there before.
#[derive(Debug)]
pub struct CompactFrame {
    /// Where it begins.
    start: usize,
    /// What the blocks decompress to, the record under way included.
    text_bytes: usize,
    block: Option<Block>,
    /// Where the length of the first block stands that the record under way has for itself.
    alone: Option<usize>,
    /// What stands for the middle of the record under way.
    bridge: Vec<u8>,
    /// Where that is one match: its length, and the bytes that are reserved behind the next token. Nothing else of the
    /// bridge differs then but a distance.
    bridge_of: Option<(usize, usize)>,
}

/// A block with matches. Positions are those in the buffer, counted from where the frame begins, unless they are said
/// to be in the text: in what the block decompresses to.
#[derive(Debug)]
struct Block {
    /// Of its length.
    at: usize,
    /// Bytes of text.
    text: usize,
    /// Of the token of the sequence that is being written.
    token: usize,
    /// Bytes behind it that are kept for the number of its literals.
    reserved: usize,
    /// Its literals so far: all that stands behind those bytes.
    literals: usize,
    /// In the text: where the last middle began, and the two parts of it that never differ.
    middle: Option<[usize; 3]>,
    has_matches: bool,
}

impl CompactFrame {
    /// Begins a frame at the end of `out`.
    pub fn begin(out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&FRAME_HEADER);
        Self {
            start,
            text_bytes: 0,
            block: None,
            alone: None,
            bridge: Vec::with_capacity(64),
            bridge_of: None,
        }
    }

    /// What was written was moved in its buffer: the frame begins here now.
    pub(super) fn moved_to(&mut self, start: usize) {
        self.start = start;
    }

    /// What it decompresses to so far.
    #[inline]
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// What a record of `bytes` takes at most, with all that is written around it.
    #[inline]
    pub fn room_for(bytes: usize) -> usize {
        // A length for each block of a long one; a new block, and lengths of literals.
        let lengths = (bytes / BLOCK_BYTES_MAX).saturating_mul(LENGTH_BYTES);
        bytes.saturating_add(lengths).saturating_add(OVERHEAD_MAX)
    }

    /// Makes ready for a record of `front` bytes, the middle, and `back` bytes, which is to be appended to `out` after
    /// this; says what to write for the middle. `start` is where the frame begins in `out`.
    #[inline]
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "sums of lengths of what is in memory"
    )]
    pub fn place<'a>(
        &'a mut self,
        out: &mut Vec<u8>,
        [front, back]: [usize; 2],
        middle: &Middle<'a>,
    ) -> &'a [u8] {
        let start = self.start;
        let text = front + middle.bytes.len() + back;
        self.text_bytes += text;
        if text > SHARED_RECORD_BYTES_MAX {
            self.close_block(out, start);
            self.alone = Some(out.len() - start);
            out.extend_from_slice(&[0; LENGTH_BYTES]);
            return middle.bytes;
        }
        if self
            .block
            .as_ref()
            .is_some_and(|block| block.text + text > BLOCK_BYTES_MAX)
        {
            self.close_block(out, start);
        }
        let block = self
            .block
            .get_or_insert_with(|| Block::begin(out, start, text + front));
        let at = block.text + front;
        let [differs_end, name_end, differs_too_end] = middle.ends;
        let before = block.middle.replace([at, at + differs_end, at + differs_too_end]);
        block.text += text;
        let Some([whole_before, name_before, head_before]) = before else {
            block.literals = text;
            return middle.bytes;
        };
        let bridge = &mut self.bridge;
        // As many as the next record needs if it is like this one.
        let reserved = length_bytes(back + front);
        block.has_matches = true;
        if middle.as_before {
            block.end_literals(out, start, front, middle.bytes.len());
            let distance = at - whole_before;
            if self.bridge_of != Some((middle.bytes.len(), reserved)) {
                bridge.clear();
                put_match(bridge, distance, middle.bytes.len());
                bridge.resize(bridge.len() + 1 + reserved, 0);
                self.bridge_of = Some((middle.bytes.len(), reserved));
            } else if let Some(place) = bridge.first_chunk_mut() {
                *place = (distance as u16).to_le_bytes();
            }
        } else {
            self.bridge_of = None;
            bridge.clear();
            let (differs, rest) = middle.bytes.split_at(differs_end);
            let (name, rest) = rest.split_at(name_end - differs_end);
            let (differs_too, head) = rest.split_at(differs_too_end - name_end);
            block.end_literals(out, start, front + differs.len(), name.len());
            bridge.extend_from_slice(differs);
            put_match(bridge, at + differs_end - name_before, name.len());
            bridge.push(token(differs_too.len(), head.len()));
            put_length(bridge, differs_too.len());
            bridge.extend_from_slice(differs_too);
            put_match(bridge, at + differs_too_end - head_before, head.len());
            bridge.resize(bridge.len() + 1 + reserved, 0);
        }
        block.token = out.len() - start + front + bridge.len() - 1 - reserved;
        block.literals = back;
        block.reserved = reserved;
        bridge
    }

    /// The record was appended.
    #[inline]
    pub fn placed(&mut self, out: &mut Vec<u8>) {
        if let Some(at) = self.alone.take() {
            store_blocks(out, self.start.saturating_add(at));
        }
    }

    /// Ends the frame.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.close_block(out, self.start);
        out.extend_from_slice(&[0; LENGTH_BYTES]);
    }

    fn close_block(&mut self, out: &mut Vec<u8>, start: usize) {
        if let Some(block) = self.block.take() {
            block.close(out, start);
        }
    }
}

impl Block {
    /// Begins a block whose first sequence will have about so many literals.
    #[expect(clippy::arithmetic_side_effects, reason = "positions in a buffer")]
    fn begin(out: &mut Vec<u8>, start: usize, literals: usize) -> Self {
        let at = out.len() - start;
        let reserved = length_bytes(literals);
        out.resize(out.len() + LENGTH_BYTES + 1 + reserved, 0);
        Self {
            at,
            text: 0,
            token: at + LENGTH_BYTES,
            reserved,
            literals: 0,
            middle: None,
            has_matches: false,
        }
    }

    /// The sequence has `more` literals, which are still to be written, and then a match of so many bytes, or none at
    /// the end of a block.
    #[expect(clippy::arithmetic_side_effects, reason = "positions in a buffer")]
    fn end_literals(&mut self, out: &mut Vec<u8>, start: usize, more: usize, matched: usize) {
        let literals = self.literals + more;
        let needed = length_bytes(literals);
        let behind = start + self.token + 1;
        if needed != self.reserved {
            let from = behind + self.reserved;
            let end = out.len();
            if needed > self.reserved {
                out.resize(end + needed - self.reserved, 0);
                out.copy_within(from..end, behind + needed);
            } else {
                out.copy_within(from..end, behind + needed);
                out.truncate(end - (self.reserved - needed));
            }
            self.reserved = needed;
        }
        let place = out.get_mut(start + self.token..behind + needed);
        if let Some((first, lengths)) = place.and_then(<[u8]>::split_first_mut) {
            *first = token(literals, matched);
            write_length(lengths, literals);
        }
    }

    #[expect(clippy::arithmetic_side_effects, reason = "positions in a buffer")]
    fn close(mut self, out: &mut Vec<u8>, start: usize) {
        let at = start + self.at;
        let flag = if self.has_matches {
            self.end_literals(out, start, 0, 0);
            0
        } else {
            // COMPACT-4
            let from = start + self.token + 1 + self.reserved;
            out.copy_within(from.., at + LENGTH_BYTES);
            out.truncate(at + LENGTH_BYTES + self.literals);
            STORED_FLAG
        };
        let length = out.len() - at - LENGTH_BYTES;
        put_block_length(out, at, length, flag);
    }
}

/// What follows the length at `at` becomes as many stored blocks as it takes.
#[expect(clippy::arithmetic_side_effects, reason = "positions in a buffer")]
fn store_blocks(out: &mut Vec<u8>, at: usize) {
    let from = at + LENGTH_BYTES;
    let bytes = out.len() - from;
    let blocks = bytes.div_ceil(BLOCK_BYTES_MAX);
    out.resize(out.len() + blocks.saturating_sub(1) * LENGTH_BYTES, 0);
    for block in (0..blocks).rev() {
        let text = block * BLOCK_BYTES_MAX;
        let length = BLOCK_BYTES_MAX.min(bytes - text);
        let to = from + text + block * LENGTH_BYTES;
        out.copy_within(from + text..from + text + length, to);
        put_block_length(out, to - LENGTH_BYTES, length, STORED_FLAG);
    }
}

fn put_block_length(out: &mut [u8], at: usize, length: usize, flag: u32) {
    // INVARIANT: a block has at most 64 KiB.
    let word = length as u32 | flag;
    if let Some(place) = out.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = word.to_le_bytes();
    }
}

/// Distance and length of a match of at least four bytes, but for what is in its token.
#[inline]
fn put_match(out: &mut Vec<u8>, distance: usize, bytes: usize) {
    // INVARIANT: both places are in one block of 64 KiB.
    out.extend_from_slice(&(distance as u16).to_le_bytes());
    put_length(out, bytes.saturating_sub(MATCH_BYTES_MIN));
}

#[inline]
fn token(literals: usize, matched: usize) -> u8 {
    // INVARIANT: each is below 16.
    let [literals, matched] =
        [literals, matched.saturating_sub(MATCH_BYTES_MIN)].map(|of| of.min(NIBBLE_MAX) as u8);
    literals << 4 | matched
}

/// Bytes behind a token that a number of literals takes.
#[inline]
fn length_bytes(of: usize) -> usize {
    of.checked_sub(NIBBLE_MAX)
        .map_or(0, |rest| (rest / 255).saturating_add(1))
}

#[inline]
fn put_length(out: &mut Vec<u8>, of: usize) {
    let from = out.len();
    out.resize(from.saturating_add(length_bytes(of)), 0);
    write_length(out.get_mut(from..).unwrap_or_default(), of);
}

/// Fills a place of [`length_bytes`].
#[inline]
fn write_length(place: &mut [u8], of: usize) {
    if let Some((last, others)) = place.split_last_mut() {
        others.fill(255);
        // INVARIANT: a remainder of 255 is below it.
        *last = (of.saturating_sub(NIBBLE_MAX) % 255) as u8;
    }
}

/// A record that is longer when it is stored has blocks of its own: a marker's repetition would be some 3 % of it. With
/// shorter ones a match always saves more than the lengths of its literals take.
pub const SHARED_RECORD_BYTES_MAX: usize = 4096;
/// Magic number, version 01 with independent blocks, blocks of 64 KiB, and the second byte of the xxHash-32 of the
/// latter two.
const FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
/// What a block decompresses to, at most.
const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// A block's length, and the end mark.
const LENGTH_BYTES: usize = 4;
/// In a block's length: it is stored as it is.
const STORED_FLAG: u32 = 1 << 31;
const MATCH_BYTES_MIN: usize = 4;
/// What fits a half of a token; one more byte follows then.
const NIBBLE_MAX: usize = 15;
/// A block's length, a token, what a match of 2 KiB takes, and lengths of two times 4 KiB of literals.
const OVERHEAD_MAX: usize = 128;

#[cfg(test)]
mod tests;
