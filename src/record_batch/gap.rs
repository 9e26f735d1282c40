//! A batch that stands for offsets at which nothing is delivered: a transaction marker of no producer, whose only
//! record lies in front of them or at their end.
//!
//! There are two forms, as no single one is taken by all. With the record in front of the gap, and of whatever a client
//! may have asked for, nothing is handed out by anybody, and most clients go on behind the batch; but sarama and
//! kafkajs go on by one offset. With the record at the gap's end, as that of a transaction marker, all go on behind it,
//! but kafka-go, which does not know the control bit, hands it out. A batch without records, as compaction leaves it,
//! has kafkajs fetch it without end and kafka-go deliver once more what came before it.
//!
//! - GAP-1: nothing but offsets, leader epoch and time comes from the batches that it stands for.
//! - GAP-2: in front means in front of holes too, which nobody here sees: the batch begins 2^31 offsets before its end,
//!   or before the log does.
//! - GAP-3: it is for the start of what a fetch gets of a partition: elsewhere its record would lie where others do.

use super::header::{Attributes, CRC_AT, LOG_OVERHEAD, crc_of};
use super::{BatchHeader, HEADER_BYTES};

/// Where the record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapForm {
    /// In front of the gap, and of all that a client may have asked for.
    InFront,
    /// At the gap's last offset.
    AtEnd,
}

/// Offsets at which nothing is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    first: i64,
    last: i64,
    leader_epoch: i32,
    timestamp: i64,
}

impl Gap {
    /// The offsets of one batch.
    #[must_use]
    pub fn of(batch: &BatchHeader) -> Self {
        Self {
            first: batch.base_offset,
            // What a batch says of itself may be anything.
            last: batch
                .base_offset
                .saturating_add(i64::from(batch.last_offset_delta.max(0))),
            leader_epoch: batch.partition_leader_epoch,
            timestamp: batch.max_timestamp,
        }
    }

    /// Up to the end of a batch behind it.
    #[must_use]
    pub fn up_to(self, batch: &BatchHeader) -> Self {
        Self {
            first: self.first,
            ..Self::of(batch)
        }
    }

    /// Whether both have an offset in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Appends the batch, [`GAP_BYTES`] bytes.
    pub fn put(self, form: GapForm, out: &mut Vec<u8>) {
        const PRODUCER_ID_EPOCH_AND_SEQUENCE: [u8; 14] = [0xff; 14];
        let base_offset = match form {
            GapForm::InFront => self.last.saturating_sub(i64::from(i32::MAX)).max(BEFORE_THE_LOG),
            GapForm::AtEnd => self.last,
        };
        let last_offset_delta = self.last.saturating_sub(base_offset);
        // INVARIANT: clamped to what an i32 holds.
        let last_offset_delta = last_offset_delta.clamp(0, i64::from(i32::MAX)) as i32;
        // INVARIANT: less than 100.
        let length = (GAP_BYTES - LOG_OVERHEAD) as i32;
        let start = out.len();
        out.extend_from_slice(&base_offset.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.leader_epoch.to_be_bytes());
        out.push(MAGIC);
        out.extend_from_slice(&[0; size_of::<u32>()]);
        out.extend_from_slice(&Attributes::CONTROL.to_be_bytes());
        out.extend_from_slice(&last_offset_delta.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&PRODUCER_ID_EPOCH_AND_SEQUENCE);
        out.extend_from_slice(&1i32.to_be_bytes());
        out.extend_from_slice(&COMMIT_MARKER);
        let crc = out.get(start..).and_then(crc_of).unwrap_or_default();
        let field = out.get_mut(start.saturating_add(CRC_AT)..);
        if let Some(field) = field.and_then(|rest| rest.first_chunk_mut()) {
            *field = crc.to_be_bytes();
        }
    }
}

const MAGIC: u8 = 2;
const BEFORE_THE_LOG: i64 = -1;

/// The record of a transaction marker: length, attributes, deltas of timestamp and offset; a key of version 0 and type
/// commit; a value of version 0 and a coordinator's epoch of 0; no headers.
const COMMIT_MARKER: [u8; 17] = [32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 0, 0];

/// Bytes of the batch that stands for a gap.
pub const GAP_BYTES: usize = HEADER_BYTES + COMMIT_MARKER.len();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_batch::{RecordCursor, crc_matches};
    use crate::testing::{BatchBuilder, RecordInput};

    fn header(base_offset: i64, last_offset_delta: i32) -> BatchHeader {
        let batch = BatchBuilder::new()
            .producer(7, 1, 3)
            .transactional()
            .partition_leader_epoch(9)
            .base_offset(base_offset)
            .record(RecordInput {
                timestamp: 1_700_000_000_000,
                key: Some(b"key"),
                value: Some(b"value"),
                headers: &[],
            })
            .last_offset_delta(last_offset_delta)
            .build()
            .expect("a batch");
        BatchHeader::parse(&batch).expect("a header")
    }

    fn written(gap: Gap, form: GapForm) -> (BatchHeader, Vec<u8>) {
        let mut out = Vec::new();
        gap.put(form, &mut out);
        assert_eq!(out.len(), GAP_BYTES);
        assert!(crc_matches(&out));
        let header = BatchHeader::parse(&out).expect("a header");
        assert_eq!(header.batch_bytes(), out.len());
        (header, out)
    }

    fn offsets(gap: Gap, form: GapForm) -> (i64, i32) {
        let (header, _) = written(gap, form);
        (header.base_offset, header.last_offset_delta)
    }

    /// GAP-1
    #[test]
    fn a_gap_is_a_marker_of_no_producer() {
        let gap = Gap::of(&header(40, 2)).up_to(&header(50, 4));
        assert_eq!(offsets(gap, GapForm::AtEnd), (54, 0));
        assert_eq!(offsets(gap, GapForm::InFront), (-1, 55), "up to 54");
        let (header, batch) = written(gap, GapForm::InFront);
        assert_eq!(
            (header.producer_id, header.producer_epoch, header.base_sequence),
            (-1, -1, -1)
        );
        assert_eq!((header.record_count, header.partition_leader_epoch), (1, 9));
        assert_eq!(
            (header.base_timestamp, header.max_timestamp),
            (1_700_000_000_000, 1_700_000_000_000)
        );
        assert!(header.attributes.is_control() && !header.attributes.is_transactional());
        let mut cursor = RecordCursor::stored(&header, HEADER_BYTES);
        let record = cursor.next(&batch).expect("it parses").expect("a record");
        assert_eq!(
            (record.offset_delta, record.end, record.header_count),
            (0, batch.len(), 0)
        );
        let bytes = |span: Option<crate::record_batch::Span>| span.map(|span| span.of(&batch).to_vec());
        assert_eq!(bytes(record.key), Some(vec![0, 0, 0, 1]));
        assert_eq!(bytes(record.value), Some(vec![0; 6]));
    }

    /// GAP-2
    #[test]
    fn a_gap_may_begin_the_log_or_end_far_behind_its_beginning() {
        assert_eq!(offsets(Gap::of(&header(0, 0)), GapForm::InFront), (-1, 1));
        let far = Gap::of(&header(0, 0)).up_to(&header(1 << 40, 5));
        assert_eq!(
            offsets(far, GapForm::InFront),
            ((1 << 40) + 5 - i64::from(i32::MAX), i32::MAX)
        );
        assert_eq!(offsets(far, GapForm::AtEnd), ((1 << 40) + 5, 0));
        let mut odd = header(i64::MIN, i32::MIN);
        odd.last_offset_delta = i32::MIN;
        assert_eq!(offsets(Gap::of(&odd), GapForm::InFront).1, 0);
    }

    #[test]
    fn gaps_overlap_where_they_share_an_offset() {
        let gap = |first, delta| Gap::of(&header(first, delta));
        assert!(gap(5, 9).overlaps(gap(14, 0)) && gap(14, 0).overlaps(gap(5, 9)));
        assert!(!gap(5, 9).overlaps(gap(15, 0)) && !gap(15, 0).overlaps(gap(5, 9)));
        let over_several = gap(5, 0).up_to(&header(20, 2));
        assert!(over_several.overlaps(gap(5, 0)) && over_several.overlaps(gap(22, 0)));
        assert!(!over_several.overlaps(gap(4, 0)) && !over_several.overlaps(gap(23, 0)));
    }
}
