//! Batches as a broker takes or refuses them.

use super::*;
use crate::record_batch::tests::vector;
use crate::testing::fit_length_and_crc;
use crate::testing::{BatchBuilder, RecordInput};

fn batch() -> BatchBuilder {
    BatchBuilder::new()
        .record(RecordInput::default())
        .record(RecordInput::default())
}

fn check(builder: BatchBuilder) -> Result<BatchHeader, BatchError> {
    check_produced(&builder.build().unwrap(), 9)
}

#[track_caller]
fn refused(result: Result<BatchHeader, BatchError>, error: BatchError) {
    assert_eq!(result, Err(error));
    assert!(!error.to_string().is_empty());
}

fn count_error(count: i32, last_offset_delta: i32) -> BatchError {
    BatchError::Count {
        count,
        last_offset_delta,
    }
}

#[test]
fn a_good_batch_passes() {
    let header = check(batch().producer(1, 0, 0).transactional()).unwrap();
    assert_eq!((header.record_count, header.producer_id), (2, 1));
    // No sequence is needed without a producer id.
    assert!(check(batch()).is_ok());
}

#[test]
fn exactly_one_whole_batch() {
    let good = batch().build().unwrap();
    for end in 0..LOG_OVERHEAD {
        refused(check_produced(&good[..end], 9), BatchError::Missing);
    }
    for end in LOG_OVERHEAD..good.len() {
        refused(check_produced(&good[..end], 9), BatchError::Truncated);
    }
    refused(
        check_produced(&[good.as_slice(), &good].concat(), 9),
        BatchError::NotAlone,
    );
    refused(
        check_produced(&[good.as_slice(), &[0]].concat(), 9),
        BatchError::NotAlone,
    );
}

#[test]
fn only_format_2() {
    refused(check_produced(&vector!("java-magic0"), 3), BatchError::Magic(0));
    refused(check_produced(&vector!("java-magic1"), 3), BatchError::Magic(1));
    let mut future = batch().build().unwrap();
    future[16] = 3;
    refused(check_produced(&future, 9), BatchError::Magic(3));
}

#[test]
fn lengths_at_and_below_the_least() {
    for (length, error) in [
        (48, BatchError::Length(48)),
        (-1, BatchError::Length(-1)),
        (i32::MIN, BatchError::Length(i32::MIN)),
        (i32::MAX, BatchError::Truncated),
    ] {
        let mut broken = batch().build().unwrap();
        broken[8..12].copy_from_slice(&i32::to_be_bytes(length));
        refused(check_produced(&broken, 9), error);
    }
    // Length 49, no records: gets as far as the count.
    refused(check(BatchBuilder::new()), count_error(0, -1));
}

#[test]
fn codecs_by_version() {
    let zstd = vector!("java-zstd-small");
    assert!(check_produced(&zstd, 7).is_ok());
    refused(check_produced(&zstd, 6), BatchError::Codec { number: 4 });
    assert!(check_produced(&vector!("java-lz4-small"), 3).is_ok());
    for number in 5..8 {
        let mut unknown = batch().build().unwrap();
        unknown[22] = number;
        fit_length_and_crc(&mut unknown);
        refused(check_produced(&unknown, 9), BatchError::Codec { number });
    }
}

#[test]
fn offset_and_checksum() {
    refused(check(batch().base_offset(1)), BatchError::BaseOffset(1));
    refused(check(batch().base_offset(-1)), BatchError::BaseOffset(-1));
    for position in [17, 24, 60, 61] {
        let mut broken = batch().build().unwrap();
        broken[position] ^= 1;
        refused(check_produced(&broken, 9), BatchError::Checksum);
    }
}

#[test]
fn count_and_last_offset_delta() {
    refused(check(batch().record_count(3)), count_error(3, 1));
    refused(check(batch().record_count(1)), count_error(1, 1));
    refused(check(batch().last_offset_delta(2)), count_error(2, 2));
    refused(
        check(batch().record_count(0).last_offset_delta(-1)),
        count_error(0, -1),
    );
    refused(
        check(batch().record_count(-1).last_offset_delta(-2)),
        count_error(-1, -2),
    );
    refused(
        check(batch().record_count(i32::MIN).last_offset_delta(i32::MAX)),
        count_error(i32::MIN, i32::MAX),
    );
    refused(
        check(batch().record_count(i32::MAX).last_offset_delta(i32::MAX)),
        count_error(i32::MAX, i32::MAX),
    );
    // Two records of 7 bytes have no room for a third.
    refused(
        check(batch().record_count(3).last_offset_delta(2)),
        BatchError::RecordCount,
    );
    refused(
        check(batch().record_count(i32::MAX).last_offset_delta(i32::MAX - 1)),
        BatchError::RecordCount,
    );
    // Compressed, the same count has to wait for the walk.
    let mut compressed = vector!("java-gzip-small");
    compressed[57..61].copy_from_slice(&1_000_000i32.to_be_bytes());
    compressed[23..27].copy_from_slice(&999_999i32.to_be_bytes());
    fit_length_and_crc(&mut compressed);
    assert!(check_produced(&compressed, 9).is_ok());
}

#[test]
fn control_and_sequence() {
    refused(check(batch().control()), BatchError::Control);
    refused(check(batch().producer(1, 0, -1)), BatchError::Sequence);
    refused(check(batch().producer(0, 0, i32::MIN)), BatchError::Sequence);
    assert!(check(batch().producer(0, 0, 0)).is_ok());
}
