//! Requests of which some items are not their client's: the others are asked for without them, and the answer has all.
//!
//! - REFUSED-PARTS-1: what is refused stands in the answer in front of what the broker answers, so that no more of that
//!   has to be looked at than what stands before its list; and where that is not what was expected, nothing goes on.
//! - REFUSED-PARTS-2: of a request of which nothing is left, or of which brokers do nothing unless they may do all of
//!   it, brokers hear nothing.
//!
//! Items are told apart as [`names`](crate::protocol::names) tells them.

use std::iter::Peekable;
use std::ops::Range;
use std::slice;

use super::{Walk, Walked, Whose, Why};
use crate::protocol::api_key::ADD_PARTITIONS_TO_TXN;
use crate::protocol::cursor::Cursor;
use crate::protocol::error::ProtocolError;
use crate::protocol::frame::{RequestHead, response_header_end, skip_response_header};
use crate::protocol::policy::ApiPolicy;
use crate::protocol::writer::{LengthForm, LengthSlot, put_array_len, put_i32};

/// An item of a request's list that is not its client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedItem {
    /// How many items stand before it.
    pub position: usize,
    pub whose: Whose,
}

/// What becomes of a request in parts.
#[derive(Debug)]
pub enum Part {
    /// Nothing of it goes on; this is the answer to all of it.
    Nothing(Vec<u8>),
    /// The rest was written, and this belongs into its answer.
    Rest(Insertion),
}

/// Refused items, for the answer to the rest.
#[derive(Debug)]
pub struct Insertion {
    /// What stands between the header of the answer and its list.
    before: Vec<u8>,
    /// As the answer has them.
    items: Vec<u8>,
    count: usize,
    flexible: bool,
    header_flexible: bool,
}

/// Writes a request, which is at hand without its length, without its `refused` items, of which there is one at least,
/// in ascending order; what is written has a length. Where nothing is left nothing is written.
///
/// # Errors
/// Where the request is not well formed or has no such items, or what is said of them would be longer than
/// [`ANSWER_BYTES_MAX`](super::ANSWER_BYTES_MAX).
pub fn part(
    head: RequestHead,
    api: &ApiPolicy,
    frame: &[u8],
    refused: &[RefusedItem],
    out: &mut Vec<u8>,
) -> Result<Part, ProtocolError> {
    let first = refused.first().ok_or(ProtocolError::LayoutMismatch)?;
    let mut answer = Vec::new();
    let length = LengthSlot::reserve(&mut answer, LengthForm::Int32, 0)?;
    let start = answer.len();
    let mut walk = Walk::begin(Why::Foreign(first.whose), head, api, frame, &mut answer)?;
    walk.parting = Some(Parting {
        refused: refused.iter().peekable(),
        is_all_or_nothing: api.key == ADD_PARTITIONS_TO_TXN,
        parted: None,
    });
    walk.ordinary()?;
    walk.no_tags();
    let parting = walk.parting.take();
    let parted = parting.and_then(|parting| parting.parted);
    let parted = parted.ok_or(ProtocolError::LayoutMismatch)?;
    if parted.kept == 0 {
        length.fill_with_content_len(&mut answer)?;
        return Ok(Part::Nothing(answer));
    }
    let flexible = api.flexible(head.api_version);
    let header_flexible = api.response_header_flexible(head.api_version);
    let of_answer = |range: Range<usize>| answer.get(range).ok_or(ProtocolError::LayoutMismatch);
    let header_end = response_header_end(of_answer(start..answer.len())?, header_flexible)?;
    let insertion = Insertion {
        before: of_answer(start.saturating_add(header_end)..parted.before_end)?.to_vec(),
        items: of_answer(parted.items)?.to_vec(),
        count: refused.len(),
        flexible,
        header_flexible,
    };
    let of_request = |range: Range<usize>| frame.get(range).ok_or(ProtocolError::LayoutMismatch);
    let length = LengthSlot::reserve(out, LengthForm::Int32, 0)?;
    out.extend_from_slice(of_request(0..parted.count.start)?);
    put_array_len(out, flexible, parted.kept)?;
    for run in parted.runs {
        out.extend_from_slice(of_request(run)?);
    }
    out.extend_from_slice(of_request(parted.end..frame.len())?);
    length.fill_with_content_len(out)?;
    Ok(Part::Rest(insertion))
}

/// How far a request is parted.
pub(super) struct Parting<'f> {
    refused: Peekable<slice::Iter<'f, RefusedItem>>,
    is_all_or_nothing: bool,
    parted: Option<Parted>,
}

/// What stands where.
struct Parted {
    /// In the request: how many items there are, those that are kept, and what stands behind the last of them.
    count: Range<usize>,
    runs: Vec<Range<usize>>,
    kept: usize,
    end: usize,
    /// In the answer.
    before_end: usize,
    items: Range<usize>,
}

impl Parting<'_> {
    pub(super) fn is_over(&self) -> bool {
        self.parted.is_some()
    }
}

impl<'f> Walk<'f, '_> {
    /// The list of a request, and of its answer those items that are refused.
    pub(super) fn part_items(
        &mut self,
        mut parting: Parting<'f>,
        bytes_min: usize,
        item: impl Fn(&mut Self) -> Walked,
    ) -> Walked {
        let start = self.cursor.position();
        let count = self.cursor.array_len(self.flexible, bytes_min)?.unwrap_or(0);
        let told = match parting.is_all_or_nothing {
            true => count,
            false => parting.refused.len(),
        };
        let before_end = self.out.len();
        let count_range = start..self.cursor.position();
        put_array_len(self.out, self.flexible, told)?;
        let items_start = self.out.len();
        let (mut runs, mut kept) = (Vec::<Range<usize>>::new(), 0_usize);
        for position in 0..count {
            let (start, written, texts_left) = (self.cursor.position(), self.out.len(), self.texts_left);
            let refused = parting.refused.next_if(|item| item.position == position);
            self.why = refused.map_or(Why::NotAttempted, |item| Why::Foreign(item.whose));
            item(self)?;
            if refused.is_none() && !parting.is_all_or_nothing {
                self.out.truncate(written);
                self.texts_left = texts_left;
                kept = kept.saturating_add(1);
                let end = self.cursor.position();
                match runs.last_mut() {
                    Some(last) if last.end == start => last.end = end,
                    _ => runs.push(start..end),
                }
            }
            self.is_in_bounds()?;
        }
        if parting.refused.next().is_some() {
            return Err(ProtocolError::LayoutMismatch);
        }
        parting.parted = Some(Parted {
            count: count_range,
            runs,
            kept,
            end: self.cursor.position(),
            before_end,
            items: items_start..self.out.len(),
        });
        self.parting = Some(parting);
        Ok(())
    }
}

impl Insertion {
    /// How much memory it takes.
    pub fn bytes(&self) -> usize {
        self.before.len().saturating_add(self.items.len())
    }

    /// So much of a response of `frame_bytes` is at hand when [`Self::write`] is called.
    pub fn looked_at(&self, frame_bytes: usize) -> usize {
        frame_bytes.min(self.before.len().saturating_add(HEAD_BYTES_MAX))
    }

    /// Writes the beginning of a response with its length and the items; `input` is what is at hand of it, without its
    /// length, `frame_bytes` how long it is. Says how much of it that stands for; the rest belongs behind it.
    ///
    /// # Errors
    /// Where it does not begin as the answer to such a request (REFUSED-PARTS-1).
    pub fn write(&self, frame_bytes: usize, input: &[u8], out: &mut Vec<u8>) -> Result<usize, ProtocolError> {
        let mut cursor = Cursor::of_part(input, frame_bytes.saturating_sub(input.len()));
        skip_response_header(&mut cursor, self.header_flexible)?;
        // For how long the client is throttled is the broker's to say.
        let throttled = self.before.len().min(4);
        cursor.skip(throttled)?;
        let expected = self.before.get(throttled..).unwrap_or_default();
        if cursor.take(expected.len())? != expected {
            return Err(ProtocolError::LayoutMismatch);
        }
        let start = cursor.position();
        let count = cursor.array_len(self.flexible, 1)?.unwrap_or(0);
        let head = input.get(..start).ok_or(ProtocolError::LayoutMismatch)?;
        let length_at = out.len();
        put_i32(out, 0);
        out.extend_from_slice(head);
        put_array_len(out, self.flexible, count.saturating_add(self.count))?;
        out.extend_from_slice(&self.items);
        let written = out.len().saturating_sub(length_at.saturating_add(4));
        let behind = frame_bytes.checked_sub(cursor.position());
        let length = behind.and_then(|behind| i32::try_from(written.checked_add(behind)?).ok());
        let length = length.ok_or(ProtocolError::TooLong)?.to_be_bytes();
        let slot = out.get_mut(length_at..).and_then(|rest| rest.first_chunk_mut());
        *slot.ok_or(ProtocolError::LayoutMismatch)? = length;
        Ok(cursor.position())
    }

    /// The same in a response that was written, with its length, from `start` of `out` on, if not to its end.
    ///
    /// # Errors
    /// As there.
    pub fn insert(&self, start: usize, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let written = out.get(start..).ok_or(ProtocolError::LayoutMismatch)?.to_vec();
        out.truncate(start);
        let mut cursor = Cursor::new(&written);
        let frame_bytes = usize::try_from(cursor.i32()?).map_err(|_| ProtocolError::LayoutMismatch)?;
        let frame = cursor.take(cursor.remaining())?;
        let used = self.write(frame_bytes, frame, out)?;
        out.extend_from_slice(frame.get(used..).ok_or(ProtocolError::LayoutMismatch)?);
        Ok(())
    }
}

/// Header and length of the list, beside what is known to stand between them: brokers send no tagged fields there.
const HEAD_BYTES_MAX: usize = 256;
