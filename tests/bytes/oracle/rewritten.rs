//! What is changed decodes to the expected model, and nothing else is different.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, DescribeClusterResponse, FetchRequest,
    FetchResponse as FetchModel, FindCoordinatorResponse, MetadataResponse, ProduceRequest as ProduceModel,
    ProduceResponse, ShareAcknowledgeResponse, ShareFetchResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion, StrBytes};
use proptest::prelude::*;
use sealwire::protocol::addresses::{self, Rewrite};
use sealwire::protocol::fetch_request::limit_response;
use sealwire::protocol::fetch_response::FetchResponse;
use sealwire::protocol::policy::Policy;
use sealwire::protocol::produce_request::{ProduceRequest, Rewriting, Writing};
use sealwire::protocol::produce_response::{self, Refusal};
use sealwire::protocol::{ProtocolError, api_key, api_versions};

use super::draw::Draw;
use super::messages;
use super::ranges::{FETCH_VERSIONS, PRODUCE_VERSIONS};
use super::wire::{decode_request, decode_response, request, response, unprefixed};
use crate::fuzz_corpus::targets::whole::{Becomes, ProducedBecomes, rewrite_produce, rewrite_records};

const PROXY: &str = "proxy.example.com";

/// Even nodes are served, each on a port of its own.
fn map(node_id: i32) -> Rewrite<'static> {
    assert!(node_id >= 0, "nobody knows node {node_id}");
    if node_id % 2 == 0 {
        Rewrite::Replace {
            host: PROXY,
            port: 30_000 + node_id as u16,
        }
    } else {
        Rewrite::Unserved
    }
}

/// What becomes of an address in the model; false means that it is cut.
fn expect(node_id: BrokerId, host: &mut StrBytes, port: &mut i32) -> bool {
    if host.is_empty() || *port < 0 {
        return true;
    }
    if node_id.0 < 0 || node_id.0 % 2 != 0 {
        return false;
    }
    *host = StrBytes::from_static_str(PROXY);
    *port = 30_000 + node_id.0;
    true
}

/// Rewrites a response's addresses and compares it with `expected` of what the source decodes to. Also checks what is
/// shown to a visitor.
fn assert_addresses<M>(
    api_key: i16,
    version: i16,
    frame: &[u8],
    addresses_of: impl FnOnce(&M) -> Vec<(i32, String, i32)>,
    expected: impl FnOnce(&mut M),
) where
    M: Decodable + HeaderVersion + PartialEq + std::fmt::Debug,
{
    let (header, mut model) = decode_response::<M>(frame, version);
    let shown: Vec<_> = addresses_of(&model)
        .into_iter()
        .filter(|(node_id, host, port)| *node_id >= 0 && !host.is_empty() && *port >= 0)
        .collect();
    let mut visited = Vec::new();
    addresses::visit(api_key, version, frame, &mut |broker| {
        visited.push((broker.node_id, broker.host.to_owned(), broker.port));
    })
    .unwrap();
    assert_eq!(visited, shown);

    let mut out = Vec::new();
    let written = addresses::rewrite(api_key, version, frame, &mut map, &mut out).unwrap();
    out.extend_from_slice(&frame[written..]);
    let (rewritten_header, rewritten) = decode_response::<M>(unprefixed(&out), version);
    expected(&mut model);
    assert_eq!(rewritten, model, "API {api_key} version {version}");
    assert_eq!(rewritten_header, header);
    if addresses::carries_addresses(api_key, version) {
        let clean = !String::from_utf8_lossy(&out).contains("broker-");
        assert!(
            clean,
            "a broker's address is left in API {api_key} version {version}"
        );
    }
}

fn expect_coordinator(coordinator: &mut Coordinator) {
    if !expect(coordinator.node_id, &mut coordinator.host, &mut coordinator.port) {
        coordinator.node_id = BrokerId(-1);
        coordinator.host = StrBytes::from_static_str("");
        coordinator.port = -1;
        if coordinator.error_code == 0 {
            coordinator.error_code = 44;
            coordinator.error_message = Some(StrBytes::from_static_str(addresses::NOT_SERVED));
        }
    }
}

macro_rules! listed {
    ($entries:expr, $id:ident) => {
        $entries
            .iter()
            .map(|entry| (entry.$id.0, entry.host.to_string(), entry.port))
            .collect()
    };
}

proptest! {
    #[test]
    fn limits_on_fetch_responses_are_lowered_and_never_raised(seed: u64, version in 4_i16..=17, wanted: i32) {
        let draw = &mut Draw::new(seed);
        let mut body = FetchRequest::default();
        body.max_bytes = wanted;
        let frame = request(draw, ApiKey::Fetch, version, &body);
        let mut limited = frame.clone();
        prop_assert_eq!(limit_response(&mut limited, version, 1000), Ok(()));
        let (header, before) = decode_request::<FetchRequest>(&frame, version);
        let (limited_header, after) = decode_request::<FetchRequest>(&limited, version);
        prop_assert_eq!(after, before.with_max_bytes(wanted.min(1000)));
        prop_assert_eq!(limited_header, header);
        for end in 0..frame.len() {
            let mut part = frame[..end].to_vec();
            if limit_response(&mut part, version, 1000).is_err() {
                prop_assert_eq!(&part, &frame[..end]);
            } else {
                prop_assert_eq!(&part, &limited[..end]);
            }
        }
    }

    /// ADDRESS-1, ADDR-2
    #[test]
    fn addresses_are_mapped(seed: u64) {
        for version in 0..=13 {
            let draw = &mut Draw::new(seed);
            let body = messages::metadata_response(draw, version);
            assert_addresses::<MetadataResponse>(
                api_key::METADATA,
                version,
                &response(draw, version, &body),
                |model| listed!(model.brokers, node_id),
                |model| model.brokers.retain_mut(|node| expect(node.node_id, &mut node.host, &mut node.port)),
            );
        }
        for version in 0..=6 {
            let draw = &mut Draw::new(seed);
            let body = messages::find_coordinator_response(draw, version);
            assert_addresses::<FindCoordinatorResponse>(
                api_key::FIND_COORDINATOR,
                version,
                &response(draw, version, &body),
                |model| match version {
                    4.. => listed!(model.coordinators, node_id),
                    _ => listed!([model], node_id),
                },
                |model| {
                    if version >= 4 {
                        model.coordinators.iter_mut().for_each(expect_coordinator);
                        return;
                    }
                    let mut coordinator = Coordinator::default();
                    coordinator.node_id = model.node_id;
                    coordinator.host = model.host.clone();
                    coordinator.port = model.port;
                    coordinator.error_code = model.error_code;
                    coordinator.error_message = model.error_message.clone();
                    expect_coordinator(&mut coordinator);
                    model.node_id = coordinator.node_id;
                    model.host = coordinator.host;
                    model.port = coordinator.port;
                    model.error_code = coordinator.error_code;
                    if version >= 1 {
                        model.error_message = coordinator.error_message;
                    }
                },
            );
        }
        for version in 0..=2 {
            let draw = &mut Draw::new(seed);
            let body = messages::describe_cluster_response(draw, version);
            let controllers = body.endpoint_type == 2;
            assert_addresses::<DescribeClusterResponse>(
                api_key::DESCRIBE_CLUSTER,
                version,
                &response(draw, version, &body),
                |model| if controllers { Vec::new() } else { listed!(model.brokers, broker_id) },
                |model| model.brokers.retain_mut(|node| {
                    let node_id = if controllers { BrokerId(-1) } else { node.broker_id };
                    expect(node_id, &mut node.host, &mut node.port)
                }),
            );
        }
        for version in PRODUCE_VERSIONS {
            let draw = &mut Draw::new(seed);
            let body = messages::produce_response(draw, version);
            assert_addresses::<ProduceResponse>(
                api_key::PRODUCE,
                version,
                &response(draw, version, &body),
                |model| listed!(model.node_endpoints, node_id),
                |model| model.node_endpoints.retain_mut(|node| expect(node.node_id, &mut node.host, &mut node.port)),
            );
        }
        for version in FETCH_VERSIONS {
            let draw = &mut Draw::new(seed);
            let body = messages::fetch_response(draw, version);
            assert_addresses::<FetchModel>(
                api_key::FETCH,
                version,
                &response(draw, version, &body),
                |model| listed!(model.node_endpoints, node_id),
                |model| model.node_endpoints.retain_mut(|node| expect(node.node_id, &mut node.host, &mut node.port)),
            );
        }
        let draw = &mut Draw::new(seed);
        let body = messages::share_fetch_response(draw);
        assert_addresses::<ShareFetchResponse>(
            api_key::SHARE_FETCH,
            1,
            &response(draw, 1, &body),
            |model| listed!(model.node_endpoints, node_id),
            |model| model.node_endpoints.retain_mut(|node| expect(node.node_id, &mut node.host, &mut node.port)),
        );
        let body = messages::share_acknowledge_response(draw);
        assert_addresses::<ShareAcknowledgeResponse>(
            api_key::SHARE_ACKNOWLEDGE,
            1,
            &response(draw, 1, &body),
            |model| listed!(model.node_endpoints, node_id),
            |model| model.node_endpoints.retain_mut(|node| expect(node.node_id, &mut node.host, &mut node.port)),
        );
    }

    #[test]
    fn share_acknowledge_2_has_one_field_more(seed: u64) {
        let draw = &mut Draw::new(seed);
        let mut body = messages::share_acknowledge_response(draw);
        body.error_message = None;
        body.unknown_tagged_fields.clear();
        let mut frame = response(draw, 1, &body);
        // The lock timeout stands behind the header, throttle time, error code and (null) error message.
        let at = sealwire::protocol::frame::response_header_end(&frame, true).unwrap() + 4 + 2 + 1;
        let mut rewritten = Vec::new();
        addresses::rewrite(api_key::SHARE_ACKNOWLEDGE, 1, &frame, &mut map, &mut rewritten).unwrap();
        let mut expected = unprefixed(&rewritten).to_vec();
        for frame in [&mut frame, &mut expected] {
            frame.splice(at..at, [0, 0, 0x75, 0x30]);
        }
        let mut out = Vec::new();
        addresses::rewrite(api_key::SHARE_ACKNOWLEDGE, 2, &frame, &mut map, &mut out).unwrap();
        prop_assert_eq!(unprefixed(&out), expected);
    }

    #[test]
    fn partitions_of_produce_requests_are_cut_and_written(seed: u64) {
        let mut layout = ProduceRequest::default();
        for version in PRODUCE_VERSIONS {
            let draw = &mut Draw::new(seed);
            let body = messages::produce_request(draw, version);
            let frame = request(draw, ApiKey::Produce, version, &body);
            layout.parse(&frame, version).unwrap();
            let actions: Vec<_> = (0..layout.partitions.len()).map(|_| (draw.below(3), draw.records())).collect();

            let mut out = Vec::new();
            let mut asked = Vec::new();
            rewrite_produce(&layout, &frame, &mut out, &mut |position, out| {
                asked.push(position);
                let (action, records) = &actions[position];
                out.extend_from_slice(records.as_deref().unwrap_or_default());
                [ProducedBecomes::Kept, ProducedBecomes::Written, ProducedBecomes::Cut][*action]
            }).unwrap();
            prop_assert_eq!(asked, (0..actions.len()).collect::<Vec<_>>());

            // The same step by step, behind other bytes that are gone after the first of them.
            let mut again = b"earlier".to_vec();
            let mut rewriting = Rewriting::begin(&layout, &frame, &mut again).unwrap();
            let (mut moved, mut stops) = (false, 0);
            loop {
                match rewriting.advance(&layout, &frame, &mut again, 1 + draw.below(9)).unwrap() {
                    Writing::Copied(bytes) => assert!(bytes < 10, "REWRITING-1"),
                    // What may be decided before anything is written may be decided later, too.
                    Writing::Partition(position) => match actions[position].0 {
                        0 if draw.below(2) == 0 => rewriting.keep(&layout, &mut again).unwrap(),
                        2 if draw.below(2) == 0 => rewriting.cut(&layout, &mut again).unwrap(),
                        _ => rewriting.records(&layout).unwrap(),
                    },
                    Writing::Records(position) => {
                        let (action, records) = &actions[position];
                        again.extend_from_slice(records.as_deref().unwrap_or_default());
                        match action {
                            0 => rewriting.keep(&layout, &mut again).unwrap(),
                            1 => rewriting.written(&layout, &mut again).unwrap(),
                            _ => rewriting.cut(&layout, &mut again).unwrap(),
                        }
                    }
                    Writing::End => break,
                }
                stops += 1;
                if !moved && draw.below(3) == 0 {
                    moved = true;
                    again.drain(..b"earlier".len());
                    rewriting.move_forward(b"earlier".len());
                }
            }
            let again = if moved { &again } else { again.strip_prefix(b"earlier").unwrap() };
            prop_assert_eq!(again, &out[..], "version {} with {} stops", version, stops);

            let (header, mut expected) = decode_request::<ProduceModel>(&frame, version);
            let mut turn = actions.iter();
            expected.topic_data.retain_mut(|topic| {
                let before = topic.partition_data.len();
                topic.partition_data.retain_mut(|partition| {
                    let (action, records) = turn.next().unwrap();
                    if *action == 1 {
                        partition.records = Some(records.clone().unwrap_or_default());
                    }
                    *action != 2
                });
                before == 0 || !topic.partition_data.is_empty()
            });
            let (rewritten_header, rewritten) = decode_request::<ProduceModel>(unprefixed(&out), version);
            prop_assert_eq!(rewritten, expected, "version {}", version);
            prop_assert_eq!(rewritten_header, header);
        }
    }

    /// RESPONSE-1, RESPONSE-3
    #[test]
    fn partitions_of_fetch_responses_are_blanked_and_written(seed: u64) {
        let mut layout = FetchResponse::default();
        for version in FETCH_VERSIONS {
            let draw = &mut Draw::new(seed);
            let body = messages::fetch_response(draw, version);
            let frame = response(draw, version, &body);
            layout.parse(&frame, version).unwrap();
            let found = layout.partitions();
            let actions: Vec<_> = (0..found.len()).map(|_| (draw.below(4), draw.records())).collect();

            let mut out = Vec::new();
            let each = &mut |position: usize| match &actions[position] {
                (0, _) => Becomes::Kept,
                (1, records) => Becomes::Records(records.as_deref().unwrap_or_default()),
                (2, _) => Becomes::Blank(Some(29)),
                _ => Becomes::Blank(None),
            };
            rewrite_records(found, &frame, &mut out, each, &mut map).unwrap();

            let (header, mut expected) = decode_response::<FetchModel>(&frame, version);
            let partitions = expected.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
            for (partition, (action, records)) in partitions.zip(&actions) {
                match action {
                    1 => partition.records = Some(records.clone().unwrap_or_default()),
                    2 => {
                        partition.records = Some(Default::default());
                        partition.error_code = 29;
                    }
                    3 => partition.records = Some(Default::default()),
                    _ => {}
                }
            }
            expected.node_endpoints.retain_mut(|node| expect(node.node_id, &mut node.host, &mut node.port));
            let (rewritten_header, rewritten) = decode_response::<FetchModel>(unprefixed(&out), version);
            prop_assert_eq!(rewritten, expected, "version {}", version);
            prop_assert_eq!(rewritten_header, header);
        }
    }

    /// PRODUCE-1
    #[test]
    fn refusals_are_merged(seed: u64) {
        for version in 3..=12 {
            let draw = &mut Draw::new(seed);
            let body = messages::produce_response(draw, version);
            let frame = response(draw, version, &body);
            let mut refusals = draw.list(6, |draw| Refusal {
                topic: match draw.below(body.responses.len() + 2) {
                    new if new >= body.responses.len() => format!("refused-{new}").into(),
                    known => body.responses[known].name.as_str().into(),
                },
                partition: draw.below(6) as i32,
                error_code: draw.of(&[44, 19, 10]),
                message: draw.text().to_string().into(),
            });
            refusals.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
            refusals.dedup_by(|one, other| one.topic == other.topic && one.partition == other.partition);
            let mut shuffled = refusals.clone();
            shuffled.reverse();

            let mut out = Vec::new();
            let no_errors = &mut |_: &str, _| ();
            if !produce_response::merge(&frame, version, &shuffled, &mut map, no_errors, &mut out).unwrap() {
                prop_assert!(out.is_empty());
                out.extend((frame.len() as u32).to_be_bytes());
                out.extend_from_slice(&frame);
            }

            let (header, mut expected) = decode_response::<ProduceResponse>(&frame, version);
            for refusal in &refusals {
                let mut partition = PartitionProduceResponse::default();
                partition.index = refusal.partition;
                partition.error_code = refusal.error_code;
                partition.base_offset = -1;
                if version >= 8 {
                    partition.error_message = Some(refusal.message.to_string().into());
                }
                for topic in &mut expected.responses {
                    if topic.name.as_str() == &*refusal.topic {
                        topic.partition_responses.retain(|partition| partition.index != refusal.partition);
                    }
                }
                let known = expected.responses.iter_mut().find(|topic| topic.name.as_str() == &*refusal.topic);
                if let Some(topic) = known {
                    topic.partition_responses.push(partition);
                } else {
                    let mut topic = TopicProduceResponse::default();
                    topic.name = TopicName(refusal.topic.to_string().into());
                    topic.partition_responses.push(partition);
                    expected.responses.push(topic);
                }
            }
            expected.node_endpoints.retain_mut(|node| expect(node.node_id, &mut node.host, &mut node.port));
            let (rewritten_header, rewritten) = decode_response::<ProduceResponse>(unprefixed(&out), version);
            prop_assert_eq!(rewritten, expected, "version {}", version);
            prop_assert_eq!(rewritten_header, header);
        }
    }

    #[test]
    fn versions_are_intersected(seed: u64) {
        for version in 0..=5 {
            let oracle_version = version.min(4); // the answers to 5 are those to 4
            let draw = &mut Draw::new(seed);
            let body = messages::api_versions_response(draw, oracle_version);
            let frame = response(draw, oracle_version, &body);
            let mut out = Vec::new();
            api_versions::intersect(&frame, version, Policy::BY_NAME, &mut out).unwrap();

            let (header, mut expected) = decode_response::<ApiVersionsResponse>(&frame, oracle_version);
            expected.api_keys.retain_mut(|api| {
                let Some(policy) = Policy::BY_NAME.api(api.api_key) else { return false };
                let keep_zero = api.api_key == 0 && api.min_version == 0;
                api.min_version = api.min_version.max(policy.told_from);
                api.max_version = api.max_version.min(policy.max);
                let common = api.min_version <= api.max_version;
                if keep_zero {
                    api.min_version = 0;
                }
                common
            });
            let frame = unprefixed(&out);
            let (rewritten_header, rewritten) = decode_response::<ApiVersionsResponse>(frame, oracle_version);
            prop_assert_eq!(rewritten, expected, "version {}", version);
            prop_assert_eq!(rewritten_header, header);
        }
    }
}

#[test]
fn refusals_need_names() {
    let draw = &mut Draw::new(1);
    let body = messages::produce_response(draw, 13);
    let frame = response(draw, 13, &body);
    let refusal = Refusal {
        topic: "t".into(),
        partition: 0,
        error_code: 44,
        message: "".into(),
    };
    let mut out = vec![1, 2, 3];
    let result = produce_response::merge(&frame, 13, &[refusal], &mut map, &mut |_, _| (), &mut out);
    assert_eq!(
        result,
        Err(ProtocolError::UnsupportedVersion {
            api_key: 0,
            version: 13
        })
    );
    assert_eq!(out, [1, 2, 3]);
}
