//! DescribeCluster responses, versions 0 to 2: the brokers, or the controllers where the client asked a controller for
//! them (KIP-919).

use crate::protocol::api_key::DESCRIBE_CLUSTER;
use crate::protocol::bounds::BROKERS_MAX;
use crate::protocol::cursor::Cursor;
use crate::protocol::endpoints::{Endpoint, Endpoints};
use crate::protocol::error::ProtocolError;
use crate::protocol::frame;

/// The endpoint type that says "brokers"; 2 says "controllers".
const BROKERS: i8 = 1;

pub(super) fn locate(frame: &[u8], version: i16) -> Result<Endpoints, ProtocolError> {
    if !(0..=2).contains(&version) {
        return Err(ProtocolError::UnsupportedVersion {
            api_key: DESCRIBE_CLUSTER,
            version,
        });
    }
    let mut cursor = Cursor::new(frame);
    frame::skip_response_header(&mut cursor, true)?;
    cursor.skip(4 + 2)?; // throttle time, error code
    cursor.string(true)?; // error message
    let endpoint_type = if version >= 1 { cursor.i8()? } else { BROKERS };
    cursor.string_non_null(true)?; // cluster id
    cursor.i32()?; // controller id
    let mut brokers = Endpoints::default();
    brokers.controllers = endpoint_type != BROKERS;
    let fenced_bytes = if version >= 2 { 1 } else { 0 };
    brokers.parse_array(
        &mut cursor,
        true,
        BROKERS_MAX,
        (4 + 1 + 4 + 1 + 1_usize).saturating_add(fenced_bytes),
        |cursor| {
            let broker = Endpoint::parse(cursor, true)?;
            cursor.string(true)?; // rack
            if version >= 2 {
                cursor.boolean()?; // is fenced
            }
            cursor.skip_tagged_fields()?;
            Ok(broker)
        },
    )?;
    cursor.i32()?; // cluster authorized operations
    cursor.skip_tagged_fields()?;
    cursor.expect_end()?;
    Ok(brokers)
}
