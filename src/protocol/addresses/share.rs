//! ShareFetch and ShareAcknowledge responses, versions 1 and 2 (KIP-932, KIP-1222): the node endpoints, which are a
//! plain array here.
//!
//! These APIs are hidden while topics are known by name; the walkers are ready for when they are not.

use crate::protocol::api_key::{SHARE_ACKNOWLEDGE, SHARE_FETCH};
use crate::protocol::cursor::Cursor;
use crate::protocol::endpoints::Endpoints;
use crate::protocol::error::ProtocolError;
use crate::protocol::frame;

pub(super) fn locate_in_fetch(frame: &[u8], version: i16) -> Result<Endpoints, ProtocolError> {
    if !(1..=2).contains(&version) {
        return Err(ProtocolError::UnsupportedVersion {
            api_key: SHARE_FETCH,
            version,
        });
    }
    let mut cursor = start(frame)?;
    cursor.i32()?; // acquisition lock timeout
    skip_topics(&mut cursor, 4 + 2 + 1 + 2 + 1 + 9 + 1 + 1 + 1, |cursor| {
        cursor.skip(4 + 2)?; // partition, error code
        cursor.string(true)?; // error message
        cursor.i16()?; // acknowledge error code
        cursor.string(true)?; // acknowledge error message
        skip_leader(cursor)?;
        cursor.bytes_spans(true)?; // records
        for _ in 0..cursor.array_len_non_null(true, 8 + 8 + 2 + 1)? {
            cursor.skip(8 + 8 + 2)?; // first and last offset, delivery count
            cursor.skip_tagged_fields()?;
        }
        cursor.skip_tagged_fields()
    })?;
    finish(cursor)
}

pub(super) fn locate_in_acknowledge(frame: &[u8], version: i16) -> Result<Endpoints, ProtocolError> {
    if !(1..=2).contains(&version) {
        return Err(ProtocolError::UnsupportedVersion {
            api_key: SHARE_ACKNOWLEDGE,
            version,
        });
    }
    let mut cursor = start(frame)?;
    if version >= 2 {
        cursor.i32()?; // acquisition lock timeout
    }
    skip_topics(&mut cursor, 4 + 2 + 1 + 9 + 1, |cursor| {
        cursor.skip(4 + 2)?; // partition, error code
        cursor.string(true)?; // error message
        skip_leader(cursor)?;
        cursor.skip_tagged_fields()
    })?;
    finish(cursor)
}

/// Header, throttle time, error code and error message.
fn start(frame: &[u8]) -> Result<Cursor<'_>, ProtocolError> {
    let mut cursor = Cursor::new(frame);
    frame::skip_response_header(&mut cursor, true)?;
    cursor.skip(4 + 2)?;
    cursor.string(true)?;
    Ok(cursor)
}

fn skip_topics(
    cursor: &mut Cursor<'_>,
    partition_bytes_min: usize,
    skip_partition: impl Fn(&mut Cursor<'_>) -> Result<(), ProtocolError>,
) -> Result<(), ProtocolError> {
    for _ in 0..cursor.array_len_non_null(true, 16 + 1 + 1)? {
        cursor.uuid()?;
        for _ in 0..cursor.array_len_non_null(true, partition_bytes_min)? {
            skip_partition(cursor)?;
        }
        cursor.skip_tagged_fields()?;
    }
    Ok(())
}

/// The current leader's id and epoch.
fn skip_leader(cursor: &mut Cursor<'_>) -> Result<(), ProtocolError> {
    cursor.skip(4 + 4)?;
    cursor.skip_tagged_fields()
}

fn finish(mut cursor: Cursor<'_>) -> Result<Endpoints, ProtocolError> {
    let mut endpoints = Endpoints::default();
    endpoints.parse_node_endpoints(&mut cursor)?;
    cursor.skip_tagged_fields()?;
    cursor.expect_end()?;
    Ok(endpoints)
}
