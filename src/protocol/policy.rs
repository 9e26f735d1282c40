//! What says which APIs go through the proxy, in which versions, and how: a value of each cluster.
//!
//! An API or version that is not here is not advertised, and closes the connection when it is used all the same: for a
//! proxy that seals, unknown must mean closed, since a future version may carry records or broker addresses in a new
//! place (Produce 10 and Fetch 16 did). Versions are audited up to Kafka 4.4; a test compares the decoded ones with
//! what the oracle knows.
//!
//! Left out on purpose:
//! - 4-7, 52-54, 56, 58, 59, 62, 63, 67, 70, 73, 82-87: between brokers and controllers. 58 (Envelope) wraps other
//!   requests, 59 (FetchSnapshot) carries records.
//! - 76-79 (share groups): they know topics by id alone, and topics are known by name here.
//!
//! An API that another one sends clients to is offered together with it: from version 1 on StreamsGroupHeartbeat asks
//! for what only StreamsGroupTopologyDescriptionUpdate can give.

use super::api_key::{
    self as key, API_VERSIONS, DESCRIBE_CLUSTER, FETCH, FIND_COORDINATOR, METADATA, PRODUCE,
    SASL_AUTHENTICATE, SASL_HANDSHAKE,
};

/// Which APIs a cluster's clients may use. It costs nothing to copy.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    apis: &'static [ApiPolicy],
    /// Brokers see the proxy in place of its clients, who have names.
    are_named: bool,
    /// All that a client may use is told from what is another's by its name.
    by_name_alone: bool,
}

impl Policy {
    /// Topics are known by name.
    pub const BY_NAME: Self = Self::new(BY_NAME);

    /// Of these APIs, in ascending order of their keys.
    pub const fn new(apis: &'static [ApiPolicy]) -> Self {
        Self {
            apis,
            are_named: false,
            by_name_alone: false,
        }
    }

    /// The same for clients that have names, in whose place brokers see the proxy.
    #[must_use]
    pub const fn for_named_clients(self) -> Self {
        Self {
            are_named: true,
            ..self
        }
    }

    /// The same where what a request is about has to be known by its name: versions that say it otherwise are not let
    /// through.
    #[must_use]
    pub const fn by_name_alone(self) -> Self {
        Self {
            by_name_alone: true,
            ..self
        }
    }

    /// The highest version of an API that is let through.
    pub fn max(self, api: &ApiPolicy) -> i16 {
        match self.by_name_alone {
            true => api.max.min(api.named_to),
            false => api.max,
        }
    }

    /// Whether requests of this version are let through.
    pub fn allows(self, api: &ApiPolicy, version: i16) -> bool {
        (api.min..=self.max(api)).contains(&version)
    }

    /// The policy of an API; `None` means denied.
    pub fn api(self, key: i16) -> Option<&'static ApiPolicy> {
        let position = self.apis.binary_search_by_key(&key, |policy| policy.key).ok()?;
        let policy = self.apis.get(position)?;
        (!self.are_named || !policy.hidden_from_named).then_some(policy)
    }

    /// Every API that is let through, by ascending key.
    #[cfg(feature = "testing")]
    pub fn apis(self) -> &'static [ApiPolicy] {
        self.apis
    }
}

/// What is done with an API's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestHandling {
    /// Passed on through a fixed window; only the first 8 bytes are read.
    Stream,
    /// Held whole, and written anew.
    Hold,
}

/// What is done with an API's responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseHandling {
    /// Passed on through a fixed window.
    Stream,
    /// Held whole, and written anew.
    Hold,
}

/// What a request is about, where brokers see the proxy alone, and a client may use what is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The cluster, or what is everybody's: for administrators. So is whatever says nothing else.
    Cluster,
    /// Nothing that is anybody's.
    Nothing,
    /// What it names ([`super::names`]): each has to be its client's.
    Names,
    /// The same, and all names stand before whatever may be long.
    FirstNames,
    /// Topics, which are left out of it and of its answer.
    Metadata,
}

/// How one API is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiPolicy {
    pub key: i16,
    /// Kafka's name of it.
    pub name: &'static str,
    /// The lowest version that is let through.
    pub min: i16,
    /// The lowest version that clients are told of: where it is lower, some take an API for missing without it, and ask
    /// in a higher version all the same.
    pub told_from: i16,
    /// The highest version that is let through.
    pub max: i16,
    /// The first version with compact fields and header versions 2 (request) and 1 (response); [`NEVER`] if there is
    /// none.
    pub flexible_from: i16,
    pub request: RequestHandling,
    pub response: ResponseHandling,
    /// Responses that are held may have this many bytes; [`usize::MAX`] for those that are streamed.
    pub response_bytes_max: usize,
    /// Whether a broker takes it from a client that has not authenticated.
    pub before_auth: bool,
    /// Whether a broker may hold the answer for as long as the client or others in its group say, and nothing is lost
    /// with an answer that does not come: the client asks again.
    pub may_be_held: bool,
    /// Whether a request, as clients send them behind one that may be held, asks and changes nothing, so that it can as
    /// well be asked again.
    pub changes_nothing: bool,
    /// Whether it changes the cluster, or says who may: for administrators, where clients have names.
    pub admin: bool,
    /// Whether it is not for clients that have names: it is about users and tokens that brokers know, which would be
    /// the proxy's, or has brokers make topics as the client describes them, which they would do for the proxy.
    pub hidden_from_named: bool,
    /// What it is about, where brokers see the proxy alone.
    pub about: About,
    /// The highest version that says by name what it is about.
    pub named_to: i16,
}

impl ApiPolicy {
    /// Whether requests of this version are let through.
    pub fn allows(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// Whether requests of this version have header version 2 and compact fields.
    pub fn flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// Whether responses have header version 1. ApiVersions responses never do, so that any client can read them.
    pub fn response_header_flexible(&self, version: i16) -> bool {
        self.key != API_VERSIONS && self.flexible(version)
    }

    const fn hold(self, request: RequestHandling, response_bytes_max: usize) -> Self {
        Self {
            request,
            response: ResponseHandling::Hold,
            response_bytes_max,
            ..self
        }
    }

    const fn may_be_held(self) -> Self {
        Self {
            may_be_held: true,
            ..self
        }
    }

    const fn changes_nothing(self) -> Self {
        Self {
            changes_nothing: true,
            ..self
        }
    }

    const fn told_from(self, told_from: i16) -> Self {
        Self { told_from, ..self }
    }

    const fn admin(self) -> Self {
        Self { admin: true, ..self }
    }

    const fn hidden_from_named(self) -> Self {
        Self {
            hidden_from_named: true,
            ..self
        }
    }

    const fn about(self, about: About) -> Self {
        Self { about, ..self }
    }

    const fn named_to(self, named_to: i16) -> Self {
        Self { named_to, ..self }
    }

    const fn before_auth(self) -> Self {
        Self {
            before_auth: true,
            ..self
        }
    }
}

/// [`ApiPolicy::flexible_from`] of an API that has no flexible version.
pub const NEVER: i16 = i16::MAX;

/// Kafka's name of an API that any policy lets through.
pub fn api_name(key: i16) -> Option<&'static str> {
    Policy::BY_NAME.api(key).map(|policy| policy.name)
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A client asks for 50 MiB and gets one batch more; configuration may lower it.
const FETCH_RESPONSE_BYTES_MAX: usize = 256 * MIB;
/// 1,000 topics of 10 partitions make 0.5 MB; this is room for a million partitions.
const METADATA_RESPONSE_BYTES_MAX: usize = 64 * MIB;
/// A hundred bytes a partition, and messages on ten thousand records. It is worked off in one step.
const PRODUCE_RESPONSE_BYTES_MAX: usize = 4 * MIB;
/// A hundred APIs of seven bytes, and the broker's features.
const API_VERSIONS_RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// One line a broker.
const CONTROL_RESPONSE_BYTES_MAX: usize = MIB;
/// A hundred bytes a coordinator. It is worked off in one step.
const FIND_COORDINATOR_RESPONSE_BYTES_MAX: usize = 4 * MIB;

static BY_NAME: &[ApiPolicy] = &[
    opaque(PRODUCE, "Produce", 3, 12, 9)
        .about(About::FirstNames)
        .hold(RequestHandling::Hold, PRODUCE_RESPONSE_BYTES_MAX),
    // Up to the client's `fetch.max.wait.ms`.
    opaque(FETCH, "Fetch", 4, 12, 12)
        .about(About::FirstNames)
        .hold(RequestHandling::Stream, FETCH_RESPONSE_BYTES_MAX)
        .may_be_held(),
    opaque(key::LIST_OFFSETS, "ListOffsets", 1, 11, 6)
        .about(About::Names)
        .changes_nothing(),
    opaque(METADATA, "Metadata", 0, 13, 9)
        .about(About::Metadata)
        .hold(RequestHandling::Stream, METADATA_RESPONSE_BYTES_MAX)
        .changes_nothing(),
    opaque(key::OFFSET_COMMIT, "OffsetCommit", 2, 10, 8)
        .about(About::Names)
        .named_to(9),
    opaque(key::OFFSET_FETCH, "OffsetFetch", 1, 10, 6)
        .about(About::Names)
        .named_to(9)
        .changes_nothing(),
    opaque(FIND_COORDINATOR, "FindCoordinator", 0, 6, 3)
        .about(About::Names)
        .hold(RequestHandling::Stream, FIND_COORDINATOR_RESPONSE_BYTES_MAX)
        .changes_nothing(),
    // Until every member has come again, or its `max.poll.interval.ms` is over.
    opaque(key::JOIN_GROUP, "JoinGroup", 0, 9, 6)
        .about(About::FirstNames)
        .may_be_held(),
    opaque(key::HEARTBEAT, "Heartbeat", 0, 4, 4)
        .about(About::FirstNames)
        .changes_nothing(),
    opaque(key::LEAVE_GROUP, "LeaveGroup", 0, 5, 4).about(About::FirstNames),
    // Until the leader of the group has said who gets what.
    opaque(key::SYNC_GROUP, "SyncGroup", 0, 5, 4)
        .about(About::FirstNames)
        .may_be_held(),
    opaque(key::DESCRIBE_GROUPS, "DescribeGroups", 0, 6, 5).about(About::Names),
    opaque(key::LIST_GROUPS, "ListGroups", 0, 5, 3),
    // Version 0 is followed by raw tokens without Kafka headers; only clients before 1.0 ask for it.
    // librdkafka 2.0, which kcat has in Debian, logs in nowhere where it is not told of version 0.
    opaque(SASL_HANDSHAKE, "SaslHandshake", 1, 1, NEVER)
        .about(About::Nothing)
        .told_from(0)
        .hold(RequestHandling::Stream, CONTROL_RESPONSE_BYTES_MAX)
        .before_auth(),
    opaque(API_VERSIONS, "ApiVersions", 0, 5, 3)
        .about(About::Nothing)
        .hold(RequestHandling::Stream, API_VERSIONS_RESPONSE_BYTES_MAX)
        .before_auth()
        .changes_nothing(),
    opaque(key::CREATE_TOPICS, "CreateTopics", 2, 7, 5).admin(),
    opaque(key::DELETE_TOPICS, "DeleteTopics", 1, 6, 4).admin(),
    opaque(key::DELETE_RECORDS, "DeleteRecords", 0, 2, 2).admin(),
    // Version 6 (KIP-939) is not stable in any release.
    opaque(key::INIT_PRODUCER_ID, "InitProducerId", 0, 5, 2).about(About::FirstNames),
    opaque(key::OFFSET_FOR_LEADER_EPOCH, "OffsetForLeaderEpoch", 2, 4, 4).about(About::Names),
    opaque(key::ADD_PARTITIONS_TO_TXN, "AddPartitionsToTxn", 0, 5, 3).about(About::Names),
    opaque(key::ADD_OFFSETS_TO_TXN, "AddOffsetsToTxn", 0, 4, 3).about(About::FirstNames),
    opaque(key::END_TXN, "EndTxn", 0, 5, 3).about(About::FirstNames),
    opaque(key::WRITE_TXN_MARKERS, "WriteTxnMarkers", 1, 2, 1).admin(),
    opaque(key::TXN_OFFSET_COMMIT, "TxnOffsetCommit", 0, 6, 3)
        .about(About::Names)
        .named_to(5),
    opaque(key::DESCRIBE_ACLS, "DescribeAcls", 1, 3, 2).admin(),
    opaque(key::CREATE_ACLS, "CreateAcls", 1, 3, 2).admin(),
    opaque(key::DELETE_ACLS, "DeleteAcls", 1, 3, 2).admin(),
    opaque(key::DESCRIBE_CONFIGS, "DescribeConfigs", 1, 4, 4).about(About::Names),
    opaque(key::ALTER_CONFIGS, "AlterConfigs", 0, 2, 2).admin(),
    opaque(key::ALTER_REPLICA_LOG_DIRS, "AlterReplicaLogDirs", 1, 2, 2).admin(),
    opaque(key::DESCRIBE_LOG_DIRS, "DescribeLogDirs", 1, 5, 2),
    opaque(SASL_AUTHENTICATE, "SaslAuthenticate", 0, 2, 2)
        .about(About::Nothing)
        .hold(RequestHandling::Stream, CONTROL_RESPONSE_BYTES_MAX)
        .before_auth(),
    opaque(key::CREATE_PARTITIONS, "CreatePartitions", 0, 3, 2).admin(),
    opaque(38, "CreateDelegationToken", 1, 3, 2).hidden_from_named(),
    opaque(39, "RenewDelegationToken", 1, 2, 2).hidden_from_named(),
    opaque(40, "ExpireDelegationToken", 1, 2, 2).hidden_from_named(),
    opaque(41, "DescribeDelegationToken", 1, 3, 2).hidden_from_named(),
    opaque(key::DELETE_GROUPS, "DeleteGroups", 0, 3, 2).admin(),
    opaque(key::ELECT_LEADERS, "ElectLeaders", 0, 2, 2).admin(),
    opaque(key::INCREMENTAL_ALTER_CONFIGS, "IncrementalAlterConfigs", 0, 1, 1).admin(),
    opaque(
        key::ALTER_PARTITION_REASSIGNMENTS,
        "AlterPartitionReassignments",
        0,
        1,
        0,
    )
    .admin(),
    opaque(
        key::LIST_PARTITION_REASSIGNMENTS,
        "ListPartitionReassignments",
        0,
        0,
        0,
    ),
    opaque(key::OFFSET_DELETE, "OffsetDelete", 0, 0, NEVER).admin(),
    opaque(key::DESCRIBE_CLIENT_QUOTAS, "DescribeClientQuotas", 0, 1, 1),
    opaque(key::ALTER_CLIENT_QUOTAS, "AlterClientQuotas", 0, 1, 1).admin(),
    opaque(50, "DescribeUserScramCredentials", 0, 0, 0).hidden_from_named(),
    opaque(51, "AlterUserScramCredentials", 0, 0, 0).hidden_from_named(),
    // Version 2 shows the controllers' listeners, to which no client of ours connects.
    opaque(key::DESCRIBE_QUORUM, "DescribeQuorum", 0, 2, 0),
    opaque(key::UPDATE_FEATURES, "UpdateFeatures", 0, 2, 0).admin(),
    opaque(DESCRIBE_CLUSTER, "DescribeCluster", 0, 2, 0)
        .about(About::Nothing)
        .hold(RequestHandling::Stream, CONTROL_RESPONSE_BYTES_MAX),
    opaque(key::DESCRIBE_PRODUCERS, "DescribeProducers", 0, 0, 0).about(About::Names),
    opaque(key::UNREGISTER_BROKER, "UnregisterBroker", 0, 0, 0).admin(),
    opaque(key::DESCRIBE_TRANSACTIONS, "DescribeTransactions", 0, 0, 0).about(About::Names),
    opaque(key::LIST_TRANSACTIONS, "ListTransactions", 0, 2, 0),
    opaque(key::CONSUMER_GROUP_HEARTBEAT, "ConsumerGroupHeartbeat", 0, 1, 0).about(About::Names),
    opaque(key::CONSUMER_GROUP_DESCRIBE, "ConsumerGroupDescribe", 0, 1, 0).about(About::Names),
    opaque(
        key::GET_TELEMETRY_SUBSCRIPTIONS,
        "GetTelemetrySubscriptions",
        0,
        0,
        0,
    )
    .about(About::Nothing),
    opaque(key::PUSH_TELEMETRY, "PushTelemetry", 0, 0, 0).about(About::Nothing),
    opaque(key::LIST_CONFIG_RESOURCES, "ListConfigResources", 0, 1, 0),
    opaque(key::DESCRIBE_TOPIC_PARTITIONS, "DescribeTopicPartitions", 0, 0, 0).about(About::Names),
    opaque(key::ADD_RAFT_VOTER, "AddRaftVoter", 0, 1, 0).admin(),
    opaque(key::REMOVE_RAFT_VOTER, "RemoveRaftVoter", 0, 0, 0).admin(),
    // The endpoints in these two are of applications (KIP-1071), not of brokers.
    opaque(88, "StreamsGroupHeartbeat", 0, 1, 0).hidden_from_named(),
    opaque(key::STREAMS_GROUP_DESCRIBE, "StreamsGroupDescribe", 0, 1, 0).about(About::Names),
    opaque(
        key::DESCRIBE_SHARE_GROUP_OFFSETS,
        "DescribeShareGroupOffsets",
        0,
        1,
        0,
    )
    .about(About::Names),
    opaque(key::ALTER_SHARE_GROUP_OFFSETS, "AlterShareGroupOffsets", 0, 0, 0).admin(),
    opaque(
        key::DELETE_SHARE_GROUP_OFFSETS,
        "DeleteShareGroupOffsets",
        0,
        0,
        0,
    )
    .admin(),
    // KIP-1331: names of an application's processors, stores and topics; no record, no address.
    opaque(93, "StreamsGroupTopologyDescriptionUpdate", 0, 0, 0).hidden_from_named(),
    // The number of a controller, and whether it is gone.
    opaque(key::UNREGISTER_CONTROLLER, "UnregisterController", 0, 0, 0).admin(),
];

const fn opaque(key: i16, name: &'static str, min: i16, max: i16, flexible_from: i16) -> ApiPolicy {
    ApiPolicy {
        key,
        name,
        min,
        told_from: min,
        max,
        flexible_from,
        request: RequestHandling::Stream,
        response: ResponseHandling::Stream,
        response_bytes_max: usize::MAX,
        before_auth: false,
        may_be_held: false,
        changes_nothing: false,
        admin: false,
        hidden_from_named: false,
        about: About::Cluster,
        named_to: max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::addresses::carries_addresses;

    #[test]
    fn the_table_is_sorted_and_its_ranges_are_not_empty() {
        assert!(
            Policy::BY_NAME
                .apis()
                .is_sorted_by(|one, other| one.key < other.key)
        );
        for policy in Policy::BY_NAME.apis() {
            assert!(0 <= policy.min && policy.min <= policy.max, "{}", policy.name);
            assert_eq!(Policy::BY_NAME.api(policy.key), Some(policy));
        }
    }

    #[test]
    fn what_carries_addresses_is_held() {
        for policy in Policy::BY_NAME.apis() {
            for version in policy.min..=policy.max {
                if carries_addresses(policy.key, version) {
                    assert_eq!(
                        policy.response,
                        ResponseHandling::Hold,
                        "{} {version}",
                        policy.name
                    );
                }
            }
        }
    }

    #[test]
    fn share_groups_know_topics_by_id_alone() {
        for share in 76..=79 {
            assert_eq!(Policy::BY_NAME.api(share), None);
        }
    }

    #[test]
    fn what_brokers_say_to_each_other_is_denied() {
        for key in [
            4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82, 83, 84, 85, 86, 87,
        ] {
            assert_eq!(Policy::BY_NAME.api(key), None, "{key}");
        }
        assert_eq!(Policy::BY_NAME.api(-1), None);
        assert_eq!(Policy::BY_NAME.api(i16::MAX), None);
    }

    #[test]
    fn an_api_is_offered_together_with_the_one_that_it_sends_clients_to() {
        let heartbeat = Policy::BY_NAME.api(88).map(|policy| policy.max);
        let topology = Policy::BY_NAME.api(93).map(|policy| policy.max);
        assert_eq!((heartbeat, topology), (Some(1), Some(0)));
    }

    #[test]
    fn a_client_that_has_not_authenticated_has_three_requests() {
        let keys: Vec<i16> = Policy::BY_NAME
            .apis()
            .iter()
            .filter(|policy| policy.before_auth)
            .map(|policy| policy.key)
            .collect();
        assert_eq!(keys, [SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE]);
    }

    /// What changes anything at the broker is waited for: whether it was done is in its answer.
    #[test]
    fn answers_that_may_be_held_are_those_of_polls() {
        let held: Vec<&str> = Policy::BY_NAME
            .apis()
            .iter()
            .filter(|policy| policy.may_be_held)
            .map(|policy| policy.name)
            .collect();
        assert_eq!(held, ["Fetch", "JoinGroup", "SyncGroup"]);
    }

    #[test]
    fn polls_are_followed_by_what_changes_nothing() {
        let harmless: Vec<&str> = Policy::BY_NAME
            .apis()
            .iter()
            .filter(|policy| policy.changes_nothing)
            .map(|policy| policy.name)
            .collect();
        let expected = [
            "ListOffsets",
            "Metadata",
            "OffsetFetch",
            "FindCoordinator",
            "Heartbeat",
            "ApiVersions",
        ];
        assert_eq!(harmless, expected);
    }

    /// docs/authentication.md has the same list.
    #[test]
    fn what_changes_the_cluster_is_for_administrators() {
        let all = Policy::BY_NAME.apis().iter();
        let admin: Vec<&str> = all
            .filter(|policy| policy.admin)
            .map(|policy| policy.name)
            .collect();
        let expected = [
            "CreateTopics",
            "DeleteTopics",
            "DeleteRecords",
            "WriteTxnMarkers",
            "DescribeAcls",
            "CreateAcls",
            "DeleteAcls",
            "AlterConfigs",
            "AlterReplicaLogDirs",
            "CreatePartitions",
            "DeleteGroups",
            "ElectLeaders",
            "IncrementalAlterConfigs",
            "AlterPartitionReassignments",
            "OffsetDelete",
            "AlterClientQuotas",
            "UpdateFeatures",
            "UnregisterBroker",
            "AddRaftVoter",
            "RemoveRaftVoter",
            "AlterShareGroupOffsets",
            "DeleteShareGroupOffsets",
            "UnregisterController",
        ];
        assert_eq!(admin, expected);
    }

    #[test]
    fn what_brokers_would_do_for_the_proxy_is_not_for_named_clients() {
        let hiding = Policy::BY_NAME.for_named_clients();
        for policy in Policy::BY_NAME.apis() {
            let is_hidden = matches!(policy.key, 38..=41 | 50 | 51 | 88 | 93);
            assert_eq!(hiding.api(policy.key).is_none(), is_hidden, "{}", policy.name);
        }
    }

    #[test]
    fn headers() {
        let flexible = |key, version| Policy::BY_NAME.api(key).map(|api| api.flexible(version));
        let response = |key, version| {
            Policy::BY_NAME
                .api(key)
                .map(|api| api.response_header_flexible(version))
        };
        assert_eq!(
            (flexible(API_VERSIONS, 3), response(API_VERSIONS, 3)),
            (Some(true), Some(false))
        );
        assert_eq!(
            (flexible(PRODUCE, 8), flexible(PRODUCE, 9)),
            (Some(false), Some(true))
        );
        assert_eq!(response(PRODUCE, 9), Some(true));
        assert_eq!(flexible(SASL_HANDSHAKE, 1), Some(false));
    }
}
