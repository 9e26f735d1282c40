//! Clients of which brokers learn no name use what is their own, and nothing else.

mod parts;
mod requests;

use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{HeaderVersion, Request};
use sealwire::metrics::{CloseReason, RequestRefusal};
use sealwire::pipeline::{Wait, Work};
use sealwire::protocol::policy::{About, Policy};

use self::requests::{about, empty, of_streams};
use crate::rig::{Halt, Rig};
use crate::wire::{
    SESSIONLESS, correlation_ids, decode_request, decode_response, fetch_of, frames, only_frame, prefixed,
    produce, request, response, text, to_produce, topic_name,
};

fn metadata(version: i16, names: Option<&[&str]>) -> Vec<u8> {
    let topic = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let topics = names.map(|names| names.iter().map(topic).collect());
    request(
        ApiKey::Metadata,
        version,
        1,
        &MetadataRequest::default().with_topics(topics),
    )
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Of every API, in every version: what is about something of others stays here, and so does what says nothing of
/// itself. Whatever the policy table learns of has to be about something, or it stays here as well.
///
/// OWN-NAMES-1
#[test]
fn nothing_that_is_anothers_reaches_a_broker() {
    let mut reached = Vec::new();
    for api in Policy::BY_NAME.apis() {
        for version in api.min..=api.max {
            let asked = about(api, version, FOREIGN);
            let names = matches!(api.about, About::Names | About::FirstNames);
            let asked = match asked {
                Some(asked) => asked,
                None if names && api.name == "StreamsGroupDescribe" => of_streams(api, version, FOREIGN),
                None => empty(api, version),
            };
            let mut rig = Rig::authorised(&[]);
            let halted = rig.client_sends(&asked);
            let at_broker = rig.at_broker();
            let is_passed_on = !at_broker.is_empty();
            match halted {
                Ok(_) if is_passed_on => reached.push(api.name),
                Ok(_) => {
                    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
                    assert_eq!(frames(&rig.at_client()).len(), 1, "{} {version}", api.name);
                    assert_eq!(rig.audit().len(), 1, "{} {version}", api.name);
                }
                Err(reason) => {
                    // A token without a handshake before it is out of turn anywhere.
                    let is_denied = api.hidden_from_named || api.name == "SaslAuthenticate";
                    let expected = match is_denied {
                        true => CloseReason::DeniedApi,
                        false => CloseReason::VersionOutsideRange,
                    };
                    assert_eq!(reason, expected, "{} {version}", api.name);
                    assert!(is_denied || version > api.named_to, "{} {version}", api.name);
                    assert!(!is_passed_on);
                }
            }
            // Fetches are judged by what comes back.
            assert!(
                api.name == "Fetch" || !contains(&at_broker, FOREIGN),
                "{} {version}",
                api.name
            );
        }
    }
    reached.dedup();
    assert_eq!(
        reached,
        [
            "Fetch",
            "Metadata",
            "SaslHandshake",
            "ApiVersions",
            "DescribeCluster",
            "GetTelemetrySubscriptions",
            "PushTelemetry"
        ]
    );
    for unknown in (-1..120).filter(|key| Policy::BY_NAME.api(*key).is_none()) {
        let head = [i16::to_be_bytes(unknown), [0, 0], [0, 0], [0, 1], [0xff, 0xff]].concat();
        let sent = Rig::authorised(&[]).client_sends(&prefixed(&head));
        assert_eq!(sent, Err(CloseReason::DeniedApi), "{unknown}");
    }
}

/// Its own, and whatever there is where it is an administrator or brokers see who it is.
#[test]
fn what_is_the_clients_own_goes_on_as_it_is() {
    for api in Policy::BY_NAME.apis().iter().filter(|api| !api.hidden_from_named) {
        for version in api.min..=api.named_to {
            let Some(own) = about(api, version, OWN) else {
                continue;
            };
            let mut rig = Rig::authorised(&[]);
            assert_eq!(rig.client_sends(&own), Ok(Halt::More), "{} {version}", api.name);
            assert_eq!(rig.at_broker(), own, "{} {version}", api.name);
            assert!(rig.audit().is_empty(), "{} {version}", api.name);
            let foreign = about(api, version, FOREIGN).expect("the same");
            for mut rig in [Rig::authorised(&["NETWORK"]), Rig::named(&[])] {
                assert_eq!(
                    rig.client_sends(&foreign),
                    Ok(Halt::More),
                    "{} {version}",
                    api.name
                );
                assert_eq!(rig.at_broker(), foreign, "{} {version}", api.name);
            }
        }
    }
}

/// The answer to a request, of which the broker hears nothing.
fn refused<R: Request>(version: i16, body: R) -> R::Response
where
    R::Response: HeaderVersion,
{
    let mut rig = Rig::authorised(&[]);
    let key = ApiKey::try_from(R::KEY).expect("it is known");
    assert_eq!(rig.client_sends(&request(key, version, 1, &body)), Ok(Halt::More));
    assert!(rig.at_broker().is_empty());
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    decode_response(&only_frame(&rig.at_client()), version)
}

/// In the code of what it names.
#[test]
fn each_is_told_what_it_may_not_use() {
    use add_partitions_to_txn_request::AddPartitionsToTxnTopic;
    let (group, foreign) = (|| GroupId(text(OWN)), || GroupId(text(FOREIGN)));
    let topic = |name: &str| {
        list_offsets_request::ListOffsetsTopic::default()
            .with_name(topic_name(name))
            .with_partitions(vec![list_offsets_request::ListOffsetsPartition::default()])
    };
    let topics = vec![topic(FOREIGN)];
    let answer = refused(7, ListOffsetsRequest::default().with_topics(topics));
    assert_eq!(answer.topics[0].partitions[0].error_code, 29);
    let answer = refused(5, DescribeGroupsRequest::default().with_groups(vec![foreign()]));
    assert_eq!(answer.groups[0].error_code, 30);
    let answer = refused(9, JoinGroupRequest::default().with_group_id(foreign()));
    assert_eq!(answer.error_code, 30);
    let answer = refused(
        4,
        InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text(FOREIGN)))),
    );
    assert_eq!(answer.error_code, 53);
    let keys = vec![text(FOREIGN)];
    let coordinators = FindCoordinatorRequest::default().with_coordinator_keys(keys);
    for (kind, code) in [(0, 30), (1, 53), (2, 31)] {
        let answer = refused(4, coordinators.clone().with_key_type(kind));
        assert_eq!(answer.coordinators[0].error_code, code);
    }
    let offsets = AddOffsetsToTxnRequest::default().with_transactional_id(TransactionalId(text(OWN)));
    assert_eq!(refused(3, offsets.with_group_id(foreign())).error_code, 30);
    // Whoever reads a topic may not keep its readers waiting for a transaction.
    let added = AddPartitionsToTxnTopic::default()
        .with_name(topic_name("sealed-a"))
        .with_partitions(vec![0]);
    let added = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(TransactionalId(text(OWN)))
        .with_v3_and_below_topics(vec![added]);
    let answer = refused(3, added);
    let partition = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
    assert_eq!(partition.partition_error_code, 29);
    // All topics there are, those that an expression takes, and what the cluster is.
    let answer = refused(0, ListGroupsRequest::default());
    assert_eq!(answer.error_code, 31);
    let heartbeat = ConsumerGroupHeartbeatRequest::default().with_group_id(group());
    let answer = refused(1, heartbeat.with_subscribed_topic_regex(Some(text(".*"))));
    assert_eq!(answer.error_code, 31);
    let broker = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text("1"));
    let answer = refused(4, DescribeConfigsRequest::default().with_resources(vec![broker]));
    assert_eq!(answer.results[0].error_code, 31);
    assert!(
        answer.results[0]
            .error_message
            .as_deref()
            .is_some_and(|text| text.contains("admin_for"))
    );
}

/// A refusal waits for its turn, and is counted by what it was about.
#[test]
fn a_request_is_refused_in_its_turn_and_the_connection_stays() {
    let mut rig = Rig::authorised(&[]);
    let own = request(
        ApiKey::Heartbeat,
        4,
        1,
        &HeartbeatRequest::default().with_group_id(GroupId(text(OWN))),
    );
    let other = |group: &str| HeartbeatRequest::default().with_group_id(GroupId(text(group)));
    let requests = [
        own.clone(),
        request(ApiKey::Heartbeat, 4, 2, &other(FOREIGN)),
        own.clone(),
    ]
    .concat();
    assert_eq!(rig.client_sends(&requests), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), own);
    assert_eq!(
        rig.broker_sends(&response(4, 1, &HeartbeatResponse::default())),
        Ok(Halt::More)
    );
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), own);
    assert_eq!(
        rig.broker_sends(&response(4, 1, &HeartbeatResponse::default())),
        Ok(Halt::More)
    );
    let answers = rig.at_client();
    assert_eq!(correlation_ids(&answers), [1, 2, 1]);
    let answer: HeartbeatResponse = decode_response(&frames(&answers)[1], 4);
    assert_eq!(answer.error_code, 30);
    assert_eq!(rig.audit(), ["group"]);
    let connections = rig.pipeline.metrics.snapshot().connections;
    assert_eq!(connections.requests_refused(RequestRefusal::Group), 1);
}

/// Where only the beginning is looked at the rest is streamed; where all of it is, it has a bound.
#[test]
fn long_requests_are_looked_at_as_far_as_is_needed() {
    let joins = |group: &str| {
        let protocol = join_group_request::JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(vec![7; 3 << 20].into());
        let body = JoinGroupRequest::default().with_group_id(GroupId(text(group)));
        request(ApiKey::JoinGroup, 9, 1, &body.with_protocols(vec![protocol]))
    };
    let mut rig = Rig::authorised(&[]);
    assert_eq!(rig.client_sends(&joins(OWN)), Ok(Halt::More));
    assert_eq!(rig.at_broker(), joins(OWN));
    let sent = Rig::authorised(&[]).client_sends(&joins(FOREIGN));
    assert_eq!(sent, Err(CloseReason::DeniedApi), "nobody answers it");
    let described = |count: usize, name: &str| {
        let groups = vec![GroupId(text(name)); count];
        request(
            ApiKey::DescribeGroups,
            5,
            1,
            &DescribeGroupsRequest::default().with_groups(groups),
        )
    };
    let mut rig = Rig::authorised(&[]);
    assert_eq!(rig.client_sends(&described(100_000, OWN)), Ok(Halt::More));
    assert_eq!(rig.at_broker(), described(100_000, OWN));
    for (count, name) in [(200_000, OWN), (20_000, FOREIGN)] {
        let sent = Rig::authorised(&[]).client_sends(&described(count, name));
        assert_eq!(sent, Err(CloseReason::DeniedApi), "{count} {name}");
    }
    let lie = prefixed(&[0, 15, 0, 5, 0, 0, 0, 1, 0xff, 0xff, 0, 0x7f, 9, b'r']);
    let sent = Rig::authorised(&[]).client_sends(&lie);
    assert_eq!(sent, Err(CloseReason::MalformedFrame));
}

/// What was judged is not judged again, and each turn comes further.
#[test]
fn long_requests_are_judged_in_turns() {
    let groups = vec![GroupId(text(OWN)); 3000];
    let asked = request(
        ApiKey::DescribeGroups,
        5,
        1,
        &DescribeGroupsRequest::default().with_groups(groups),
    );
    let mut rig = Rig::authorised(&[]);
    rig.pipeline.work = Work::new(10_000);
    assert_eq!(rig.client_sends(&asked), Ok(Halt::More));
    assert_eq!(rig.at_broker(), asked);
    assert!((50..200).contains(&rig.yields), "{}", rig.yields);
    let names: Vec<String> = (0..3000).map(|number| format!("{OWN}-{number}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push(FOREIGN);
    let mut rig = Rig::authorised(&[]);
    rig.pipeline.work = Work::new(10_000);
    assert_eq!(rig.client_sends(&metadata(12, Some(&names))), Ok(Halt::More));
    names.pop();
    assert_eq!(rig.at_broker(), metadata(12, Some(&names)));
    assert!(rig.yields > 50, "{}", rig.yields);
    rig.yields = 0;
    let mut told: Vec<_> = names.iter().map(|name| topic(name)).collect();
    let body = MetadataResponse::default().with_topics(told.clone());
    assert_eq!(rig.broker_sends(&response(12, 1, &body)), Ok(Halt::More));
    told.push(
        MetadataResponseTopic::default()
            .with_error_code(29)
            .with_name(Some(topic_name(FOREIGN))),
    );
    let answer: MetadataResponse = decode_response(&only_frame(&rig.at_client()), 12);
    assert_eq!(answer.topics, told);
    assert!(rig.yields > 50, "{}", rig.yields);
}

fn topic(name: &str) -> MetadataResponseTopic {
    let partition = MetadataResponsePartition::default().with_leader_id(BrokerId(1));
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(name)))
        .with_partitions(vec![partition])
}

/// In every version: by name, all there are, and by id where names are not said.
///
/// OWN-NAMES-2, METADATA-1
#[test]
fn metadata_shows_what_is_the_clients_own() {
    for version in 0..=13 {
        let mut rig = Rig::authorised(&[]);
        assert_eq!(
            rig.client_sends(&metadata(version, Some(&[FOREIGN, OWN]))),
            Ok(Halt::More)
        );
        let asked: MetadataRequest = decode_request(&only_frame(&rig.at_broker()), version);
        let names: Vec<_> = asked
            .topics
            .iter()
            .flatten()
            .map(|topic| topic.name.clone())
            .collect();
        assert_eq!(names, [Some(topic_name(OWN))]);
        assert_eq!(rig.audit(), ["topic"]);
        let body = MetadataResponse::default().with_topics(vec![topic(OWN)]);
        assert_eq!(rig.broker_sends(&response(version, 1, &body)), Ok(Halt::More));
        let answer: MetadataResponse = decode_response(&only_frame(&rig.at_client()), version);
        let codes: Vec<_> = answer
            .topics
            .iter()
            .map(|topic| (topic.error_code, topic.partitions.len()))
            .collect();
        assert_eq!(codes, [(0, 1), (29, 0)]);

        let mut rig = Rig::authorised(&[]);
        let all = if version == 0 { Some(&[][..]) } else { None };
        assert_eq!(rig.client_sends(&metadata(version, all)), Ok(Halt::More));
        assert_eq!(rig.at_broker(), metadata(version, all));
        let internal = "__consumer_offsets";
        let topics = [FOREIGN, OWN, "no-rule", internal, OWN].map(topic).to_vec();
        let body = MetadataResponse::default().with_topics(topics);
        assert_eq!(rig.broker_sends(&response(version, 1, &body)), Ok(Halt::More));
        let answer: MetadataResponse = decode_response(&only_frame(&rig.at_client()), version);
        assert_eq!(answer.topics, [topic(OWN), topic(OWN)]);
    }
    // In version 0 a list of none would be all there are.
    let mut rig = Rig::authorised(&[]);
    assert_eq!(rig.client_sends(&metadata(0, Some(&[FOREIGN]))), Ok(Halt::More));
    assert!(rig.at_broker().is_empty());
    rig.broker_sends(&[]).expect("its turn");
    let answer: MetadataResponse = decode_response(&only_frame(&rig.at_client()), 0);
    assert_eq!(answer.topics[0].error_code, 29);
    let many: Vec<String> = (0..1001).map(|number| format!("{FOREIGN}-{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let sent = Rig::authorised(&[]).client_sends(&metadata(12, Some(&many)));
    assert_eq!(sent, Err(CloseReason::DeniedApi));
}

/// Offsets of others, transactions that were aborted there, and whether there is such a topic at all, in every version.
///
/// OWN-NAMES-2
#[test]
fn fetches_tell_nothing_of_what_is_anothers() {
    use fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
    for version in 4..=12 {
        for code in [0, 3, 1] {
            let mut rig = Rig::authorised(&[]);
            assert_eq!(
                rig.client_sends(&fetch_of(version, 1, SESSIONLESS, &[FOREIGN, OWN])),
                Ok(Halt::More)
            );
            rig.at_broker();
            let aborted = AbortedTransaction::default()
                .with_producer_id(ProducerId(7))
                .with_first_offset(8);
            let mut partition = PartitionData::default()
                .with_error_code(code)
                .with_high_watermark(1234)
                .with_last_stable_offset(1234)
                .with_aborted_transactions(Some(vec![aborted; 3]))
                .with_records(Some(Vec::new().into()));
            if version >= 5 {
                partition = partition.with_log_start_offset(1000);
            }
            if version >= 11 {
                partition = partition.with_preferred_read_replica(BrokerId(2));
            }
            let of = |name| {
                FetchableTopicResponse::default()
                    .with_topic(topic_name(name))
                    .with_partitions(vec![partition.clone()])
            };
            let body = FetchResponse::default().with_responses(vec![of(FOREIGN), of(OWN)]);
            rig.broker_sends(&response(version, 1, &body)).expect("an answer");
            rig.pass_time(Duration::from_secs(5));
            rig.broker_sends(&[]).expect("its time");
            let answer: FetchResponse = decode_response(&only_frame(&rig.at_client()), version);
            let told = &answer.responses[0].partitions[0];
            let nobody = AbortedTransaction::default()
                .with_producer_id(ProducerId(-1))
                .with_first_offset(-1);
            assert_eq!(told.error_code, 29, "{version} {code}");
            assert_eq!([told.high_watermark, told.last_stable_offset], [-1, -1]);
            assert_eq!(told.aborted_transactions, Some(vec![nobody; 3]));
            assert!(version < 5 || told.log_start_offset == -1);
            assert!(version < 11 || told.preferred_read_replica == BrokerId(-1));
            let own = &answer.responses[1].partitions[0];
            assert_eq!((own.error_code, own.high_watermark), (code, 1234));
        }
    }
    // Nor is anybody a broker, whose fetches move what is taken to be replicated.
    let body = FetchRequest::default().with_replica_id(BrokerId(1));
    assert_eq!(refused(12, body).error_code, 31);
}

/// A response that would take long to look through is not.
#[test]
fn metadata_has_a_bound() {
    for (bytes, fits) in [(4 << 20, true), ((4 << 20) + 1, false)] {
        let mut rig = Rig::authorised(&[]);
        assert_eq!(rig.client_sends(&metadata(12, None)), Ok(Halt::More));
        let sent = rig.broker_sends(&[i32::to_be_bytes(bytes), 1_i32.to_be_bytes()].concat());
        assert_eq!(sent == Ok(Halt::More), fits, "{sent:?}");
    }
}

/// A producer without a name belongs to whoever may write to anything.
#[test]
fn records_in_the_name_of_anothers_transaction_are_refused() {
    let asked = produce(9, 1, 1, &[to_produce("pass-a", 0, b"")]);
    let mut rig = Rig::authorised(&[]);
    assert_eq!(rig.client_sends(&asked), Ok(Halt::More));
    assert_eq!(rig.at_broker(), asked);
    let body = InitProducerIdRequest::default().with_transactional_id(None);
    let asked = request(ApiKey::InitProducerId, 4, 1, &body);
    assert_eq!(
        rig.broker_sends(&response(9, 1, &ProduceResponse::default())),
        Ok(Halt::More)
    );
    assert_eq!(rig.client_sends(&asked), Ok(Halt::More));
    assert_eq!(rig.at_broker(), asked);
    // Nobody waits for an answer.
    let silent = ProduceRequest::default().with_transactional_id(Some(TransactionalId(text(FOREIGN))));
    let silent = request(ApiKey::Produce, 9, 1, &silent.with_acks(0));
    let sent = Rig::authorised(&[]).client_sends(&silent);
    assert_eq!(sent, Err(CloseReason::MalformedFrame));
}

/// A rule of the rig names the client for these.
const OWN: &str = "raw-own";
/// And none for these.
const FOREIGN: &str = "sealed-foreign";
