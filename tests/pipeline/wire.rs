//! Whole frames, length prefix included, from and to the oracle's types.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse,
    ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use sealwire::protocol::hops::{self, Identity, Way};

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(crate) fn prefixed(frame: &[u8]) -> Vec<u8> {
    let length = i32::try_from(frame.len()).unwrap();
    [&length.to_be_bytes()[..], frame].concat()
}

pub(crate) fn request<M: Encodable + HeaderVersion>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &M,
) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(text("tests")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, M::header_version(version)).unwrap();
    body.encode(&mut frame, version).unwrap();
    prefixed(&frame)
}

pub(crate) fn response<M: Encodable + HeaderVersion>(version: i16, correlation_id: i32, body: &M) -> Vec<u8> {
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let mut frame = BytesMut::new();
    header.encode(&mut frame, M::header_version(version)).unwrap();
    body.encode(&mut frame, version).unwrap();
    prefixed(&frame)
}

/// The frames that `bytes` are, without their lengths.
pub(crate) fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (frame, behind) = behind.split_at(usize::try_from(i32::from_be_bytes(*length)).unwrap());
        frames.push(frame.to_vec());
        rest = behind;
    }
    assert!(rest.is_empty(), "{} bytes are no frame", rest.len());
    frames
}

/// The only frame of `bytes`, without its length.
pub(crate) fn only_frame(bytes: &[u8]) -> Vec<u8> {
    let mut all = frames(bytes);
    assert_eq!(all.len(), 1, "one frame is expected");
    all.remove(0)
}

pub(crate) fn correlation_ids(responses: &[u8]) -> Vec<i32> {
    frames(responses)
        .iter()
        .map(|frame| i32::from_be_bytes(*frame.first_chunk().unwrap()))
        .collect()
}

pub(crate) fn decode_request<M: Decodable + HeaderVersion>(frame: &[u8], version: i16) -> M {
    let mut rest = Bytes::copy_from_slice(frame);
    RequestHeader::decode(&mut rest, M::header_version(version)).unwrap();
    let body = M::decode(&mut rest, version).unwrap();
    assert!(rest.is_empty(), "{} bytes are left over", rest.len());
    body
}

pub(crate) fn decode_response<M: Decodable + HeaderVersion>(frame: &[u8], version: i16) -> M {
    let mut rest = Bytes::copy_from_slice(frame);
    ResponseHeader::decode(&mut rest, M::header_version(version)).unwrap();
    let body = M::decode(&mut rest, version).unwrap();
    assert!(rest.is_empty(), "{} bytes are left over", rest.len());
    body
}

/// One partition's records in a Produce request.
pub(crate) struct ToProduce<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) records: &'a [u8],
}

pub(crate) fn to_produce<'a>(topic: &'a str, partition: i32, records: &'a [u8]) -> ToProduce<'a> {
    ToProduce {
        topic,
        partition,
        records,
    }
}

/// A Produce request; partitions of one topic that follow each other share its entry.
pub(crate) fn produce(version: i16, correlation_id: i32, acks: i16, partitions: &[ToProduce<'_>]) -> Vec<u8> {
    let mut topics: Vec<TopicProduceData> = Vec::new();
    for wanted in partitions {
        let partition = PartitionProduceData::default()
            .with_index(wanted.partition)
            .with_records(Some(Bytes::copy_from_slice(wanted.records)));
        match topics.last_mut() {
            Some(topic) if topic.name.0.as_str() == wanted.topic => topic.partition_data.push(partition),
            _ => topics.push(
                TopicProduceData::default()
                    .with_name(topic_name(wanted.topic))
                    .with_partition_data(vec![partition]),
            ),
        }
    }
    let body = ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(30_000)
        .with_topic_data(topics);
    request(ApiKey::Produce, version, correlation_id, &body)
}

/// Topic, partition and records.
pub(crate) type Produced = (String, i32, Vec<u8>);

/// What is in a Produce request frame.
pub(crate) fn produced(frame: &[u8], version: i16) -> Vec<Produced> {
    let request: ProduceRequest = decode_request(frame, version);
    request
        .topic_data
        .iter()
        .flat_map(|topic| {
            topic.partition_data.iter().map(|partition| {
                (
                    topic.name.0.to_string(),
                    partition.index,
                    partition.records.clone().unwrap_or_default().to_vec(),
                )
            })
        })
        .collect()
}

/// A broker's answer that stores everything of the request that reached it.
pub(crate) fn stored(version: i16, correlation_id: i32, request_frame: &[u8]) -> Vec<u8> {
    let mut topics: Vec<TopicProduceResponse> = Vec::new();
    for (name, index, _) in produced(request_frame, version) {
        let partition = PartitionProduceResponse::default()
            .with_index(index)
            .with_base_offset(7)
            .with_log_append_time_ms(-1);
        match topics.last_mut() {
            Some(topic) if topic.name.0.as_str() == name => topic.partition_responses.push(partition),
            _ => topics.push(
                TopicProduceResponse::default()
                    .with_name(topic_name(&name))
                    .with_partition_responses(vec![partition]),
            ),
        }
    }
    response(
        version,
        correlation_id,
        &ProduceResponse::default().with_responses(topics),
    )
}

/// What a client is told of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) error_code: i16,
    pub(crate) message: String,
}

/// The verdicts of a Produce response frame, by topic and partition.
pub(crate) fn verdicts(frame: &[u8], version: i16) -> Vec<Verdict> {
    let response: ProduceResponse = decode_response(frame, version);
    let mut verdicts: Vec<Verdict> = response
        .responses
        .iter()
        .flat_map(|topic| {
            topic.partition_responses.iter().map(|partition| Verdict {
                topic: topic.name.0.to_string(),
                partition: partition.index,
                error_code: partition.error_code,
                message: partition
                    .error_message
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            })
        })
        .collect();
    verdicts.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
    verdicts
}

/// A Fetch request that names nothing: whatever its answer is, it is held.
pub(crate) fn fetch_request(version: i16, correlation_id: i32) -> Vec<u8> {
    fetch_of(version, correlation_id, SESSIONLESS, &[])
}

/// The id and the epoch of a fetch session.
pub(crate) type FetchSession = (i32, i32);
/// Of a request that has nothing to do with any.
pub(crate) const SESSIONLESS: FetchSession = (0, -1);

/// A Fetch request for the first partition of these topics.
pub(crate) fn fetch_of(
    version: i16,
    correlation_id: i32,
    (session_id, session_epoch): FetchSession,
    topics: &[&str],
) -> Vec<u8> {
    let mut body = FetchRequest::default();
    if version >= 7 {
        body = body.with_session_id(session_id).with_session_epoch(session_epoch);
    }
    let topics = topics.iter().map(|name| {
        FetchTopic::default()
            .with_topic(topic_name(name))
            .with_partitions(vec![FetchPartition::default()])
    });
    let body = body.with_topics(topics.collect());
    request(ApiKey::Fetch, version, correlation_id, &body)
}

/// One partition of a Fetch response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) error_code: i16,
    pub(crate) records: Vec<u8>,
}

pub(crate) fn fetched(topic: &str, partition: i32, records: &[u8]) -> Fetched {
    Fetched {
        topic: topic.to_owned(),
        partition,
        error_code: 0,
        records: records.to_vec(),
    }
}

impl Fetched {
    /// The same partition with this code and without records.
    pub(crate) fn emptied(&self, error_code: i16) -> Self {
        Self {
            error_code,
            records: Vec::new(),
            ..self.clone()
        }
    }

    /// The same partition with these records.
    pub(crate) fn with(&self, records: &[u8]) -> Self {
        Self {
            records: records.to_vec(),
            ..self.clone()
        }
    }
}

pub(crate) fn fetch_response(version: i16, correlation_id: i32, partitions: &[Fetched]) -> Vec<u8> {
    fetch_response_of(version, correlation_id, 0, partitions)
}

/// A Fetch response of the session of this number; 0: of none.
pub(crate) fn fetch_response_of(
    version: i16,
    correlation_id: i32,
    session_id: i32,
    partitions: &[Fetched],
) -> Vec<u8> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for wanted in partitions {
        let partition = PartitionData::default()
            .with_partition_index(wanted.partition)
            .with_error_code(wanted.error_code)
            .with_high_watermark(HIGH_WATERMARK)
            .with_last_stable_offset(HIGH_WATERMARK)
            .with_records(Some(Bytes::copy_from_slice(&wanted.records)));
        match topics.last_mut() {
            Some(topic) if topic.topic.0.as_str() == wanted.topic => topic.partitions.push(partition),
            _ => topics.push(
                FetchableTopicResponse::default()
                    .with_topic(topic_name(&wanted.topic))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    let mut body = FetchResponse::default().with_responses(topics);
    if version >= 7 {
        body = body.with_session_id(session_id);
    }
    response(version, correlation_id, &body)
}

pub(crate) const HIGH_WATERMARK: i64 = 1000;

/// The partitions of a Fetch response frame, in their order; watermarks must be untouched.
pub(crate) fn delivered(frame: &[u8], version: i16) -> Vec<Fetched> {
    let response: FetchResponse = decode_response(frame, version);
    response
        .responses
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                assert_eq!(partition.high_watermark, HIGH_WATERMARK);
                assert_eq!(partition.last_stable_offset, HIGH_WATERMARK);
                Fetched {
                    topic: topic.topic.0.to_string(),
                    partition: partition.partition_index,
                    error_code: partition.error_code,
                    records: partition
                        .records
                        .clone()
                        .expect("records are never null")
                        .to_vec(),
                }
            })
        })
        .collect()
}

pub(crate) fn metadata_request(correlation_id: i32) -> Vec<u8> {
    request(ApiKey::Metadata, 12, correlation_id, &MetadataRequest::default())
}

/// Node id, host and port of each broker.
pub(crate) fn metadata_response(correlation_id: i32, brokers: &[(i32, &str, i32)]) -> Vec<u8> {
    response(12, correlation_id, &metadata(brokers))
}

/// The answer to a session's own question.
pub(crate) fn own_answer(correlation_id: i32, brokers: &[(i32, &str, i32)]) -> Vec<u8> {
    response(OWN_VERSION, correlation_id, &metadata(brokers))
}

/// The version of Metadata in which a session asks for itself.
pub(crate) const OWN_VERSION: i16 = 1;

fn metadata(brokers: &[(i32, &str, i32)]) -> MetadataResponse {
    let brokers = brokers
        .iter()
        .map(|(id, host, port)| {
            MetadataResponseBroker::default()
                .with_node_id((*id).into())
                .with_host(text(host))
                .with_port(*port)
        })
        .collect();
    MetadataResponse::default().with_brokers(brokers)
}

/// The brokers that a Metadata response frame names.
pub(crate) fn brokers(frame: &[u8]) -> Vec<(i32, String, i32)> {
    let response: MetadataResponse = decode_response(frame, 12);
    response
        .brokers
        .iter()
        .map(|broker| (broker.node_id.0, broker.host.to_string(), broker.port))
        .collect()
}

/// An ApiVersions request as it goes on, from a proxy without an identity.
pub(crate) fn passed_on(request: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let way = hops::pass(&request[4..], &Identity::default(), &mut out).unwrap();
    assert_eq!(way, Way::Onward);
    out
}

pub(crate) fn api_versions_request(version: i16, correlation_id: i32) -> Vec<u8> {
    // The oracle knows no version above those of its own; the body of an unknown one is opaque.
    let body = ApiVersionsRequest::default()
        .with_client_software_name(text("tests"))
        .with_client_software_version(text("1"));
    let mut frame = request(ApiKey::ApiVersions, version.clamp(0, 4), correlation_id, &body);
    frame[6..8].copy_from_slice(&version.to_be_bytes());
    frame
}

pub(crate) fn handshake_request(correlation_id: i32) -> Vec<u8> {
    let body = SaslHandshakeRequest::default().with_mechanism(text("SCRAM-SHA-256"));
    request(ApiKey::SaslHandshake, 1, correlation_id, &body)
}

pub(crate) fn handshake_response(correlation_id: i32) -> Vec<u8> {
    response(1, correlation_id, &SaslHandshakeResponse::default())
}

pub(crate) fn token_request(correlation_id: i32, bytes: usize) -> Vec<u8> {
    let body = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(vec![7; bytes]));
    request(ApiKey::SaslAuthenticate, 2, correlation_id, &body)
}

pub(crate) fn token_response(correlation_id: i32, error_code: i16) -> Vec<u8> {
    let body = SaslAuthenticateResponse::default().with_error_code(error_code);
    response(2, correlation_id, &body)
}
