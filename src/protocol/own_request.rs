//! How a request begins that the proxy makes by itself.

use super::error::ProtocolError;
use super::writer::{LengthForm, LengthSlot, put_i16, put_i32, put_string};

/// Appends length prefix and header (version 1) of a request; the body goes behind them, and the length is filled in
/// with [`LengthSlot::fill_with_content_len`].
pub(super) fn begin(
    api_key: i16,
    version: i16,
    correlation_id: i32,
    out: &mut Vec<u8>,
) -> Result<LengthSlot, ProtocolError> {
    let length = LengthSlot::reserve(out, LengthForm::Int32, 0)?;
    put_i16(out, api_key);
    put_i16(out, version);
    put_i32(out, correlation_id);
    put_string(out, false, Some(CLIENT_ID))?;
    Ok(length)
}

/// Answers are matched by position, or there is one at a time: any number will do.
pub const CORRELATION_ID: i32 = 0x5ea1;
/// What brokers have in their request logs and quotas for it.
const CLIENT_ID: &str = "sealwire";
