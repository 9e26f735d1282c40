//! The smallest Kafka client that can read a topic and ask what the self-check wants to know: blocking, one connection,
//! requests in versions that every broker since 0.11 takes. Requests are made by `kafka-protocol`; answers are
//! untrusted and read by our own walkers.
//!
//! It logs in where whoever calls it has an account for that, makes tokens, and writes nothing else. No executor and
//! not the control thread may call it: it waits for the network.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![expect(clippy::disallowed_methods, reason = "no executor uses it")]

mod answers;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateDelegationTokenRequest, DescribeConfigsRequest, FetchRequest,
    ListOffsetsRequest, MetadataRequest, RequestHeader, TopicName,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};
use rustls::{ClientConnection, CommonState};
use zeroize::Zeroizing;

use crate::broker_login::{BrokerAccount, BrokerLogin, LoginError, Outcome};
use crate::protocol::error_code::UNSUPPORTED_VERSION;
use crate::protocol::fetch_response::FetchResponse;
use crate::protocol::{ProtocolError, frame};
use crate::transport::tls::TlsFailure;
use crate::transport::tls_client::ClientSet;

/// Why a broker was asked in vain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A broker cannot be reached, or does not answer.
    #[error("broker {address}: {source}")]
    Broker {
        /// `host:port`.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A broker's answer cannot be understood.
    #[error("broker {address} gave an answer that cannot be read: {source}")]
    Answer {
        /// `host:port`.
        address: String,
        /// Why.
        source: ProtocolError,
    },
    /// A broker refuses.
    #[error("broker {address} refuses with Kafka error {code}{}", in_words(*.code))]
    Refused {
        /// `host:port`.
        address: String,
        /// Kafka's error code.
        code: i16,
    },
    /// A broker does not let us log in.
    #[error("broker {address}: {source}")]
    Login {
        /// `host:port`.
        address: String,
        /// Why.
        source: LoginError,
    },
}

/// How long a broker is waited for, and how much is taken of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) connect: Duration,
    /// For a whole answer, however it comes.
    pub(crate) answer: Duration,
    /// One answer.
    pub(crate) answer_bytes_max: u64,
}

/// For a person who waits for one broker. It sends at least one whole batch (KIP-74), however large the topic lets it
/// be.
pub(crate) const PATIENT: Patience = Patience {
    connect: Duration::from_secs(5),
    answer: Duration::from_secs(15),
    answer_bytes_max: 512 << 20,
};

/// A connection to one broker.
pub(crate) struct BrokerClient {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    address: String,
    answer: Duration,
    /// Beyond which nothing is waited for.
    until: Option<Instant>,
    answer_bytes_max: u64,
    correlation_id: i32,
}

/// A partition and who leads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) partition: i32,
    /// `host:port`; `None`: nobody.
    pub(crate) address: Option<String>,
}

/// What Metadata says of a cluster.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundCluster {
    /// Id, host and port.
    pub(crate) brokers: Vec<(i32, String, i32)>,
    pub(crate) topics: Vec<String>,
}

/// What a broker says of some settings of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicSettings<const N: usize> {
    pub(crate) topic: String,
    /// What each has, where there is such a setting; or Kafka's error, where the broker does not say.
    pub(crate) values: Result<[Option<String>; N], i16>,
}

/// A delegation token that a broker has made (KIP-48).
#[derive(Clone)]
pub(crate) struct MadeToken {
    /// Its user name, where it is logged in by it.
    pub(crate) id: String,
    /// The password: in base64.
    pub(crate) hmac: Zeroizing<String>,
    pub(crate) good_for: Duration,
}

/// Without what is secret.
impl fmt::Debug for MadeToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MadeToken")
            .field("id", &self.id)
            .field("good_for", &self.good_for)
            .finish_non_exhaustive()
    }
}

/// What one fetch brought.
pub(crate) struct Fetched {
    /// Record batches.
    pub(crate) records: Vec<u8>,
    pub(crate) high_watermark: i64,
}

impl BrokerClient {
    /// By TLS if `tls`; hands are shaken with the first question.
    pub(crate) fn connect(
        address: &str,
        tls: Option<&ClientSet>,
        patience: Patience,
    ) -> Result<Self, ClientError> {
        let tls = tls.map(|set| set.session(host_of(address))).transpose();
        let tls = tls.map_err(|error| broker(address, io::Error::other(error)))?;
        let connected = address.to_socket_addrs().and_then(|addresses| {
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in addresses {
                match TcpStream::connect_timeout(&address, patience.connect) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        });
        Ok(Self {
            stream: connected.map_err(|source| broker(address, source))?,
            tls: tls.map(Box::new),
            address: address.to_owned(),
            answer: patience.answer,
            until: None,
            answer_bytes_max: patience.answer_bytes_max,
            correlation_id: 0,
        })
    }

    /// From now on nothing is waited for beyond this point in time.
    pub(crate) fn wait_until(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// Whether whoever answers is a Sealwire, which would show records opened; an error where it does not speak Kafka.
    /// To be asked first, and once: brokers that want a login take nothing else before it. Brokers older than Kafka 3.1
    /// cannot be told from a proxy in front of them.
    pub(crate) fn is_proxy(&mut self) -> Result<bool, ClientError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("sealwire"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let answer = self.ask(ApiKey::ApiVersions, API_VERSIONS_VERSION, &request)?;
        let (is_proxy, code) = self.understood(answers::offers_what_no_broker_does(&answer))?;
        match code {
            // It knows older versions only, and says so.
            UNSUPPORTED_VERSION => Ok(false),
            code => self.accepted(code).map(|()| is_proxy),
        }
    }

    /// Logs in. Nothing but [`Self::is_proxy`] may come before it.
    pub(crate) fn log_in(&mut self, account: &BrokerAccount) -> Result<(), ClientError> {
        let failed = |address: &str, source| ClientError::Login {
            address: address.to_owned(),
            source,
        };
        let Some(mut login) = BrokerLogin::new(account) else {
            // TLS shows who it is.
            return Ok(());
        };
        loop {
            self.correlation_id = self.correlation_id.wrapping_add(1);
            let mut request = Zeroizing::new(Vec::new());
            login
                .write(self.correlation_id, &mut request)
                .map_err(|error| failed(&self.address, error))?;
            let answer = self.exchange(&request);
            let answer = answer.map_err(|source| broker(&self.address, source))?;
            let mut outcome = login.take(&answer);
            while let Ok(Outcome::Hash) = outcome {
                match login.hashing() {
                    Some(hashing) => hashing.run(),
                    // Somebody else hashes it.
                    None => std::thread::sleep(LOOK_AGAIN),
                }
                outcome = login.resume();
            }
            match outcome {
                Ok(Outcome::Done(_)) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(failed(&self.address, error)),
            }
        }
    }

    /// Has a token made by which one logs in as this user (KIP-373), good for so long or less.
    pub(crate) fn make_token(&mut self, owner: &str, lifetime: Duration) -> Result<MadeToken, ClientError> {
        let request = CreateDelegationTokenRequest::default()
            .with_owner_principal_type(Some(StrBytes::from_static_str("User")))
            .with_owner_principal_name(Some(StrBytes::from_string(owner.to_owned())))
            .with_max_lifetime_ms(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX));
        let answer = self.ask(
            ApiKey::CreateDelegationToken,
            CREATE_DELEGATION_TOKEN_VERSION,
            &request,
        )?;
        let answer = Zeroizing::new(answer);
        let made = self.understood(answers::made_token(&answer))?;
        made.map_err(|code| ClientError::Refused {
            address: self.address.clone(),
            code,
        })
    }

    /// The partitions of `topic`.
    pub(crate) fn leaders(&mut self, topic: &str) -> Result<Vec<Leader>, ClientError> {
        let named = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        let request = MetadataRequest::default().with_topics(Some(vec![named]));
        let answer = self.ask(ApiKey::Metadata, METADATA_VERSION, &request)?;
        let (leaders, code) = self.understood(answers::leaders(&answer))?;
        self.accepted(code)?;
        Ok(leaders)
    }

    /// The cluster's brokers and, if `topics`, the names of its topics.
    pub(crate) fn cluster(&mut self, topics: bool) -> Result<FoundCluster, ClientError> {
        // No list stands for all of them, an empty one for none.
        let request = MetadataRequest::default().with_topics((!topics).then(Vec::new));
        let answer = self.ask(ApiKey::Metadata, METADATA_VERSION, &request)?;
        self.understood(answers::cluster(&answer))
    }

    /// What a broker says of these settings of each topic; or the error with which it refuses to say it.
    pub(crate) fn topic_settings<const N: usize>(
        &mut self,
        topics: &[String],
        settings: [&str; N],
    ) -> Result<Vec<TopicSettings<N>>, ClientError> {
        let keys = settings.map(|setting| StrBytes::from_string(setting.to_owned()));
        let resource = |topic: &String| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC_RESOURCE)
                .with_resource_name(StrBytes::from_string(topic.clone()))
                .with_configuration_keys(Some(keys.to_vec()))
        };
        let request = DescribeConfigsRequest::default().with_resources(topics.iter().map(resource).collect());
        let answer = self.ask(ApiKey::DescribeConfigs, DESCRIBE_CONFIGS_VERSION, &request)?;
        self.understood(answers::described_settings(&answer, settings))
    }

    /// The first offset that a partition has.
    pub(crate) fn first_offset(&mut self, topic: &str, partition: i32) -> Result<i64, ClientError> {
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
        let (offset, code) = self.understood(answers::listed_offset(&answer))?;
        self.accepted(code)?;
        Ok(offset)
    }

    /// Whole batches from `offset` on, as many as fit; possibly none.
    pub(crate) fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Result<Fetched, ClientError> {
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
        let partitions = response.partitions();
        let Some(partition) = partitions.get(0) else {
            return self.understood(Err(ProtocolError::Truncated { at: answer.len() }));
        };
        self.accepted(partition.error_code)?;
        Ok(Fetched {
            records: partitions.records(&answer, 0).to_vec(),
            high_watermark: partition.high_watermark,
        })
    }

    fn ask<M: Encodable + HeaderVersion>(
        &mut self,
        key: ApiKey,
        version: i16,
        body: &M,
    ) -> Result<Vec<u8>, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let exchanged = self
            .request(key, version, body)
            .and_then(|request| self.exchange(&request));
        exchanged.map_err(|source| broker(&self.address, source))
    }

    fn request<M: Encodable + HeaderVersion>(
        &self,
        key: ApiKey,
        version: i16,
        body: &M,
    ) -> io::Result<Vec<u8>> {
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("sealwire")));
        let mut request = BytesMut::new();
        let encoded = header
            .encode(&mut request, M::header_version(version))
            .and_then(|()| body.encode(&mut request, version));
        encoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        let length = u32::try_from(request.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok([&length.to_be_bytes()[..], &request].concat())
    }

    /// Sends a request, its length included; the answer is without it.
    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let most = Instant::now() + self.answer;
        let mut socket = Deadlined {
            stream: &self.stream,
            deadline: self.until.map_or(most, |until| until.min(most)),
        };
        let (most, is_first) = (self.answer_bytes_max, self.correlation_id == 1);
        let answer = match &mut self.tls {
            None => exchange(&mut socket, request, most, is_first)?,
            Some(tls) => {
                let mut stream = rustls::Stream::new(&mut **tls, &mut socket);
                let answer = exchange(&mut stream, request, most, is_first);
                answer.map_err(|error| in_words_of_tls(error, tls))?
            }
        };
        match frame::response_correlation_id(&answer) {
            Some(id) if id == self.correlation_id => Ok(answer),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer is to another question",
            )),
        }
    }

    fn understood<T>(&self, result: Result<T, ProtocolError>) -> Result<T, ClientError> {
        result.map_err(|source| ClientError::Answer {
            address: self.address.clone(),
            source,
        })
    }

    fn accepted(&self, code: i16) -> Result<(), ClientError> {
        match code {
            0 => Ok(()),
            code => Err(ClientError::Refused {
                address: self.address.clone(),
                code,
            }),
        }
    }
}

/// Sends a request and reads the answer to it, of at most `bytes_max`; both without their lengths.
fn exchange(
    stream: &mut (impl Read + Write),
    request: &[u8],
    bytes_max: u64,
    is_first: bool,
) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix)?;
    if is_first && let [TLS_ALERT, TLS_MAJOR_VERSION, ..] = prefix {
        let text = "it speaks TLS: add upstream_tls to the cluster (inspect: --tls-ca), or name a listener without TLS";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let length = u64::from(u32::from_be_bytes(prefix));
    if length > bytes_max {
        let mut text = format!("it announces an answer of {length} bytes, and {bytes_max} are taken");
        if is_first {
            text.push_str("; is this a Kafka listener?");
        }
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    // The buffer grows with what arrives, not with what is announced; what is short, and may be secret, is not moved.
    let mut answer = Vec::with_capacity(SHORT_ANSWER_BYTES);
    stream.take(length).read_to_end(&mut answer)?;
    if answer.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

/// What is wrong with TLS, as the log says it of other connections; whatever else it is stays as it is.
fn in_words_of_tls(error: io::Error, tls: &CommonState) -> io::Error {
    let of_tls = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>());
    let failure = match of_tls {
        Some(of_tls) => TlsFailure::from(of_tls.clone()),
        // That it does not answer in time is said as without TLS.
        None if tls.is_handshaking() && error.kind() != io::ErrorKind::TimedOut => {
            TlsFailure::of_brokers_socket(&error, tls)
        }
        None => return error,
    };
    io::Error::new(io::ErrorKind::InvalidData, failure)
}

/// The host of `HOST:PORT`, an IPv6 address without its brackets.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A socket of which nothing is waited for beyond a point in time, in however many parts it comes.
struct Deadlined<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl Deadlined<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(too_late());
        }
        Ok(Some(left))
    }
}

impl Read for Deadlined<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        let mut stream = self.stream;
        stream.read(buffer).map_err(in_time)
    }
}

impl Write for Deadlined<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        let mut stream = self.stream;
        stream.write(buffer).map_err(in_time)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket's time-out has a name of its own.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => too_late(),
        _ => error,
    }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer in time")
}

fn broker(address: &str, source: io::Error) -> ClientError {
    ClientError::Broker {
        address: address.to_owned(),
        source,
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// The errors that an operator meets here, in words.
fn in_words(code: i16) -> &'static str {
    match code {
        1 => " (offset out of range)",
        3 => " (unknown topic or partition)",
        5 => " (no leader)",
        6 => " (not the leader any more; try again)",
        29 => " (not authorized)",
        _ => "",
    }
}

/// The oldest versions that Kafka 4 still takes, which 0.11 takes too: nothing has to be negotiated.
const METADATA_VERSION: i16 = 1;
const LIST_OFFSETS_VERSION: i16 = 1;
const FETCH_VERSION: i16 = 4;
/// The first that shows which proxies it has passed: one that leads back to us is to know us.
const API_VERSIONS_VERSION: i16 = 3;
const DESCRIBE_CONFIGS_VERSION: i16 = 1;
/// The first that names an owner: Kafka 3.3.
const CREATE_DELEGATION_TOKEN_VERSION: i16 = 3;
/// What TLS answers to a request without it (RFC 8446, 5.1 and 6).
const TLS_ALERT: u8 = 21;
const TLS_MAJOR_VERSION: u8 = 3;
/// DescribeConfigs' number for topics.
const TOPIC_RESOURCE: i8 = 2;
/// ListOffsets' word for the first offset.
const EARLIEST: i64 = -2;

const FETCH_BYTES: i32 = 8 << 20;
const SHORT_ANSWER_BYTES: usize = 4096;
/// A password is hashed within milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
