//! The smallest Kafka client that can read a topic: blocking, one connection, four requests in versions that every broker since
//! 0.11 takes. Requests are made by `kafka-protocol`; answers are untrusted and read by our own walkers.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, RequestHeader, TopicName,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};

use super::InspectError;
use crate::protocol::addresses::is_host;
use crate::protocol::api_key::{FETCH, METADATA};
use crate::protocol::fetch_response::FetchResponse;
use crate::protocol::{Cursor, ProtocolError, frame};

/// A connection to one broker.
pub(super) struct Client {
    stream: TcpStream,
    address: String,
    correlation_id: i32,
}

/// A partition and who leads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) partition: i32,
    /// `host:port`; `None`: nobody.
    pub(super) address: Option<String>,
}

/// What one fetch brought.
pub(super) struct Fetched {
    /// Record batches.
    pub(super) records: Vec<u8>,
    pub(super) high_watermark: i64,
}

impl Client {
    pub(super) fn connect(address: &str) -> Result<Self, InspectError> {
        let connected = address.to_socket_addrs().and_then(|addresses| {
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in addresses {
                match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        });
        let stream = connected.and_then(|stream| {
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(stream)
        });
        Ok(Self {
            stream: stream.map_err(|source| broker(address, source))?,
            address: address.to_owned(),
            correlation_id: 0,
        })
    }

    /// Whether whoever answers is a Sealwire, which would show records opened. Brokers older than Kafka 3.1 cannot be told from
    /// one in front of them.
    pub(super) fn is_proxy(&mut self) -> Result<bool, InspectError> {
        let answer = self.ask(
            ApiKey::ApiVersions,
            API_VERSIONS_VERSION,
            &ApiVersionsRequest::default(),
        )?;
        self.understood(offers_what_no_broker_does(&answer))
    }

    /// The partitions of `topic`.
    pub(super) fn leaders(&mut self, topic: &str) -> Result<Vec<Leader>, InspectError> {
        let named = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        let request = MetadataRequest::default().with_topics(Some(vec![named]));
        let answer = self.ask(ApiKey::Metadata, METADATA_VERSION, &request)?;
        let (leaders, code) = self.understood(leaders(&answer))?;
        self.accepted(code)?;
        Ok(leaders)
    }

    /// The first offset that a partition has.
    pub(super) fn first_offset(&mut self, topic: &str, partition: i32) -> Result<i64, InspectError> {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(EARLIEST);
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![topic]);
        let answer = self.ask(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, &request)?;
        let (offset, code) = self.understood(listed_offset(&answer))?;
        self.accepted(code)?;
        Ok(offset)
    }

    /// Whole batches from `offset` on, as many as fit; possibly none.
    pub(super) fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Fetched, InspectError> {
        let partition = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(FETCH_BYTES);
        let topic = FetchTopic::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(FETCH_BYTES)
            .with_topics(vec![topic]);
        let answer = self.ask(ApiKey::Fetch, FETCH_VERSION, &request)?;
        let mut response = FetchResponse::default();
        self.understood(response.parse(&answer, FETCH_VERSION))?;
        let Some(partition) = response.partitions.first() else {
            return self.understood(Err(ProtocolError::Truncated { at: answer.len() }));
        };
        self.accepted(partition.error_code)?;
        Ok(Fetched {
            records: response.records(&answer, 0).to_vec(),
            high_watermark: partition.high_watermark,
        })
    }

    fn ask<M: Encodable + HeaderVersion>(
        &mut self,
        key: ApiKey,
        version: i16,
        body: &M,
    ) -> Result<Vec<u8>, InspectError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let exchanged = self.exchange(key, version, body);
        exchanged.map_err(|source| broker(&self.address, source))
    }

    fn exchange<M: Encodable + HeaderVersion>(
        &mut self,
        key: ApiKey,
        version: i16,
        body: &M,
    ) -> io::Result<Vec<u8>> {
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("sealwire-inspect")));
        let mut request = BytesMut::new();
        let encoded = header
            .encode(&mut request, M::header_version(version))
            .and_then(|()| body.encode(&mut request, version));
        encoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        let length = u32::try_from(request.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.stream.write_all(&length.to_be_bytes())?;
        self.stream.write_all(&request)?;
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix)?;
        let length = u64::from(u32::from_be_bytes(prefix));
        if length > ANSWER_BYTES_MAX {
            let text =
                format!("it announces an answer of {length} bytes; is this a Kafka listener without TLS?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        // The buffer grows with what arrives, not with what is announced.
        let mut answer = Vec::new();
        (&mut self.stream).take(length).read_to_end(&mut answer)?;
        if answer.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match frame::response_correlation_id(&answer) {
            Some(id) if id == self.correlation_id => Ok(answer),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer is to another question",
            )),
        }
    }

    fn understood<T>(&self, result: Result<T, ProtocolError>) -> Result<T, InspectError> {
        result.map_err(|source| InspectError::Answer {
            address: self.address.clone(),
            source,
        })
    }

    fn accepted(&self, code: i16) -> Result<(), InspectError> {
        match code {
            0 => Ok(()),
            code => Err(InspectError::Refused {
                address: self.address.clone(),
                code,
            }),
        }
    }
}

fn broker(address: &str, source: io::Error) -> InspectError {
    InspectError::Broker {
        address: address.to_owned(),
        source,
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// An ApiVersions response of version 0. Kafka 3.1 brought topic ids to Metadata (12) and to Fetch (13) at once; a Sealwire lets the
/// first through and holds back the second.
fn offers_what_no_broker_does(answer: &[u8]) -> Result<bool, ProtocolError> {
    let mut cursor = Cursor::new(answer);
    cursor.i32()?; // correlation id
    cursor.i16()?; // error code
    let (mut metadata, mut fetch) = (0, i16::MAX);
    for _ in 0..cursor.array_len_non_null(false, 2 + 2 + 2)? {
        let key = cursor.i16()?;
        cursor.i16()?; // the lowest version
        let highest = cursor.i16()?;
        match key {
            METADATA => metadata = highest,
            FETCH => fetch = highest,
            _ => {}
        }
    }
    cursor.expect_end()?;
    Ok(metadata >= METADATA_WITH_TOPIC_IDS && fetch < FETCH_WITH_TOPIC_IDS)
}

/// A Metadata response of version 1: the topic's partitions, and its error.
fn leaders(answer: &[u8]) -> Result<(Vec<Leader>, i16), ProtocolError> {
    let mut cursor = Cursor::new(answer);
    cursor.i32()?; // correlation id
    let mut brokers = Vec::new();
    for _ in 0..cursor.array_len_non_null(false, 4 + 2 + 4 + 2)? {
        let node_id = cursor.i32()?;
        let at = cursor.position();
        let host = cursor.string_non_null(false)?;
        if !is_host(host) {
            return Err(ProtocolError::NotAHost { at });
        }
        let port = cursor.i32()?;
        cursor.string(false)?; // rack
        brokers.push((node_id, format!("{host}:{port}")));
    }
    cursor.i32()?; // controller
    let (mut leaders, mut code) = (Vec::new(), 0);
    for _ in 0..cursor.array_len_non_null(false, 2 + 2 + 1 + 4)? {
        code = cursor.i16()?;
        cursor.string_non_null(false)?;
        cursor.boolean()?; // internal
        for _ in 0..cursor.array_len_non_null(false, 2 + 4 + 4 + 4 + 4)? {
            cursor.i16()?; // the partition's error: without a leader there is nobody to ask
            let partition = cursor.i32()?;
            let leader = cursor.i32()?;
            for _ in 0..2 {
                let nodes = cursor.array_len_non_null(false, 4)?; // replicas, in-sync replicas
                cursor.skip(nodes.saturating_mul(4))?;
            }
            let broker = brokers.iter().find(|(node_id, _)| *node_id == leader);
            leaders.push(Leader {
                partition,
                address: broker.map(|(_, address)| address.clone()),
            });
        }
    }
    cursor.expect_end()?;
    leaders.sort_by_key(|leader| leader.partition);
    Ok((leaders, code))
}

/// A ListOffsets response of version 1 with one partition: its offset, and its error.
fn listed_offset(answer: &[u8]) -> Result<(i64, i16), ProtocolError> {
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

/// The oldest versions that Kafka 4 still takes, which 0.11 takes too: nothing has to be negotiated.
const API_VERSIONS_VERSION: i16 = 0;
const METADATA_VERSION: i16 = 1;
const LIST_OFFSETS_VERSION: i16 = 1;
const FETCH_VERSION: i16 = 4;
/// The first versions of Metadata requests and of Fetch in which topics have ids (KIP-516).
const METADATA_WITH_TOPIC_IDS: i16 = 12;
const FETCH_WITH_TOPIC_IDS: i16 = 13;
/// ListOffsets' word for the first offset.
const EARLIEST: i64 = -2;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
const FETCH_BYTES: i32 = 8 << 20;
/// A broker sends at least one whole batch (KIP-74), however large the topic lets it be.
const ANSWER_BYTES_MAX: u64 = 512 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hostile_answers_are_errors_or_answers(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = leaders(&answer);
            let _ = listed_offset(&answer);
            let _ = offers_what_no_broker_does(&answer);
        }
    }

    #[test]
    fn a_proxy_is_told_from_brokers_of_any_age() {
        // Highest versions of Metadata and Fetch of Kafka 1.0, 2.8, 3.0, 3.1, 4.0, and of a Sealwire in front of the last two.
        for (metadata, fetch, expected) in [
            (5, 6, false),
            (11, 12, false),
            (11, 12, false),
            (12, 13, false),
            (13, 17, false),
            (12, 12, true),
            (13, 12, true),
        ] {
            let mut answer = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 3];
            for (key, highest) in [(0, 9), (1, fetch), (3, metadata)] {
                answer.extend([0, key, 0, 0, 0, highest]);
            }
            assert_eq!(
                offers_what_no_broker_does(&answer),
                Ok(expected),
                "{metadata} {fetch}"
            );
        }
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
}
