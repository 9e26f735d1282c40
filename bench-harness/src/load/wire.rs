//! The few Kafka frames that measurements need: what the load sends, and what the stand-in broker answers.
//!
//! Frames here carry their 4-byte length prefix.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use crate::Failure;

/// Flexible, and known to every broker since 2.4.
pub(crate) const PRODUCE_VERSION: i16 = 9;
/// The highest that names topics by name.
pub(crate) const FETCH_VERSION: i16 = 12;
const API_VERSIONS_VERSION: i16 = 3;
const METADATA_VERSIONS: (i16, i16) = (0, 12);

/// The id of the stand-in broker.
pub(crate) const NODE: i32 = 1;

/// A produce request with `records` for partition 0 of `topic`.
pub(crate) fn produce_request(topic: &str, records: Bytes) -> Result<Vec<u8>, Failure> {
    let partition = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![partition]);
    let body = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic]);
    request(ApiKey::Produce, PRODUCE_VERSION, &body)
}

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

/// A fetch request for partition 0 of `topic`.
pub(crate) fn fetch_request(topic: &str) -> Result<Vec<u8>, Failure> {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(0)
        .with_partition_max_bytes(16 << 20);
    let topic = FetchTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    let body = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    request(ApiKey::Fetch, FETCH_VERSION, &body)
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
    request(ApiKey::ApiVersions, API_VERSIONS_VERSION, &body)
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

/// The records of a fetch response; an error if the partition has one.
pub(crate) fn fetched_records(frame: &[u8]) -> Result<Bytes, Failure> {
    let mut body = Bytes::copy_from_slice(frame.get(4..).ok_or("a short frame")?);
    ResponseHeader::decode(&mut body, FetchResponse::header_version(FETCH_VERSION))?;
    let response = FetchResponse::decode(&mut body, FETCH_VERSION)?;
    let topic = response
        .responses
        .into_iter()
        .next()
        .ok_or("a fetch response without topics")?;
    let partition = topic
        .partitions
        .into_iter()
        .next()
        .ok_or("a fetch response without partitions")?;
    match partition.error_code {
        0 => Ok(partition.records.unwrap_or_default()),
        code => Err(format!("the fetch was refused with error code {code}").into()),
    }
}

/// An error if a produce response refuses anything.
pub(crate) fn check_produced(frame: &[u8]) -> Result<(), Failure> {
    let mut body = Bytes::copy_from_slice(frame.get(4..).ok_or("a short frame")?);
    ResponseHeader::decode(&mut body, ProduceResponse::header_version(PRODUCE_VERSION))?;
    let response = ProduceResponse::decode(&mut body, PRODUCE_VERSION)?;
    for partition in response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
    {
        if partition.error_code != 0 {
            let (code, message) = (partition.error_code, &partition.error_message);
            return Err(
                format!("the produce request was refused with error code {code}: {message:?}").into(),
            );
        }
    }
    Ok(())
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

fn request<M: Encodable + HeaderVersion>(key: ApiKey, version: i16, body: &M) -> Result<Vec<u8>, Failure> {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("bench-harness")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, M::header_version(version))?;
    body.encode(&mut frame, version)?;
    prefixed(&frame)
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

fn prefixed(frame: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(frame.len() + 4);
    bytes.put_i32(i32::try_from(frame.len())?);
    bytes.extend_from_slice(frame);
    Ok(bytes)
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_answers_what_clients_ask_first() {
        let frame = api_versions_request().unwrap();
        assert!(answer(&frame, 9092).unwrap().len() > 8);
        assert!(answer(&fetch_request("passed").unwrap(), 9092).is_err());
    }
}
