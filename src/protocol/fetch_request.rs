//! Fetch requests, versions 3 to 17: how much the broker may send at most (KIP-74). They are streamed otherwise.

use super::cursor::{Cursor, ProtocolError};
use super::frame;

/// Lowers the limit on the whole response, in place, to `bytes_max` if it is higher. `frame` is the request without its length, or
/// as much of its beginning as is there: [`ProtocolError::Truncated`] while that is too little.
///
/// A broker sends the first batch that it has, however long it is, and then no more than the limit.
pub fn limit_response(frame: &mut [u8], version: i16, bytes_max: i32) -> Result<(), ProtocolError> {
    let mut cursor = Cursor::new(frame);
    frame::skip_request_header(&mut cursor, version >= 12)?;
    if version < 15 {
        cursor.i32()?; // replica id
    }
    cursor.skip(4 + 4)?; // longest wait, fewest bytes
    let at = cursor.position();
    let wanted = cursor.i32()?;
    let field = frame
        .get_mut(at..at.saturating_add(size_of::<i32>()))
        .ok_or(ProtocolError::LayoutMismatch)?;
    field.copy_from_slice(&wanted.min(bytes_max).to_be_bytes());
    Ok(())
}
