//! The one request that the proxy makes by itself: where are the brokers?

use super::api_key::METADATA;
use super::error::ProtocolError;
use super::writer::{put_array_len, put_i16, put_i32, put_string};

/// The version of Metadata that is asked: the first in which an empty list of topics means none, and every broker has
/// it.
pub const BROKERS_REQUEST_VERSION: i16 = 1;

/// Appends a Metadata request for no topic, whose answer names all brokers; length prefix included. Says how long the
/// frame is.
pub fn write_brokers_request(correlation_id: i32, out: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    let mut frame = Vec::new();
    put_i16(&mut frame, METADATA);
    put_i16(&mut frame, BROKERS_REQUEST_VERSION);
    put_i32(&mut frame, correlation_id);
    put_string(&mut frame, false, Some(CLIENT_ID))?;
    put_array_len(&mut frame, false, 0)?;
    put_i32(
        out,
        i32::try_from(frame.len()).map_err(|_| ProtocolError::TooLong)?,
    );
    out.extend_from_slice(&frame);
    Ok(frame.len())
}

/// What brokers have in their request logs and quotas for it.
const CLIENT_ID: &str = "sealwire";
