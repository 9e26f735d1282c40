//! The few requests of Kafka clients that the harness writes itself, and what their answers say.
//!
//! Frames here carry their 4-byte length prefix.

use std::io::{Read, Write};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
    RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use crate::Failure;

/// Flexible, and known to every broker since 2.4.
pub(crate) const PRODUCE_VERSION: i16 = 9;
/// The highest that names topics by name.
pub(crate) const FETCH_VERSION: i16 = 12;
/// Flexible, and known to every broker since 2.4.
const METADATA_VERSION: i16 = 9;
const SASL_AUTHENTICATE_VERSION: i16 = 2;

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
    request(PRODUCE_VERSION, &body)
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
    request(FETCH_VERSION, &body)
}

/// The beginning of a login.
pub(crate) fn sasl_handshake_request(mechanism: &str) -> Result<Vec<u8>, Failure> {
    let mechanism = StrBytes::from_string(mechanism.to_owned());
    request(1, &SaslHandshakeRequest::default().with_mechanism(mechanism))
}

/// What a client says of itself.
pub(crate) fn sasl_authenticate_request(message: Bytes) -> Result<Vec<u8>, Failure> {
    request(
        SASL_AUTHENTICATE_VERSION,
        &SaslAuthenticateRequest::default().with_auth_bytes(message),
    )
}

/// What the client is answered; an error if it is not believed.
pub(crate) fn authenticated(frame: &[u8]) -> Result<Bytes, Failure> {
    let mut body = Bytes::copy_from_slice(frame.get(4..).ok_or("a short frame")?);
    let version = SASL_AUTHENTICATE_VERSION;
    ResponseHeader::decode(&mut body, SaslAuthenticateResponse::header_version(version))?;
    let response = SaslAuthenticateResponse::decode(&mut body, version)?;
    match response.error_code {
        0 => Ok(response.auth_bytes),
        code => {
            let text = response.error_message.unwrap_or_default();
            Err(format!("error code {code}: {}", &*text).into())
        }
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

/// Asks who leads the partitions of `topic`.
pub(crate) fn metadata_request(topic: &str) -> Result<Vec<u8>, Failure> {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    let body = MetadataRequest::default().with_topics(Some(vec![topic]));
    request(METADATA_VERSION, &body)
}

/// Host and port of the broker that leads partition 0 of the topic that was asked for.
pub(crate) fn leader(frame: &[u8]) -> Result<(String, u16), Failure> {
    let mut body = Bytes::copy_from_slice(frame.get(4..).ok_or("a short frame")?);
    ResponseHeader::decode(&mut body, MetadataResponse::header_version(METADATA_VERSION))?;
    let response = MetadataResponse::decode(&mut body, METADATA_VERSION)?;
    let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let leader = partitions
        .find(|partition| partition.partition_index == 0)
        .ok_or("a metadata response without the partition")?
        .leader_id;
    let mut brokers = response.brokers.iter();
    let broker = brokers
        .find(|broker| broker.node_id == leader)
        .ok_or("a partition without a leader")?;
    Ok((broker.host.to_string(), u16::try_from(broker.port)?))
}

/// Sends a frame and gives the next one that comes.
pub(crate) fn ask(stream: &mut (impl Read + Write), request: &[u8]) -> Result<Vec<u8>, Failure> {
    stream.write_all(request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = length.to_vec();
    let announced = u64::from(u32::from_be_bytes(length));
    stream.take(announced).read_to_end(&mut frame)?;
    match frame.len() as u64 == 4 + announced {
        true => Ok(frame),
        false => Err("the proxy has closed the connection within an answer".into()),
    }
}

/// A request frame.
pub(crate) fn request<R: Request>(version: i16, body: &R) -> Result<Vec<u8>, Failure> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("bench-harness")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, R::header_version(version))?;
    body.encode(&mut frame, version)?;
    prefixed(&frame)
}

/// `frame` behind its length.
pub(crate) fn prefixed(frame: &[u8]) -> Result<Vec<u8>, Failure> {
    let length = i32::try_from(frame.len())?;
    Ok([&length.to_be_bytes(), frame].concat())
}

/// As messages have it.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
