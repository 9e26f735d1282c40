//! Fetches that are looked at while they stream: the walkers find what kafka-protocol says is there, wherever the bytes
//! are cut.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest, TopicName};
use proptest::prelude::*;
use sealwire::protocol::fetch_request::{AskedSession, AskedTopics, blank_rack};
use sealwire::protocol::fetch_response::Walked;

use super::draw::Draw;
use super::messages;
use super::wire::{decode_request, request, response};
use crate::fuzz_corpus::targets::whole::stream_fetch;

const VERSIONS: std::ops::RangeInclusive<i16> = 4..=12;

fn fetch_request(draw: &mut Draw, version: i16) -> FetchRequest {
    let flexible = version >= 12;
    let mut body = FetchRequest::default();
    body.replica_id = BrokerId(-1);
    body.max_wait_ms = draw.i32();
    body.min_bytes = draw.i32();
    body.max_bytes = draw.i32();
    body.isolation_level = draw.of(&[0, 1]);
    if version >= 7 {
        body.session_id = draw.of(&[0, 7, -1, i32::MAX]);
        body.session_epoch = draw.of(&[-1, 0, 1, i32::MAX]);
        body.forgotten_topics_data = draw.list(3, |draw| {
            let mut topic = ForgottenTopic::default();
            topic.topic = TopicName(draw.name());
            topic.partitions = draw.list(4, Draw::i32);
            topic.unknown_tagged_fields = draw.tags(flexible);
            topic
        });
    }
    body.topics = draw.list(5, |draw| {
        let mut topic = FetchTopic::default();
        topic.topic = TopicName(draw.name());
        topic.partitions = draw.list(5, |draw| {
            let mut partition = FetchPartition::default();
            partition.partition = draw.i32();
            partition.fetch_offset = draw.i64();
            partition.partition_max_bytes = draw.i32();
            partition.unknown_tagged_fields = draw.tags(flexible);
            partition
        });
        topic.unknown_tagged_fields = draw.tags(flexible);
        topic
    });
    if version >= 11 {
        body.rack_id = draw.name();
    }
    body.unknown_tagged_fields = draw.tags(flexible);
    body
}

proptest! {
    /// STREAM-WALK-1, STREAM-WALK-2
    #[test]
    fn fetch_responses_in_pieces(seed: u64) {
        for version in VERSIONS {
            let draw = &mut Draw::new(seed);
            let body = messages::fetch_response(draw, version);
            let frame = response(draw, version, &body);
            let piece_bytes = 1 + draw.below(60);
            let mut walked = Vec::new();
            let mut session = None;
            let mut found: Vec<(&str, Vec<u8>)> = Vec::new();
            let streamed = stream_fetch(&frame, version, piece_bytes, &mut |bytes, what| {
                walked.extend_from_slice(bytes);
                match what {
                    Walked::Session(id) => session = Some(id),
                    Walked::Topic(name) => found.push((name, Vec::new())),
                    Walked::Records => found.last_mut().unwrap().1.extend_from_slice(bytes),
                    Walked::Other | Walked::End => {}
                }
            });
            prop_assert_eq!(streamed, Ok(()));
            prop_assert_eq!(&walked, &frame, "each byte once, in order");
            prop_assert_eq!(session, Some(body.session_id));
            let expected: Vec<(&str, Vec<u8>)> = body.responses.iter().map(|topic| {
                let records = topic.partitions.iter().filter_map(|partition| partition.records.as_deref());
                (topic.topic.as_str(), records.flatten().copied().collect())
            }).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn topics_and_sessions_of_fetch_requests(seed: u64) {
        for version in VERSIONS {
            let draw = &mut Draw::new(seed);
            let body = fetch_request(draw, version);
            let frame = request(draw, ApiKey::Fetch, version, &body);
            let mut asked = AskedTopics::begin(&frame, version).unwrap();
            let session = match (version, body.session_epoch) {
                (..7, _) | (_, -1) => AskedSession::None,
                (_, 0) => AskedSession::Opens,
                _ => AskedSession::Continues(body.session_id),
            };
            prop_assert_eq!(asked.session(), session);
            for topic in &body.topics {
                prop_assert_eq!(asked.next_name(), Ok(Some(topic.topic.as_bytes())));
            }
            prop_assert_eq!(asked.next_name(), Ok(None));

            let mut blanked = frame.clone();
            prop_assert_eq!(blank_rack(&mut blanked, version), Ok(()));
            let (_, mut read) = decode_request::<FetchRequest>(&blanked, version);
            let (_, before) = decode_request::<FetchRequest>(&frame, version);
            prop_assert_eq!(read.rack_id.to_string(), "-".repeat(before.rack_id.len()));
            read.rack_id = before.rack_id.clone();
            prop_assert_eq!(read, before);
        }
    }
}
