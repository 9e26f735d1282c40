//! A node's port leads to that node or nowhere, and nobody has anything worked on before the broker has taken him.

use std::time::Duration;

use kafka_protocol::messages::{ApiKey, MetadataRequest};
use sealwire::config::{HostPort, Limits};
use sealwire::metrics::{CloseReason, Direction};
use sealwire::pipeline::{LearnedAddress, Wait};
use sealwire::protocol::api_key::{API_VERSIONS, METADATA};

use crate::rig::{Halt, PAYMENTS, Rig, address, batch, contains};
use crate::wire::{
    OWN_VERSION, api_versions_request, brokers, correlation_ids, decode_request, fetch_request,
    fetch_response, frames, handshake_request, handshake_response, metadata_request, metadata_response,
    only_frame, own_answer, passed_on, prefixed, produce, request, to_produce, token_request, token_response,
    verdicts,
};

pub(crate) const NODE: i32 = 2;
/// A broker that the listener does not serve: nothing is to be learned of it.
const UNSERVED: [(i32, &str, i32); 1] = [(7, "kafka-7", 9092)];
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(5);

pub(crate) fn here() -> HostPort {
    address("kafka-2", 9092)
}

/// The client came on the port of node 2; the connection leads to `kafka-2:9092`.
pub(crate) fn at_node() -> Rig {
    let mut rig = Rig::stranger(Limits::default(), Some((NODE, here())));
    rig.give_sealing(&PAYMENTS);
    rig
}

/// The client came on the bootstrap port.
fn at_bootstrap() -> Rig {
    let mut rig = Rig::stranger(Limits::default(), None);
    rig.give_sealing(&PAYMENTS);
    rig
}

/// The session's own question is what has gone to the broker; its correlation id.
fn asked(rig: &mut Rig) -> i32 {
    let frame = only_frame(&rig.at_broker());
    assert_eq!(frame[..4], [0, 3, 0, 1], "Metadata, version 1");
    let question: MetadataRequest = decode_request(&frame, OWN_VERSION);
    assert_eq!(question.topics, Some(Vec::new()), "brokers and no topic");
    i32::from_be_bytes(*frame[4..].first_chunk().unwrap())
}

/// The broker sends what tells addresses, and every executor learns them.
pub(crate) fn tell(rig: &mut Rig, bytes: &[u8]) {
    let halted = rig.broker_sends(bytes);
    if let Ok(Halt::Blocked(Wait::Addresses(news, _))) = halted {
        rig.learn(news);
        assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    } else {
        assert_eq!(halted, Ok(Halt::More));
    }
}

/// The client sends `bytes`, which are withheld, and the session asks.
pub(crate) fn withheld(rig: &mut Rig, bytes: &[u8]) -> i32 {
    let until = rig.now + ANSWER_WAIT;
    assert_eq!(rig.client_sends(bytes), Ok(Halt::Blocked(Wait::Answer(until))));
    asked(rig)
}

/// PLACE-1, OWN-1.
#[test]
fn what_only_the_node_can_answer_waits_until_the_broker_says_that_it_is_the_node() {
    let mut rig = at_node();
    let fetch = fetch_request(11, 7);
    let id = withheld(&mut rig, &fetch);
    tell(
        &mut rig,
        &own_answer(id, &[(0, "kafka-0", 9092), (NODE, "kafka-2", 9092)]),
    );
    assert_eq!(rig.at_client(), b"", "the client has not asked");
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), fetch);
    assert_eq!(rig.session.closing(), None);
    // Once is enough.
    assert_eq!(rig.client_sends(&fetch), Ok(Halt::More));
    assert_eq!(rig.at_broker(), fetch);
}

/// PLACE-1.
#[test]
fn another_broker_gets_nothing_of_it_and_the_client_comes_back() {
    type Brokers = &'static [(i32, &'static str, i32)];
    let told: [(&str, Brokers); 5] = [
        ("elsewhere", &[(NODE, "kafka-3", 9092), (0, "kafka-2", 9092)]),
        ("at another port", &[(NODE, "kafka-2", 9093)]),
        ("not known", &[(0, "kafka-0", 9092)]),
        (
            "beside another node",
            &[(NODE, "kafka-2", 9092), (7, "kafka-2", 9092)],
        ),
        (
            "at two addresses",
            &[(NODE, "kafka-2", 9092), (NODE, "kafka-3", 9092)],
        ),
    ];
    for (what, told) in told {
        for request in [
            fetch_request(11, 7),
            produce(9, 7, -1, &[to_produce("sealed-a", 0, &batch(&["canary"]))]),
            produce(9, 7, 0, &[to_produce("sealed-a", 0, &batch(&["canary"]))]),
            prefixed(&[0, 2, 0, 7, 0, 0, 0, 7]),
        ] {
            let mut rig = at_node();
            let id = withheld(&mut rig, &request);
            tell(&mut rig, &own_answer(id, told));
            assert_eq!(rig.session.closing(), Some(CloseReason::Learned), "{what}");
            assert_eq!(
                rig.client_sends(&request),
                Ok(Halt::Blocked(Wait::Room)),
                "{what}"
            );
            assert_eq!(rig.at_broker(), b"", "{what}");
            assert_eq!(rig.at_client(), b"", "{what}");
        }
    }
}

/// ADDRESS-2, where no address of the node was known and the connection leads to any broker as well.
#[test]
fn what_the_question_teaches_is_known_to_every_executor_before_the_client_comes_back() {
    let mut rig = at_node();
    let id = withheld(&mut rig, &fetch_request(11, 7));
    let halted = rig.broker_sends(&own_answer(id, &[(NODE, "kafka-3", 9092)]));
    let Ok(Halt::Blocked(Wait::Addresses(news, _))) = halted else {
        panic!("{halted:?}")
    };
    let learned = LearnedAddress {
        node_id: NODE,
        address: address("kafka-3", 9092),
    };
    assert_eq!(news, [learned]);
    assert_eq!(rig.session.closing(), None);
    rig.learn(news);
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.session.closing(), Some(CloseReason::Learned));
}

#[test]
fn what_any_broker_answers_alike_passes_at_once() {
    let mut rig = at_node();
    let passing = [
        api_versions_request(3, 1),
        metadata_request(2),
        prefixed(&[0, 10, 0, 2, 0, 0, 0, 3]),
        prefixed(&[0, 60, 0, 0, 0, 0, 0, 4]),
        handshake_request(5),
    ];
    for request in passing {
        assert_eq!(rig.client_sends(&request), Ok(Halt::More));
        let is_versions = request[4..6] == API_VERSIONS.to_be_bytes();
        let expected = if is_versions { passed_on(&request) } else { request };
        assert_eq!(rig.at_broker(), expected);
    }
}

#[test]
fn what_the_client_asks_itself_spares_the_question() {
    let mut rig = at_node();
    // Both are sent at once: the answer to the first is waited for.
    let fetch = fetch_request(11, 2);
    let sent = [metadata_request(1), fetch.clone()].concat();
    assert_eq!(rig.client_sends(&sent), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), metadata_request(1));
    tell(&mut rig, &metadata_response(1, &[(NODE, "kafka-2", 9092)]));
    assert_eq!(brokers(&only_frame(&rig.at_client())).len(), 1);
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), fetch);
}

#[test]
fn the_answer_that_tells_a_client_where_else_the_node_is_goes_out_first() {
    let mut rig = at_node();
    rig.client_sends(&metadata_request(1)).unwrap();
    let halted = rig.broker_sends(&metadata_response(1, &[(NODE, "kafka-3", 9092)]));
    let Ok(Halt::Blocked(Wait::Addresses(news, _))) = halted else {
        panic!("{halted:?}")
    };
    // The executor has heard of it, and asks every connection that leads elsewhere to leave.
    rig.learn(news);
    rig.session.leave(CloseReason::Learned);
    assert_eq!(rig.session.closing(), None);
    assert_eq!(
        rig.client_sends(&metadata_request(2)),
        Ok(Halt::Blocked(Wait::Room)),
        "nothing more is taken"
    );
    assert_eq!(rig.broker_sends(&[]), Ok(Halt::More));
    assert_eq!(brokers(&only_frame(&rig.at_client())).len(), 1);
    assert_eq!(rig.session.closing(), Some(CloseReason::Learned));
}

#[test]
fn a_client_may_ask_for_a_node_that_is_not_there() {
    let mut rig = at_node();
    rig.client_sends(&metadata_request(1)).unwrap();
    tell(&mut rig, &metadata_response(1, &[(0, "kafka-0", 9092)]));
    assert_eq!(rig.session.closing(), None, "it asks until the node is back");
    rig.at_broker();
    // But nothing else.
    let id = withheld(&mut rig, &fetch_request(11, 2));
    tell(&mut rig, &own_answer(id, &[(0, "kafka-0", 9092)]));
    assert_eq!(rig.session.closing(), Some(CloseReason::Learned));
}

#[test]
fn a_coordinator_that_is_the_node_proves_nothing() {
    let mut rig = at_node();
    let find = prefixed(&[0, 10, 0, 0, 0, 0, 0, 1, 0, 1, b'c', 0, 1, b'g']);
    rig.client_sends(&find).unwrap();
    rig.at_broker();
    let told = [
        &[0, 0, 0, 1, 0, 0, 0, 0, 0, 2][..],
        &[0, 7],
        b"kafka-2",
        &9092_i32.to_be_bytes(),
    ]
    .concat();
    tell(&mut rig, &prefixed(&told));
    withheld(&mut rig, &fetch_request(11, 2));
}

/// FLIGHT-1, SESSION-3.
#[test]
fn answers_keep_their_order_with_ours_between_them() {
    let mut rig = at_node();
    let sent = [
        api_versions_request(3, 1),
        fetch_request(11, 2),
        fetch_request(11, 3),
    ];
    let until = rig.now + ANSWER_WAIT;
    assert_eq!(
        rig.client_sends(&sent.concat()),
        Ok(Halt::Blocked(Wait::Answer(until)))
    );
    let at_broker = rig.at_broker();
    let own = at_broker.strip_prefix(passed_on(&sent[0]).as_slice()).unwrap();
    let id = i32::from_be_bytes(*own[8..].first_chunk().unwrap());
    let versions = prefixed(&[0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]);
    let told = own_answer(id, &[(NODE, "kafka-2", 9092)]);
    tell(&mut rig, &[versions, told].concat());
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), sent[1..].concat());
    rig.broker_sends(&[fetch_response(11, 2, &[]), fetch_response(11, 3, &[])].concat())
        .unwrap();
    assert_eq!(correlation_ids(&rig.at_client()), [1, 2, 3]);
    assert!(rig.session.is_quiet());
}

/// OWN-4.
#[test]
fn our_question_is_no_frame_of_the_client() {
    let mut rig = at_node();
    let id = withheld(&mut rig, &fetch_request(11, 1));
    assert!(!rig.session.is_quiet(), "a drain waits for it");
    tell(&mut rig, &own_answer(id, &[(NODE, "kafka-2", 9092)]));
    assert!(rig.session.is_quiet());
    for direction in [Direction::Request, Direction::Response] {
        let mut apis = rig.pipeline.metrics.frames(direction).by_api();
        assert!(
            apis.all(|(api_key, _)| api_key != Some(METADATA)),
            "{direction:?}"
        );
    }
    assert_eq!(rig.pipeline.metrics.gauges.requests_in_flight, 0);
    rig.client_sends(&fetch_request(11, 2)).unwrap();
    rig.session.abandon(&mut rig.pipeline);
    assert_eq!(rig.pipeline.metrics.gauges.requests_in_flight, 0);
}

/// OWN-3.
#[test]
fn a_broker_that_does_not_answer_us_is_not_waited_for() {
    let mut rig = at_node();
    withheld(&mut rig, &fetch_request(11, 1));
    let just_before = ANSWER_WAIT - Duration::from_millis(1);
    rig.pass_time(just_before);
    assert!(matches!(
        rig.client_sends(&[]),
        Ok(Halt::Blocked(Wait::Answer(_)))
    ));
    rig.pass_time(ANSWER_WAIT - just_before);
    assert_eq!(rig.client_sends(&[]), Err(CloseReason::BrokerSilent));
}

/// OWN-3.
#[test]
fn our_answer_may_have_a_mebibyte() {
    for (bytes, expected) in [
        (1 << 20, Ok(Halt::More)),
        ((1 << 20) + 1, Err(CloseReason::FrameTooLarge)),
    ] {
        let mut rig = at_node();
        let id = withheld(&mut rig, &fetch_request(11, 1));
        let head = [i32::to_be_bytes(bytes), i32::to_be_bytes(id)].concat();
        assert_eq!(rig.broker_sends(&head), expected);
    }
}

/// OWN-1.
#[test]
fn a_login_comes_before_the_question() {
    let mut rig = at_node();
    rig.client_sends(&handshake_request(1)).unwrap();
    rig.broker_sends(&handshake_response(1)).unwrap();
    rig.client_sends(&token_request(2, 10)).unwrap();
    rig.broker_sends(&token_response(2, 0)).unwrap();
    rig.at_broker();
    rig.at_client();
    let fetch = fetch_request(11, 3);
    let id = withheld(&mut rig, &fetch);
    tell(&mut rig, &own_answer(id, &[(NODE, "kafka-2", 9092)]));
    // A renewal (KIP-368) asks nothing anew.
    let renewal = [fetch.clone(), handshake_request(4)].concat();
    assert_eq!(rig.client_sends(&renewal[fetch.len()..]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), renewal);
    rig.broker_sends(&[fetch_response(11, 3, &[]), handshake_response(4)].concat())
        .unwrap();
    assert_eq!(rig.client_sends(&token_request(5, 10)), Ok(Halt::More));
    rig.broker_sends(&token_response(5, 0)).unwrap();
    assert_eq!(rig.client_sends(&fetch_request(11, 6)), Ok(Halt::More));
}

/// A Produce request of `bytes` bytes without its length.
fn produce_of(bytes: usize) -> Vec<u8> {
    let empty = produce(7, 1, -1, &[to_produce("sealed-a", 0, &batch(&[""]))]).len() - 4;
    let mut value = "x".repeat(bytes - empty);
    loop {
        let sent = produce(7, 1, -1, &[to_produce("sealed-a", 0, &batch(&[&value]))]);
        match (sent.len() - 4).checked_sub(bytes) {
            Some(0) => return sent,
            Some(over) => value.truncate(value.len() - over),
            None => panic!("no value makes {bytes} bytes"),
        }
    }
}

/// AUTH-4, OWN-2.
#[test]
fn records_of_a_stranger_are_not_worked_on_and_hardly_held() {
    for bytes in [1000, 600 * 1024] {
        let sent = produce_of(bytes);
        let until_asked = sent.len().min(256 * 1024);
        // What one read brings.
        let mut rig = at_bootstrap();
        let id = withheld(&mut rig, &sent[..until_asked]);
        assert_eq!(rig.session.bytes_held(Direction::Request), 0);
        assert_eq!(rig.parked(), (0, 0));
        // A broker that takes the client answers, and the request goes on.
        assert_eq!(rig.broker_sends(&own_answer(id, &UNSERVED)), Ok(Halt::More));
        assert_eq!(rig.client_sends(&sent[until_asked..]), Ok(Halt::More));
        let frame = only_frame(&rig.at_broker());
        assert!(frame.len() > bytes && !contains(&frame, "xxxx"), "it is sealed");
        let answer = crate::wire::stored(7, 1, &frame);
        rig.broker_sends(&answer).unwrap();
        assert_eq!(verdicts(&only_frame(&rig.at_client()), 7)[0].error_code, 0);
    }
}

#[test]
fn a_long_request_of_a_stranger_waits_whatever_its_api() {
    let limit = Limits::default().unauthenticated_request_bytes_max;
    let announced = |bytes: usize| {
        let length = i32::try_from(bytes).unwrap();
        [&length.to_be_bytes()[..], &[0, 2, 0, 7, 0, 0, 0, 1]].concat()
    };
    let mut rig = at_bootstrap();
    assert_eq!(rig.client_sends(&announced(limit)), Ok(Halt::More));
    assert_eq!(rig.at_broker(), announced(limit));

    let mut rig = at_bootstrap();
    let longer = announced(limit + 1);
    let id = withheld(&mut rig, &longer);
    assert_eq!(rig.broker_sends(&own_answer(id, &UNSERVED)), Ok(Halt::More));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), longer);
}

/// AUTH-4.
#[test]
fn an_accepted_round_of_a_login_is_no_login() {
    let mut rig = at_bootstrap();
    rig.client_sends(&handshake_request(1)).unwrap();
    rig.broker_sends(&handshake_response(1)).unwrap();
    rig.client_sends(&token_request(2, 10)).unwrap();
    // The first round of SCRAM: a name is enough.
    rig.broker_sends(&token_response(2, 0)).unwrap();
    // Kafka answers what does not belong there with an error, and then closes.
    rig.client_sends(&prefixed(&[0, 12, 0, 0, 0, 0, 0, 3])).unwrap();
    rig.broker_sends(&prefixed(&[0, 0, 0, 3, 0, 34])).unwrap();
    rig.at_broker();
    let sent = produce(9, 4, -1, &[to_produce("sealed-a", 0, &batch(&["canary"]))]);
    let id = withheld(&mut rig, &sent);
    assert!(!rig.session.is_logged_in());
    assert_eq!(
        rig.broker_sends(&own_answer(id, &[])),
        Err(CloseReason::DeniedApi),
        "the same for our own question"
    );
}

#[test]
fn a_request_that_takes_its_time_at_the_broker_is_waited_for_before_we_ask() {
    let mut rig = at_bootstrap();
    let join = prefixed(&[0, 11, 0, 5, 0, 0, 0, 1]);
    let sent = produce(9, 2, -1, &[to_produce("sealed-a", 0, &batch(&["canary"]))]);
    let pipelined = [join.clone(), sent].concat();
    assert_eq!(rig.client_sends(&pipelined), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), join);
    rig.pass_time(Duration::from_secs(300));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::Blocked(Wait::Room)));
    rig.broker_sends(&prefixed(&[0, 0, 0, 1])).unwrap();
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(frames(&rig.at_broker()).len(), 1, "its answer was proof");
}

#[test]
fn the_question_is_what_the_oracle_would_ask() {
    let mut rig = at_bootstrap();
    rig.client_sends(&produce(9, 2, -1, &[])).unwrap();
    let asked = rig.at_broker();
    let id = i32::from_be_bytes(*asked[8..].first_chunk().unwrap());
    let body = MetadataRequest::default().with_topics(Some(Vec::new()));
    let mut expected = request(ApiKey::Metadata, OWN_VERSION, id, &body);
    // The rig's client id is another one, of another length.
    expected[3] += 3;
    let at = 4 + 8;
    expected.splice(at..at + 7, [&[0, 8][..], b"sealwire"].concat());
    assert_eq!(asked, expected);
}
