//! Adds refused partitions to the topics of a response.

use std::collections::HashMap;
use std::ops::Range;

use super::{Refusal, Room, is_flexible, partition_bytes_min, skip_partition};
use crate::protocol::api_key::PRODUCE;
use crate::protocol::cursor::Cursor;
use crate::protocol::error::ProtocolError;
use crate::protocol::frame;
use crate::protocol::parsing::topic_bytes_min;
use crate::protocol::splice::Splice;
use crate::protocol::writer::{
    LengthForm, put_array_len, put_i16, put_i32, put_i64, put_string, put_uvarint,
};

/// Refusals by topic and partition, and which of them are written.
struct PendingRefusals<'r> {
    refusals: Vec<&'r Refusal>,
    placed: Vec<bool>,
    /// Where the refusals of each topic are.
    by_topic: HashMap<&'r str, Range<usize>>,
    /// Bytes of messages that may still be written.
    message_bytes: usize,
}

/// Writes the topics; the cursor that comes back stands behind them.
pub(super) fn merge_refusals<'f>(
    frame: &'f [u8],
    version: i16,
    refusals: &[Refusal],
    each_error: &mut dyn FnMut(&str, i16),
    splice: &mut Splice<'_, '_>,
) -> Result<Cursor<'f>, ProtocolError> {
    if version >= 13 {
        return Err(ProtocolError::UnsupportedVersion {
            api_key: PRODUCE,
            version,
        });
    }
    let flexible = is_flexible(version);
    let mut pending = PendingRefusals::new(refusals);
    let mut room = Room::default();
    let mut cursor = Cursor::new(frame);
    frame::skip_response_header(&mut cursor, flexible)?;
    let count_start = cursor.position();
    let topics = cursor.array_len_non_null(flexible, topic_bytes_min(version, flexible))?;
    let topics_slot = splice.copy_slot(LengthForm::of(flexible), &(count_start..cursor.position()))?;
    for _ in 0..topics {
        merge_topic(&mut cursor, version, &mut pending, &mut room, each_error, splice)?;
    }
    splice.copy_to(cursor.position())?;
    let added = pending.write_topics(version, splice.out())?;
    if added == 0 {
        topics_slot.leave();
    } else {
        topics_slot.fill(splice.out(), topics.saturating_add(added))?;
    }
    Ok(cursor)
}

/// Copies one topic, leaves out partitions that were refused, and appends the refusals.
fn merge_topic(
    cursor: &mut Cursor<'_>,
    version: i16,
    pending: &mut PendingRefusals<'_>,
    room: &mut Room,
    each_error: &mut dyn FnMut(&str, i16),
    splice: &mut Splice<'_, '_>,
) -> Result<(), ProtocolError> {
    let flexible = is_flexible(version);
    let name = cursor.string_non_null(flexible)?;
    room.take_topic()?;
    let of_topic = pending.by_topic.get(name).cloned().unwrap_or_default();
    let count_start = cursor.position();
    let count = cursor.array_len_non_null(flexible, partition_bytes_min(version))?;
    let slot = splice.copy_slot(LengthForm::of(flexible), &(count_start..cursor.position()))?;
    let mut written = 0usize;
    for _ in 0..count {
        let start = cursor.position();
        let index = skip_partition(cursor, version, room, |code| each_error(name, code))?;
        if pending.has(&of_topic, index) {
            splice.copy_to(start)?;
            splice.skip_to(cursor.position())?;
        } else {
            written = written.saturating_add(1);
        }
    }
    splice.copy_to(cursor.position())?;
    written = written.saturating_add(pending.write_partitions(of_topic, version, splice.out())?);
    if written == count {
        slot.leave();
    } else {
        slot.fill(splice.out(), written)?;
    }
    cursor.skip_tagged_fields_if(flexible)?;
    splice.copy_to(cursor.position())
}

impl<'r> PendingRefusals<'r> {
    fn new(refusals: &'r [Refusal]) -> Self {
        let mut refusals: Vec<&Refusal> = refusals.iter().collect();
        refusals.sort_by(|one, other| key(one).cmp(&key(other)));
        refusals.dedup_by(|later, first| key(later) == key(first));
        let placed = vec![false; refusals.len()];
        let mut by_topic = HashMap::new();
        let mut start = 0usize;
        for of_topic in refusals.chunk_by(|one, other| one.topic == other.topic) {
            let end = start.saturating_add(of_topic.len());
            if let Some(first) = of_topic.first() {
                by_topic.insert(&*first.topic, start..end);
            }
            start = end;
        }
        Self {
            refusals,
            placed,
            by_topic,
            message_bytes: MESSAGES_BYTES_MAX,
        }
    }

    fn has(&self, of_topic: &Range<usize>, partition: i32) -> bool {
        let refusals = self.refusals.get(of_topic.clone()).unwrap_or_default();
        refusals
            .binary_search_by_key(&partition, |refusal| refusal.partition)
            .is_ok()
    }

    /// Writes the refusals of a topic, unless it was there before; says how many.
    fn write_partitions(
        &mut self,
        of_topic: Range<usize>,
        version: i16,
        out: &mut Vec<u8>,
    ) -> Result<usize, ProtocolError> {
        let refusals = self.refusals.get(of_topic.clone()).unwrap_or_default();
        let placed = self.placed.get_mut(of_topic).unwrap_or_default();
        if placed.first().is_none_or(|placed| *placed) {
            return Ok(0);
        }
        for refusal in refusals {
            write_partition(refusal, version, &mut self.message_bytes, out)?;
        }
        placed.fill(true);
        Ok(refusals.len())
    }

    /// Writes the topics that the broker's answer does not have; says how many.
    fn write_topics(&mut self, version: i16, out: &mut Vec<u8>) -> Result<usize, ProtocolError> {
        let flexible = is_flexible(version);
        let mut topics = 0usize;
        let mut placed = self.placed.iter();
        for topic in self.refusals.chunk_by(|one, other| one.topic == other.topic) {
            // A topic's refusals are placed together.
            if placed
                .by_ref()
                .take(topic.len())
                .filter(|placed| **placed)
                .count()
                > 0
            {
                continue;
            }
            let name = topic.first().map(|refusal| &*refusal.topic);
            put_string(out, flexible, name)?;
            put_array_len(out, flexible, topic.len())?;
            for refusal in topic {
                write_partition(refusal, version, &mut self.message_bytes, out)?;
            }
            if flexible {
                put_uvarint(out, 0);
            }
            topics = topics.saturating_add(1);
        }
        Ok(topics)
    }
}

/// A longer message is cut: topic names in it come from clients, and there is one for each refused partition.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Beyond so many bytes of messages in one response refusals go without: the code says what an application can act on.
const MESSAGES_BYTES_MAX: usize = 256 * 1024;

fn key(refusal: &Refusal) -> (&str, i32) {
    (&refusal.topic, refusal.partition)
}

fn write_partition(
    refusal: &Refusal,
    version: i16,
    message_bytes: &mut usize,
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    let flexible = is_flexible(version);
    put_i32(out, refusal.partition);
    put_i16(out, refusal.error_code);
    put_i64(out, -1); // base offset
    put_i64(out, -1); // append time
    if version >= 5 {
        put_i64(out, -1); // log start offset
    }
    if version >= 8 {
        put_array_len(out, flexible, 0)?; // errors of single records
        let message = &refusal.message;
        let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
        let left = message_bytes.checked_sub(end);
        *message_bytes = left.unwrap_or(0);
        put_string(out, flexible, message.get(..end).filter(|_| left.is_some()))?;
    }
    if flexible {
        put_uvarint(out, 0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{RECORD_ERRORS_MAX, Refusal, merge};
    use super::{MESSAGE_BYTES_MAX, MESSAGES_BYTES_MAX};
    use crate::protocol::addresses::Rewrite;
    use crate::protocol::writer::put_uvarint;
    use crate::protocol::{Cursor, PRODUCE_PARTITIONS_MAX, ProtocolError};

    fn refusal(topic: &str, partition: i32, message: &str) -> Refusal {
        Refusal {
            topic: topic.into(),
            partition,
            error_code: 44,
            message: message.into(),
        }
    }

    fn merged(frame: &[u8], version: i16, refusals: &[Refusal]) -> Vec<u8> {
        let mut out = Vec::new();
        let unserved = &mut |_| Rewrite::Unserved;
        merge(frame, version, refusals, unserved, &mut |_, _| (), &mut out).unwrap();
        out.split_off(4)
    }

    #[test]
    fn an_empty_answer_becomes_one_of_refusals() {
        // What a broker says to a request that was left empty, in version 9.
        let frame = [0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
        let mut expected = vec![0, 0, 0, 1, 0, 3];
        for (topic, partition) in [(b'a', 7), (b'b', 1)] {
            expected.extend([2, topic, 2, 0, 0, 0, partition, 0, 44]);
            expected.extend([0xff; 24]);
            expected.extend([1, 3, b'n', b'o', 0, 0]);
        }
        expected.extend([0, 0, 0, 0, 0]);
        assert_eq!(
            merged(&frame, 9, &[refusal("b", 1, "no"), refusal("a", 7, "no")]),
            expected
        );
    }

    #[test]
    fn a_broker_cannot_vouch_for_what_it_never_got() {
        // Version 3: topic t with partitions 0 and 1, both stored at offset 5.
        let stored = |partition| {
            [
                &[0, 0, 0, partition, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5][..],
                &[0xff; 8],
            ]
            .concat()
        };
        let head = [0, 0, 0, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2];
        let frame = [&head[..], &stored(0), &stored(1), &[0, 0, 0, 9]].concat();
        let refused = [&[0, 0, 0, 0, 0, 44][..], &[0xff; 16]].concat();
        let expected = [&head[..], &stored(1), &refused, &[0, 0, 0, 9]].concat();
        assert_eq!(merged(&frame, 3, &[refusal("t", 0, "")]), expected);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let frame = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        for (message, length) in [("ü".repeat(512), 1024), (format!("x{}", "ü".repeat(512)), 1023)] {
            let out = merged(&frame, 8, &[refusal("t", 0, &message)]);
            let mut cursor = Cursor::new(&out);
            cursor.skip(4 + 4 + 3 + 4 + 4 + 2 + 24 + 4).unwrap();
            assert_eq!(cursor.string_non_null(false).unwrap(), &message[..length]);
        }
    }

    /// Version 9: topic t with so many partitions, of which the first has so many errors of records.
    fn answer(partitions: usize, errors: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, 0, 1, 0, 2, 2, b't'];
        put_uvarint(&mut frame, u32::try_from(partitions + 1).unwrap());
        for index in 0..partitions {
            frame.extend(u32::try_from(index).unwrap().to_be_bytes());
            frame.extend([0; 2 + 8 + 8 + 8]);
            let errors = if index == 0 { errors } else { 0 };
            put_uvarint(&mut frame, u32::try_from(errors + 1).unwrap());
            for _ in 0..errors {
                frame.extend([0, 0, 0, 1, 0, 0]);
            }
            frame.extend([0, 0]);
        }
        frame.extend([0, 0, 0, 0, 0, 0]);
        frame
    }

    #[test]
    fn what_is_worked_off_in_one_step_is_bounded() {
        let result = |frame: &[u8]| {
            let refusals = [refusal("t", 1, "no")];
            let unserved = &mut |_| Rewrite::Unserved;
            merge(frame, 9, &refusals, unserved, &mut |_, _| (), &mut Vec::new())
        };
        assert_eq!(result(&answer(PRODUCE_PARTITIONS_MAX, 0)), Ok(true));
        let more = answer(PRODUCE_PARTITIONS_MAX + 1, 0);
        assert_eq!(result(&more), Err(ProtocolError::TooManyPartitions));
        let topics = |count: usize| {
            let mut frame = vec![0, 0, 0, 1, 0];
            put_uvarint(&mut frame, u32::try_from(count + 1).unwrap());
            frame.extend([2, b'u', 1, 0].repeat(count));
            frame.extend([0; 5]);
            frame
        };
        assert_eq!(result(&topics(PRODUCE_PARTITIONS_MAX)), Ok(true));
        let more = topics(PRODUCE_PARTITIONS_MAX + 1);
        assert_eq!(result(&more), Err(ProtocolError::TooManyPartitions));
        assert_eq!(result(&answer(2, RECORD_ERRORS_MAX)), Ok(true));
        let more = answer(2, RECORD_ERRORS_MAX + 1);
        assert_eq!(result(&more), Err(ProtocolError::TooManyRecordErrors));
    }

    #[test]
    fn messages_are_bounded_in_sum() {
        let refusals: Vec<Refusal> = (0..300)
            .map(|partition| refusal("t", partition, &"m".repeat(2000)))
            .collect();
        let out = merged(&[0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0], 9, &refusals);
        let messages = out
            .split(|byte| *byte != b'm')
            .filter(|run| run.len() == MESSAGE_BYTES_MAX);
        assert_eq!(messages.count(), MESSAGES_BYTES_MAX / MESSAGE_BYTES_MAX);
        assert!(out.len() < MESSAGES_BYTES_MAX + 300 * 40);
    }
}
