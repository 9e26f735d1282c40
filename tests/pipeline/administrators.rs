//! Requests that change the cluster, of clients that have names.

use std::time::Duration;

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{ApiKey, CreateTopicsRequest, CreateTopicsResponse};
use sealwire::metrics::{CloseReason, RequestRefusal};
use sealwire::pipeline::Wait;

use crate::rig::{Halt, Rig};
use crate::wire::{
    SESSIONLESS, correlation_ids, decode_response, delivered, fetch_of, fetch_response, fetched, frames,
    metadata_request, metadata_response, only_frame, prefixed, request, topic_name,
};

fn create(correlation_id: i32, names: &[&str]) -> Vec<u8> {
    let topics = names
        .iter()
        .map(|name| CreatableTopic::default().with_name(topic_name(name)))
        .collect();
    let body = CreateTopicsRequest::default().with_topics(topics);
    request(ApiKey::CreateTopics, 7, correlation_id, &body)
}

/// ADMIN-FOR-1
#[test]
fn a_change_is_refused_in_its_turn_and_the_connection_stays() {
    let mut rig = Rig::named(&["somebody"]);
    let requests = [metadata_request(1), create(2, &["a", "b"]), metadata_request(3)].concat();
    assert_eq!(rig.client_sends(&requests), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(frames(&rig.at_broker()).len(), 1, "it waits for its turn");
    assert_eq!(rig.broker_sends(&metadata_response(1, &[])), Ok(Halt::More));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(
        frames(&rig.at_broker()).len(),
        1,
        "the broker hears nothing of it"
    );
    assert_eq!(rig.broker_sends(&metadata_response(3, &[])), Ok(Halt::More));
    let answers = rig.at_client();
    assert_eq!(correlation_ids(&answers), [1, 2, 3]);
    let answer: CreateTopicsResponse = decode_response(&frames(&answers)[1], 7);
    let told: Vec<_> = answer.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(told, [29, 29]);
    assert_eq!(rig.audit(), ["cluster"]);
    let connections = rig.pipeline.metrics.snapshot().connections;
    assert_eq!(connections.requests_refused(RequestRefusal::Cluster), 1);
}

#[test]
fn whom_the_list_names_is_not_noticed() {
    for mut rig in [Rig::named(&["NETWORK"]), Rig::new()] {
        let wanted = create(1, &["a"]);
        assert_eq!(rig.client_sends(&wanted), Ok(Halt::More));
        assert_eq!(rig.at_broker(), wanted);
        assert!(rig.audit().is_empty());
    }
}

#[test]
fn what_is_no_request_or_too_long_ends_the_connection() {
    // Counts that nothing is behind, and names that end too early.
    for lie in [&[0xff; 5][..], &[0x7f, 2], &[2, 9, b'a']] {
        let head = [0, 19, 0, 7, 0, 0, 0, 2, 0xff, 0xff, 0];
        let frame = prefixed(&[&head, lie].concat());
        let sent = Rig::named(&[]).client_sends(&frame);
        assert_eq!(sent, Err(CloseReason::MalformedFrame), "{lie:?}");
    }
    let long: Vec<String> = (0..10_000).map(|number| format!("topic-{number}")).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let sent = Rig::named(&[]).client_sends(&create(2, &long));
    assert_eq!(sent, Err(CloseReason::DeniedApi));
}

/// What Kafka keeps for itself is stored by brokers alone, and read by administrators, streamed or not.
#[test]
fn topics_of_kafka_are_read_by_administrators() {
    let internal = "__consumer_offsets";
    for (admin_for, code) in [("NETWORK", 0), ("somebody", 29)] {
        let mut rig = Rig::named(&[admin_for]);
        assert_eq!(
            rig.client_sends(&fetch_of(12, 1, SESSIONLESS, &[internal])),
            Ok(Halt::More)
        );
        rig.at_broker();
        let response = fetch_response(12, 1, &[fetched(internal, 0, b"records")]);
        // What is emptied is held back for a while.
        let sent = rig.broker_sends(&response);
        assert_eq!(sent == Ok(Halt::More), code == 0);
        rig.pass_time(Duration::from_secs(1));
        assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
        let told = delivered(&only_frame(&rig.at_client()), 12);
        assert_eq!(told[0].error_code, code);
        assert_eq!(told[0].records.is_empty(), code != 0);
    }
}
