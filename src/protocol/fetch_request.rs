//! Fetch requests: how much the broker may send at most (KIP-74), the client's rack (KIP-392), and what is asked for.
//! They are streamed otherwise.

use std::ops::Range;

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
    let mut topics = AskedTopics::begin(frame, version)?;
    while topics.next_name()?.is_some() {}
    let rack = topics.rack_behind_them()?;
    frame
        .get_mut(rack)
        .ok_or(ProtocolError::LayoutMismatch)?
        .fill(NO_RACK);
    Ok(())
}

/// What a request of versions 4 to 12 asks for: its fetch session (KIP-227), then one topic after the other.
#[derive(Debug)]
pub struct AskedTopics<'a> {
    cursor: Cursor<'a>,
    version: i16,
    session: AskedSession,
    topics_left: usize,
}

/// What a request has to do with fetch sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedSession {
    /// It names all that it asks for.
    None,
    /// The same; and the broker may open a session with it.
    Opens,
    /// It names what changes in the session with this number.
    Continues(i32),
}

impl<'a> AskedTopics<'a> {
    /// Begins with `frame`, the whole request without its length.
    pub fn begin(frame: &'a [u8], version: i16) -> Result<Self, ProtocolError> {
        if !(4..=12).contains(&version) {
            return Err(ProtocolError::UnsupportedVersion {
                api_key: FETCH,
                version,
            });
        }
        let flexible = version >= 12;
        let mut cursor = Cursor::new(frame);
        frame::skip_request_header(&mut cursor, flexible)?;
        // Replica id, longest wait, fewest and most bytes, isolation level.
        cursor.skip(4 + 4 + 4 + 4 + 1)?;
        let mut session = AskedSession::None;
        if version >= 7 {
            let id = cursor.i32()?;
            session = match cursor.i32()? {
                FINAL_EPOCH => AskedSession::None,
                INITIAL_EPOCH => AskedSession::Opens,
                _ => AskedSession::Continues(id),
            };
        }
        let topics_left = cursor.array_len_non_null(flexible, TOPIC_BYTES_MIN)?;
        Ok(Self {
            cursor,
            version,
            session,
            topics_left,
        })
    }

    /// What it has to do with fetch sessions.
    pub fn session(&self) -> AskedSession {
        self.session
    }

    /// How many bytes of the frame are walked.
    pub fn position(&self) -> usize {
        self.cursor.position()
    }

    /// Steps over the next topic that is asked for; says what its name is, which need not be UTF-8. `None` behind the
    /// last one.
    pub fn next_name(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        let Some(topics_left) = self.topics_left.checked_sub(1) else {
            return Ok(None);
        };
        self.topics_left = topics_left;
        let (partition_bytes, flexible) = (partition_bytes(self.version), self.is_flexible());
        skip_topic(&mut self.cursor, flexible, |cursor, flexible| {
            cursor.skip(partition_bytes)?;
            cursor.skip_tagged_fields_if(flexible)
        })
        .map(Some)
    }

    /// Where the rack is that versions from 11 on have behind the topics, all of which have been stepped over.
    fn rack_behind_them(self) -> Result<Range<usize>, ProtocolError> {
        let flexible = self.is_flexible();
        let mut cursor = self.cursor;
        // What the session is to forget.
        for _ in 0..cursor.array_len_non_null(flexible, TOPIC_BYTES_MIN)? {
            skip_topic(&mut cursor, flexible, |cursor, _| cursor.skip(4))?;
        }
        let rack = cursor.text_span(flexible)?;
        cursor.skip_tagged_fields_if(flexible)?;
        cursor.expect_end()?;
        Ok(rack)
    }

    fn is_flexible(&self) -> bool {
        self.version >= 12
    }
}

/// Steps over a topic with partitions; says what its name is.
fn skip_topic<'a>(
    cursor: &mut Cursor<'a>,
    flexible: bool,
    skip_partition: impl Fn(&mut Cursor<'a>, bool) -> Result<(), ProtocolError>,
) -> Result<&'a [u8], ProtocolError> {
    let name = cursor.text(flexible)?;
    for _ in 0..cursor.array_len_non_null(flexible, 4)? {
        skip_partition(cursor, flexible)?;
    }
    cursor.skip_tagged_fields_if(flexible)?;
    Ok(name)
}

/// Of one that is asked for, tagged fields aside.
fn partition_bytes(version: i16) -> usize {
    // Number, offset, most bytes.
    const FIXED: usize = 4 + 8 + 4;
    match version {
        // Leader epoch, the last fetched epoch, log start offset.
        12.. => FIXED + 4 + 4 + 8,
        9.. => FIXED + 4 + 8,
        5.. => FIXED + 8,
        _ => FIXED,
    }
}

/// The epoch of a request that ends a session, or has nothing to do with any.
const FINAL_EPOCH: i32 = -1;
/// The epoch of a request that wants a session.
const INITIAL_EPOCH: i32 = 0;
/// The least that a topic takes: its name's length and a count.
const TOPIC_BYTES_MIN: usize = 1 + 1;
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
