//! Frames and their headers (Kafka protocol guide, "Request and response headers"; KIP-482 for header versions 1 and
//! 2).
//!
//! `i32 length | frame`. A request begins with api key, api version and correlation id, a response with the correlation
//! id, in every header version, so that a frame can be passed on without knowing more.

use super::cursor::Cursor;
use super::error::ProtocolError;

/// Size of the length that precedes each frame.
pub const LENGTH_PREFIX_BYTES: usize = 4;

/// What [`RequestHead::peek`] needs.
pub const REQUEST_HEAD_BYTES: usize = 8;

/// The first 8 bytes of a request frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
}

impl RequestHead {
    /// Reads the start of a frame (without its length prefix); `None` while fewer than 8 bytes are there.
    pub fn peek(frame: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(frame);
        Some(Self {
            api_key: cursor.i16().ok()?,
            api_version: cursor.i16().ok()?,
            correlation_id: cursor.i32().ok()?,
        })
    }
}

/// The correlation id of a response frame; `None` while fewer than 4 bytes are there.
pub fn response_correlation_id(frame: &[u8]) -> Option<i32> {
    Cursor::new(frame).i32().ok()
}

/// Where the body of a response begins: behind header version 1 (`flexible`) or 0. ApiVersions responses always have
/// version 0.
pub fn response_header_end(frame: &[u8], flexible: bool) -> Result<usize, ProtocolError> {
    let mut cursor = Cursor::new(frame);
    skip_response_header(&mut cursor, flexible)?;
    Ok(cursor.position())
}

pub(super) fn skip_request_header(cursor: &mut Cursor<'_>, flexible: bool) -> Result<(), ProtocolError> {
    cursor.skip(REQUEST_HEAD_BYTES)?;
    cursor.nullable_text_span(false)?; // the client id, which never has the compact form
    cursor.skip_tagged_fields_if(flexible)
}

pub(super) fn skip_response_header(cursor: &mut Cursor<'_>, flexible: bool) -> Result<(), ProtocolError> {
    cursor.skip(4)?;
    cursor.skip_tagged_fields_if(flexible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_needs_eight_bytes() {
        let frame = [0, 3, 0, 12, 0, 0, 0, 7, 0xff];
        assert_eq!(
            RequestHead::peek(&frame[..8]),
            Some(RequestHead {
                api_key: 3,
                api_version: 12,
                correlation_id: 7
            })
        );
        assert_eq!(RequestHead::peek(&frame[..7]), None);
    }

    #[test]
    fn header_ends() {
        let request_header_end = |frame: &[u8], flexible| {
            let mut cursor = Cursor::new(frame);
            skip_request_header(&mut cursor, flexible).map(|()| cursor.position())
        };
        let request = [0, 3, 0, 12, 0, 0, 0, 7, 0, 2, b'm', b'e', 1, 9, 1, 0xee, 0x55];
        assert_eq!(request_header_end(&request, false), Ok(12));
        assert_eq!(request_header_end(&request, true), Ok(16));
        assert_eq!(
            request_header_end(&request[..15], true),
            Err(ProtocolError::Truncated { at: 15 })
        );
        let null_client = [0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff];
        assert_eq!(request_header_end(&null_client, false), Ok(10));
        assert_eq!(response_header_end(&[0, 0, 0, 7, 0], true), Ok(5));
        assert_eq!(response_header_end(&[0, 0, 0, 7, 0], false), Ok(4));
        assert_eq!(
            response_header_end(&[0, 0, 0], false),
            Err(ProtocolError::Truncated { at: 0 })
        );
    }
}
