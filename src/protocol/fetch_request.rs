//! Fetch requests: how much the broker may send at most (KIP-74), and the client's rack (KIP-392). They are streamed
//! otherwise.

use super::api_key::FETCH;
use super::cursor::Cursor;
use super::error::ProtocolError;
use super::frame;

/// Lowers the limit on the whole response of versions 3 to 17, in place, to `bytes_max` if it is higher. `frame` is the
/// request without its length, or as much of its beginning as is there: [`ProtocolError::Truncated`] while that is too
/// little.
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

/// Overwrites the rack that a request of versions 11 and 12 says its client to be in, in place: no broker is in the one
/// that it says then. `frame` is the whole request without its length. Older versions have none.
pub fn blank_rack(frame: &mut [u8], version: i16) -> Result<(), ProtocolError> {
    if version < 11 {
        return Ok(());
    }
    if version > 12 {
        return Err(ProtocolError::UnsupportedVersion {
            api_key: FETCH,
            version,
        });
    }
    let flexible = version >= 12;
    let mut cursor = Cursor::new(frame);
    frame::skip_request_header(&mut cursor, flexible)?;
    // Replica id, longest wait, fewest and most bytes, isolation level, session id and epoch.
    cursor.skip(4 + 4 + 4 + 4 + 1 + 4 + 4)?;
    // Number, leader epoch, offset, the last fetched epoch, log start offset, most bytes.
    let partition_bytes = if flexible {
        4 + 4 + 8 + 4 + 8 + 4
    } else {
        4 + 4 + 8 + 8 + 4
    };
    skip_topics(&mut cursor, flexible, |cursor| {
        cursor.skip(partition_bytes)?;
        cursor.skip_tagged_fields_if(flexible)
    })?;
    // What the session is to forget.
    skip_topics(&mut cursor, flexible, |cursor| cursor.skip(4))?;
    let rack = cursor.text_span(flexible)?;
    cursor.skip_tagged_fields_if(flexible)?;
    cursor.expect_end()?;
    frame
        .get_mut(rack)
        .ok_or(ProtocolError::LayoutMismatch)?
        .fill(NO_RACK);
    Ok(())
}

fn skip_topics(
    cursor: &mut Cursor<'_>,
    flexible: bool,
    skip_partition: impl Fn(&mut Cursor<'_>) -> Result<(), ProtocolError>,
) -> Result<(), ProtocolError> {
    for _ in 0..cursor.array_len_non_null(flexible, 1 + 1)? {
        cursor.text_span(flexible)?;
        for _ in 0..cursor.array_len_non_null(flexible, 4)? {
            skip_partition(cursor)?;
        }
        cursor.skip_tagged_fields_if(flexible)?;
    }
    Ok(())
}

/// A rack of these alone has no broker. It is one byte of UTF-8, so that the length stays.
const NO_RACK: u8 = b'-';

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 11 or 12 of one topic with one partition, another that is forgotten, and a rack.
    fn request(version: u8, rack: &str) -> Vec<u8> {
        let flexible = version == 12;
        let count = |count: u8| {
            if flexible {
                vec![count + 1]
            } else {
                vec![0, 0, 0, count]
            }
        };
        let text = |text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            let length = if flexible {
                vec![length + 1]
            } else {
                vec![0, length]
            };
            [&length[..], text.as_bytes()].concat()
        };
        let tags: &[u8] = if flexible { &[0] } else { &[] };
        let partition = vec![0xee; 4 + 4 + 8 + if flexible { 4 } else { 0 } + 8 + 4];
        [
            &[0, 1, 0, version, 0, 0, 0, 7, 0, 2, 0xc3, 0x28][..], // a client id that is not UTF-8
            tags,
            &[0xdd; 25],
            &count(1),
            &text("a"),
            &count(1),
            &partition,
            tags,
            tags,
            &count(1),
            &text("b"),
            &count(1),
            &[0, 0, 0, 9],
            tags,
            &text(rack),
            tags,
        ]
        .concat()
    }

    /// HIDDEN-3
    #[test]
    fn the_rack_is_overwritten_and_nothing_else() {
        for version in [11, 12] {
            let mut frame = request(version, "eu-west-1a");
            blank_rack(&mut frame, i16::from(version)).unwrap();
            assert_eq!(frame, request(version, "----------"));
            let mut none = request(version, "");
            blank_rack(&mut none, i16::from(version)).unwrap();
            assert_eq!(none, request(version, ""));
            for end in 0..frame.len() {
                let mut part = request(version, "eu-west-1a")[..end].to_vec();
                assert!(blank_rack(&mut part, i16::from(version)).is_err(), "{end}");
                assert_eq!(part, request(version, "eu-west-1a")[..end]);
            }
        }
        let mut older = vec![0; 10];
        assert_eq!(blank_rack(&mut older, 10), Ok(()));
    }
}
