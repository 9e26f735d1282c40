//! Requests and responses that another implementation has written, with some topics left out.

use bytes::Bytes;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable as _, Encodable as _, HeaderVersion as _, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::protocol::addresses::{Rewrite, rewrite};
use crate::protocol::api_key::METADATA;

fn topic_name(text: &str) -> TopicName {
    StrBytes::from_string(text.to_owned()).into()
}

fn header() -> RequestHeader {
    RequestHeader::default()
        .with_request_api_key(METADATA)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("me")))
}

/// Whether a topic is the client's, in these tests.
fn is_own(name: &str) -> bool {
    name.starts_with('o')
}

fn asked(version: i16, names: Option<&[String]>) -> MetadataRequest {
    let topic = |name: &String| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let topics = names.map(|names| names.iter().map(topic).collect());
    let request = MetadataRequest::default().with_topics(topics);
    if version >= 4 {
        return request.with_allow_auto_topic_creation(false);
    }
    request
}

fn request(version: i16, request: &MetadataRequest) -> Vec<u8> {
    let mut frame = Vec::new();
    let header = header().with_request_api_version(version);
    header
        .encode(&mut frame, MetadataRequest::header_version(version))
        .expect("a header");
    request.encode(&mut frame, version).expect("a request");
    frame
}

/// The positions of those that are not the client's.
fn refused(frame: &[u8], version: i16) -> Result<Vec<usize>, ProtocolError> {
    let mut asked = Asked::begin(frame, version)?;
    let (mut refused, mut position) = (Vec::new(), 0);
    while let Some((name, _)) = asked.next_topic()? {
        if name.is_some_and(|name| !is_own(name)) {
            refused.push(position);
        }
        position += 1;
    }
    Ok(refused)
}

fn response(version: i16, topics: &[(String, usize)]) -> MetadataResponse {
    let node = BrokerId(1);
    let topic = |(name, partitions): &(String, usize)| {
        let partition = MetadataResponsePartition::default()
            .with_leader_id(node)
            .with_replica_nodes(vec![node; 3])
            .with_isr_nodes(vec![node; 2])
            .with_offline_replicas(if version >= 5 { vec![node] } else { Vec::new() });
        MetadataResponseTopic::default()
            .with_name(Some(topic_name(name)))
            .with_partitions(vec![partition; *partitions])
    };
    let brokers = [0, 1].map(|id| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(StrBytes::from_static_str("kafka"))
            .with_port(9092)
            .with_rack((version >= 1).then(|| StrBytes::from_static_str("rack")))
    });
    MetadataResponse::default()
        .with_brokers(brokers.to_vec())
        .with_topics(topics.iter().map(topic).collect())
        .with_controller_id(if version >= 1 { node } else { BrokerId(-1) })
        .with_cluster_id((version >= 2).then(|| StrBytes::from_static_str("cluster")))
}

fn decoded(version: i16, out: &[u8]) -> MetadataResponse {
    let (length, frame) = out.split_first_chunk().expect("a length");
    assert_eq!(u32::from_be_bytes(*length) as usize, frame.len());
    let mut bytes = Bytes::copy_from_slice(frame);
    ResponseHeader::decode(&mut bytes, MetadataResponse::header_version(version)).expect("a header");
    let response = MetadataResponse::decode(&mut bytes, version).expect("a response");
    assert!(bytes.is_empty());
    response
}

fn told(frame: &[u8], version: i16, refused: &[Box<str>]) -> Result<Vec<u8>, ProtocolError> {
    let mut told = Told::begin(frame, version)?;
    while told.next_topic(frame, is_own)?.is_some() {}
    let mut out = b"before".to_vec();
    let mut map = |_| Rewrite::Replace {
        host: "kafka",
        port: 9092,
    };
    let brokers_end = rewrite(METADATA, version, frame, &mut map, &mut out)?;
    told.write(frame, brokers_end, refused, 6, &mut out)?;
    Ok(out.split_off(6))
}

proptest! {
    /// METADATA-1
    #[test]
    fn what_is_not_the_clients_is_not_asked_for(
        version in 0_i16..=13,
        names in prop::option::of(prop::collection::vec("[op][a-z]{0,150}", 0..20)),
    ) {
        let names = if version == 0 { Some(names.unwrap_or_default()) } else { names };
        let frame = request(version, &asked(version, names.as_deref()));
        let positions = refused(&frame, version).expect("well formed");
        let mut out = Vec::new();
        let refused = Asked::begin(&frame, version).expect("well formed").write_without(&positions, &mut out);
        let (own, others): (Vec<_>, Vec<_>) = names.iter().flatten().cloned().partition(|name| is_own(name));
        let refused: Vec<_> = refused.expect("written").iter().map(ToString::to_string).collect();
        prop_assert_eq!(refused, others);
        if let Some(names) = names {
            let expected = request(version, &asked(version, Some(&own)));
            prop_assert_eq!(&out[4..], &expected[..]);
            prop_assert_eq!(u32::from_be_bytes(out[..4].try_into().expect("four")) as usize, expected.len());
            prop_assert_eq!(positions.len() + own.len(), names.len());
        }
    }

    /// METADATA-1
    #[test]
    fn what_is_not_the_clients_is_not_told(
        version in 0_i16..=13,
        topics in prop::collection::vec(("[op][a-z]{0,150}", 0_usize..5), 0..20),
        refused in prop::collection::vec("[p][a-z]{0,20}", 0..4),
    ) {
        let mut frame = Vec::new();
        let header = ResponseHeader::default().with_correlation_id(7);
        header.encode(&mut frame, MetadataResponse::header_version(version)).expect("a header");
        response(version, &topics).encode(&mut frame, version).expect("a response");
        let refused: Vec<Box<str>> = refused.iter().map(|name| name.as_str().into()).collect();
        let out = told(&frame, version, &refused).expect("written");
        let own: Vec<_> = topics.into_iter().filter(|(name, _)| is_own(name)).collect();
        let mut expected = response(version, &own);
        expected.topics.extend(refused.iter().map(|name| {
            MetadataResponseTopic::default().with_error_code(29).with_name(Some(topic_name(name)))
        }));
        prop_assert_eq!(decoded(version, &out), expected);
        for end in 0..frame.len() {
            let _ = told(&frame[..end], version, &refused);
        }
    }

    #[test]
    fn whatever_is_said_is_walked_or_not(
        version in 0_i16..=13,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let frame = [&[0; 8][..], &[0xff, 0xff, 0][..if version >= 9 { 3 } else { 2 }], &bytes].concat();
        if let Ok(positions) = refused(&frame, version) {
            let asked = Asked::begin(&frame, version).expect("as before");
            let _ = asked.write_without(&positions, &mut Vec::new());
        }
        let _ = told(&frame, version, &[]);
        let _ = told(&bytes, version, &[]);
    }
}
