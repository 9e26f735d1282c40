//! Produce responses, versions 3 to 13: the refusals of the proxy are merged in, and broker addresses (version 10 on)
//! are mapped.
//!
//! - PRODUCE-1: a partition that the proxy refused is answered as refused, whatever a broker says about it: it never
//!   got the records.

mod merge;

use std::sync::Arc;

use super::api_key::PRODUCE;
use super::bounds::PRODUCE_PARTITIONS_MAX;
use super::cursor::Cursor;
use super::endpoints::{Endpoints, Rewrite};
use super::error::ProtocolError;
use super::error_code;
use super::frame;
use super::parsing::topic_bytes_min;
use super::splice::Splice;

/// A partition that the proxy cut out of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub topic: Arc<str>,
    pub partition: i32,
    /// One of [`super::error_code`].
    pub error_code: i16,
    /// What the application is told; clients see it from version 8 on.
    pub message: Arc<str>,
}

impl Refusal {
    /// Bytes that it may keep in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            .saturating_add(self.topic.len())
            .saturating_add(self.message.len())
    }
}

/// Writes a response frame of `version` with the refused partitions added and the broker addresses mapped, length
/// prefix included; `false` when there is nothing to change, and nothing is written: the frame goes on as it is.
///
/// A refused partition has base offset, append time and log start offset -1. It stands behind the other partitions of
/// its topic, and a topic that the broker does not answer behind the other topics. Topics are known by name: refusals
/// in version 13 are [`ProtocolError::UnsupportedVersion`].
///
/// `each_error` is shown topic and error code of every partition that a broker has not stored, in versions in which
/// topics have names, as far as the frame can be read. One that cannot be read goes on as it is where nothing of it
/// would be changed anyway.
pub fn merge<'m>(
    frame: &[u8],
    version: i16,
    refusals: &[Refusal],
    addresses: &mut dyn FnMut(i32) -> Rewrite<'m>,
    each_error: &mut dyn FnMut(&str, i16),
    out: &mut Vec<u8>,
) -> Result<bool, ProtocolError> {
    check_version(version)?;
    if !refusals.is_empty() {
        Splice::emit(frame, out, |splice| {
            let mut cursor = merge::merge_refusals(frame, version, refusals, each_error, splice)?;
            locate_behind_topics(&mut cursor, frame, version)?.rewrite(splice, addresses)
        })?;
        return Ok(true);
    }
    let walked = walk(frame, version, each_error);
    if version < 10 {
        return Ok(false);
    }
    let endpoints = walked?;
    if endpoints.is_empty() {
        return Ok(false);
    }
    Splice::emit(frame, out, |splice| endpoints.rewrite(splice, addresses))?;
    Ok(true)
}

fn check_version(version: i16) -> Result<(), ProtocolError> {
    if (3..=13).contains(&version) {
        return Ok(());
    }
    Err(ProtocolError::UnsupportedVersion {
        api_key: PRODUCE,
        version,
    })
}

/// Finds the broker addresses.
pub(super) fn locate(frame: &[u8], version: i16) -> Result<Endpoints, ProtocolError> {
    walk(frame, version, &mut |_, _| {})
}

/// Walks a whole response.
fn walk(
    frame: &[u8],
    version: i16,
    each_error: &mut dyn FnMut(&str, i16),
) -> Result<Endpoints, ProtocolError> {
    check_version(version)?;
    let mut room = Room::default();
    let flexible = is_flexible(version);
    let mut cursor = Cursor::new(frame);
    frame::skip_response_header(&mut cursor, flexible)?;
    for _ in 0..cursor.array_len_non_null(flexible, topic_bytes_min(version, flexible))? {
        room.take_topic()?;
        let name = if version >= 13 {
            cursor.uuid()?;
            None
        } else {
            Some(cursor.string_non_null(flexible)?)
        };
        for _ in 0..cursor.array_len_non_null(flexible, partition_bytes_min(version))? {
            skip_partition(&mut cursor, version, &mut room, |code| {
                if let Some(name) = name {
                    each_error(name, code);
                }
            })?;
        }
        cursor.skip_tagged_fields_if(flexible)?;
    }
    locate_behind_topics(&mut cursor, frame, version)
}

fn locate_behind_topics(
    cursor: &mut Cursor<'_>,
    frame: &[u8],
    version: i16,
) -> Result<Endpoints, ProtocolError> {
    cursor.i32()?; // throttle time
    let mut endpoints = Endpoints::default();
    if version >= 10 {
        endpoints.parse_tagged(cursor, frame)?;
    } else {
        cursor.skip_tagged_fields_if(is_flexible(version))?;
    }
    cursor.expect_end()?;
    Ok(endpoints)
}

fn is_flexible(version: i16) -> bool {
    version >= 9
}

/// How much more one response may name: it is worked off in one step.
struct Room {
    topics: usize,
    partitions: usize,
    record_errors: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            topics: PRODUCE_PARTITIONS_MAX,
            partitions: PRODUCE_PARTITIONS_MAX,
            record_errors: RECORD_ERRORS_MAX,
        }
    }
}

impl Room {
    fn take_topic(&mut self) -> Result<(), ProtocolError> {
        self.topics = self
            .topics
            .checked_sub(1)
            .ok_or(ProtocolError::TooManyPartitions)?;
        Ok(())
    }
}

/// Records whose errors one response may name: a batch of 16 MiB has hardly more.
const RECORD_ERRORS_MAX: usize = 131_072;

/// Steps over one partition and says its number; `error` is told its error code where it has one.
fn skip_partition(
    cursor: &mut Cursor<'_>,
    version: i16,
    room: &mut Room,
    error: impl FnOnce(i16),
) -> Result<i32, ProtocolError> {
    room.partitions = room
        .partitions
        .checked_sub(1)
        .ok_or(ProtocolError::TooManyPartitions)?;
    let flexible = is_flexible(version);
    let index = cursor.i32()?;
    let error_code = cursor.i16()?;
    cursor.skip(8 + 8)?; // base offset, append time
    if version >= 5 {
        cursor.i64()?; // log start offset
    }
    if version >= 8 {
        let errors = cursor.array_len_non_null(flexible, 4 + 2)?;
        room.record_errors = room
            .record_errors
            .checked_sub(errors)
            .ok_or(ProtocolError::TooManyRecordErrors)?;
        for _ in 0..errors {
            cursor.i32()?; // index of a bad record
            cursor.string(flexible)?; // what is wrong with it
            cursor.skip_tagged_fields_if(flexible)?;
        }
        cursor.string(flexible)?; // error message
    }
    cursor.skip_tagged_fields_if(flexible)?;
    if error_code != error_code::NONE {
        error(error_code);
    }
    Ok(index)
}

fn partition_bytes_min(version: i16) -> usize {
    const FIXED: usize = 4 + 2 + 8 + 8;
    match version {
        9.. => FIXED + 8 + 1 + 1 + 1,
        8 => FIXED + 8 + 4 + 2,
        5.. => FIXED + 8,
        _ => FIXED,
    }
}
