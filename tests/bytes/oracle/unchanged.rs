//! What is not changed comes out byte for byte.

use kafka_protocol::messages::ApiKey;
use proptest::prelude::*;
use sealwire::protocol::addresses::{self, Rewrite};
use sealwire::protocol::fetch_response::FetchResponse;
use sealwire::protocol::partitions::{RecordsRewriting, RecordsStep};
use sealwire::protocol::produce_request::ProduceRequest;
use sealwire::protocol::writer::put_uvarint;
use sealwire::protocol::{api_key, produce_response};

use super::draw::Draw;
use super::messages;
use super::ranges::{FETCH_VERSIONS, PRODUCE_VERSIONS};
use super::wire::{request, response, unprefixed};
use crate::fuzz_corpus::targets::whole::{Becomes, ProducedBecomes, rewrite_produce, rewrite_records};

/// The addresses of a frame, for a map that gives each broker the address that it has.
fn known_addresses(api_key: i16, version: i16, frame: &[u8]) -> Vec<(i32, String, u16)> {
    let mut known: Vec<(i32, String, u16)> = Vec::new();
    addresses::visit(api_key, version, frame, &mut |broker| {
        known.push((
            broker.node_id,
            broker.host.to_owned(),
            u16::try_from(broker.port).unwrap(),
        ));
    })
    .unwrap();
    known
}

/// A frame whose addresses are all real ones, rewritten to what they are.
fn assert_same_with_same_addresses(api_key: i16, version: i16, frame: &[u8]) {
    let known = known_addresses(api_key, version, frame);
    let mut turn = known.iter();
    let mut out = Vec::new();
    let mut map = |node_id| {
        let (known_id, host, port) = turn.next().unwrap();
        assert_eq!(*known_id, node_id);
        Rewrite::Replace { host, port: *port }
    };
    let written = addresses::rewrite(api_key, version, frame, &mut map, &mut out).unwrap();
    out.extend_from_slice(&frame[written..]);
    assert_eq!(unprefixed(&out), frame, "API {api_key} version {version}");
}

proptest! {
    #[test]
    fn produce_requests(seed: u64) {
        let mut layout = ProduceRequest::default();
        for version in PRODUCE_VERSIONS {
            let draw = &mut Draw::new(seed);
            let body = messages::produce_request(draw, version);
            let frame = request(draw, ApiKey::Produce, version, &body);
            layout.parse(&frame, version).unwrap();
            prop_assert_eq!(layout.acks, body.acks);
            prop_assert_eq!(layout.timeout_ms, body.timeout_ms);
            prop_assert_eq!(layout.transactional, body.transactional_id.is_some());
            let partitions = body.topic_data.iter().flat_map(|topic| {
                topic.partition_data.iter().map(move |partition| (topic, partition))
            });
            prop_assert_eq!(layout.partitions.len(), partitions.clone().count());
            for (position, (topic, partition)) in partitions.enumerate() {
                let found = &layout.partitions[position];
                prop_assert_eq!(found.index, partition.index);
                prop_assert_eq!(found.records.is_none(), partition.records.is_none());
                prop_assert_eq!(layout.records(&frame, position), partition.records.as_deref().unwrap_or_default());
                let name = (version <= 12).then(|| topic.name.as_str());
                let found = layout.topic_name(&frame, position);
                prop_assert_eq!(found.as_deref(), name);
            }

            let mut out = Vec::new();
            rewrite_produce(&layout, &frame, &mut out, &mut |_, out| {
                out.extend_from_slice(b"taken back");
                ProducedBecomes::Kept
            }).unwrap();
            prop_assert_eq!(unprefixed(&out), &frame[..], "kept, version {}", version);

            let mut out = Vec::new();
            rewrite_produce(&layout, &frame, &mut out, &mut |position, out| {
                match layout.partitions[position].records {
                    None => ProducedBecomes::Kept,
                    Some(_) => {
                        out.extend_from_slice(layout.records(&frame, position));
                        ProducedBecomes::Written
                    }
                }
            }).unwrap();
            prop_assert_eq!(unprefixed(&out), &frame[..], "written as it was, version {}", version);
        }
    }

    /// WIRE-4
    #[test]
    fn fetch_responses(seed: u64) {
        let mut layout = FetchResponse::default();
        for version in FETCH_VERSIONS {
            let draw = &mut Draw::new(seed);
            let mut body = messages::fetch_response(draw, version);
            let frame = response(draw, version, &body);
            layout.parse(&frame, version).unwrap();
            let found = layout.partitions();
            let partitions = body.responses.iter().flat_map(|topic| {
                topic.partitions.iter().map(move |partition| (topic, partition))
            });
            prop_assert_eq!(found.len(), partitions.clone().count());
            for (position, (topic, partition)) in partitions.enumerate() {
                let place = found.get(position).unwrap();
                prop_assert_eq!(place.index, partition.partition_index);
                prop_assert_eq!(place.error_code, partition.error_code);
                prop_assert_eq!(place.high_watermark, partition.high_watermark);
                prop_assert_eq!(found.records(&frame, position), partition.records.as_deref().unwrap_or_default());
                let name = (version <= 12).then(|| topic.topic.as_str());
                prop_assert_eq!(found.topic_name(&frame, position), name);
            }

            let mut rewriting = RecordsRewriting::default();
            let mut out = Vec::new();
            let changed = loop {
                match rewriting.advance(found, &frame, &mut out, usize::MAX, &mut |_| Rewrite::Unserved).unwrap() {
                    RecordsStep::End { changed } => break changed,
                    RecordsStep::Partition(_) => rewriting.keep(found).unwrap(),
                    RecordsStep::Copied => {}
                    RecordsStep::Records(_) => unreachable!("no records were replaced"),
                }
            };
            prop_assert_eq!(changed, !body.node_endpoints.is_empty(), "RESPONSE-2, version {}", version);
            prop_assert_eq!(out.is_empty(), !changed);

            body.node_endpoints.clear();
            let frame = response(&mut Draw::new(seed), version, &body);
            layout.parse(&frame, version).unwrap();
            let found = layout.partitions();
            let mut out = Vec::new();
            let as_it_was = &mut |position| match found.records(&frame, position) {
                b"" => Becomes::Kept,
                records => Becomes::Records(records),
            };
            rewrite_records(found, &frame, &mut out, as_it_was, &mut |_| Rewrite::Unserved).unwrap();
            prop_assert_eq!(unprefixed(&out), &frame[..], "written as it was, version {}", version);
        }
    }

    #[test]
    fn produce_responses_without_refusals(seed: u64) {
        for version in PRODUCE_VERSIONS {
            let draw = &mut Draw::new(seed);
            let mut body = messages::produce_response(draw, version);
            body.node_endpoints.clear();
            let frame = response(draw, version, &body);
            let mut out = Vec::new();
            let unserved = &mut |_| Rewrite::Unserved;
            let is_written =
                produce_response::merge(&frame, version, &[], unserved, &mut |_, _| (), &mut out).unwrap();
            prop_assert!(!is_written && out.is_empty(), "version {}: it goes on as it is", version);
        }
    }

    #[test]
    fn addresses_that_stay(seed: u64) {
        for version in 0..=13 {
            let draw = &mut Draw::new(seed);
            let mut body = messages::metadata_response(draw, version);
            body.brokers.retain(|broker| broker.node_id.0 >= 0 || broker.port < 0);
            assert_same_with_same_addresses(api_key::METADATA, version, &response(draw, version, &body));
        }
        for version in 0..=6 {
            let draw = &mut Draw::new(seed);
            let mut body = messages::find_coordinator_response(draw, version);
            body.coordinators.retain(|broker| broker.node_id.0 >= 0 || broker.port < 0);
            if body.node_id.0 < 0 {
                body.port = -1;
            }
            assert_same_with_same_addresses(api_key::FIND_COORDINATOR, version, &response(draw, version, &body));
        }
        for version in 0..=2 {
            let draw = &mut Draw::new(seed);
            let mut body = messages::describe_cluster_response(draw, version);
            body.endpoint_type = 1;
            body.brokers.retain(|broker| broker.broker_id.0 >= 0 || broker.port < 0);
            assert_same_with_same_addresses(api_key::DESCRIBE_CLUSTER, version, &response(draw, version, &body));
        }
        for version in PRODUCE_VERSIONS {
            let draw = &mut Draw::new(seed);
            let mut body = messages::produce_response(draw, version);
            body.node_endpoints.retain(|broker| broker.node_id.0 >= 0 || broker.port < 0);
            assert_same_with_same_addresses(api_key::PRODUCE, version, &response(draw, version, &body));
        }
        for version in FETCH_VERSIONS {
            let draw = &mut Draw::new(seed);
            let mut body = messages::fetch_response(draw, version);
            body.node_endpoints.retain(|broker| broker.node_id.0 >= 0 || broker.port < 0);
            assert_same_with_same_addresses(api_key::FETCH, version, &response(draw, version, &body));
        }
        let draw = &mut Draw::new(seed);
        let mut body = messages::share_fetch_response(draw);
        body.node_endpoints.retain(|broker| broker.node_id.0 >= 0 || broker.port < 0);
        let frame = response(draw, 1, &body);
        assert_same_with_same_addresses(api_key::SHARE_FETCH, 1, &frame);
        assert_same_with_same_addresses(api_key::SHARE_FETCH, 2, &frame);
        let mut body = messages::share_acknowledge_response(draw);
        body.node_endpoints.retain(|broker| broker.node_id.0 >= 0 || broker.port < 0);
        let frame = response(draw, 1, &body);
        assert_same_with_same_addresses(api_key::SHARE_ACKNOWLEDGE, 1, &frame);
    }
}

/// A Produce request of version 9 with what kafka-protocol cannot write: tagged fields out of order, and padded
/// varints.
fn unusual_produce_request() -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff];
    frame.extend([2, 7, 1, 0xaa, 3, 0]); // header: tags 7 and 3
    frame.extend([0, 0, 1, 0, 0, 0x75, 0x30]); // no transactional id, acks, timeout
    frame.extend([0x82, 0x80, 0x00]); // one topic, padded
    frame.extend(b"\x02t");
    frame.extend([0x83, 0x00]); // two partitions, padded
    frame.extend([0, 0, 0, 0, 0x84, 0x80, 0x80, 0x00, 1, 2, 3, 2, 9, 0, 8, 0]);
    frame.extend([0, 0, 0, 1, 0x01, 1, 5, 2, 6, 6]);
    frame.extend([1, 4, 0]); // the topic's tags
    frame.push(2); // the request's tags, the same one twice
    put_uvarint(&mut frame, u32::MAX);
    frame.extend([1, 0x55]);
    put_uvarint(&mut frame, u32::MAX);
    frame.push(0);
    frame
}

#[test]
fn unsorted_tags_and_padded_varints_stay() {
    let frame = unusual_produce_request();
    let mut layout = ProduceRequest::default();
    layout.parse(&frame, 9).unwrap();
    assert_eq!(layout.partitions.len(), 2);
    assert_eq!(layout.records(&frame, 0), [1, 2, 3]);
    let mut out = Vec::new();
    rewrite_produce(&layout, &frame, &mut out, &mut |_, _| ProducedBecomes::Kept).unwrap();
    assert_eq!(unprefixed(&out), frame);
}

#[test]
fn what_is_written_is_in_its_shortest_form_and_its_neighbours_stay() {
    let frame = unusual_produce_request();
    let mut layout = ProduceRequest::default();
    layout.parse(&frame, 9).unwrap();
    let mut out = b"an earlier frame".to_vec();
    rewrite_produce(&layout, &frame, &mut out, &mut |position, out| {
        if position == 0 {
            return ProducedBecomes::Cut;
        }
        out.push(0x77);
        ProducedBecomes::Written
    })
    .unwrap();
    let out = out.strip_prefix(b"an earlier frame").unwrap();
    let mut expected = frame[..16 + 7 + 3].to_vec(); // one topic still, so the padding stays
    expected.extend(b"\x02t");
    expected.push(2); // one partition, in its shortest form
    expected.extend([0, 0, 0, 1, 0x02, 0x77, 1, 5, 2, 6, 6]);
    expected.extend([1, 4, 0]);
    expected.extend(&frame[frame.len() - 14..]);
    assert_eq!(unprefixed(out), expected);
}
