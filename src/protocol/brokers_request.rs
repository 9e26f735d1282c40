//! What the proxy asks brokers: where are the brokers?

use super::api_key::METADATA;
use super::error::ProtocolError;
use super::frame::LENGTH_PREFIX_BYTES;
use super::own_request;
use super::writer::put_array_len;

/// The version of Metadata that is asked: the first in which an empty list of topics means none, and every broker has
/// it.
pub const BROKERS_REQUEST_VERSION: i16 = 1;

/// Appends a Metadata request for no topic, whose answer names all brokers; length prefix included. Says how long the
/// frame is.
pub fn write_brokers_request(correlation_id: i32, out: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    let begun = out.len();
    let length = own_request::begin(METADATA, BROKERS_REQUEST_VERSION, correlation_id, out)?;
    put_array_len(out, false, 0)?;
    length.fill_with_content_len(out)?;
    Ok(out
        .len()
        .saturating_sub(begun)
        .saturating_sub(LENGTH_PREFIX_BYTES))
}
