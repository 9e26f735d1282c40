//! Each answer as Kafka's clients read it, in each version that the other implementation knows, and requests that are
//! none.

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};

use super::*;
use crate::protocol::policy::Policy;

/// One request of each API, and what has to be in the answer.
struct Asked {
    version: i16,
    head: RequestHead,
    api: &'static ApiPolicy,
    frame: Vec<u8>,
}

impl Asked {
    fn answer(&self) -> Result<Vec<u8>, ProtocolError> {
        let mut out = Vec::new();
        write(Why::NotNamed, self.head, self.api, &self.frame, &mut out).map(|()| out)
    }
}

/// The request in every version that both know.
fn all<R: Request + Default>(request: &R) -> Vec<Asked> {
    let api = Policy::BY_NAME.api(R::KEY).expect("it is let through");
    assert!(api.admin, "{}", api.name);
    let (min, max) = (api.min.max(R::VERSIONS.min), api.max.min(R::VERSIONS.max));
    assert!(min <= max);
    (min..=max)
        .map(|version| {
            let mut frame = Vec::new();
            RequestHeader::default()
                .with_request_api_key(R::KEY)
                .with_request_api_version(version)
                .with_correlation_id(7)
                .with_client_id(Some(text("me")))
                .encode(&mut frame, R::header_version(version))
                .expect("a header");
            request.encode(&mut frame, version).expect("a request");
            let head = RequestHead {
                api_key: R::KEY,
                api_version: version,
                correlation_id: 7,
            };
            Asked {
                version,
                head,
                api,
                frame,
            }
        })
        .collect()
}

/// What each of them is answered with, which has to end with the frame; and nothing that is cut off is answered.
fn answers<R: Request + Default>(request: &R) -> Vec<(i16, R::Response)>
where
    R::Response: Decodable + HeaderVersion + Message,
{
    let answered = all(request).into_iter().map(|mut asked| {
        let answer = asked.answer().expect("an answer");
        let (length, frame) = answer.split_first_chunk().expect("a length");
        assert_eq!(u32::from_be_bytes(*length) as usize, frame.len());
        let mut bytes = Bytes::copy_from_slice(frame);
        let header = ResponseHeader::decode(&mut bytes, R::Response::header_version(asked.version));
        assert_eq!(header.expect("a header").correlation_id, 7);
        let response = R::Response::decode(&mut bytes, asked.version).expect("an answer");
        assert_eq!(bytes.len(), 0, "{} {}", asked.api.name, asked.version);
        // What comes behind what has to be known is not looked at.
        let whole = asked.frame.clone();
        for end in 0..whole.len() {
            asked.frame.truncate(end);
            let cut = asked.answer();
            assert!(cut.is_err() || cut.is_ok_and(|cut| cut == answer));
            asked.frame.clone_from(&whole);
            for lie in [0x7f, 0x80, 0xff] {
                asked.frame[end] = lie;
                let _ = asked.answer();
                asked.frame[end] = whole[end];
            }
        }
        (asked.version, response)
    });
    answered.collect()
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str) -> TopicName {
    text(name).into()
}

#[test]
fn topics() {
    use create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
    use create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
    let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1), BrokerId(2)]);
    let config = CreatableTopicConfig::default()
        .with_name(text("cleanup.policy"))
        .with_value(None);
    let wanted = |name: &str| {
        CreatableTopic::default()
            .with_name(topic(name))
            .with_assignments(vec![assignment.clone(); 2])
            .with_configs(vec![config.clone(); 2])
    };
    let request = CreateTopicsRequest::default().with_topics(vec![wanted("a"), wanted("b")]);
    for (_, answer) in answers(&request) {
        let told: Vec<_> = answer
            .topics
            .iter()
            .map(|topic| (&**topic.name, topic.error_code))
            .collect();
        assert_eq!(told, [("a", 29), ("b", 29)]);
        assert_eq!(answer.topics[0].error_message.as_deref(), Some(NOT_NAMED));
        assert_eq!(answer.topics[0].num_partitions, -1);
    }
    let more = |name: &str| {
        let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(3)]);
        CreatePartitionsTopic::default()
            .with_name(topic(name))
            .with_assignments((name == "b").then(|| vec![assignment]))
    };
    let request = CreatePartitionsRequest::default().with_topics(vec![more("a"), more("b")]);
    for (_, answer) in answers(&request) {
        let told: Vec<_> = answer
            .results
            .iter()
            .map(|topic| (&**topic.name, topic.error_code))
            .collect();
        assert_eq!(told, [("a", 29), ("b", 29)]);
    }
}

#[test]
fn topics_that_are_deleted() {
    use delete_topics_request::DeleteTopicState;
    let id = |last: char| {
        format!("00000000-0000-0000-0000-00000000000{last}")
            .parse()
            .expect("an id")
    };
    let states = vec![
        DeleteTopicState::default().with_name(Some(topic("a"))),
        DeleteTopicState::default().with_name(None).with_topic_id(id('7')),
    ];
    let named = DeleteTopicsRequest::default().with_topic_names(vec![topic("a"), topic("b")]);
    for asked in all(&DeleteTopicsRequest::default()) {
        let _ = asked.answer().expect("of none");
    }
    for version in 1..=6 {
        let request = if version >= 6 {
            DeleteTopicsRequest::default().with_topics(states.clone())
        } else {
            named.clone()
        };
        let mut frame = Vec::new();
        RequestHeader::default()
            .with_request_api_key(20)
            .with_request_api_version(version)
            .with_correlation_id(7)
            .encode(&mut frame, DeleteTopicsRequest::header_version(version))
            .expect("a header");
        request.encode(&mut frame, version).expect("a request");
        let head = RequestHead {
            api_key: 20,
            api_version: version,
            correlation_id: 7,
        };
        let mut out = Vec::new();
        write(
            Why::NotNamed,
            head,
            Policy::BY_NAME.api(20).expect("known"),
            &frame,
            &mut out,
        )
        .expect("an answer");
        let mut bytes = Bytes::from(out.split_off(4));
        ResponseHeader::decode(&mut bytes, DeleteTopicsResponse::header_version(version)).expect("a header");
        let answer = DeleteTopicsResponse::decode(&mut bytes, version).expect("an answer");
        let told: Vec<_> = answer
            .responses
            .iter()
            .map(|one| {
                (
                    one.name.as_ref().map(|name| name.to_string()),
                    one.topic_id,
                    one.error_code,
                )
            })
            .collect();
        let second = match version {
            6 => (None, id('7'), 29),
            _ => (Some("b".to_owned()), id('0'), 29),
        };
        assert_eq!(told, [(Some("a".to_owned()), id('0'), 29), second]);
        assert_eq!(bytes.len(), 0);
    }
}

#[test]
fn records_that_are_deleted() {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let partitions = [0, 4].map(|index| {
        DeleteRecordsPartition::default()
            .with_partition_index(index)
            .with_offset(9)
    });
    let from = DeleteRecordsTopic::default()
        .with_name(topic("a"))
        .with_partitions(partitions.to_vec());
    let request = DeleteRecordsRequest::default().with_topics(vec![from.clone(), from]);
    for (_, answer) in answers(&request) {
        assert_eq!(answer.topics.len(), 2);
        for topic in &answer.topics {
            let told = topic
                .partitions
                .iter()
                .map(|one| (one.partition_index, one.low_watermark, one.error_code));
            assert_eq!(
                (&**topic.name, told.collect::<Vec<_>>()),
                ("a", vec![(0, -1, 29), (4, -1, 29)])
            );
        }
    }
}

#[test]
fn partitions() {
    use alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
    use elect_leaders_request::TopicPartitions;
    let of_topic = |name: &str| {
        AlterReplicaLogDirTopic::default()
            .with_name(topic(name))
            .with_partitions(vec![1, 2])
    };
    let folder = |names: &[&str]| {
        AlterReplicaLogDir::default()
            .with_path(text("/data"))
            .with_topics(names.iter().map(|name| of_topic(name)).collect())
    };
    let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![
        folder(&["a", "b"]),
        folder(&[]),
        folder(&["c"]),
    ]);
    for (_, answer) in answers(&request) {
        let told: Vec<_> = answer
            .results
            .iter()
            .map(|one| {
                (
                    &**one.topic_name,
                    one.partitions
                        .iter()
                        .map(|one| (one.partition_index, one.error_code))
                        .collect(),
                )
            })
            .collect();
        assert_eq!(told, ["a", "b", "c"].map(|name| (name, vec![(1, 31), (2, 31)])));
    }
    let partitions = TopicPartitions::default()
        .with_topic(topic("a"))
        .with_partitions(vec![1, 2]);
    for (version, answer) in
        answers(&ElectLeadersRequest::default().with_topic_partitions(Some(vec![partitions])))
    {
        let result = &answer.replica_election_results[0];
        let told: Vec<_> = result
            .partition_result
            .iter()
            .map(|one| (one.partition_id, one.error_code))
            .collect();
        assert_eq!((&**result.topic, told), ("a", vec![(1, 31), (2, 31)]));
        assert_eq!(answer.error_code, if version >= 1 { 31 } else { 0 });
    }
    for (_, answer) in answers(&ElectLeadersRequest::default().with_topic_partitions(None)) {
        assert!(answer.replica_election_results.is_empty());
    }
}

#[test]
fn markers_of_transactions() {
    use write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
    let marked = WritableTxnMarkerTopic::default()
        .with_name(topic("a"))
        .with_partition_indexes(vec![5]);
    let marker = WritableTxnMarker::default()
        .with_producer_id(77.into())
        .with_topics(vec![marked]);
    for (_, answer) in answers(&WriteTxnMarkersRequest::default().with_markers(vec![marker.clone(), marker]))
    {
        assert_eq!(answer.markers.len(), 2);
        let topic = &answer.markers[1].topics[0];
        assert_eq!((answer.markers[1].producer_id.0, &**topic.name), (77, "a"));
        assert_eq!(
            (
                topic.partitions[0].partition_index,
                topic.partitions[0].error_code
            ),
            (5, 31)
        );
    }
}

#[test]
fn acls_and_groups() {
    use create_acls_request::AclCreation;
    use delete_acls_request::DeleteAclsFilter;
    let creation = AclCreation::default()
        .with_resource_name(text("r"))
        .with_principal(text("User:a"))
        .with_host(text("*"));
    for (_, answer) in answers(&CreateAclsRequest::default().with_creations(vec![creation; 3])) {
        assert_eq!(
            answer
                .results
                .iter()
                .map(|one| one.error_code)
                .collect::<Vec<_>>(),
            [31; 3]
        );
    }
    let filter = DeleteAclsFilter::default()
        .with_resource_name_filter(None)
        .with_principal_filter(Some(text("User:a")));
    for (_, answer) in answers(&DeleteAclsRequest::default().with_filters(vec![filter; 2])) {
        assert_eq!(
            answer
                .filter_results
                .iter()
                .map(|one| one.error_code)
                .collect::<Vec<_>>(),
            [31; 2]
        );
        assert!(answer.filter_results[0].matching_acls.is_empty());
    }
    for (_, answer) in answers(&DescribeAclsRequest::default()) {
        assert_eq!(
            (answer.error_code, answer.error_message.as_deref()),
            (31, Some(NOT_NAMED))
        );
    }
    let groups = vec![text("g").into(), text("h").into()];
    for (_, answer) in answers(&DeleteGroupsRequest::default().with_groups_names(groups)) {
        let told: Vec<_> = answer
            .results
            .iter()
            .map(|one| (&**one.group_id, one.error_code))
            .collect();
        assert_eq!(told, [("g", 30), ("h", 30)]);
    }
    for (_, answer) in answers(&OffsetDeleteRequest::default()) {
        assert_eq!(answer.error_code, 30);
    }
}

#[test]
fn configurations() {
    use alter_client_quotas_request::{EntityData, EntryData, OpData};
    let expected = [("t", 2, 29), ("1", 4, 31), ("g", 32, 30)];
    {
        use alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let config = AlterableConfig::default()
            .with_name(text("k"))
            .with_value(Some(text("v")));
        let resources = expected.map(|(name, kind, _)| {
            AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configs(vec![config.clone(); 2])
        });
        for (_, answer) in answers(&AlterConfigsRequest::default().with_resources(resources.to_vec())) {
            let told = answer
                .responses
                .iter()
                .map(|one| (&*one.resource_name, one.resource_type, one.error_code));
            assert_eq!(told.collect::<Vec<_>>(), expected);
        }
    }
    {
        use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let config = AlterableConfig::default()
            .with_name(text("k"))
            .with_config_operation(1)
            .with_value(None);
        let resources = expected.map(|(name, kind, _)| {
            AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configs(vec![config.clone(); 2])
        });
        for (_, answer) in
            answers(&IncrementalAlterConfigsRequest::default().with_resources(resources.to_vec()))
        {
            let told = answer
                .responses
                .iter()
                .map(|one| (&*one.resource_name, one.resource_type, one.error_code));
            assert_eq!(told.collect::<Vec<_>>(), expected);
        }
    }
    let entity = |name: Option<&str>| {
        EntityData::default()
            .with_entity_type(text("user"))
            .with_entity_name(name.map(text))
    };
    let op = OpData::default()
        .with_key(text("producer_byte_rate"))
        .with_value(1.0);
    let entry = EntryData::default()
        .with_entity(vec![entity(Some("a")), entity(None)])
        .with_ops(vec![op; 2]);
    for (_, answer) in answers(&AlterClientQuotasRequest::default().with_entries(vec![entry.clone(), entry]))
    {
        assert_eq!(answer.entries.len(), 2);
        for entry in &answer.entries {
            let names: Vec<_> = entry
                .entity
                .iter()
                .map(|entity| entity.entity_name.as_deref())
                .collect();
            assert_eq!((entry.error_code, names), (31, vec![Some("a"), None]));
        }
    }
}

#[test]
fn what_has_one_error_for_all() {
    use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let partition = |replicas| {
        ReassignablePartition::default()
            .with_partition_index(3)
            .with_replicas(replicas)
    };
    let moved = ReassignableTopic::default()
        .with_name(topic("a"))
        .with_partitions(vec![
            partition(None),
            partition(Some(vec![BrokerId(1), BrokerId(2)])),
        ]);
    let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![moved.clone(), moved]);
    for (_, answer) in answers(&request) {
        let told: Vec<_> = answer.responses[1]
            .partitions
            .iter()
            .map(|one| (one.partition_index, one.error_code))
            .collect();
        assert_eq!((&**answer.responses[1].name, told), ("a", vec![(3, 31), (3, 31)]));
        assert_eq!(
            (answer.error_code, answer.error_message.as_deref()),
            (31, Some(NOT_NAMED))
        );
    }
    for (_, answer) in answers(&UpdateFeaturesRequest::default()) {
        assert_eq!(answer.error_code, 31);
    }
    for (_, answer) in answers(&UnregisterBrokerRequest::default()) {
        assert_eq!(answer.error_code, 31);
    }
    for (_, answer) in answers(&AddRaftVoterRequest::default()) {
        assert_eq!(answer.error_code, 31);
    }
    for (_, answer) in answers(&RemoveRaftVoterRequest::default()) {
        assert_eq!(answer.error_code, 31);
    }
    for (_, answer) in answers(&AlterShareGroupOffsetsRequest::default()) {
        assert_eq!(answer.error_code, 30);
    }
    for (_, answer) in answers(&DeleteShareGroupOffsetsRequest::default()) {
        assert_eq!(answer.error_code, 30);
    }
}

/// Whatever is only for administrators has an answer.
#[test]
fn every_such_api_is_known() {
    for api in Policy::BY_NAME.apis().iter().filter(|api| api.admin) {
        for version in api.min..=api.max {
            let head = RequestHead {
                api_key: api.key,
                api_version: version,
                correlation_id: 7,
            };
            let frame = [&[0; 8][..], &[0xff, 0xff], &[0; 64]].concat();
            let written = write(Why::NotNamed, head, api, &frame, &mut Vec::new());
            assert!(
                !matches!(written, Err(ProtocolError::UnsupportedVersion { .. })),
                "{} {version}",
                api.name
            );
        }
    }
}

fn asked_of(api: &ApiPolicy, version: i16, body: &[u8]) -> (RequestHead, Vec<u8>) {
    let head = RequestHead {
        api_key: api.key,
        api_version: version,
        correlation_id: 7,
    };
    let tags = &[0][..usize::from(api.flexible(version))];
    (head, [&[0; 8][..], &[0xff, 0xff], tags, body].concat())
}

/// Whatever clients with names may ask for has an answer within a login. What it is shows
/// `tests/kafka/tls/logins/compared/within.rs`.
#[test]
fn every_api_has_an_answer_within_a_login() {
    let unknown = Policy::BY_NAME.apis().iter().flat_map(|api| {
        let versions = (api.min..=api.max).filter(|version| {
            // A list of nothing, which Produce has behind `acks`.
            let (head, frame) = asked_of(api, *version, &[1; 64]);
            let written = write(Why::WithinLogin, head, api, &frame, &mut Vec::new());
            matches!(written, Err(ProtocolError::UnsupportedVersion { .. }))
        });
        versions.map(|version| (api.name, version))
    });
    let is_offered = |(name, _): &(&str, i16)| {
        let mut all = Policy::BY_NAME.apis().iter();
        all.any(|api| api.name == *name && !api.hidden_from_named)
    };
    let unknown: Vec<_> = unknown.filter(is_offered).collect();
    let expected = [
        ("TxnOffsetCommit", 6),
        ("SaslAuthenticate", 0),
        ("SaslAuthenticate", 1),
        ("SaslAuthenticate", 2),
    ];
    assert_eq!(unknown, expected);
}

/// An item of one byte, for which there are 28 in the answer.
#[test]
fn no_answer_is_many_times_as_long_as_a_request() {
    let api = Policy::BY_NAME
        .api(key::DESCRIBE_TRANSACTIONS)
        .expect("it is let through");
    let answer = |count: usize| {
        let mut body = Vec::new();
        put_array_len(&mut body, true, count).expect("a count");
        body.resize(body.len() + count, 1);
        let (head, frame) = asked_of(api, 0, &body);
        let mut out = Vec::new();
        write(Why::WithinLogin, head, api, &frame, &mut out).map(|()| out.len())
    };
    assert!(answer(9000).is_ok_and(|bytes| bytes <= ANSWER_BYTES_MAX));
    assert_eq!(answer(10_000), Err(ProtocolError::TooLong));
}

proptest::proptest! {
    #[test]
    fn whatever_comes_within_a_login_is_answered_or_not(
        api in 0..Policy::BY_NAME.apis().len(),
        version in 0_i16..14,
        body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
    ) {
        let api = &Policy::BY_NAME.apis()[api];
        let version = version.clamp(api.min, api.max);
        let (head, frame) = asked_of(api, version, &body);
        let mut out = Vec::new();
        if write(Why::WithinLogin, head, api, &frame, &mut out).is_ok() {
            let (length, frame) = out.split_first_chunk().expect("a length");
            assert_eq!(u32::from_be_bytes(*length) as usize, frame.len());
        }
    }
}

/// REFUSED-PARTS-1
mod in_parts {
    use super::*;

    proptest::proptest! {
        #[test]
        fn whatever_is_parted_is_a_frame_or_an_error(
            api in 0..Policy::BY_NAME.apis().len(),
            version in 0_i16..14,
            body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
            positions in proptest::collection::btree_set(0_usize..6, 0..4),
            answered in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
            behind in 0_usize..1000,
        ) {
            let api = &Policy::BY_NAME.apis()[api];
            let version = version.clamp(api.min, api.max);
            let (head, frame) = asked_of(api, version, &body);
            let items = positions.iter().map(|&position| RefusedItem { position, whose: Whose::Topic });
            let items: Vec<_> = items.collect();
            let mut out = Vec::new();
            match part(head, api, &frame, &items, &mut out) {
                Err(_) => {}
                Ok(Part::Nothing(answer)) => {
                    assert!(out.is_empty());
                    assert_framed(&answer);
                }
                Ok(Part::Rest(insertion)) => {
                    assert_framed(&out);
                    let mut written = Vec::new();
                    let frame_bytes = answered.len() + behind;
                    if let Ok(used) = insertion.write(frame_bytes, &answered, &mut written) {
                        written.resize(written.len() + frame_bytes - used, 0);
                        assert_framed(&written);
                    }
                }
            }
        }
    }

    fn assert_framed(bytes: &[u8]) {
        let (length, frame) = bytes.split_first_chunk().expect("a length");
        assert_eq!(u32::from_be_bytes(*length) as usize, frame.len());
    }

    /// An item that is not there is a mistake of ours, and nothing goes on.
    #[test]
    fn what_is_refused_has_to_be_there() {
        let api = Policy::BY_NAME
            .api(key::DESCRIBE_GROUPS)
            .expect("it is let through");
        let (head, frame) = asked_of(api, 5, &[3, 2, b'a', 2, b'b', 0, 0]);
        let parted = |positions: &[usize]| {
            let items = positions.iter().map(|&position| RefusedItem {
                position,
                whose: Whose::Group,
            });
            let mut out = Vec::new();
            part(head, api, &frame, &items.collect::<Vec<_>>(), &mut out).map(|part| (part, out))
        };
        assert!(matches!(parted(&[1]), Ok((Part::Rest(_), out)) if !out.is_empty()));
        assert!(matches!(parted(&[0, 1]), Ok((Part::Nothing(_), out)) if out.is_empty()));
        for positions in [&[][..], &[2], &[1, 0], &[0, 0]] {
            assert_eq!(
                parted(positions).err(),
                Some(ProtocolError::LayoutMismatch),
                "{positions:?}"
            );
        }
    }
}
