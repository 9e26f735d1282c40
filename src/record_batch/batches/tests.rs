//! Logs of several batches, whole and damaged.

use super::*;
use crate::record_batch::header::Attributes;
use crate::record_batch::tests::vector;
use crate::testing::{BatchBuilder, RecordInput};

fn kinds(records: &[u8]) -> (Vec<BatchKind>, Span, Option<BatchError>) {
    let mut batches = Batches::new(records);
    let mut kinds = Vec::new();
    let mut error = None;
    for batch in batches.by_ref() {
        match batch {
            Ok(batch) => kinds.push(batch.kind),
            Err(found) => error = Some(found),
        }
    }
    assert_eq!(batches.next(), None);
    (kinds, batches.tail(), error)
}

fn plain() -> Vec<u8> {
    BatchBuilder::new()
        .record(RecordInput::default())
        .build()
        .unwrap()
}

#[test]
fn a_log_of_all_kinds() {
    let compacted = BatchBuilder::new()
        .base_offset(100)
        .record_at(3, RecordInput::default())
        .record_at(7, RecordInput::default())
        .last_offset_delta(9)
        .build()
        .unwrap();
    let horizon = BatchBuilder::new()
        .base_offset(110)
        .delete_horizon(2_000_000_000_000)
        .record(RecordInput::default())
        .build()
        .unwrap();
    let append_time = BatchBuilder::new()
        .log_append_time(77)
        .record(RecordInput::default())
        .build()
        .unwrap();
    let parts = [
        vector!("java-magic0"),
        vector!("java-magic1"),
        vector!("java-empty"),
        vector!("java-commit-marker"),
        compacted,
        horizon,
        append_time,
        vector!("java-zstd-small"),
    ];
    let log = parts.concat();
    let (kinds, tail, error) = kinds(&log);
    assert_eq!((error, tail.len()), (None, 0));
    // Old sets have a header for each message: two of them each.
    assert_eq!(&kinds[..2], [BatchKind::Old { magic: 0 }; 2]);
    assert_eq!(&kinds[2..4], [BatchKind::Old { magic: 1 }; 2]);
    let headers: Vec<BatchHeader> = kinds[4..]
        .iter()
        .map(|kind| match kind {
            BatchKind::V2(header) => *header,
            BatchKind::Old { .. } => panic!("an old batch"),
        })
        .collect();
    assert_eq!(headers.len(), 6);
    assert_eq!(headers[0].record_count, 0);
    assert!(headers[1].attributes.is_control());
    assert_eq!((headers[2].record_count, headers[2].last_offset_delta), (2, 9));
    assert_ne!(headers[3].attributes.0 & Attributes::DELETE_HORIZON, 0);
    assert_eq!(headers[3].base_timestamp, 2_000_000_000_000);
    assert!(headers[4].attributes.log_append_time());
    assert_eq!(headers[4].max_timestamp, 77);
    assert_eq!(headers[5].attributes.codec_number(), 4);
}

#[test]
fn every_cut_leaves_whole_batches_and_a_tail() {
    let one = plain();
    let two = [one.as_slice(), &one].concat();
    for end in 0..=two.len() {
        let (kinds, tail, error) = kinds(&two[..end]);
        assert_eq!(error, None, "cut at {end}");
        assert_eq!(kinds.len(), end / one.len());
        assert_eq!(
            tail,
            Span {
                start: end / one.len() * one.len(),
                end
            }
        );
    }
}

#[test]
fn lengths_below_the_least_are_errors_and_the_rest_is_the_tail() {
    let good = plain();
    let with = |length: i32, magic: u8| {
        let mut broken = good.clone();
        broken[8..12].copy_from_slice(&length.to_be_bytes());
        broken[16] = magic;
        if let Ok(length) = usize::try_from(length) {
            broken.truncate(length.saturating_add(12));
        }
        [good.as_slice(), &broken].concat()
    };
    // Smallest old message, smallest batch; one less of each.
    for (length, magic, error) in [
        (14, 0, None),
        (13, 0, Some(BatchError::Length(13))),
        (49, 2, None),
        (48, 2, Some(BatchError::Length(48))),
        (0, 2, Some(BatchError::Length(0))),
        (-1, 2, Some(BatchError::Length(-1))),
        (i32::MIN, 1, Some(BatchError::Length(i32::MIN))),
        (i32::MAX, 2, None),
        (49, 3, Some(BatchError::Magic(3))),
        (49, 0xff, Some(BatchError::Magic(-1))),
    ] {
        let records = with(length, magic);
        let (kinds, tail, found) = kinds(&records);
        assert_eq!(found, error, "length {length} magic {magic}");
        assert!(!kinds.is_empty());
        if error.is_some() || length == i32::MAX {
            assert_eq!((kinds.len(), tail.start), (1, good.len()));
        }
    }
}
