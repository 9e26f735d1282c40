//! The few Kafka frames that only measurements need: what the load sends first, and what the stand-in broker answers.
//!
//! Frames here carry their 4-byte length prefix.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, FetchResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use crate::Failure;
use crate::requests::{FETCH_VERSION, PRODUCE_VERSION, prefixed, request, topic_name};

const API_VERSIONS_VERSION: i16 = 3;
const METADATA_VERSIONS: (i16, i16) = (0, 12);

/// The id of the stand-in broker.
pub(crate) const NODE: i32 = 1;

/// The answer of a broker that has stored it.
pub(crate) fn produce_response(topic: &str) -> Result<Vec<u8>, Failure> {
    let partition = PartitionProduceResponse::default()
        .with_index(0)
        .with_base_offset(0);
    let topic = TopicProduceResponse::default()
        .with_name(topic_name(topic))
        .with_partition_responses(vec![partition]);
    response(
        0,
        PRODUCE_VERSION,
        &ProduceResponse::default().with_responses(vec![topic]),
    )
}

/// The answer with `records`.
pub(crate) fn fetch_response(topic: &str, records: Bytes) -> Result<Vec<u8>, Failure> {
    let partition = PartitionData::default()
        .with_partition_index(0)
        .with_high_watermark(1_000_000)
        .with_last_stable_offset(1_000_000)
        .with_log_start_offset(0)
        .with_records(Some(records));
    let topic = FetchableTopicResponse::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    response(
        0,
        FETCH_VERSION,
        &FetchResponse::default().with_responses(vec![topic]),
    )
}

/// What a client asks first.
pub(crate) fn api_versions_request() -> Result<Vec<u8>, Failure> {
    let body = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("bench-harness"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    request(API_VERSIONS_VERSION, &body)
}

/// The records of a produce request.
pub(crate) fn produced_records(frame: &[u8]) -> Result<Bytes, Failure> {
    let mut body = Bytes::copy_from_slice(frame.get(4..).ok_or("a short frame")?);
    RequestHeader::decode(&mut body, ProduceRequest::header_version(PRODUCE_VERSION))?;
    let request = ProduceRequest::decode(&mut body, PRODUCE_VERSION)?;
    let partition = request
        .topic_data
        .into_iter()
        .next()
        .and_then(|topic| topic.partition_data.into_iter().next());
    Ok(partition
        .and_then(|partition| partition.records)
        .ok_or("a produce request without records")?)
}

/// The stand-in broker's answer to anything but Produce and Fetch.
pub(crate) fn answer(frame: &[u8], port: u16) -> Result<Vec<u8>, Failure> {
    let mut body = Bytes::copy_from_slice(frame.get(4..).ok_or("a short frame")?);
    let (key, version) = match body.get(..4) {
        Some([a, b, c, d]) => (i16::from_be_bytes([*a, *b]), i16::from_be_bytes([*c, *d])),
        _ => return Err("a short request".into()),
    };
    match ApiKey::try_from(key) {
        Ok(ApiKey::ApiVersions) => {
            let header =
                RequestHeader::decode(&mut body, ApiVersionsRequest::header_version(version.min(3)))?;
            let mut versions = ApiVersionsResponse::default().with_api_keys(api_versions());
            let mut version = version;
            if version > API_VERSIONS_VERSION {
                (version, versions.error_code) = (0, UNSUPPORTED_VERSION);
            }
            response(header.correlation_id, version, &versions)
        }
        Ok(ApiKey::Metadata) => {
            let header = RequestHeader::decode(&mut body, MetadataRequest::header_version(version))?;
            let request = MetadataRequest::decode(&mut body, version)?;
            body.advance(body.remaining());
            response(header.correlation_id, version, &metadata(request, port))
        }
        _ => Err(format!("the stand-in broker was asked for API {key}").into()),
    }
}

const UNSUPPORTED_VERSION: i16 = 35;

fn api_versions() -> Vec<ApiVersion> {
    [
        (ApiKey::Produce, 0, PRODUCE_VERSION),
        (ApiKey::Fetch, 4, FETCH_VERSION),
        (ApiKey::Metadata, METADATA_VERSIONS.0, METADATA_VERSIONS.1),
        (ApiKey::ApiVersions, 0, API_VERSIONS_VERSION),
    ]
    .map(|(key, min, max)| {
        ApiVersion::default()
            .with_api_key(key as i16)
            .with_min_version(min)
            .with_max_version(max)
    })
    .into()
}

fn metadata(request: MetadataRequest, port: u16) -> MetadataResponse {
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE))
        .with_host(StrBytes::from_static_str("127.0.0.1"))
        .with_port(i32::from(port));
    let topics = request.topics.into_iter().flatten().map(|topic| {
        let partition = MetadataResponsePartition::default()
            .with_leader_id(BrokerId(NODE))
            .with_replica_nodes(vec![BrokerId(NODE)])
            .with_isr_nodes(vec![BrokerId(NODE)]);
        MetadataResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(vec![partition])
    });
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_static_str("bench-harness")))
        .with_controller_id(BrokerId(NODE))
        .with_topics(topics.collect())
}

fn response<M: Encodable + HeaderVersion>(
    correlation: i32,
    version: i16,
    body: &M,
) -> Result<Vec<u8>, Failure> {
    let header = ResponseHeader::default().with_correlation_id(correlation);
    let mut frame = BytesMut::new();
    header.encode(&mut frame, M::header_version(version))?;
    body.encode(&mut frame, version)?;
    prefixed(&frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_answers_what_clients_ask_first() {
        let frame = api_versions_request().unwrap();
        assert!(answer(&frame, 9092).unwrap().len() > 8);
        assert!(answer(&crate::requests::fetch_request("passed").unwrap(), 9092).is_err());
    }
}
