//! Which proxies an ApiVersions request has passed: a tagged field in the request's header (KIP-482), to which each adds itself.
//!
//! Brokers step over tagged fields that they do not know, and so does every other implementation of flexible versions. Only
//! ApiVersions 3 and above have a place for it: what every client library since 2019 sends first.
//!
//! ```text
//! tag 24225 | size | identity 16 bytes, of each proxy that was passed, the last one last
//! ```

use super::cursor::{Cursor, ProtocolError};
use super::frame::REQUEST_HEAD_BYTES;
use super::splice::Splice;
use super::writer::put_uvarint;

/// What tells one running proxy from every other: random.
pub type Identity = [u8; 16];

/// What an ApiVersions request says of its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It has not been here; it was written anew, and says so from now on.
    Onward,
    /// It has been here, or at so many proxies that it must be going round. Nothing was written.
    Round,
}

/// Writes `frame`, an ApiVersions request of version 3 or above without its length, to `out` with `identity` added to those that it
/// has passed, length prefix included.
pub fn pass(frame: &[u8], identity: &Identity, out: &mut Vec<u8>) -> Result<Way, ProtocolError> {
    let mut cursor = Cursor::new(frame);
    cursor.skip(REQUEST_HEAD_BYTES)?;
    // The client id need not be UTF-8, and is null where the length says -1.
    let client_id = cursor.i16()?;
    cursor.skip(usize::try_from(client_id).unwrap_or(0))?;
    let count_start = cursor.position();
    let count = cursor.tag_count()?;
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
    let is_here = |hop: &[u8]| hop == identity;
    if before.len() >= HOPS_MAX * size_of::<Identity>() || before.chunks(size_of::<Identity>()).any(is_here) {
        return Ok(Way::Round);
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

#[cfg(test)]
mod tests {
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
            Way::Round => {
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
        assert_eq!(passed(&frame, &[100; 16]), None);
    }

    proptest! {
        #[test]
        fn hostile_headers_are_errors_or_pass(rest in proptest::collection::vec(any::<u8>(), 0..100)) {
            let frame = [&[0, 18, 0, 3, 0, 0, 0, 7][..], &rest].concat();
            let mut out = Vec::new();
            match pass(&frame, &ONE, &mut out) {
                Ok(Way::Onward) => prop_assert!(out.len() <= frame.len() + 4 + 5 * 3 + 16),
                Ok(Way::Round) | Err(_) => prop_assert!(out.is_empty()),
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
