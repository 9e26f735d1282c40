//! What brokers answer, in the versions that are asked for: untrusted, bounded, and read no further than is of
//! interest.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::{FoundCluster, Leader, MadeToken, TopicSettings};
use crate::identity::sasl::USER_BYTES_MAX;
use crate::protocol::addresses::is_host;
use crate::protocol::api_key::{FETCH, METADATA};
use crate::protocol::error_code::NONE;
use crate::protocol::{Cursor, ProtocolError};

/// An ApiVersions response of version 3, and its error. Kafka 3.1 brought topic ids to Metadata (12) and to Fetch (13)
/// at once; a Sealwire lets the first through and holds back the second.
pub(super) fn offers_what_no_broker_does(answer: &[u8]) -> Result<(bool, i16), ProtocolError> {
    let mut cursor = Cursor::new(answer);
    cursor.i32()?; // correlation id
    let code = cursor.i16()?;
    if code != NONE {
        // What follows has the form of another version.
        return Ok((false, code));
    }
    let (mut metadata, mut fetch) = (0, i16::MAX);
    for _ in 0..cursor.array_len_non_null(true, 2 + 2 + 2 + 1)? {
        let key = cursor.i16()?;
        cursor.i16()?; // the lowest version
        let highest = cursor.i16()?;
        cursor.skip_tagged_fields()?;
        match key {
            METADATA => metadata = highest,
            FETCH => fetch = highest,
            _ => {}
        }
    }
    Ok((
        metadata >= METADATA_WITH_TOPIC_IDS && fetch < FETCH_WITH_TOPIC_IDS,
        code,
    ))
}

/// A Metadata response of version 1: the topic's partitions, and its error.
pub(super) fn leaders(answer: &[u8]) -> Result<(Vec<Leader>, i16), ProtocolError> {
    let mut cursor = Cursor::new(answer);
    cursor.i32()?; // correlation id
    let brokers = named_brokers(&mut cursor)?;
    let (mut leaders, mut code) = (Vec::new(), 0);
    for _ in 0..cursor.array_len_non_null(false, 2 + 2 + 1 + 4)? {
        code = cursor.i16()?;
        cursor.string_non_null(false)?;
        cursor.boolean()?; // internal
        for _ in 0..cursor.array_len_non_null(false, 2 + 4 + 4 + 4 + 4)? {
            cursor.i16()?; // the partition's error: without a leader there is nobody to ask
            let partition = cursor.i32()?;
            let leader = cursor.i32()?;
            skip_replicas(&mut cursor)?;
            let broker = brokers.iter().find(|(node_id, ..)| *node_id == leader);
            leaders.push(Leader {
                partition,
                address: broker.map(|(_, host, port)| format!("{host}:{port}")),
            });
        }
    }
    cursor.expect_end()?;
    leaders.sort_by_key(|leader| leader.partition);
    Ok((leaders, code))
}

/// The length of an array of which there are `most` elements at most.
fn bounded_len(
    cursor: &mut Cursor<'_>,
    min_element_size: usize,
    most: usize,
) -> Result<usize, ProtocolError> {
    let at = cursor.position();
    match cursor.array_len_non_null(false, min_element_size)? {
        length if length <= most => Ok(length),
        _ => Err(ProtocolError::CountTooLarge { at }),
    }
}

/// The brokers of a Metadata response of version 1, and who the controller is.
fn named_brokers(cursor: &mut Cursor<'_>) -> Result<Vec<(i32, String, i32)>, ProtocolError> {
    let mut brokers = Vec::new();
    for _ in 0..bounded_len(cursor, 4 + 2 + 4 + 2, BROKERS_MAX)? {
        let node_id = cursor.i32()?;
        let at = cursor.position();
        let host = cursor.string_non_null(false)?;
        if !is_host(host) {
            return Err(ProtocolError::NotAHost { at });
        }
        let host = host.to_owned();
        let port = cursor.i32()?;
        cursor.string(false)?; // rack
        brokers.push((node_id, host, port));
    }
    cursor.i32()?; // controller
    Ok(brokers)
}

/// A partition's replicas, and those of them that are in sync.
fn skip_replicas(cursor: &mut Cursor<'_>) -> Result<(), ProtocolError> {
    for _ in 0..2 {
        let nodes = cursor.array_len_non_null(false, 4)?;
        cursor.skip(nodes.saturating_mul(4))?;
    }
    Ok(())
}

/// A Metadata response of version 1: brokers, and names of topics.
pub(super) fn cluster(answer: &[u8]) -> Result<FoundCluster, ProtocolError> {
    let mut cursor = Cursor::new(answer);
    cursor.i32()?; // correlation id
    let brokers = named_brokers(&mut cursor)?;
    let mut topics = Vec::new();
    for _ in 0..bounded_len(&mut cursor, 2 + 2 + 1 + 4, TOPICS_MAX)? {
        let code = cursor.i16()?;
        let name = cursor.string_non_null(false)?;
        if code == 0 {
            topics.push(name.to_owned());
        }
        cursor.boolean()?; // internal
        for _ in 0..cursor.array_len_non_null(false, 2 + 4 + 4 + 4 + 4)? {
            cursor.skip(2 + 4 + 4)?; // error, partition, leader
            skip_replicas(&mut cursor)?;
        }
    }
    cursor.expect_end()?;
    Ok(FoundCluster { brokers, topics })
}

/// A DescribeConfigs response of version 1: of each resource what `settings` have, or its error.
pub(super) fn described_settings<const N: usize>(
    answer: &[u8],
    settings: [&str; N],
) -> Result<Vec<TopicSettings<N>>, ProtocolError> {
    let mut cursor = Cursor::new(answer);
    cursor.skip(4 + 4)?; // correlation id, throttle time
    let mut found = Vec::new();
    for _ in 0..cursor.array_len_non_null(false, 2 + 2 + 1 + 2 + 4)? {
        let code = cursor.i16()?;
        cursor.string(false)?; // message
        cursor.i8()?; // type of resource
        let topic = cursor.string_non_null(false)?.to_owned();
        let mut values = [const { None }; N];
        for _ in 0..cursor.array_len_non_null(false, 2 + 2 + 1 + 1 + 1 + 4)? {
            let name = cursor.string_non_null(false)?;
            let value = cursor.string(false)?;
            for (setting, place) in settings.iter().zip(&mut values) {
                if name == *setting {
                    *place = value.map(str::to_owned);
                }
            }
            cursor.skip(1 + 1 + 1)?; // read only, source, secret
            for _ in 0..cursor.array_len_non_null(false, 2 + 2 + 1)? {
                cursor.string_non_null(false)?; // synonym
                cursor.string(false)?;
                cursor.i8()?;
            }
        }
        let values = if code == NONE { Ok(values) } else { Err(code) };
        found.push(TopicSettings { topic, values });
    }
    cursor.expect_end()?;
    Ok(found)
}

/// A ListOffsets response of version 1 with one partition: its offset, and its error.
pub(super) fn listed_offset(answer: &[u8]) -> Result<(i64, i16), ProtocolError> {
    let mut cursor = Cursor::new(answer);
    cursor.i32()?; // correlation id
    let (mut offset, mut code) = (-1, 0);
    for _ in 0..cursor.array_len_non_null(false, 2 + 4)? {
        cursor.string_non_null(false)?;
        for _ in 0..cursor.array_len_non_null(false, 4 + 2 + 8 + 8)? {
            cursor.i32()?; // partition
            code = cursor.i16()?;
            cursor.i64()?; // timestamp
            offset = cursor.i64()?;
        }
    }
    cursor.expect_end()?;
    Ok((offset, code))
}

/// A CreateDelegationToken response of version 3: the token, or the broker's error.
pub(super) fn made_token(answer: &[u8]) -> Result<Result<MadeToken, i16>, ProtocolError> {
    let mut cursor = Cursor::new(answer);
    cursor.i32()?; // correlation id
    cursor.skip_tagged_fields()?;
    let code = cursor.i16()?;
    if code != NONE {
        return Ok(Err(code));
    }
    for _ in 0..4 {
        cursor.text(true)?; // types and names of whose it is and of who has asked
    }
    let issued = cursor.i64()?;
    let expires = cursor.i64()?;
    cursor.i64()?; // until when it could be renewed
    let at = cursor.position();
    let id = cursor.string_non_null(true)?;
    if id.is_empty() || id.len() > USER_BYTES_MAX || id.contains('\0') {
        return Err(ProtocolError::CountTooLarge { at });
    }
    let id = id.to_owned();
    let at = cursor.position();
    // As bytes are written, a text is.
    let hmac = cursor.text(true)?;
    if hmac.is_empty() || hmac.len() > HMAC_BYTES_MAX {
        return Err(ProtocolError::CountTooLarge { at });
    }
    let hmac = Zeroizing::new(BASE64.encode(hmac));
    cursor.i32()?; // throttle time
    cursor.skip_tagged_fields()?;
    cursor.expect_end()?;
    let good_for = u64::try_from(expires.saturating_sub(issued)).unwrap_or(0);
    Ok(Ok(MadeToken {
        id,
        hmac,
        good_for: Duration::from_millis(good_for),
    }))
}

/// The first versions of Metadata requests and of Fetch in which topics have ids (KIP-516).
const METADATA_WITH_TOPIC_IDS: i16 = 12;
const FETCH_WITH_TOPIC_IDS: i16 = 13;
/// Ten times as many as large clusters have, of each.
const BROKERS_MAX: usize = 10_000;
const TOPICS_MAX: usize = 500_000;
/// Brokers make them of 64 bytes.
const HMAC_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::error_code::UNSUPPORTED_VERSION;

    proptest! {
        #[test]
        fn hostile_answers_are_errors_or_answers(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = leaders(&answer);
            let _ = listed_offset(&answer);
            let _ = cluster(&answer);
            let _ = offers_what_no_broker_does(&answer);
            let _ = described_settings(&answer, ["max.message.bytes"]);
            let _ = made_token(&answer);
        }
    }

    #[test]
    fn a_proxy_is_told_from_brokers_of_any_age() {
        // Highest versions of Metadata and Fetch of Kafka 1.0, 2.8, 3.0, 3.1, 4.0, and of a Sealwire in front of the
        // last two.
        for (metadata, fetch, expected) in [
            (5, 6, false),
            (11, 12, false),
            (11, 12, false),
            (12, 13, false),
            (13, 17, false),
            (12, 12, true),
            (13, 12, true),
        ] {
            let mut answer = vec![0, 0, 0, 1, 0, 0, 4];
            for (key, highest) in [(0, 9), (1, fetch), (3, metadata)] {
                answer.extend([0, key, 0, 0, 0, highest, 0]);
            }
            answer.extend([0, 0, 0, 0, 0]);
            assert_eq!(
                offers_what_no_broker_does(&answer),
                Ok((expected, 0)),
                "{metadata} {fetch}"
            );
        }
    }

    #[test]
    fn an_old_broker_says_so_and_is_none() {
        let answer = [0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 2];
        assert_eq!(
            offers_what_no_broker_does(&answer),
            Ok((false, UNSUPPORTED_VERSION))
        );
    }

    #[test]
    fn leaders_are_found_by_their_broker() {
        let mut answer = vec![0, 0, 0, 1];
        answer.extend([0, 0, 0, 1, 0, 0, 0, 7, 0, 1, b'h', 0, 0, 0x23, 0x84, 0xff, 0xff]); // broker 7, h:9092
        answer.extend([0, 0, 0, 7]);
        answer.extend([0, 0, 0, 1, 0, 0, 0, 1, b't', 0]); // topic t
        answer.extend([0, 0, 0, 2]);
        answer.extend([0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0]); // partition 1, led by 7
        answer.extend([0, 5, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]); // partition 0, by nobody
        let (leaders, code) = leaders(&answer).unwrap();
        assert_eq!(code, 0);
        let addresses: Vec<_> = leaders
            .iter()
            .map(|leader| (leader.partition, leader.address.as_deref()))
            .collect();
        assert_eq!(addresses, [(0, None), (1, Some("h:9092"))]);
    }

    #[test]
    fn settings_are_read_beside_errors() {
        let text = |text: &str| {
            [
                &u16::try_from(text.len()).unwrap().to_be_bytes()[..],
                text.as_bytes(),
            ]
            .concat()
        };
        let mut answer = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
        answer.extend([0, 0, 0xff, 0xff, 2]);
        answer.extend(text("payments"));
        answer.extend([0, 0, 0, 2]);
        answer.extend([text("compression.type"), text("gzip")].concat());
        answer.extend([0, 1, 0, 0, 0, 0, 0]);
        answer.extend([text("max.message.bytes"), text("2097152")].concat());
        answer.extend([0, 5, 0]);
        answer.extend([0, 0, 0, 1]);
        answer.extend([text("message.max.bytes"), text("1048588"), vec![4]].concat());
        answer.extend([0, 29, 0xff, 0xff, 2]);
        answer.extend(text("secret"));
        answer.extend([0, 0, 0, 0]);
        let settings = ["max.message.bytes", "compression.type", "no.such.setting"];
        let values = [Some("2097152".to_owned()), Some("gzip".to_owned()), None];
        let expected = [("payments", Ok(values)), ("secret", Err(29))].map(|(topic, values)| TopicSettings {
            topic: topic.to_owned(),
            values,
        });
        assert_eq!(described_settings(&answer, settings).unwrap(), expected);
    }

    #[test]
    fn a_token_is_read_or_the_error_instead_of_it() {
        let answer = |hmac: usize, id: &str| {
            let mut answer = vec![0, 0, 0, 1, 0, 0, 0];
            for text in ["User", "app", "User", "proxy"] {
                answer.push(u8::try_from(text.len() + 1).unwrap());
                answer.extend(text.as_bytes());
            }
            for time in [1_000_i64, 91_000, 91_000] {
                answer.extend(time.to_be_bytes());
            }
            answer.push(u8::try_from(id.len() + 1).unwrap());
            answer.extend(id.as_bytes());
            match u8::try_from(hmac + 1) {
                Ok(length) if length < 0x80 => answer.push(length),
                _ => answer.extend([
                    u8::try_from((hmac + 1) % 128).unwrap() | 0x80,
                    u8::try_from((hmac + 1) / 128).unwrap(),
                ]),
            }
            answer.extend(vec![0xff; hmac]);
            answer.extend([0, 0, 0, 0, 0]);
            answer
        };
        let made = made_token(&answer(3, "id-1")).unwrap().unwrap();
        assert_eq!(
            (made.id.as_str(), made.hmac.as_str(), made.good_for),
            ("id-1", "////", Duration::from_secs(90))
        );
        assert!(!format!("{made:?}").contains("////"));
        assert!(made_token(&answer(HMAC_BYTES_MAX, "id")).unwrap().is_ok());
        for wrong in [answer(HMAC_BYTES_MAX + 1, "id"), answer(0, "id"), answer(3, "")] {
            assert!(made_token(&wrong).is_err());
        }
        let mut longer = answer(3, "id");
        longer.push(0);
        assert!(made_token(&longer).is_err());
        let refused = [0, 0, 0, 1, 0, 0, 65];
        assert_eq!(made_token(&refused).map(Result::err), Ok(Some(65)));
    }

    /// SELF-CHECK-2
    #[test]
    fn a_broker_whose_host_is_none_is_not_shown() {
        let at = |host: u8| {
            let mut answer = vec![0, 0, 0, 0, 0, 0, 0, 1];
            answer.extend([0, 0, 0, 7, 0, 1, host, 0, 0, 0x23, 0x84, 0xff, 0xff]);
            answer.extend([0; 8]);
            cluster(&answer).map(|found| found.brokers.len())
        };
        assert_eq!(at(b'h'), Ok(1));
        for host in [b'\n', 0x1b, b' ', b'/'] {
            assert!(matches!(at(host), Err(ProtocolError::NotAHost { .. })), "{host}");
        }
    }

    /// SELF-CHECK-2
    #[test]
    fn brokers_and_topics_are_bounded_before_any_is_kept() {
        let answer = |brokers: usize, topics: usize| {
            let mut answer = vec![0; 4];
            answer.extend(u32::try_from(brokers).unwrap().to_be_bytes());
            for _ in 0..brokers {
                answer.extend([0, 0, 0, 1, 0, 1, b'k', 0, 0, 0, 1, 0xff, 0xff]);
            }
            answer.extend([0; 4]);
            answer.extend(u32::try_from(topics).unwrap().to_be_bytes());
            for _ in 0..topics {
                answer.extend([0, 0, 0, 1, b't', 0, 0, 0, 0, 0]);
            }
            answer
        };
        let most = cluster(&answer(BROKERS_MAX, TOPICS_MAX)).unwrap();
        assert_eq!((most.brokers.len(), most.topics.len()), (BROKERS_MAX, TOPICS_MAX));
        let too_many = |brokers, topics| {
            matches!(
                cluster(&answer(brokers, topics)),
                Err(ProtocolError::CountTooLarge { .. })
            )
        };
        assert!(too_many(BROKERS_MAX + 1, 0));
        assert!(too_many(1, TOPICS_MAX + 1));
    }
}
