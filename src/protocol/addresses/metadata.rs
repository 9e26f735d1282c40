//! Metadata responses, versions 0 to 13: the brokers. The topics are walked only to know that the message is whole.

use super::endpoints::{Endpoint, Endpoints};
use crate::protocol::api_key::METADATA;
use crate::protocol::cursor::{Cursor, ProtocolError};
use crate::protocol::frame;

pub(super) fn locate(frame: &[u8], version: i16) -> Result<Endpoints, ProtocolError> {
    if !(0..=13).contains(&version) {
        return Err(ProtocolError::UnsupportedVersion {
            api_key: METADATA,
            version,
        });
    }
    let flexible = version >= 9;
    let mut cursor = Cursor::new(frame);
    frame::skip_response_header(&mut cursor, flexible)?;
    if version >= 3 {
        cursor.i32()?; // throttle time
    }
    let mut brokers = Endpoints::default();
    let broker_bytes_min = if flexible { 4 + 1 + 4 + 1 + 1 } else { 4 + 2 + 4 };
    brokers.parse_array(&mut cursor, flexible, broker_bytes_min, |cursor| {
        let broker = Endpoint::parse(cursor, flexible)?;
        if version >= 1 {
            cursor.string(flexible)?; // rack
        }
        cursor.skip_tagged_fields_if(flexible)?;
        Ok(broker)
    })?;
    if version >= 2 {
        cursor.string(flexible)?; // cluster id
    }
    if version >= 1 {
        cursor.i32()?; // controller id
    }
    let topic_bytes_min = if flexible { 2 + 1 + 1 + 1 } else { 2 + 2 + 4 };
    for _ in 0..cursor.array_len_non_null(flexible, topic_bytes_min)? {
        skip_topic(&mut cursor, version)?;
    }
    if (8..=10).contains(&version) {
        cursor.i32()?; // cluster authorized operations
    }
    if version >= 13 {
        cursor.i16()?; // error code
    }
    cursor.skip_tagged_fields_if(flexible)?;
    if flexible && cursor.remaining() == 1 {
        // librdkafka's mock cluster (2.12) ends these answers with an empty section of tagged fields too many. Every client
        // ignores it, and it is passed on.
        cursor.skip_tagged_fields()?;
    }
    cursor.expect_end()?;
    Ok(brokers)
}

fn skip_topic(cursor: &mut Cursor<'_>, version: i16) -> Result<(), ProtocolError> {
    let flexible = version >= 9;
    cursor.i16()?; // error code
    if version >= 12 {
        cursor.string(flexible)?; // the name, which may be null next to an id
    } else {
        cursor.string_non_null(flexible)?;
    }
    if version >= 10 {
        cursor.uuid()?;
    }
    if version >= 1 {
        cursor.boolean()?; // is internal
    }
    let partition_bytes_min = if flexible {
        2 + 4 + 4 + 1 + 1 + 1
    } else {
        2 + 4 + 4 + 4 + 4
    };
    for _ in 0..cursor.array_len_non_null(flexible, partition_bytes_min)? {
        skip_partition(cursor, version)?;
    }
    if version >= 8 {
        cursor.i32()?; // topic authorized operations
    }
    cursor.skip_tagged_fields_if(flexible)
}

fn skip_partition(cursor: &mut Cursor<'_>, version: i16) -> Result<(), ProtocolError> {
    let flexible = version >= 9;
    cursor.skip(2 + 4 + 4)?; // error code, partition, leader
    if version >= 7 {
        cursor.i32()?; // leader epoch
    }
    skip_nodes(cursor, flexible)?; // replicas
    skip_nodes(cursor, flexible)?; // in-sync replicas
    if version >= 5 {
        skip_nodes(cursor, flexible)?; // offline replicas
    }
    cursor.skip_tagged_fields_if(flexible)
}

fn skip_nodes(cursor: &mut Cursor<'_>, flexible: bool) -> Result<(), ProtocolError> {
    let nodes = cursor.array_len_non_null(flexible, 4)?;
    cursor.skip(nodes.saturating_mul(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 12 without brokers and topics.
    const EMPTY: [u8; 18] = [0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0];

    #[test]
    fn one_empty_section_of_tagged_fields_too_many_is_let_through() {
        assert!(locate(&EMPTY[..17], 12).is_ok());
        assert!(locate(&EMPTY, 12).is_ok());
        let two = [&EMPTY[..], &[0]].concat();
        assert_eq!(
            locate(&two, 12).unwrap_err(),
            ProtocolError::TrailingBytes { at: 17 }
        );
        let another = [&EMPTY[..17], &[1]].concat();
        assert_eq!(
            locate(&another, 12).unwrap_err(),
            ProtocolError::CountTooLarge { at: 17 }
        );
    }
}
