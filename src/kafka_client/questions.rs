//! What is asked of a broker, by the oldest versions that say it, and what is made of the answers.

use std::fmt;
use std::time::Duration;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateDelegationTokenRequest, DescribeConfigsRequest, FetchRequest,
    ListOffsetsRequest, MetadataRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use zeroize::Zeroizing;

use super::{BrokerClient, ClientError, answers};
use crate::protocol::ProtocolError;
use crate::protocol::error_code::UNSUPPORTED_VERSION;
use crate::protocol::fetch_response::FetchResponse;

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
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
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
/// DescribeConfigs' number for topics.
const TOPIC_RESOURCE: i8 = 2;
/// ListOffsets' word for the first offset.
const EARLIEST: i64 = -2;

const FETCH_BYTES: i32 = 8 << 20;
