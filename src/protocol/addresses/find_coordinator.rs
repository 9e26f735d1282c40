//! FindCoordinator responses, versions 0 to 6: one coordinator at the top level up to version 3, an array of them from
//! version 4 on.

use super::COORDINATORS_MAX;
use crate::protocol::api_key::FIND_COORDINATOR;
use crate::protocol::cursor::Cursor;
use crate::protocol::endpoints::{Endpoint, Endpoints, EntryError};
use crate::protocol::error::ProtocolError;
use crate::protocol::frame;

pub(super) fn locate(frame: &[u8], version: i16) -> Result<Endpoints, ProtocolError> {
    if !(0..=6).contains(&version) {
        return Err(ProtocolError::UnsupportedVersion {
            api_key: FIND_COORDINATOR,
            version,
        });
    }
    let flexible = version >= 3;
    let mut cursor = Cursor::new(frame);
    frame::skip_response_header(&mut cursor, flexible)?;
    if version >= 1 {
        cursor.i32()?; // throttle time
    }
    let mut coordinators = Endpoints::default();
    if version >= 4 {
        coordinators.parse_array(
            &mut cursor,
            flexible,
            COORDINATORS_MAX,
            1 + 4 + 1 + 4 + 2 + 1 + 1,
            |cursor| {
                cursor.text_span(flexible)?; // key
                let coordinator = Endpoint::parse(cursor, flexible)?;
                let error = EntryError::parse(cursor, true, flexible)?;
                cursor.skip_tagged_fields()?;
                Ok(Endpoint {
                    error: Some(error),
                    ..coordinator
                })
            },
        )?;
    } else {
        coordinators.flexible = flexible;
        let error = EntryError::parse(&mut cursor, version >= 1, flexible)?;
        let coordinator = Endpoint::parse(&mut cursor, flexible)?;
        coordinators.entries.push(Endpoint {
            error: Some(error),
            ..coordinator
        });
    }
    cursor.skip_tagged_fields_if(flexible)?;
    cursor.expect_end()?;
    Ok(coordinators)
}
