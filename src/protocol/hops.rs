//! Which proxies an ApiVersions request has passed: a tagged field in the request's header (KIP-482), to which each
//! adds itself.
//!
//! Brokers step over tagged fields that they do not know, and so does every other implementation of flexible versions.
//! Only ApiVersions 3 and above have a place for it. Not every library sends that first (aiokafka begins with 0):
//! [`question`] is a request of our own that does.
//!
//! ```text
//! tag 24225 | size | identity 16 bytes, of each proxy that was passed, the last one last
//! ```

use super::api_key::API_VERSIONS;
use super::bounds::TAGS_MAX;
use super::cursor::Cursor;
use super::error::ProtocolError;
use super::frame::{REQUEST_HEAD_BYTES, RequestHead};
use super::splice::Splice;
use super::writer::put_uvarint;

/// What tells one running proxy from every other: random.
pub type Identity = [u8; 16];

/// What an ApiVersions request says of its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It has not been here; it was written anew, and says so from now on.
    Onward,
    /// It has been here. Nothing was written.
    Round,
    /// It has passed [`HOPS_MAX`] others: it goes round among them, or somebody has made it up. Nothing was written.
    TooLong,
}

/// Whether a request has a place for the proxies that it has passed.
pub fn shows_way(head: RequestHead) -> bool {
    head.api_key == API_VERSIONS && head.api_version >= FLEXIBLE_FROM
}

/// Appends an ApiVersions request of our own, length prefix included, that shows that it comes from `identity`.
pub fn question(correlation_id: i32, identity: &Identity, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
    let text = |text: &str, out: &mut Vec<u8>| {
        put_uvarint(
            out,
            u32::try_from(text.len()).map_or(0, |length| length.saturating_add(1)),
        );
        out.extend_from_slice(text.as_bytes());
    };
    let mut frame = Vec::new();
    frame.extend_from_slice(&API_VERSIONS.to_be_bytes());
    frame.extend_from_slice(&FLEXIBLE_FROM.to_be_bytes());
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    frame.extend_from_slice(&NULL_STRING.to_be_bytes());
    put_uvarint(&mut frame, 0);
    text("sealwire", &mut frame);
    text(env!("CARGO_PKG_VERSION"), &mut frame);
    put_uvarint(&mut frame, 0);
    pass(&frame, identity, out).map(|_| ())
}

/// Writes `frame`, an ApiVersions request of version 3 or above without its length, to `out` with `identity` added to
/// those that it has passed, length prefix included.
pub fn pass(frame: &[u8], identity: &Identity, out: &mut Vec<u8>) -> Result<Way, ProtocolError> {
    let mut cursor = Cursor::new(frame);
    cursor.skip(REQUEST_HEAD_BYTES)?;
    // The client id need not be UTF-8, and is null where the length says -1.
    let client_id = cursor.i16()?;
    cursor.skip(usize::try_from(client_id).unwrap_or(0))?;
    let count_start = cursor.position();
    // One more than anybody else's: ours, where a proxy has added it.
    let count = cursor.tag_count_within(TAGS_MAX.saturating_add(1))?;
    let fields_start = cursor.position();
    let mut passed = None;
    for _ in 0..count {
        let start = cursor.position();
        let (tag, content) = cursor.tagged_field()?;
        if tag == HOPS_TAG {
            passed = Some((start, content));
        }
    }
    let fields_end = cursor.position();
    let before = passed
        .clone()
        .and_then(|(_, content)| frame.get(content))
        .unwrap_or_default();
    if before.chunks(size_of::<Identity>()).any(|hop| hop == identity) {
        return Ok(Way::Round);
    }
    if before.len() >= HOPS_BYTES_MAX {
        return Ok(Way::TooLong);
    }
    // What we write is what the next proxy reads.
    if passed.is_none() && count > TAGS_MAX {
        return Err(ProtocolError::CountTooLarge { at: count_start });
    }
    let size = before.len().saturating_add(size_of::<Identity>());
    let size = u32::try_from(size).map_err(|_| ProtocolError::TooLong)?;
    let count = u32::try_from(count).map_err(|_| ProtocolError::TooLong)?;
    Splice::emit(frame, out, |splice| {
        splice.copy_to(count_start)?;
        let added = u32::from(passed.is_none());
        put_uvarint(splice.out(), count.saturating_add(added));
        splice.skip_to(fields_start)?;
        let (start, end) = match &passed {
            Some((start, content)) => (*start, content.end),
            None => (fields_end, fields_end),
        };
        splice.copy_to(start)?;
        put_uvarint(splice.out(), HOPS_TAG);
        put_uvarint(splice.out(), size);
        splice.out().extend_from_slice(before);
        splice.out().extend_from_slice(identity);
        splice.skip_to(end)
    })?;
    Ok(Way::Onward)
}

/// Far from the small numbers that Kafka gives to its own.
const HOPS_TAG: u32 = 0x5ea1;
/// More than anybody chains on purpose.
const HOPS_MAX: usize = 8;
const HOPS_BYTES_MAX: usize = HOPS_MAX * size_of::<Identity>();
/// The first with a place for it.
const FLEXIBLE_FROM: i16 = 3;
/// The length of a string that is none.
const NULL_STRING: i16 = -1;

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader};
    use kafka_protocol::protocol::Decodable as _;
    use proptest::prelude::*;

    use super::*;

    const ONE: Identity = [1; 16];
    const OTHER: Identity = [2; 16];

    /// ApiVersions 3, client id "me", no tagged fields; and its body.
    fn request(tags: &[u8]) -> Vec<u8> {
        [
            &[0, 18, 0, 3, 0, 0, 0, 7, 0, 2, b'm', b'e'][..],
            tags,
            &[2, b'x', 2, b'1', 0],
        ]
        .concat()
    }

    fn passed(frame: &[u8], identity: &Identity) -> Option<Vec<u8>> {
        let mut out = vec![0xee];
        match pass(frame, identity, &mut out).expect("a request") {
            Way::Onward => {
                let frame = out.split_off(5);
                assert_eq!(out[1..], u32::try_from(frame.len()).expect("short").to_be_bytes());
                Some(frame)
            }
            Way::Round | Way::TooLong => {
                assert_eq!(out, [0xee], "nothing was written");
                None
            }
        }
    }

    #[test]
    fn each_proxy_adds_itself_and_knows_itself_again() {
        let first = passed(&request(&[0]), &ONE).expect("it goes on");
        let field = [&[1, 0xa1, 0xbd, 1, 16][..], &ONE].concat();
        assert_eq!(first, request(&field), "nothing else has changed");
        let second = passed(&first, &OTHER).expect("it goes on");
        assert_eq!(
            second,
            request(&[&[1, 0xa1, 0xbd, 1, 32][..], &ONE, &OTHER].concat())
        );
        assert_eq!(passed(&second, &ONE), None);
        assert_eq!(passed(&second, &OTHER), None);
    }

    #[test]
    fn other_tagged_fields_stay() {
        let others = [2, 9, 1, 0x55, 10, 0];
        let first = passed(&request(&others), &ONE).expect("it goes on");
        let expected = [&[3][..], &others[1..], &[0xa1, 0xbd, 1, 16], &ONE].concat();
        assert_eq!(first, request(&expected));
        let second = passed(&first, &OTHER).expect("it goes on");
        assert!(second.starts_with(&request(&[3, 9, 1, 0x55, 10, 0])[..17]));
        assert_eq!(passed(&second, &ONE), None);
    }

    #[test]
    fn so_many_hops_pass_and_one_more_does_not() {
        let mut frame = request(&[0]);
        for hop in 0..8 {
            frame = passed(&frame, &[hop; 16]).expect("it goes on");
        }
        assert_eq!(pass(&frame, &[100; 16], &mut Vec::new()), Ok(Way::TooLong));
        assert_eq!(
            pass(&frame, &[3; 16], &mut Vec::new()),
            Ok(Way::Round),
            "it is known here"
        );
    }

    #[test]
    fn as_many_tagged_fields_as_may_be_leave_room_for_one_more() {
        let fields = |count: u8| {
            let mut tags = vec![count];
            tags.extend((0..count).flat_map(|tag| [tag, 0]));
            request(&tags)
        };
        let first = passed(&fields(16), &ONE).expect("it goes on");
        assert_eq!(passed(&first, &ONE), None, "and is known again");
        let second = passed(&first, &OTHER).expect("it goes on");
        assert_eq!(passed(&second, &ONE), None);
        let mut out = Vec::new();
        assert!(pass(&fields(17), &ONE, &mut out).is_err());
        assert!(out.is_empty());
    }

    #[test]
    fn a_question_is_known_again_and_is_what_a_library_would_send() {
        let mut out = Vec::new();
        question(5, &ONE, &mut out).expect("a request");
        assert_eq!(
            out[..4],
            u32::try_from(out.len() - 4).expect("short").to_be_bytes()
        );
        let frame = &out[4..];
        assert_eq!(pass(frame, &ONE, &mut Vec::new()), Ok(Way::Round));
        assert_eq!(pass(frame, &OTHER, &mut Vec::new()), Ok(Way::Onward));
        let mut bytes = bytes::Bytes::copy_from_slice(frame);
        let header = RequestHeader::decode(&mut bytes, 2).expect("a header");
        assert_eq!((header.request_api_key, header.correlation_id), (18, 5));
        let body = ApiVersionsRequest::decode(&mut bytes, 3).expect("a body");
        assert_eq!(body.client_software_name.as_str(), "sealwire");
        assert!(bytes.is_empty());
    }

    proptest! {
        #[test]
        fn hostile_headers_are_errors_or_pass(rest in proptest::collection::vec(any::<u8>(), 0..100)) {
            let frame = [&[0, 18, 0, 3, 0, 0, 0, 7][..], &rest].concat();
            let mut out = Vec::new();
            match pass(&frame, &ONE, &mut out) {
                Ok(Way::Onward) => prop_assert!(out.len() <= frame.len() + 4 + 5 * 3 + 16),
                Ok(Way::Round | Way::TooLong) | Err(_) => prop_assert!(out.is_empty()),
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error_and_writes_nothing() {
        let whole = passed(&request(&[0]), &ONE).expect("it goes on");
        let body = 5;
        for length in 0..whole.len() - body {
            let mut out = Vec::new();
            assert!(pass(&whole[..length], &OTHER, &mut out).is_err(), "{length}");
            assert!(out.is_empty());
        }
    }
}
