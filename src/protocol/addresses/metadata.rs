//! Metadata responses, versions 0 to 13: the brokers, which stand before the topics (`ADDR-3`).

use super::HEAD_BYTES_MAX;
use crate::protocol::api_key::METADATA;
use crate::protocol::bounds::BROKERS_MAX;
use crate::protocol::cursor::Cursor;
use crate::protocol::endpoints::{Endpoint, Endpoints};
use crate::protocol::error::ProtocolError;
use crate::protocol::frame;

/// The brokers, and where they end.
pub(super) fn locate(frame: &[u8], version: i16) -> Result<(Endpoints, usize), ProtocolError> {
    if !(0..=13).contains(&version) {
        return Err(ProtocolError::UnsupportedVersion {
            api_key: METADATA,
            version,
        });
    }
    let flexible = version >= 9;
    let mut cursor = Cursor::new(frame.get(..HEAD_BYTES_MAX).unwrap_or(frame));
    frame::skip_response_header(&mut cursor, flexible)?;
    if version >= 3 {
        cursor.i32()?; // throttle time
    }
    let mut brokers = Endpoints::default();
    let broker_bytes_min = if flexible { 4 + 1 + 4 + 1 + 1 } else { 4 + 2 + 4 };
    brokers.parse_array(&mut cursor, flexible, BROKERS_MAX, broker_bytes_min, |cursor| {
        let broker = Endpoint::parse(cursor, flexible)?;
        if version >= 1 {
            cursor.string(flexible)?; // rack
        }
        cursor.skip_tagged_fields_if(flexible)?;
        Ok(broker)
    })?;
    Ok((brokers, cursor.position()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1, with so many brokers whose racks are so long.
    fn brokers(count: usize, rack: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, 0, 1];
        frame.extend(u32::try_from(count).expect("a count").to_be_bytes());
        for _ in 0..count {
            frame.extend([0, 0, 0, 1, 0, 1, b'h', 0, 0, 0x23, 0x84]);
            frame.extend(u16::try_from(rack).expect("a length").to_be_bytes());
            frame.resize(frame.len() + rack, b'r');
        }
        frame
    }

    /// ADDR-3
    #[test]
    fn brokers_are_bounded_in_number_and_in_bytes_and_topics_are_not_looked_at() {
        let located = |frame: &[u8]| locate(frame, 1).map(|(brokers, end)| (brokers.entries.len(), end));
        let most = brokers(BROKERS_MAX, 0);
        let mut with_topics = most.clone();
        with_topics.extend([0xee; 1000]);
        assert_eq!(located(&with_topics), Ok((BROKERS_MAX, most.len())));
        assert_eq!(
            located(&brokers(BROKERS_MAX + 1, 0)),
            Err(ProtocolError::TooManyBrokers)
        );
        let mut long = brokers(500, 1000);
        let more = brokers(1, HEAD_BYTES_MAX - long.len() - 13);
        long.extend(&more[8..]);
        long[4..8].copy_from_slice(&501_u32.to_be_bytes());
        assert_eq!(located(&long), Ok((501, HEAD_BYTES_MAX)));
        long[4..8].copy_from_slice(&502_u32.to_be_bytes());
        long.extend(&brokers(1, 0)[8..]);
        assert!(located(&long).is_err(), "one byte further");
    }
}
